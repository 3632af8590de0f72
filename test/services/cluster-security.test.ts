/**
 * A cluster with security on, TLS and a secret, as processes of their own with a real etcd: users, grants and tokens hold at every broker as soon as they are made,
 * and are gone from all of them when they are taken; they outlive the broker that led them; each broker has its own chain of audit events; an ordinary client is
 * not given what is replicated.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { connect } from '../../client/index.ts'
import type { ClientCredentials, Playhead } from '../../client/index.ts'
import { Credentials } from '../../client/credentials.ts'
import { eventBatch, fetchRequest, replicaFetchRequest } from '../broker/running-broker.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { untilInSync } from './until.ts'
import { SecuredCluster } from './secured-cluster.ts'

const adminToken = 'admin-token'.repeat(4)
const bob = { user: 'bob', password: 'his password' }

class Clients {
  readonly cluster: SecuredCluster
  readonly authority: Buffer

  constructor(cluster: SecuredCluster) {
    this.cluster = cluster
    this.authority = readFileSync(cluster.authority.certificate)
  }

  open(credentials: ClientCredentials, servers = this.cluster.servers, timeoutMs = 30_000): Promise<Playhead> {
    return connect(servers, { tls: { authority: this.authority }, timeoutMs, credentials })
  }

  at(id: number): string {
    return `playheads://${this.cluster.brokers.get(id)!.server}`
  }

  /** Whom that broker takes him for. */
  async whoAt(id: number, credentials: ClientCredentials): Promise<string> {
    await using playhead = await this.open(credentials, this.at(id))
    return (await playhead.access.whoAmI()).principal
  }
}

/** What is replicated is for brokers only, and the access topic for nobody else. */
async function refusedToAnybody({ cluster }: Clients, topicId: string): Promise<void> {
  const anybody = await cluster.connection(1, new Credentials({ token: adminToken }))
  const refused = { code: 'notAuthorized' }
  await assert.rejects(anybody.request('replicaFetch', replicaFetchRequest(topicId), [], { timeoutMs: 5_000 }), refused)
  await assert.rejects(anybody.request('fetch', fetchRequest('__access', 0), [], { timeoutMs: 5_000 }), refused)
  anybody.close()
}

/** A token of alice, who may append to and read carts; it is good at every broker at once. */
async function grantedEverywhere(clients: Clients, admin: Playhead): Promise<{ token: string; tokenId: string }> {
  await admin.access.createUser('alice', 'her password')
  await admin.access.grant('user:alice', [
    { operation: 'append', pattern: 'topic:carts' },
    { operation: 'read', pattern: 'topic:carts' },
  ])
  const { token, tokenId } = await admin.access.createToken({ principal: 'user:alice' })
  for (const id of [1, 2, 3]) {
    assert.match(await clients.whoAt(id, { token }), /user:alice/)
    assert.equal(await clients.whoAt(id, { user: 'alice', password: 'her password' }), 'user:alice')
    const wrong = clients.whoAt(id, { user: 'alice', password: 'another' })
    await assert.rejects(wrong, { code: 'unauthenticated' })
  }
  return { token, tokenId }
}

/** Of three partitions, led by three brokers: the topic that has the limits is led by one of them, and written by nobody but brokers. */
async function limitsHold({ cluster }: Clients, admin: Playhead): Promise<void> {
  await admin.admin.createTopic('limited', { partitions: 3, replicationFactor: 3 })
  for (let number = 0; number < 12; number++) {
    const stream = admin.topic('limited').stream(`s${number}`)
    await stream.append([{ type: 'A' }, { type: 'B' }])
    assert.deepEqual(await stream.limit({ maxCount: 1 }), { maxCount: 1, maxAgeMs: 0, truncateBefore: 0 })
    assert.equal((await stream.info()).firstVersion, 1)
  }
  for (const id of cluster.brokers.keys()) {
    const anybody = await cluster.connection(id, new Credentials({ token: adminToken }))
    const batch = eventBatch(['limited'])
    const groups = [{ batchBytes: batch.length, expected: [], wantVersions: false }]
    const request = { topic: '__limited-streams', partition: 0, acks: 'all', groups } as const
    await assert.rejects(anybody.request('append', request, [batch], { timeoutMs: 5_000 }), { code: 'internalTopic' })
    anybody.close()
  }
}

