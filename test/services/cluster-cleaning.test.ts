/** Three brokers as processes of their own, and a real etcd: a cluster gets rid of old events, and what is left is the same on each of them. */
import assert from 'node:assert/strict'
import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { Playhead } from '../../client/index.ts'
import { EtcdServer } from '../replication/etcd-server.ts'
import { until, untilInSync } from './until.ts'
import { ServedCluster } from './served-cluster.ts'

let etcd: EtcdServer

before(async () => {
  etcd = await EtcdServer.start()
})
after(() => etcd[Symbol.asyncDispose]())

const streams = ['one', 'two', 'three', 'four', 'five']
const megabyte = 1 << 20
const small = { 'segment.bytes': String(megabyte) }
const big = 'x'.repeat(100_000)

/** Appends events of all streams in turn, each behind the one before; answers how many each has then. */
async function append(playhead: Playhead, topic: string, from: number, to: number): Promise<number> {
  for (let version = from; version < to; version++) {
    await Promise.all(
      streams.map(async (stream) => {
        const expectedVersion = version === 0 ? ('none' as const) : version - 1
        await playhead
          .topic(topic)
          .stream(stream)
          .append({ type: 'Counted', data: { version, big } }, { expectedVersion })
      }),
    )
  }
  return to
}

/** The versions that are left of each stream, each of which has to be the event that was given it. */
async function versionsLeft(playhead: Playhead, topic: string): Promise<Record<string, number[]>> {
  const left: Record<string, number[]> = {}
  for (const stream of streams) {
    const versions: number[] = []
    for await (const { version, data } of playhead.topic(topic).stream(stream).read()) {
      assert.equal((data as { version: number }).version, version)
      versions.push(version!)
    }
    left[stream] = versions
  }
  return left
}

/** On the disk of a broker, of all topics with records. */
async function segmentsOf(cluster: ServedCluster, broker: number, topicId: string): Promise<string[]> {
  const names = await readdir(join(cluster.dataOf(broker), 'topics', topicId, '0'))
  return names.filter((name) => name.endsWith('.log'))
}

async function bytesOn(cluster: ServedCluster, broker: number, topicId: string): Promise<number> {
  let bytes = 0
  for (const name of await segmentsOf(cluster, broker, topicId))
    bytes += (await stat(join(cluster.dataOf(broker), 'topics', topicId, '0', name)).catch(() => ({ size: 0 }))).size
  return bytes
}

test('cluster: what retention.bytes and deleteRecords give up goes from all three disks; one that was lost, and a leader killed -9, change nothing of what is left', async () => {
  await using cluster = await ServedCluster.start(etcd, 'retention', [1, 2, 3], ['--clean-interval-ms', '200'])
  const playhead = await cluster.connect()
  const settings = { ...small, 'retention.bytes': String(3 * megabyte) }
  const { topicId } = await playhead.admin.createTopic('kept', { replicationFactor: 3, settings })
  await append(playhead, 'kept', 0, 24)
  for (const broker of [1, 2, 3])
    await until(`removed by broker ${broker}`, async () => (await segmentsOf(cluster, broker, topicId)).length <= 5)
  const some = await versionsLeft(playhead, 'kept')
  assert.ok(some['one']!.length < 20 && some['one']!.at(-1) === 23, JSON.stringify(some))

  await cluster.brokers.get(3)!.kill()
  await rm(cluster.dataOf(3), { recursive: true })
  await append(playhead, 'kept', 24, 26)
  await cluster.serve(3)
  await untilInSync(playhead, 'kept', 3)
  const start = Math.max(...Object.values(await offsetsLeft(playhead)))
  await playhead.admin.deleteRecords('kept', [{ partition: 0, offset: start }])
  const left = await versionsLeft(playhead, 'kept')
  for (const leader of [await cluster.leaderOf(playhead, 'kept'), 3]) {
    await playhead.cluster.reassign('kept', 0, [leader, ...[1, 2, 3].filter((broker) => broker !== leader)])
    if (leader !== (await cluster.leaderOf(playhead, 'kept'))) continue
    await cluster.brokers.get(leader)!.kill()
    await until('another leads', async () => (await cluster.leaderOf(playhead, 'kept').catch(() => leader)) !== leader)
    assert.deepEqual(await versionsLeft(playhead, 'kept'), left)
    await cluster.serve(leader)
    await untilInSync(playhead, 'kept', 3)
  }
  await append(playhead, 'kept', 26, 27)
  await playhead.close()
})

/** Of each stream, the offset of its first event. */
async function offsetsLeft(playhead: Playhead): Promise<Record<string, number>> {
  const left: Record<string, number> = {}
  for (const stream of streams) {
    for await (const { offset } of playhead.topic('kept').stream(stream).read({ limit: 1 })) left[stream] = offset
  }
  return left
}

test('cluster: a compacted topic keeps the newest event of each stream on all three brokers, whoever leads, also one that lost its disk meanwhile', async () => {
  await using cluster = await ServedCluster.start(etcd, 'compaction', [1, 2, 3], ['--clean-interval-ms', '200'])
  const playhead = await cluster.connect()
  const settings = { ...small, 'cleanup.policy': 'compact', 'min.cleanable.dirty.ratio': '0.1' }
  const { topicId } = await playhead.admin.createTopic('latest', { replicationFactor: 3, settings })
  await append(playhead, 'latest', 0, 20)
  for (const broker of [1, 2, 3])
    await until(`compacted by broker ${broker}`, async () => (await bytesOn(cluster, broker, topicId)) < 4 * megabyte)
  await cluster.brokers.get(2)!.kill()
  await rm(cluster.dataOf(2), { recursive: true })
  await append(playhead, 'latest', 20, 22)
  await cluster.serve(2)
  await untilInSync(playhead, 'latest', 3)
  for (const broker of [1, 2, 3]) {
    if ((await cluster.leaderOf(playhead, 'latest')) === broker) {
      await cluster.brokers.get(broker)!.kill()
      await until(
        'another leads',
        async () => (await cluster.leaderOf(playhead, 'latest').catch(() => broker)) !== broker,
      )
    }
    const left = await versionsLeft(playhead, 'latest')
    for (const versions of Object.values(left))
      assert.ok(versions.at(-1) === 21 && versions.length <= 22, versions.join())
    if (!cluster.brokers.get(broker)!.isRunning) await cluster.serve(broker)
    await untilInSync(playhead, 'latest', 3)
  }
  await append(playhead, 'latest', 22, 23)
  await playhead.close()
})
