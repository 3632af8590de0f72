/**
 * Brokers that speak TLS to each other and prove that they are of one cluster, as processes of their own with a real etcd: events are copied and outlive their
 * leader; a broker with another secret, without one, or that trusts others is not let in and says what to do; nobody else is given what is replicated.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { connect } from '../../client/index.ts'
import { replicaFetchRequest, replicaProgressRequest } from '../broker/running-broker.ts'
import { makeAuthority, makeCertificate } from '../certificates.ts'
import { untilInSync } from './until.ts'
import { SecuredCluster } from './secured-cluster.ts'

test('cluster with TLS and a secret (3 brokers, real etcd): a leader is killed, its events are there; strangers are refused', async () => {
  await using cluster = await SecuredCluster.start([1, 2, 3], [])
  const authority = readFileSync(cluster.authority.certificate)
  await using playhead = await connect(cluster.servers, { tls: { authority }, timeoutMs: 30_000 })
  const { topicId } = await (async () => {
    await playhead.admin.createTopic('carts', { replicationFactor: 3 })
    return playhead.admin.describeTopic('carts')
  })()
  const stream = playhead.topic('carts').stream('one')
  for (let place = 0; place < 20; place++) await stream.append({ type: 'Counted', data: { place } })
  await untilInSync(playhead, 'carts', 3)

  const other = join(cluster.directory, 'other.secret')
  await writeFile(other, `${'another'.repeat(8)}\n`)
  const giveSame = /give every broker (of it )?the same file: clusterSecretFile/
  assert.match(await cluster.refusal(cluster.flags(4, other)), /unauthenticated: .*found the proof of another secret/)
  assert.match(await cluster.refusal(cluster.flags(4, other)), giveSame)
  assert.match(await cluster.refusal(cluster.flags(4, '')), giveSame)
  const stranger = await makeAuthority(cluster.directory, 'stranger')
  assert.match(await cluster.refusal(cluster.flags(4, undefined, stranger)), /untrusted-broker: /)
  // Two secrets in the file: the first is proven, both are taken; so the file can be exchanged broker by broker.
  await writeFile(other, `${'s3cret'.repeat(8)}\n${'another'.repeat(8)}\n`)
  assert.match(await cluster.refusal(cluster.flags(4, other)), /served at/)

  const anybody = await cluster.connection(1)
  const refused = { code: 'notAuthorized', message: /wanted a broker of this cluster/ }
  await assert.rejects(anybody.request('replicaFetch', replicaFetchRequest(topicId), [], { timeoutMs: 5_000 }), refused)
  await assert.rejects(
    anybody.request('replicaProgress', replicaProgressRequest(topicId), [], { timeoutMs: 5_000 }),
    refused,
  )
  anybody.close()

  const { partitions } = await playhead.admin.describeTopic('carts')
  await cluster.brokers.get(partitions[0]!.leader!.broker)!.kill()
  await stream.append({ type: 'Counted', data: { place: 20 } })
  const places: unknown[] = []
  for await (const { data } of stream.read()) places.push((data as { place: number }).place)
  assert.deepEqual(places, [...Array(21).keys()])
})

test('cluster with client certificates required: brokers show their own to each other, and events are copied', async () => {
  await using cluster = await SecuredCluster.start([1], [])
  const required = [
    '--tls-client-authority-file',
    cluster.authority.certificate,
    '--tls-client-certificates',
    'required',
  ]
  await cluster.brokers.get(1)!.stop()
  cluster.brokers.clear()
  await Promise.all([1, 2].map((id) => cluster.serve(id, required)))
  const authority = readFileSync(cluster.authority.certificate)
  const own = await makeCertificate(cluster.directory, cluster.authority, { name: 'client' })
  const tls = { authority, certificate: readFileSync(own.certificate), key: readFileSync(own.key) }
  await using playhead = await connect(cluster.servers, { tls, timeoutMs: 30_000 })
  await playhead.admin.createTopic('carts', { replicationFactor: 2 })
  await playhead.topic('carts').stream('one').append({ type: 'Counted', data: {} })
  await untilInSync(playhead, 'carts', 2)
})
