/**
 * Limits of single streams in a cluster of brokers that are processes of their own, with a real etcd: asked for through any broker, they hold at all, also at those
 * that lead after a kill -9, and no version is used twice.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { connect } from '../../client/index.ts'
import type { Playhead } from '../../client/index.ts'
import { EtcdServer } from '../replication/etcd-server.ts'
import { untilInSync } from './until.ts'
import { ServedCluster } from './served-cluster.ts'

const event = { type: 'Added', data: 1 }
const six = [event, event, event, event, event, event]
let etcd: EtcdServer

before(async () => {
  etcd = await EtcdServer.start()
})
after(() => etcd[Symbol.asyncDispose]())

async function versionsOf(playhead: Playhead, stream: string): Promise<number[]> {
  const versions: number[] = []
  for await (const { version } of playhead.topic('carts').stream(stream).read()) versions.push(version ?? -1)
  return versions
}

/** The same over HTTP, of the broker that leads; another one refuses. */
async function versionsOverHttp(cluster: ServedCluster, leader: number, stream: string): Promise<number[]> {
  const { httpPort } = cluster.brokers.get(leader)!
  const answer = await fetch(`http://127.0.0.1:${httpPort}/api/topics/carts/streams/${stream}`)
  const { events } = (await answer.json()) as { events: { version: number }[] }
  return events.map(({ version }) => version)
}

test('cluster (3 brokers, real etcd): limits and deletions asked for through one broker hold through all; the leaders of stream and limits are killed in turn: the next hide the same, versions go on', async () => {
  await using cluster = await ServedCluster.start(etcd, 'limits', [1, 2, 3])
  const playhead = await cluster.connect()
  await playhead.admin.createTopic('carts', { replicationFactor: 3 })
  const carts = playhead.topic('carts')
  for (const name of ['counted', 'cut', 'deleted', 'whole']) await carts.stream(name).append(six)
  const one = await connect(`playhead://${cluster.brokers.get(1)!.server}`, { timeoutMs: 30_000 })
  await one.topic('carts').stream('counted').limit({ maxCount: 2 })
  await one.topic('carts').stream('cut').limit({ truncateBefore: 5 })
  await one.topic('carts').stream('deleted').delete()
  await one.close()
  const hidden = { counted: [4, 5], cut: [5], deleted: [], whole: [0, 1, 2, 3, 4, 5] }
  const found = async (reader: Playhead) => ({
    counted: await versionsOf(reader, 'counted'),
    cut: await versionsOf(reader, 'cut'),
    deleted: await versionsOf(reader, 'deleted'),
    whole: await versionsOf(reader, 'whole'),
  })
  for (const { server } of cluster.brokers.values()) {
    const reader = await connect(`playhead://${server}`, { timeoutMs: 30_000 })
    assert.deepEqual(await found(reader), hidden)
    await reader.close()
  }
  let last = 5
  for (const topic of ['carts', '__limited-streams', 'carts']) {
    for (const each of ['carts', '__limited-streams']) await untilInSync(playhead, each, 3)
    const leader = await cluster.leaderOf(playhead, topic)
    await cluster.brokers.get(leader)!.kill()
    assert.deepEqual(await found(playhead), hidden)
    const now = await cluster.leaderOf(playhead, 'carts')
    assert.deepEqual(await versionsOverHttp(cluster, now, 'deleted'), hidden.deleted)
    assert.deepEqual(await carts.stream('cut').limits(), { maxCount: 0, maxAgeMs: 0, truncateBefore: 5 })
    const { version } = await carts.stream('deleted').append(event, { expectedVersion: last })
    assert.equal(version, ++last)
    assert.deepEqual(await versionsOf(playhead, 'deleted'), [last])
    assert.deepEqual(await carts.stream('deleted').delete(), { maxCount: 0, maxAgeMs: 0, truncateBefore: last + 1 })
    assert.deepEqual(await versionsOf(playhead, 'deleted'), [])
    await cluster.serve(leader)
  }
  await playhead.close()
})

test('cluster (3 brokers, real etcd): all are killed at once: once they are back, what was hidden is hidden', async () => {
  await using cluster = await ServedCluster.start(etcd, 'limits-of-all', [1, 2, 3])
  const playhead = await cluster.connect()
  await playhead.admin.createTopic('carts', { replicationFactor: 3 })
  const stream = playhead.topic('carts').stream('one')
  await stream.append([event, event, event])
  await stream.limit({ truncateBefore: 2 })
  for (const topic of ['carts', '__limited-streams']) await untilInSync(playhead, topic, 3)
  await playhead.close()
  for (const broker of cluster.brokers.values()) await broker.kill()
  await Promise.all([1, 2, 3].map((id) => cluster.serve(id)))
  const again = await cluster.connect()
  assert.deepEqual(await versionsOf(again, 'one'), [2])
  const { firstVersion, lastVersion } = await again.topic('carts').stream('one').info()
  assert.deepEqual({ firstVersion, lastVersion }, { firstVersion: 2, lastVersion: 2 })
  await again.close()
})
