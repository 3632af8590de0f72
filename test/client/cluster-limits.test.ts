/** Limits of single streams in a cluster of three real brokers in this process: through whichever broker they are asked for, and wherever the stream is led next. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Playhead } from '../../client/index.ts'
import { sleep, systemClock } from '../../platform/clock.ts'
import { partitionOf } from '../../protocol/murmur2.ts'
import { connectFrameClient } from '../broker/frame-client.ts'
import { appendBatch, eventBatch } from '../broker/running-broker.ts'
import { BrokerCluster, eventually } from './broker-cluster.ts'
import { listOf } from './list-of.ts'

const ids = [1, 2, 3]
const timeoutMs = 30_000
const event = { type: 'Counted', data: 0 }
const noLimit = { maxCount: 0, maxAgeMs: 0, truncateBefore: 0 }

async function versionsOf(playhead: Playhead, stream: string): Promise<(number | null)[]> {
  return (await listOf(playhead.topic('carts').stream(stream).read())).map(({ version }) => version)
}

/** One of each partition, so that whoever leads the topic of limits leads some of them and not the others. */
function streamOfEach(partitions: number): string[] {
  return Array.from({ length: partitions }, (_, partition) => {
    for (let number = 0; ; number++) if (partitionOf(`s${number}`, partitions, 'key') === partition) return `s${number}`
  })
}

async function moveLeader(playhead: Playhead, to: number): Promise<void> {
  const others = ids.filter((id) => id !== to)
  await playhead.cluster.reassign('carts', 0, [to, ...others])
  await eventually(async () => {
    const [now] = (await playhead.cluster.status({ topic: 'carts' })).partitions
    return now?.leader === to && now.adding.length === 0 && now.removing.length === 0
  })
}

test('cluster: limits of streams of three partitions, each led by another broker, asked for through each broker: all brokers that led or lead hide the same', async () => {
  await using cluster = await BrokerCluster.start(ids)
  await using playhead = await cluster.connect(ids, { timeoutMs })
  await playhead.admin.createTopic('carts', { partitions: 3, replicationFactor: 3 })
  const streams = streamOfEach(3)
  for (const stream of streams) await playhead.topic('carts').stream(stream).append([event, event, event])
  for (const [place, id] of ids.entries()) {
    await using one = await cluster.connect([id], { timeoutMs })
    for (const stream of streams) {
      const limit = { ...noLimit, truncateBefore: place + 1 }
      assert.deepEqual(
        await one
          .topic('carts')
          .stream(stream)
          .limit({ truncateBefore: place + 1 }),
        limit,
      )
      assert.deepEqual(await versionsOf(playhead, stream), [0, 1, 2].slice(place + 1))
    }
  }
  for (const gone of ids) {
    cluster.cutOff(gone)
    const others = ids.filter((id) => id !== gone)
    await using rest = await cluster.connect(others, { timeoutMs })
    for (const stream of streams) {
      assert.deepEqual(await versionsOf(rest, stream), [])
      assert.deepEqual(await rest.topic('carts').stream(stream).limits(), { ...noLimit, truncateBefore: 3 })
      const { firstVersion, lastVersion } = await rest.topic('carts').stream(stream).info()
      assert.deepEqual([firstVersion, lastVersion], [-1, 2])
    }
    assert.deepEqual(await listOf(rest.topic('carts').streams()), [])
    cluster.putBack(gone)
    await eventually(async () => {
      const { partitions } = await playhead.cluster.status({ topic: 'carts' })
      return partitions.every(({ inSync }) => inSync.length === 3)
    })
  }
})