/** The first one back cannot know yet what was taken, and says so instead of guessing. */
async function allStartAgain(clients: Clients, token: string): Promise<void> {
  const { cluster } = clients
  for (const broker of cluster.brokers.values()) await broker.kill()
  await cluster.serve(1)
  await assert.rejects(clients.open({ token }, clients.at(1), 1_000), { code: 'unavailable' })
  await Promise.all([cluster.serve(2), cluster.serve(3)])
  for (const id of [1, 2, 3]) {
    assert.equal(await clients.whoAt(id, bob), 'user:bob')
    await assert.rejects(clients.whoAt(id, { token }), { code: 'unauthenticated' })
  }
}

async function chainsHold({ cluster }: Clients, adminTokenFile: string): Promise<void> {
  const environment = { PLAYHEAD_AUTHORITY_FILE: cluster.authority.certificate }
  const flags = ['--token-file', adminTokenFile, '--json']
  const verified = await cluster.brokers.get(1)!.run(['audit', 'verify', ...flags], { environment })
  assert.equal(verified.code, 0, verified.stderr)
  const { chains = [] } = JSON.parse(verified.stdout) as { chains?: { stream: string }[] }
  assert.deepEqual(
    chains.map(({ stream }) => stream),
    ['audit/1', 'audit/2', 'audit/3'],
  )
}

test('cluster with security (3 brokers, real etcd): what is granted and taken holds everywhere, and outlives its leader', async () => {
  await using tokens = await TemporaryDirectory.make()
  const adminTokenFile = join(tokens.path, 'admin.token')
  await writeFile(adminTokenFile, adminToken)
  await using cluster = await SecuredCluster.start(
    [1, 2, 3],
    ['--security', 'on', '--admin-token-file', adminTokenFile],
  )
  const clients = new Clients(cluster)
  const admin = await clients.open({ token: adminToken })
  await admin.admin.createTopic('carts', { replicationFactor: 3 })
  const { token, tokenId } = await grantedEverywhere(clients, admin)
  const alice = await clients.open({ token })
  const stream = alice.topic('carts').stream('one')
  for (let place = 0; place < 10; place++) await stream.append({ type: 'Counted', data: { place } })
  await assert.rejects(alice.admin.createTopic('orders'), { code: 'notAuthorized' })
  await limitsHold(clients, admin)
  await refusedToAnybody(clients, (await admin.admin.describeTopic('carts')).topicId)

  // It leads users and grants: they go on elsewhere, and so does what others append and read.
  for (const topic of ['__audit', 'carts']) await untilInSync(admin, topic, 3)
  const leader = await untilInSync(admin, '__access', 3)
  await cluster.brokers.get(leader)!.kill()
  await stream.append({ type: 'Counted', data: { place: 10 } })
  await admin.access.createUser(bob.user, bob.password)
  const left = [1, 2, 3].filter((id) => id !== leader)
  for (const id of left) assert.equal(await clients.whoAt(id, bob), 'user:bob')
  const places: unknown[] = []
  for await (const { data } of stream.read()) places.push((data as { place: number }).place)
  assert.deepEqual(places, [...Array(11).keys()])
  await alice.close()
  await admin.access.revokeToken(tokenId)
  for (const id of left) await assert.rejects(clients.whoAt(id, { token }), { code: 'unauthenticated' })
  await cluster.serve(leader)
  await assert.rejects(clients.whoAt(leader, { token }), { code: 'unauthenticated' })
  assert.equal(await clients.whoAt(leader, bob), 'user:bob')
  await admin.close()

  await allStartAgain(clients, token)
  await using again = await clients.open({ token: adminToken })
  await again.access.revoke('user:alice', [{ operation: 'read', pattern: 'topic:carts' }])
  await chainsHold(clients, adminTokenFile)
})
