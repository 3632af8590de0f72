/**
 * Limits of single streams at a broker of a cluster at which another one leads the topic that has them: what that one answers, refuses, or is told by others in
 * between. Real partitions and logs on both sides, calls in place of the network.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { OtherBrokers } from '../../broker/internal-log.ts'
import { LimitedStreams, limitedStreamsTopic } from '../../broker/limited-streams.ts'
import { systemClock } from '../../platform/clock.ts'
import type { Clock } from '../../platform/clock.ts'
import { systemRandom } from '../../platform/random.ts'
import type { RequestOf } from '../../protocol/api.ts'
import { PlayheadError } from '../../protocol/errors.ts'
import { failureOf } from '../../protocol/header-codec.ts'
import { encodeRecordBatch } from '../../protocol/record-batch.ts'
import { newPartitionState } from '../../replication/isr-change.ts'
import type { Partition } from '../../replication/partition.ts'
import { Partitions } from '../../replication/partitions.ts'
import { noLimit } from '../../storage/stream-limits.ts'
import type { StreamLimit } from '../../storage/stream-limits.ts'
import { MemoryFileSystem } from '../storage/memory-file-system.ts'
import { group, StoreUnderTest, until } from '../storage/store-under-test.ts'

const self = 2
const leader = 1
const limitsMax = { partitions: 1, replicationFactor: 1, settings: {} }

/** The broker that leads the topic of limits, as the test has it. */
class Other {
  readonly partition: Partition
  /** A request is looked at before it is answered; what it throws is the answer. */
  onAsk: (api: string) => Promise<void> | void = () => undefined
  /** The same once it is done. */
  onAnswered: (api: string) => Promise<void> | void = () => undefined
  uncleanEpoch = 0

  constructor(partition: Partition) {
    this.partition = partition
  }

  /** As some broker that led a stream has written it. */
  async write(name: string, limit: Partial<StreamLimit> | string): Promise<void> {
    const value = typeof limit === 'string' ? limit : JSON.stringify({ ...noLimit, ...limit })
    const batch = encodeRecordBatch([{ key: name, value, timestamp: 1 }])
    await this.partition.append({ batch, expected: [], wantVersions: false, acks: 'all' })
  }

  /** Nothing of the topic comes through until the answer is called. */
  hold(): () => void {
    const released = Promise.withResolvers<void>()
    const wait = (api: string) => (api === 'fetch' ? released.promise : undefined)
    this.onAsk = wait
    this.onAnswered = wait
    return () => {
      this.onAsk = () => undefined
      this.onAnswered = () => undefined
      released.resolve()
    }
  }

  get brokers(): OtherBrokers {
    const ask = async (broker: number, api: string, request: object, options: { body?: readonly Buffer[] } = {}) => {
      assert.equal(broker, leader)
      await this.onAsk(api)
      const answer = await this.#answer(api, request, options.body?.[0])
      await this.onAnswered(api)
      return answer
    }
    const uncleanEpochOf = () => this.uncleanEpoch
    return { self, count: 1, replicationFactorMax: 1, uncleanEpochOf, ask: ask as OtherBrokers['ask'] }
  }

  async #answer(api: string, request: object, batch: Buffer | undefined): Promise<{ header: object; body: Buffer }> {
    const { partition } = this
    const body = Buffer.alloc(0)
    if (api === 'listOffsets') {
      assert.equal((request as RequestOf<'listOffsets'>).consistency, 'linearizable')
      return { header: { offset: partition.highWatermark }, body }
    }
    if (api === 'streamInfo') {
      const { stream } = request as RequestOf<'streamInfo'>
      return { header: partition.log.streamInfo(stream, partition.highWatermark), body }
    }
    if (api === 'append') {
      const { expected } = (request as RequestOf<'append'>).groups[0]!
      const appending = partition.append({ batch: batch!, expected, wantVersions: false, acks: 'all' })
      const verdict = await appending.catch((error: unknown) => ({ failure: failureOf(error as PlayheadError) }))
      return { header: { groups: [verdict] }, body }
    }
    const { offset } = request as RequestOf<'fetch'>
    await partition.waitForHighWatermark(offset + 1, 20)
    const { batches, nextOffset } = await partition.read(offset, 1e6)
    return { header: { nextOffset }, body: Buffer.concat(batches) }
  }
}