test('cluster: while the leadership of a stream moves from broker to broker its limits are changed and it is appended to: no change is lost, no version is used twice', async () => {
  await using cluster = await BrokerCluster.start(ids)
  await using playhead = await cluster.connect(ids, { timeoutMs })
  await playhead.admin.createTopic('carts', { replicationFactor: 3 })
  const stream = playhead.topic('carts').stream('one')
  const over = new AbortController()
  let [truncated, aged, counted, appended] = [0, 0, 0, 0]
  const appending = (async () => {
    while (!over.signal.aborted) {
      const { version } = await stream.append(event)
      assert.equal(version, appended++)
      await sleep(systemClock, 2)
    }
  })()
  const truncating = (async () => {
    while (!over.signal.aborted) {
      const wanted = appended
      const { truncateBefore } = await stream.limit({ truncateBefore: wanted })
      assert.ok(truncateBefore >= truncated)
      truncated = truncateBefore
      const [first = truncated] = await versionsOf(playhead, 'one')
      assert.ok((first ?? -1) >= wanted, `${first} is shown, ${wanted} is the first to keep`)
    }
  })()
  const aging = (async () => {
    for (; !over.signal.aborted; aged++)
      assert.equal((await stream.limit({ maxAgeMs: 3_600_000 + aged })).maxAgeMs, 3_600_000 + aged)
  })()
  const counting = (async () => {
    for (; !over.signal.aborted; counted++)
      assert.equal((await stream.limit({ maxCount: 1_000_000 + counted })).maxCount, 1_000_000 + counted)
  })()
  const all = Promise.all([appending, truncating, aging, counting])
  for (const to of [2, 3]) await Promise.race([moveLeader(playhead, to), all])
  over.abort()
  await all
  assert.deepEqual(await stream.limits(), {
    maxCount: 1_000_000 + counted - 1,
    maxAgeMs: 3_600_000 + aged - 1,
    truncateBefore: truncated,
  })
  assert.equal((await stream.info()).lastVersion, appended - 1)
})

test('cluster: a deletion is followed as it happened by who follows the stream over HTTP at the next leader', async () => {
  await using cluster = await BrokerCluster.start(ids)
  await using playhead = await cluster.connect(ids, { timeoutMs })
  await playhead.admin.createTopic('carts', { replicationFactor: 3 })
  const stream = playhead.topic('carts').stream('one')
  await stream.append([event, event, event])
  const leader = await cluster.leaderOf(playhead, 'carts')
  const next = ids.find((id) => id !== leader)!
  await stream.delete()
  await stream.append(event)
  await moveLeader(playhead, next)
  const { httpPort } = cluster.brokers.get(next)!
  const at = `http://127.0.0.1:${httpPort}/api/topics/carts`
  await eventually(async () => (await fetch(`${at}/partitions/0/events`)).ok) // it knows that it leads
  const path = `${at}/streams/one/follow?from=0`
  const ending = new AbortController()
  const { body } = await fetch(path, { signal: ending.signal })
  let text = ''
  for await (const bytes of body!) {
    text += Buffer.from(bytes as Uint8Array).toString()
    if (/^id: 3$/m.test(text)) break
  }
  ending.abort()
  assert.deepEqual(text.match(/^id: \d+$/gm), ['id: 3'])
})

test('cluster without a secret: only what is a limit is one: rubbish that somebody writes among the limits of streams changes nothing, other internal topics take nothing', async () => {
  await using cluster = await BrokerCluster.start(ids)
  await using playhead = await cluster.connect(ids, { timeoutMs })
  await playhead.admin.createTopic('carts', { replicationFactor: 3 })
  const stream = playhead.topic('carts').stream('one')
  await stream.append([event, event])
  await stream.limit({ truncateBefore: 1 })
  const { topicId } = await playhead.admin.describeTopic('carts')
  const home = await cluster.leaderOf(playhead, '__limited-streams')
  using frames = await connectFrameClient(cluster.brokers.get(home)!.port)
  await appendBatch(frames, '__limited-streams', eventBatch([`${topicId}/one`, 'rubbish']))
  await assert.rejects(appendBatch(frames, '__playheads', eventBatch(['rubbish'])), { code: 'internalTopic' })
  assert.deepEqual(await stream.limit({ maxCount: 5 }), { maxCount: 5, maxAgeMs: 0, truncateBefore: 1 })
  assert.deepEqual(await versionsOf(playhead, 'one'), [1])
})
