/**
 * The client against three real brokers that agree through one metadata store: leaders are cut off and stopped under load. Nothing that was acknowledged
 * is lost, nothing is there twice, order and versions are kept, readers go on.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { isPlayheadError } from '../../client/index.ts'
import type { Playhead } from '../../client/index.ts'
import { systemClock } from '../../platform/clock.ts'
import { encodeRecordBatch } from '../../protocol/record-batch.ts'
import { connectFrameClient } from '../broker/frame-client.ts'
import { BrokerCluster, eventually } from './broker-cluster.ts'
import { listOf } from './list-of.ts'

const ids = [1, 2, 3]
const upTo = (count: number) => Array.from({ length: count }, (_, index) => index)
/** Of all that may have to wait for another leader. */
const timeoutMs = 30_000

async function withTopic(cluster: BrokerCluster, partitions = 1): Promise<Playhead> {
  const playhead = await cluster.connect(ids, { timeoutMs })
  await playhead.admin.createTopic('carts', { partitions, replicationFactor: 3 })
  return playhead
}

interface Load {
  /** What was acknowledged, in order. */
  readonly written: number[]
  /** What a replay that follows has yielded. */
  readonly replayed: number[]
  /** Resolves when so many more are written; rejects when an append fails. */
  more(count: number): Promise<void>
  stop(): Promise<void>
}

/** Numbered records of one stream, conditional appends one after the other, and a replay that follows. */
function load(playhead: Playhead, name: string): Load {
  const topic = playhead.topic('carts')
  const written: number[] = []
  const replayed: number[] = []
  const over = new AbortController()
  const ending = new AbortController()
  const appending = (async () => {
    const stream = topic.stream(name)
    while (!over.signal.aborted) {
      const number = written.length
      const expectedVersion = number === 0 ? ('none' as const) : number - 1
      // As many again, side by side, so that several frames are under way.
      const beside = upTo(5).map((lane) => topic.stream(`${name}-${lane}`).append({ type: 'Beside', data: number }))
      const { version } = await stream.append({ type: 'Counted', data: number }, { expectedVersion })
      assert.equal(version, number)
      for (const append of beside) assert.equal((await append).version, number)
      written.push(number)
    }
  })()
  const replaying = (async () => {
    for await (const batch of topic.replay({ from: 'start', follow: true, signal: ending.signal, timeoutMs })) {
      for (const record of batch) {
        if (record.stream === name) replayed.push((record.event() as { data: number }).data)
      }
    }
  })().catch((error: unknown) => {
    if (!ending.signal.aborted) throw error
  })
  appending.catch(() => undefined) // heard in `more` and `stop`
  replaying.catch(() => undefined)
  return {
    written,
    replayed,
    async more(count) {
      const wanted = written.length + count
      await Promise.race([eventually(() => written.length >= wanted), appending])
    },
    async stop() {
      over.abort()
      await appending
      await Promise.race([eventually(() => replayed.length >= written.length), replaying])
      ending.abort(new Error('over'))
      await replaying
    },
  }
}

async function checkLoad(playhead: Playhead, name: string, { written, replayed }: Load): Promise<void> {
  assert.deepEqual(replayed, written)
  const wanted = upTo(written.length)
  for (const stream of [name, ...upTo(5).map((lane) => `${name}-${lane}`)]) {
    const events = await listOf(playhead.topic('carts').stream(stream).read())
    assert.deepEqual(
      events.map(({ data }) => data),
      wanted,
    )
    assert.deepEqual(
      events.map(({ version }) => version),
      wanted,
    )
  }
}

test('cluster: one leader after the other is cut off under load', async () => {
  await using cluster = await BrokerCluster.start(ids)
  await using playhead = await withTopic(cluster)
  const running = load(playhead, 'counted')
  await running.more(20)
  for (const _ of upTo(2)) {
    const leader = await cluster.leaderOf(playhead, 'carts')
    cluster.cutOff(leader)
    await running.more(20)
    cluster.putBack(leader)
    // Back in sync, or the next one would leave too few.
    await eventually(async () => (await playhead.admin.describeTopic('carts')).partitions[0]?.inSync?.length === 3)
  }
  await running.stop()
  await checkLoad(playhead, 'counted', running)
})

test('cluster: all brokers are restarted, one after the other, under load, with their addresses changed', async () => {
  await using cluster = await BrokerCluster.start(ids)
  await using playhead = await withTopic(cluster)
  const running = load(playhead, 'counted')
  for (const id of ids) {
    await eventually(async () => (await playhead.admin.describeTopic('carts')).partitions[0]?.inSync?.length === 3)
    await cluster.stop(id)
    await cluster.open(id)
  }
  await running.more(20)
  await running.stop()
  await checkLoad(playhead, 'counted', running)
})