async function openPartitions(isReplicated: boolean, clock = systemClock): Promise<[Partitions, StoreUnderTest]> {
  const opened = await StoreUnderTest.open('/data', { fileSystem: new MemoryFileSystem() })
  return [new Partitions({ store: opened.store, clock, waitersMax: 100, isReplicated }), opened]
}

async function lead(partition: Partition, leaderEpoch: number, isr: readonly number[] = [self]): Promise<void> {
  const state = { ...newPartitionState({ replicas: [...isr], isrMin: 1, nonce: 'n' }), leaderEpoch }
  const agreeOnStart = (offset: number) => Promise.resolve(offset)
  const seen = { state, modRevision: leaderEpoch }
  await partition.lead({ self, seen, lagMsMax: 60_000, clock: systemClock, agreeOnStart })
}

interface Clustered extends AsyncDisposable {
  readonly partitions: Partitions
  readonly limited: LimitedStreams
  readonly other: Other
  /** Of the topic carts, which this broker leads in epoch 1, with six events in the stream `a`. */
  readonly carts: Partition
  readonly failures: Error[]
}

async function clustered(clock: Clock = systemClock): Promise<Clustered> {
  await using setUp = new AsyncDisposableStack()
  const [elsewhere, otherStore] = await openPartitions(false)
  setUp.use(otherStore)
  await elsewhere.create({ name: limitedStreamsTopic, ...limitsMax, internal: true })
  const other = new Other(elsewhere.get(limitedStreamsTopic, 0))
  const [partitions, store] = await openPartitions(true, clock)
  setUp.use(store)
  await partitions.create({ name: limitedStreamsTopic, ...limitsMax, internal: true })
  await partitions.create({ name: 'carts', ...limitsMax })
  await partitions.anyReplica(limitedStreamsTopic, 0).follow(leader, 1)
  const carts = partitions.anyReplica('carts', 0)
  await lead(carts, 1)
  for (let version = 0; version < 6; version++) await carts.append(group([`a=${version}`]))
  const failures: Error[] = []
  const onFatal = (error: Error) => void failures.push(error)
  const limited = new LimitedStreams({ partitions, clock, random: systemRandom, onFatal })
  setUp.defer(() => limited.close())
  limited.join(other.brokers)
  const tearDown = setUp.move()
  const dispose = async () => {
    await tearDown.disposeAsync()
    assert.deepEqual(failures, [])
  }
  return { partitions, limited, other, carts, failures, [Symbol.asyncDispose]: dispose }
}

/** As handlers read. */
async function versionsOf({ limited }: Clustered, partition: Partition, stream = 'a'): Promise<number[]> {
  await limited.ready(partition)
  return (await partition.readStream({ stream, limit: 100, backwards: false, maxBytes: 1e6 })).versions
}

const change = { topic: 'carts', stream: 'a', deletes: false }
const nameOf = ({ topicId }: Partition, stream = 'a') => `${topicId}/${stream}`

test('limits (led elsewhere): a change is there, and holds here, before it is answered; what is not named stays', async () => {
  await using broker = await clustered()
  const { limited, other, carts } = broker
  assert.deepEqual(await versionsOf(broker, carts), [0, 1, 2, 3, 4, 5])
  assert.deepEqual(await limited.set({ ...change, maxCount: 3 }), { ...noLimit, maxCount: 3 })
  assert.deepEqual(await versionsOf(broker, carts), [3, 4, 5])
  assert.equal(other.partition.highWatermark, 1)
  const both = { ...noLimit, maxCount: 3, truncateBefore: 6 }
  assert.deepEqual(await limited.set({ ...change, deletes: true }), both)
  assert.deepEqual(await limited.set({ ...change, truncateBefore: 2 }), both)
  assert.deepEqual(await versionsOf(broker, carts), [])
  await carts.append(group(['a=6']))
  assert.deepEqual(await versionsOf(broker, carts), [6])
  await assert.rejects(limited.set({ ...change, truncateBefore: 8 }), { code: 'invalidArgument' })
})

