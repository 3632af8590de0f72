/** The client of a cluster, against brokers in memory: requests find the leader, follow it when it changes, and lose, repeat and reorder nothing. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isPlayheadError } from '../../client/index.ts'
import { systemRandom } from '../../platform/random.ts'
import { PlayheadError } from '../../protocol/errors.ts'
import { listOf } from './list-of.ts'
import { ScriptedBroker } from './scripted-broker.ts'
import type { Asked, Fault } from './scripted-broker.ts'
import { ScriptedCluster } from './scripted-cluster.ts'
import { connect } from '../../client/index.ts'
import { freshSeed, seededRandom } from './seeded-random.ts'
import { VirtualClock } from './virtual-clock.ts'

const upTo = (count: number) => Array.from({ length: count }, (_, index) => index)
const typesOf = (cluster: ScriptedCluster, partition = 0) =>
  cluster.partitions[partition]!.records.map(({ headers }) =>
    headers.find(({ key }) => key === 'type')?.value?.toString(),
  )
const valuesOf = (cluster: ScriptedCluster, partition = 0) =>
  cluster.partitions[partition]!.records.map(({ value }) => Number(value))
const onAppend = (wanted: number, fault: Fault) => {
  return ({ api, count }: Asked): Fault | undefined => (api === 'append' && count === wanted ? fault : undefined)
}

test('a broker by itself: one describeTopic, and then one request for each thing that is asked', async () => {
  const broker = new ScriptedBroker()
  await using playhead = await connect(await broker.listen(), { transport: broker.transport })
  const stream = playhead.topic('carts').stream('c')
  for (let count = 0; count < 10; count++) await stream.append({ type: 'A' })
  for (let count = 0; count < 3; count++) await listOf(stream.read({ limit: 1 }))
  const asked = new Map<string, number>()
  for (const { api } of broker.asked) asked.set(api, (asked.get(api) ?? 0) + 1)
  assert.deepEqual(Object.fromEntries(asked), { hello: 1, describeTopic: 1, append: 10, readStream: 3 })
})

test('a client that knows one broker finds the leader at another, and asks no other from then on', async () => {
  const cluster = await ScriptedCluster.start([1, 2, 3])
  cluster.lead(3)
  await using playhead = await cluster.connect([2])
  const stream = playhead.topic('carts').stream('c')
  assert.equal((await stream.append({ type: 'A' })).version, 0)
  assert.equal((await stream.append({ type: 'B' }, { expectedVersion: 0 })).version, 1)
  assert.equal((await listOf(stream.read())).length, 2)
  const batches: number[] = []
  for await (const batch of playhead.topic('carts').replay({ from: 'start' })) batches.push(batch.recordCount)
  assert.equal(batches.length, 2)
  assert.equal(cluster.broker(2).countOf('append') + cluster.broker(2).countOf('readStream'), 0)
  assert.equal(cluster.broker(2).countOf('fetch'), 0)
  assert.equal(cluster.broker(1).connections, 0, 'what leads nothing is not even connected to')
  const questions = () => [...cluster.brokers.values()].reduce((sum, each) => sum + each.countOf('describeTopic'), 0)
  const before = questions()
  cluster.lead(1)
  assert.equal((await stream.append({ type: 'C' })).version, 2)
  assert.equal(questions(), before, 'the refusal has named the leader')
})

test('a client given one address goes on through brokers that led nothing when it learned of them', async () => {
  const cluster = await ScriptedCluster.start([1, 2, 3])
  await using playhead = await cluster.connect([1])
  const stream = playhead.topic('carts').stream('c')
  await stream.append({ type: 'A' })
  cluster.lead(3)
  await cluster.kill(1)
  assert.equal((await stream.append({ type: 'B' }, { expectedVersion: 0 })).version, 1)
})

test('a stream that is read before anything is known: the refusal names the leader, the next read goes there', async () => {
  const cluster = await ScriptedCluster.start([1, 2])
  cluster.lead(2)
  await using writer = await cluster.connect([2])
  await writer.topic('carts').stream('c').append({ type: 'A' })
  await using playhead = await cluster.connect([1])
  const stream = playhead.topic('carts').stream('c')
  for (let count = 0; count < 3; count++) assert.equal((await listOf(stream.read())).length, 1)
  assert.equal(cluster.broker(1).countOf('readStream'), 1)
})

test('partitions of several leaders: one connection per broker and purpose', async () => {
  const cluster = await ScriptedCluster.start([1, 2, 3], 6)
  for (const partition of upTo(6)) cluster.lead(1 + (partition % 3), partition)
  await using playhead = await cluster.connect([1, 2, 3])
  const topic = playhead.topic('carts')
  const producer = topic.producer()
  for (const index of upTo(200)) await producer.send({ key: `k${index}`, value: `${index}` })
  await producer.close()
  for await (const batch of topic.replay({ from: 'start' })) assert.ok(batch.recordCount > 0)
  const written = cluster.partitions.flatMap((_, partition) => valuesOf(cluster, partition))
  assert.deepEqual(
    written.toSorted((a, b) => a - b),
    upTo(200),
  )
  for (const [id, broker] of cluster.brokers) assert.equal(broker.connections, 2, `broker ${id}`)
})

for (const fault of ['loseRequest', 'loseReply', 'silence'] as const) {
  test(`append: the leader dies with a ${fault}, another one leads: written once, with its first version`, async () => {
    const cluster = await ScriptedCluster.start([1, 2])
    await using playhead = await cluster.connect([1, 2], { timeoutMs: 1_500 })
    const stream = playhead.topic('carts').stream('c')
    await stream.append({ type: 'A' })
    cluster.broker(1).fault = (asked) => {
      if (asked.api !== 'append') return undefined
      cluster.lead(2)
      if (fault !== 'silence') queueMicrotask(() => void cluster.kill(1))
      return fault
    }
    const { version, offset } = await stream.append({ type: 'B' }, { expectedVersion: 0 })
    assert.deepEqual({ version, offset }, { version: 1, offset: 1 })
    assert.deepEqual(typesOf(cluster), ['A', 'B'])
  })
}

test('append: several frames are under way when the leader changes: all once, in order, and nothing overtakes', async () => {
  for (const at of upTo(6)) {
    const cluster = await ScriptedCluster.start([1, 2])
    cluster.broker(1).fault = ({ api, count }) => {
      if (api === 'append' && count === 2 + at) cluster.lead(2)
      return api === 'append' && count === 1 + at && at % 2 === 1 ? 'loseReply' : undefined
    }
    await using playhead = await cluster.connect([1, 2])
    const topic = playhead.topic('carts')
    await topic.stream('warm-up').append({ type: 'first' })
    const appends: Promise<{ version: number }>[] = []
    for (const index of upTo(60)) {
      appends.push(topic.stream('c').append({ type: `T${index}` }))
      if (index % 8 === 7) await new Promise((resolve) => setImmediate(resolve))
    }
    assert.deepEqual(
      (await Promise.all(appends)).map(({ version }) => version),
      upTo(60),
    )
    assert.deepEqual(typesOf(cluster), ['first', ...upTo(60).map((index) => `T${index}`)])
  }
})

test('append: what one leader has not answered is waited for before anything goes to the next', async () => {
  const cluster = await ScriptedCluster.start([1, 2])
  cluster.broker(1).fault = onAppend(2, 'silence')
  await using playhead = await cluster.connect([1, 2], { timeoutMs: 1_000 })
  const topic = playhead.topic('carts')
  await topic.stream('c').append({ type: 'A' })
  const silent = topic.stream('c').append({ type: 'B' })
  await new Promise((resolve) => setImmediate(resolve))
  cluster.lead(2)
  await listOf(topic.stream('c').read()) // the refusal tells the route, which appends share
  const next = topic.stream('c').append({ type: 'C' })
  for (const _ of upTo(20)) await new Promise((resolve) => setImmediate(resolve))
  assert.equal(cluster.broker(2).countOf('append'), 0)
  assert.deepEqual([(await silent).version, (await next).version], [1, 2])
  assert.deepEqual(typesOf(cluster), ['A', 'B', 'C'])
})

test('append: a leader that stepped down does not know what became of it: the next one decides', async () => {
  for (const wasWritten of [true, false]) {
    const cluster = await ScriptedCluster.start([1, 2])
    const steppedDown = new PlayheadError('notLeader', 'stepped down', { outcome: 'unknown', leaderEpoch: 2 })
    cluster.broker(1).groupFault = ({ count }) => {
      if (count === 1) return undefined
      cluster.lead(2)
      return steppedDown
    }
    await using playhead = await cluster.connect([1, 2])
    const stream = playhead.topic('carts').stream('c')
    const { partition } = await stream.append({ type: 'A' })
    if (wasWritten) {
      // As replication would have it: the next leader has what the one before could not speak for.
      const fault: ScriptedBroker['fault'] = ({ api }) => (api === 'append' ? 'loseReply' : undefined)
      cluster.broker(1).groupFault = () => undefined
      cluster.broker(1).fault = (asked) => {
        const lost = fault(asked)
        if (lost !== undefined) cluster.lead(2)
        return lost
      }
    }
    assert.equal((await stream.append({ type: 'B' }, { expectedVersion: 0 })).version, 1)
    assert.deepEqual(typesOf(cluster, partition), ['A', 'B'])
  }
})

test('append: outcome unknown at a leader that stepped down, and nobody else before the deadline: unavailable says so', async () => {
  const cluster = await ScriptedCluster.start([1, 2])
  await using playhead = await cluster.connect([1, 2], { timeoutMs: 300 })
  const stream = playhead.topic('carts').stream('c')
  await stream.append({ type: 'A' })
  cluster.broker(1).groupFault = () => {
    cluster.lead(undefined)
    return new PlayheadError('notLeader', 'stepped down', { outcome: 'unknown', leaderEpoch: 2 })
  }
  await assert.rejects(stream.append({ type: 'B' }), {
    code: 'unavailable',
    details: { outcome: 'unknown', timeoutMs: 300 },
  })
  await assert.rejects(stream.append({ type: 'C' }), {
    code: 'unavailable',
    details: { outcome: 'notApplied', timeoutMs: 300 },
    message: /found nobody leading/,
  })
  cluster.lead(2)
  assert.equal((await stream.append({ type: 'D' })).version, 1)
})

test('append: the leader has not heard of the topic yet: it is asked again', async () => {
  const cluster = await ScriptedCluster.start([1, 2])
  cluster.lead(2)
  let left = 2
  cluster.broker(2).fault = ({ api }) => {
    return api === 'append' && left-- > 0 ? new PlayheadError('unknownTopic', 'no such topic') : undefined
  }
  await using playhead = await cluster.connect([1])
  assert.equal((await playhead.topic('carts').stream('c').append({ type: 'A' })).version, 0)
  for (const broker of cluster.brokers.values()) broker.topic = 'gone'
  cluster.broker(2).fault = ({ api }) =>
    api === 'append' ? new PlayheadError('unknownTopic', 'no such topic') : undefined
  await assert.rejects(playhead.topic('carts').stream('c').append({ type: 'B' }), { code: 'unknownTopic' })
})

test('everything known is gone: the addresses given are the way in', async () => {
  const cluster = await ScriptedCluster.start([1, 2, 3])
  cluster.lead(3)
  await using playhead = await cluster.connect([1])
  const stream = playhead.topic('carts').stream('c')
  await stream.append({ type: 'A' })
  for (const id of [1, 2, 3]) await cluster.kill(id)
  const append = stream.append({ type: 'B' })
  cluster.lead(2)
  await cluster.restart(1)
  await cluster.restart(2)
  assert.equal((await append).version, 1)
})

test('the broker a client came by is gone: it goes on by those it has heard of', async () => {
  const cluster = await ScriptedCluster.start([1, 2, 3])
  cluster.lead(2)
  await using playhead = await cluster.connect([1])
  const topic = playhead.topic('carts')
  await topic.stream('c').append({ type: 'A' })
  await cluster.kill(1)
  assert.equal((await topic.describe()).partitions[0]?.leader?.broker, 2)
  assert.equal((await listOf(topic.stream('c').read())).length, 1)
})

test('an address that another broker has by now is not taken for the leader', async () => {
  const cluster = await ScriptedCluster.start([1, 2])
  const stranger = new ScriptedBroker(1, 9, cluster.transport)
  const at = Number((await stranger.listen()).split(':')[1])
  const { view } = cluster.broker(1)
  cluster.broker(1).view = { ...view!, addressOf: () => ({ host: 'memory', port: at }) }
  cluster.lead(2, 0, [1])
  await using playhead = await cluster.connect([1], { timeoutMs: 300 })
  await assert.rejects(playhead.topic('carts').stream('c').append({ type: 'A' }), {
    code: 'unavailable',
    message: /found broker 9 there, wanted broker 2/,
  })
  assert.equal(stranger.countOf('append'), 0)
})

test('a replay follows the leader: nothing left out, nothing twice', async () => {
  const cluster = await ScriptedCluster.start([1, 2, 3])
  await using playhead = await cluster.connect([1, 2, 3])
  const topic = playhead.topic('carts')
  const ending = new AbortController()
  const seen: number[] = []
  const reading = (async () => {
    for await (const batch of topic.replay({ from: 'start', follow: true, signal: ending.signal })) {
      for (const { value } of batch) seen.push(Number(value))
      if (seen.length === 300) return
    }
  })()
  const producer = topic.producer({ batchBytes: 200 })
  for (const index of upTo(300)) {
    await producer.send({ key: 'k', value: `${index}` })
    if (index % 60 === 30) cluster.lead([2, 1, 3, 1, 3][(index - 30) / 60])
    if (index === 100) await cluster.kill(2)
    if (index % 10 === 0) await producer.flush()
  }
  await producer.close()
  await reading
  assert.deepEqual(seen, upTo(300))
})

test('named playheads: any broker says who has them, and that one is asked from then on', async () => {
  const cluster = await ScriptedCluster.start([1, 2])
  cluster.lead(2)
  await using playhead = await cluster.connect([1])
  const reader = playhead.topic('carts').playhead('mailer')
  await reader.commit([{ partition: 0, offset: 0 }], { expectedVersion: 'none' })
  await reader.commit([{ partition: 0, offset: 0 }], { expectedVersion: 0 })
  assert.equal(cluster.broker(1).countOf('commitPlayhead'), 1)
  assert.equal(cluster.broker(2).countOf('commitPlayhead'), 2)
  cluster.broker(2).fault = ({ api }) => {
    if (api !== 'commitPlayhead') return undefined
    cluster.broker(1).playhead = { version: 2, positions: [{ partition: 0, offset: 0 }] }
    cluster.lead(1)
    return new PlayheadError('notLeader', 'stepped down', { outcome: 'unknown', leaderEpoch: 3 })
  }
  // It took effect after all: that is found out, and not called a conflict.
  assert.deepEqual(await reader.commit([{ partition: 0, offset: 0 }], { expectedVersion: 1 }), { version: 2 })
})

test('nobody leads for 7 s of virtual time: few tries meanwhile, and soon after the election the append is there', async () => {
  const clock = new VirtualClock()
  const electedMs = 7_000
  const cluster = await ScriptedCluster.start([1, 2, 3])
  const playhead = await clock.run(cluster.connect([1, 2, 3], { clock, random: systemRandom, timeoutMs: 20_000 }))
  const topic = playhead.topic('carts')
  await clock.run(topic.stream('c').append({ type: 'A' }))
  const before = [...cluster.brokers.values()].map(({ asked }) => asked.length)
  // The others go on naming the dead leader until there is a new one.
  await cluster.kill(1)
  const diedMs = clock.monotonicMs()
  clock.after(electedMs, () => cluster.lead(3))
  const appended = await clock.run(topic.stream('c').append({ type: 'B' }))
  assert.equal(appended.version, 1)
  const tries = [...cluster.brokers.values()].reduce((sum, { asked }, index) => sum + asked.length - before[index]!, 0)
  // Pauses of 20 ms, doubling to 1 s, of which half is left to chance: 6 tries in the first second, then at most two a second.
  assert.ok(tries >= 7 && tries <= 2 * (6 + 2 * (electedMs / 1_000)), `${tries} requests`)
  const lateMs = clock.monotonicMs() - diedMs - electedMs
  assert.ok(lateMs <= 1_100, `${lateMs} ms after the election`)
  await clock.run(playhead.close())
})

test('a leader that stands still (virtual time): given up after half the patience, and the others are asked, not it', async () => {
  const clock = new VirtualClock()
  const cluster = await ScriptedCluster.start([1, 2, 3])
  const playhead = await clock.run(cluster.connect([1, 2, 3], { clock, timeoutMs: 10_000 }))
  const stream = playhead.topic('carts').stream('c')
  await clock.run(stream.append({ type: 'A' }))
  cluster.broker(1).fault = () => 'silence'
  cluster.lead(2, 0, [2, 3])
  const fromMs = clock.monotonicMs()
  assert.equal((await clock.run(stream.append({ type: 'B' }))).version, 1)
  const tookMs = clock.monotonicMs() - fromMs
  assert.ok(tookMs <= 5_200, `${tookMs} ms`)
  assert.deepEqual(typesOf(cluster), ['A', 'B'])
  await clock.run(playhead.close())
})

function faulty(random: () => number, cluster: ScriptedCluster, broker: ScriptedBroker): void {
  const ids = [...cluster.brokers.keys()]
  broker.fault = ({ api }): Fault | undefined => {
    const dice = random()
    if (dice < 0.02)
      cluster.lead(ids[Math.floor(random() * ids.length)], Math.floor(random() * cluster.partitions.length))
    // Some have not heard of it.
    if (dice > 0.98) cluster.lead(ids[Math.floor(random() * ids.length)], 0, ids)
    if (dice < 0.05) return 'loseRequest'
    if (dice < 0.1) return 'loseReply'
    if (dice < 0.12 && api === 'append') return new PlayheadError('notLeader', 'stepped down', { outcome: 'unknown' })
    return undefined
  }
}

for (const seed of [freshSeed(), 4711, 23]) {
  test(`random faults and elections: producers of 4 partitions and racers on one stream (SEED=${seed})`, async () => {
    const random = seededRandom(seed)
    const cluster = await ScriptedCluster.start([1, 2, 3], 4)
    cluster.transport.pieceBytes = 1 + Math.floor(random() * 700)
    for (const broker of cluster.brokers.values()) faulty(random, cluster, broker)
    await using playhead = await cluster.connect([1, 2, 3], { timeoutMs: 20_000 })
    const topic = playhead.topic('carts')
    const failed: number[] = []
    const producer = topic.producer({
      batchBytes: 400,
      inFlight: 1 + Math.floor(random() * 5),
      onError: (error, batch) => {
        // Refused while a later one was written, which takes a leader that led before and leads again.
        assert.ok(isPlayheadError(error), String(error))
        failed.push(...batch.records().map(({ value }) => Number(value)))
      },
    })
    for (const index of upTo(1_500)) {
      await producer.send({ key: `k${Math.floor(random() * 20)}`, value: `${index}` })
      if (random() < 0.02) await new Promise((resolve) => setImmediate(resolve))
    }
    await producer.close()
    const seen = cluster.partitions.flatMap((_, partition) => valuesOf(cluster, partition))
    assert.deepEqual(
      [...seen, ...failed].toSorted((a, b) => a - b),
      upTo(1_500),
    )
    for (const partition of upTo(4)) {
      const order = valuesOf(cluster, partition)
      assert.deepEqual(
        order,
        order.toSorted((a, b) => a - b),
      )
    }
    const stream = topic.stream('contended')
    const { partition } = await stream.append({ type: 'First' })
    const heads = cluster.partitions[partition]!.heads
    const before = cluster.partitions[partition]!.endOffset
    let won = 0
    await Promise.all(
      upTo(12).map(async () => {
        for (const _ of upTo(8)) {
          const expectedVersion = heads.get('contended')!
          try {
            assert.equal((await stream.append({ type: 'Bid' }, { expectedVersion })).version, expectedVersion + 1)
            won++
          } catch (error) {
            if (!isPlayheadError(error, 'wrongExpectedVersion')) throw error
          }
        }
      }),
    )
    assert.equal(cluster.partitions[partition]!.endOffset - before, won)
  })
}