test('cluster: what a producer has sent is there once and in order per stream, over partitions of several leaders', async () => {
  await using cluster = await BrokerCluster.start(ids)
  await using playhead = await withTopic(cluster, 6)
  const topic = playhead.topic('carts')
  const producer = topic.producer({ batchBytes: 2_000, timeoutMs })
  const count = 6_000
  for (const index of upTo(count)) {
    await producer.send({ key: `k${index % 40}`, value: `${index}` })
    if (index === count / 3) cluster.cutOff(await cluster.leaderOf(playhead, 'carts', 0))
    if (index % 100 === 0) await systemClock.yield()
  }
  await producer.close()
  assert.equal(producer.stats.writtenRecords, count)
  const byKey = new Map<string, number[]>()
  for await (const batch of topic.replay({ from: 'start', timeoutMs })) {
    for (const { stream, value } of batch) byKey.set(stream!, [...(byKey.get(stream!) ?? []), Number(value)])
  }
  for (const key of upTo(40)) {
    assert.deepEqual(
      byKey.get(`k${key}`),
      upTo(count / 40).map((round) => round * 40 + key),
    )
  }
  // Names of the streams of every leader are one list, also page by page.
  const names = (await listOf(topic.streams({ prefix: 'k', timeoutMs }))).map(({ stream }) => stream)
  assert.deepEqual(
    names,
    upTo(40)
      .map((key) => `k${key}`)
      .toSorted(),
  )
  assert.deepEqual(
    (await listOf(topic.streams({ prefix: 'k1', limit: 4, timeoutMs }))).map(({ stream }) => stream),
    ['k1', 'k10', 'k11', 'k12'],
  )
})

test('cluster: a token of one leader is waited for at the next, by another client', async () => {
  await using cluster = await BrokerCluster.start(ids)
  await using playhead = await withTopic(cluster)
  await using other = await cluster.connect(ids, { timeoutMs })
  const stream = playhead.topic('carts').stream('c')
  for (const index of upTo(3)) {
    const { token } = await stream.append({ type: 'A', data: index })
    const leader = await cluster.leaderOf(playhead, 'carts')
    if (index === 1) cluster.cutOff(leader)
    const events = await listOf(other.topic('carts').stream('c').read({ after: token }))
    assert.deepEqual(
      events.map(({ data }) => data),
      upTo(index + 1),
    )
  }
})

test('cluster: a named producer goes on at the next leader; named playheads are found wherever they are', async () => {
  await using cluster = await BrokerCluster.start(ids)
  await using playhead = await withTopic(cluster, 2)
  const topic = playhead.topic('carts')
  const nameHash = createHash('sha256').update('file').digest()
  const run = async (count: number) => {
    await using producer = await topic.namedProducer(nameHash, { timeoutMs })
    for (const index of upTo(count)) await producer.send({ key: `k${index % 7}`, value: `${index}` })
    await producer.flush()
    return producer.counts
  }
  assert.equal((await run(500)).appended, 500)
  const reader = topic.playhead('mailer')
  const { version } = await reader.commit(await topic.positions('end'), { expectedVersion: 'none' })
  const home = await cluster.leaderOf(playhead, '__playheads')
  await using elsewhere = await cluster.connect(
    ids.filter((id) => id !== home),
    { timeoutMs },
  )
  const next = await elsewhere.topic('carts').playhead('mailer').commit([], { expectedVersion: version })
  assert.equal(next.version, version + 1)
  cluster.cutOff(await cluster.leaderOf(playhead, 'carts'))
  const { appended, skipped } = await run(800)
  assert.deepEqual({ appended, skipped }, { appended: 300, skipped: 500 })
  const values: number[] = []
  for await (const batch of topic.replay({ from: 'start', timeoutMs })) {
    for (const { value } of batch) values.push(Number(value))
  }
  assert.deepEqual(
    values.toSorted((a, b) => a - b),
    upTo(800),
  )
})

test('cluster: brokers say who leads and where; a follower refuses with the address; what may vanish is told to no producer', async () => {
  await using cluster = await BrokerCluster.start(ids)
  await using playhead = await withTopic(cluster)
  await playhead.topic('carts').stream('c').append({ type: 'A' })
  const leader = await cluster.leaderOf(playhead, 'carts')
  const follower = ids.find((id) => id !== leader)!
  const { port } = cluster.brokers.get(leader)!
  using asFollower = await connectFrameClient(cluster.brokers.get(follower)!.port)
  const described = await asFollower.request('describeTopic', { topic: 'carts' })
  const [row] = described.header.partitions
  assert.deepEqual(row?.leader, { broker: leader, host: '127.0.0.1', port, rack: undefined })
  assert.deepEqual([row?.replicas?.toSorted(), row?.inSync?.toSorted()], [ids, ids])
  const producer = { producerId: 7, producerEpoch: 0, baseSequence: 0 }
  const batch = encodeRecordBatch([{ key: 'c', value: 'v', timestamp: 1 }], producer)
  const groups = [{ batchBytes: batch.length, expected: [], wantVersions: false }]
  const append = { topic: 'carts', partition: 0, acks: 'all' as const, groups }
  await assert.rejects(asFollower.request('append', append, [batch]), (error) => {
    assert.ok(isPlayheadError(error, 'notLeader'))
    const { leader: named, host, port: at } = error.details
    assert.deepEqual({ named, host, at }, { named: leader, host: '127.0.0.1', at: port })
    return true
  })
  using atLeader = await connectFrameClient(port)
  for (const id of ids) if (id !== leader) cluster.cutOff(id)
  const appending = atLeader.request('append', append, [batch])
  const place = { topic: 'carts' }
  await eventually(
    async () => (await atLeader.request('describeTopic', place)).header.partitions[0]?.logEndOffset === 2,
  )
  let isAnswered = false
  const asking = atLeader
    .request('producerState', { topic: 'carts', partition: 0, producerId: 7 })
    .finally(() => (isAnswered = true))
  for (const _ of upTo(20)) await atLeader.request('describeTopic', place)
  assert.equal(isAnswered, false, 'written, and on one disk only')
  for (const id of ids) cluster.putBack(id)
  assert.equal((await asking).header.lastSequence, 0)
  assert.equal((await appending).header.groups[0]?.failure, undefined)
})