test('limits (led elsewhere): who comes to lead a partition knows, before the first read, what was limited by those before', async () => {
  await using broker = await clustered()
  const { other, carts } = broker
  await versionsOf(broker, carts)
  const release = other.hold()
  await carts.follow(leader, 2)
  await other.write(nameOf(carts), { truncateBefore: 4 })
  await lead(carts, 3)
  const reading = versionsOf(broker, carts)
  release()
  assert.deepEqual(await reading, [4, 5])
})

test('limits (led elsewhere, and out of reach): a new leader answers nothing of streams and takes appends; one from before goes on; it answers once they are there', async () => {
  let atMs = 0
  const clock: Clock = { ...systemClock, monotonicMs: () => atMs + systemClock.monotonicMs() }
  await using broker = await clustered(clock)
  const { limited, other, carts } = broker
  await versionsOf(broker, carts)
  other.onAsk = () => {
    atMs += 10_000 // whoever waits for it waits no longer
    throw new PlayheadError('unavailable', 'found nobody')
  }
  assert.deepEqual(await versionsOf(broker, carts), [0, 1, 2, 3, 4, 5])
  await lead(carts, 2)
  const refused = { code: 'unavailable', message: /limits of streams: .*found nobody/ }
  await assert.rejects(versionsOf(broker, carts), refused)
  await assert.rejects(limited.set({ ...change, maxCount: 1 }), refused)
  await carts.append(group(['a=6']))
  await other.write(nameOf(carts), { truncateBefore: 6 })
  other.onAsk = () => undefined
  assert.deepEqual(await versionsOf(broker, carts), [6])
})

test('limits (led elsewhere): a change is decided on one of another broker that has not been heard of yet', async () => {
  await using broker = await clustered()
  const { limited, other, carts } = broker
  await versionsOf(broker, carts)
  const release = other.hold()
  await other.write(nameOf(carts), { maxAgeMs: 3_600_000 })
  const { onAsk } = other
  other.onAsk = (api) => {
    if (api === 'listOffsets' || api === 'append') release()
    return onAsk(api)
  }
  assert.deepEqual(await limited.set({ ...change, maxCount: 3 }), { ...noLimit, maxCount: 3, maxAgeMs: 3_600_000 })
  assert.equal(other.partition.highWatermark, 2)
})

test('limits (led elsewhere): another broker changes the same limit in between, and the answer to an append is lost: no change is lost', async () => {
  await using broker = await clustered()
  const { limited, other, carts } = broker
  let isBetween = true
  other.onAsk = async (api) => {
    if (api !== 'append' || !isBetween) return
    isBetween = false
    await other.write(nameOf(carts), { maxAgeMs: 3_600_000, truncateBefore: 2 })
  }
  assert.deepEqual(await limited.set({ ...change, maxCount: 3 }), {
    maxCount: 3,
    maxAgeMs: 3_600_000,
    truncateBefore: 2,
  })
  const { highWatermark } = other.partition
  let isLost = true
  other.onAnswered = (api) => {
    if (api !== 'append' || !isLost) return
    isLost = false
    throw new PlayheadError('timedOut', 'no answer')
  }
  assert.equal((await limited.set({ ...change, maxCount: 4 })).maxCount, 4)
  assert.equal(other.partition.highWatermark, highWatermark + 2)
  assert.deepEqual(await versionsOf(broker, carts), [2, 3, 4, 5])
})

test('limits: a leader that others have replaced while it asked for a limit does not answer that it holds; whoever leads next has it', async () => {
  await using broker = await clustered()
  const { limited, other, partitions } = broker
  await partitions.create({ name: 'orders', ...limitsMax })
  const orders = partitions.anyReplica('orders', 0)
  await lead(orders, 1, [self, 3])
  const asked = limited.set({ ...change, topic: 'orders', maxCount: 1 })
  await until(() => other.partition.highWatermark === 1)
  await orders.follow(3, 2)
  await assert.rejects(asked, { code: 'notLeader' })
  await lead(orders, 3)
  await limited.ready(orders)
  assert.equal(orders.log.limits.get('a').maxCount, 1)
})

