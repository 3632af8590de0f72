/** The secret of a cluster: files that are none are refused; whoever proves it may ask what brokers ask of each other, once for each proof, and nothing else. */
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { Broker } from '../../../broker/broker.ts'
import { ClusterSecret } from '../../../broker/security/cluster-secret.ts'
import { BrokerConnection } from '../../../client/connection.ts'
import { systemClock } from '../../../platform/clock.ts'
import { nodeFileSystem } from '../../../platform/node-file-system.ts'
import { nodeTransport } from '../../../platform/node-transport.ts'
import { systemRandom } from '../../../platform/random.ts'
import { clientFirst, clusterMechanism } from '../../../protocol/scram.ts'
import { TemporaryDirectory } from '../../temporary-directory.ts'
import { FrameClient, helloRequest } from '../frame-client.ts'

const secret = 's3cret'.repeat(6)
const next = 'another'.repeat(6)

test('cluster secret: what is none is refused with how to make one', async () => {
  await using directory = await TemporaryDirectory.make()
  const path = join(directory.path, 'secret')
  const open = async (text: string) => {
    await writeFile(path, text)
    return ClusterSecret.open(path, nodeFileSystem, systemRandom)
  }
  const refused = { code: 'invalidConfiguration', message: /clusterSecretFile: .*found .*, wanted .*openssl rand/ }
  for (const text of ['', '\n', 'short', `${secret}\nshort`, `${secret} ${secret}`, `${secret}\n`.repeat(9)])
    await assert.rejects(open(text), refused, text)
  assert.equal((await open(`\n${secret}\r\n${next}\n`))?.own, secret)
  assert.equal(await ClusterSecret.open('', nodeFileSystem, systemRandom), undefined)
})

for (const security of ['off', 'on'] as const) {
  test(`cluster secret (security ${security}): each line of the file is taken, another one is not; a broker has no other right`, async () => {
    await using directory = await TemporaryDirectory.make()
    const clusterSecretFile = join(directory.path, 'secret')
    await writeFile(clusterSecretFile, `${secret}\n${next}\n`)
    const data = join(directory.path, 'data')
    await using broker = await Broker.start({ data, port: 0, httpPort: 0, security, clusterSecretFile })
    const open = (clusterSecret: string) =>
      BrokerConnection.open({
        transport: nodeTransport,
        clock: systemClock,
        address: { host: '127.0.0.1', port: broker.port },
        clientName: 'test',
        clusterSecret,
        timeoutMs: 5_000,
      })
    await assert.rejects(open('stranger'.repeat(5)), {
      code: 'unauthenticated',
      message: /found the proof of another secret, wanted that of this cluster; give every broker of it the same file/,
    })
    const topicId = '00000000-0000-0000-0000-000000000000'
    const follower = { topicId, partition: 0, leaderEpoch: 0, broker: 2, brokerEpoch: 1, durableOffset: 0 }
    for (const known of [secret, next]) {
      const connection = await open(known)
      const ask = connection.request('replicaProgress', follower, [], { timeoutMs: 5_000 })
      await assert.rejects(ask, { code: 'unknownTopic' })
      const others = [
        connection.request('status', {}, [], { timeoutMs: 5_000 }),
        connection.request('createTopic', newTopic(known.slice(0, 6)), [], { timeoutMs: 5_000 }),
      ]
      for (const other of others)
        if (security === 'on') await assert.rejects(other, { code: 'notAuthorized' })
        else await other
      connection.close()
    }
  })
}

const newTopic = (topic: string) => ({ topic, partitions: 1, replicationFactor: 1, settings: [] })

test('cluster secret: a proof is good for one exchange; before it, and with what is malformed, nothing is answered', async () => {
  await using directory = await TemporaryDirectory.make()
  const clusterSecretFile = join(directory.path, 'secret')
  await writeFile(clusterSecretFile, secret)
  await using broker = await Broker.start({
    data: join(directory.path, 'data'),
    port: 0,
    httpPort: 0,
    clusterSecretFile,
  })
  using frames = await FrameClient.open(broker.port)
  await frames.request('hello', helloRequest)
  const topicId = '00000000-0000-0000-0000-000000000000'
  const follower = { topicId, partition: 0, leaderEpoch: 0, broker: 2, brokerEpoch: 1, durableOffset: 0 }
  const authenticate = (message: string) => frames.request('authenticate', { mechanism: clusterMechanism, message })
  const first = clientFirst('broker', 'n'.repeat(24))
  const begun = await authenticate(first)
  const nonce = /^r=([^,]+)/.exec(begun.header.message)?.[1] ?? ''
  await assert.rejects(frames.request('replicaProgress', follower), { code: 'notAuthorized' })
  await assert.rejects(authenticate('nonsense'), { code: 'unauthenticated' })
  // That was the one proof: the next message begins anew.
  await assert.rejects(
    authenticate(`c=biws,r=${nonce},p=${Buffer.alloc(32).toString('base64')}`),
    /malformed first message/,
  )
  const again = await authenticate(first)
  assert.notEqual(/^r=([^,]+)/.exec(again.header.message)?.[1], nonce)
  const stale = `c=biws,r=${nonce},p=${Buffer.alloc(32).toString('base64')}`
  await assert.rejects(authenticate(stale), { code: 'unauthenticated' })
  await assert.rejects(frames.request('replicaProgress', follower), { code: 'notAuthorized' })
})