test('limits: of a topic that is not here yet they hold once it is, also if so many waited before that they were let go of', async () => {
  await using broker = await clustered()
  const { other, carts, partitions } = broker
  const id = (time: number) => `0198c1d2-${time.toString(16).padStart(4, '0')}-7000-8000-000000000001`
  const adopt = async (time: number, name: string) => {
    const before = { id: id(time), name, partitions: 1, replicationFactor: 1, internal: false, settings: {} }
    await partitions.adopt(before)
    const topic = partitions.anyReplica(name, 0)
    await lead(topic, 1)
    await topic.append(group(['a=0', 'a=1', 'a=2']))
    return topic
  }
  await versionsOf(broker, carts)
  for (const time of [1, 2]) await other.write(`${id(time)}/a`, { truncateBefore: time })
  assert.deepEqual(await versionsOf(broker, await adopt(2, 'soon')), [2])
  for (let from = 0; from < 12_000; from += 1_000) {
    const records = Array.from({ length: 1_000 }, (_, place) => ({
      key: `${id(3 + from + place)}/a`,
      value: JSON.stringify({ ...noLimit, maxCount: 1 }),
      timestamp: 1,
    }))
    const batch = encodeRecordBatch(records)
    await other.partition.append({ batch, expected: [], wantVersions: false, acks: 'all' })
  }
  await lead(carts, 2)
  await versionsOf(broker, carts)
  assert.deepEqual(await versionsOf(broker, await adopt(1, 'late')), [1, 2])
  assert.deepEqual(await versionsOf(broker, await adopt(12_002, 'last')), [2])
})

test('limits: a log that takes the place of one that was cut back hides the same at once, and removes nothing by them before that is certain', async () => {
  await using broker = await clustered()
  const { limited, partitions, carts } = broker
  await limited.set({ ...change, maxCount: 2 })
  await carts.follow(leader, 2)
  await lead(carts, 3)
  await limited.ready(carts)
  assert.equal(carts.log.limits.certain.offset, 6)
  await carts.follow(leader, 4)
  const before = carts.log
  await partitions.truncate(carts, 5)
  assert.notEqual(carts.log, before)
  assert.deepEqual(carts.log.limits.get('a'), { ...noLimit, maxCount: 2 })
  assert.equal(carts.log.limits.certain.offset, 0)
  await lead(carts, 5)
  assert.deepEqual(await versionsOf(broker, carts), [3, 4])
  await limited.set({ ...change, maxCount: 1 })
  assert.deepEqual(await versionsOf(broker, carts), [4])
})

test('limits: what is no limit, written by somebody else, is passed over', async () => {
  await using broker = await clustered()
  const { other, carts } = broker
  for (const text of ['', 'x', '7', '{"maxCount":-1,"maxAgeMs":0,"truncateBefore":0}', '{"maxCount":1}'])
    await other.write(nameOf(carts), text)
  await other.write('short', { maxCount: 1 })
  await other.write(nameOf(carts), { maxCount: 5 })
  await other.write(nameOf(carts), '{')
  assert.deepEqual(await versionsOf(broker, carts), [1, 2, 3, 4, 5])
})

test('limits: given up by a recovery of their topic, what it says now is what holds', async () => {
  await using broker = await clustered()
  const { limited, other, carts, partitions } = broker
  await limited.set({ ...change, maxCount: 2 })
  await limited.set({ ...change, stream: 'b', maxCount: 1 })
  other.uncleanEpoch = 2
  const [elsewhere, store] = await openPartitions(false)
  await using _ = store
  await elsewhere.create({ name: limitedStreamsTopic, ...limitsMax, internal: true })
  const recovered = new Other(elsewhere.get(limitedStreamsTopic, 0))
  await recovered.write(nameOf(carts), { maxCount: 2 })
  Object.assign(other, { partition: recovered.partition })
  await partitions.anyReplica(limitedStreamsTopic, 0).follow(leader, 2)
  await lead(carts, 2)
  await limited.ready(carts)
  assert.deepEqual([...carts.log.limits.streams()], ['a'])
})

test('limits (a broker by itself): of a topic that was made after the start they are certain, so that compaction goes by them', async () => {
  const [partitions, store] = await openPartitions(false)
  await using _ = store
  const limited = new LimitedStreams({ partitions, clock: systemClock, random: systemRandom })
  await limited.open()
  await partitions.create({ name: 'carts', ...limitsMax })
  const carts = partitions.get('carts', 0)
  await carts.append(group(['a=0', 'a=1']))
  await limited.set({ ...change, maxCount: 1 })
  assert.ok(carts.log.limits.certain.offset > 2)
  assert.equal(carts.log.limits.certain.atMs, Infinity)
})
