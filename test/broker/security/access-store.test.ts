/**
 * The access store of a broker at which another one leads the access topic: what that one answers, gives up, or does not answer. Real partitions and
 * logs on both sides, calls in place of the network.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AccessStore } from '../../../broker/security/access-store.ts'
import type { AccessEvent } from '../../../broker/security/access-facts.ts'
import type { OtherBrokers } from '../../../broker/internal-log.ts'
import { systemClock } from '../../../platform/clock.ts'
import { systemRandom } from '../../../platform/random.ts'
import { PlayheadError } from '../../../protocol/errors.ts'
import { encodeEvent } from '../../../protocol/event.ts'
import { encodeRecordBatch } from '../../../protocol/record-batch.ts'
import { uuidV7 } from '../../../protocol/uuid.ts'
import type { Partition } from '../../../replication/partition.ts'
import { Partitions } from '../../../replication/partitions.ts'
import { StoreUnderTest, until } from '../../storage/store-under-test.ts'
import { MemoryFileSystem } from '../../storage/memory-file-system.ts'

interface Opened extends AsyncDisposable {
  readonly partitions: Partitions
  readonly partition: Partition
}

async function openTopic(isReplicated: boolean): Promise<Opened> {
  const opened = await StoreUnderTest.open('/data', { fileSystem: new MemoryFileSystem() })
  const partitions = new Partitions({ store: opened.store, clock: systemClock, waitersMax: 100, isReplicated })
  await partitions.create({ name: '__access', partitions: 1, replicationFactor: 1, settings: {}, internal: true })
  const [partition] = partitions.topic('__access').partitions
  return { partitions, partition: partition!, [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose]() }
}

async function append({ partition }: Opened, ...events: readonly AccessEvent[]): Promise<void> {
  for (const { type, data } of events) {
    const record = encodeEvent('facts', { type, data }, { id: uuidV7(systemRandom.bytes(10), 1), timestampMs: 1 })
    await partition.append({ batch: encodeRecordBatch([record]), expected: [], wantVersions: false, acks: 'all' })
  }
}

const secret: AccessEvent = { type: 'SecretMade', data: { secret: 'c2VjcmV0' } }
const user = (name: string, salt: string): AccessEvent => ({
  type: 'UserPut',
  data: { user: name, salt, storedKey: salt, serverKey: salt, iterations: 4096 },
})

/** What the other broker says, as the test has it. */
class Other {
  leader: Opened
  uncleanEpoch = 0
  /** Asked by the store and not answered: 'refuse' and 'hang'. */
  mood: 'answer' | 'refuse' | 'hang' = 'answer'
  hung = 0

  constructor(leader: Opened) {
    this.leader = leader
  }

  get brokers(): OtherBrokers {
    const ask = async (_broker: number, api: string, request: object, options?: { signal?: AbortSignal }) => {
      if (this.mood === 'refuse') throw new PlayheadError('corruptBatch', 'damage at the leader')
      if (this.mood === 'hang') {
        this.hung++
        await new Promise((_resolve, reject) =>
          options?.signal?.addEventListener('abort', () => reject(options.signal!.reason as Error)),
        )
      }
      const { partition } = this.leader
      if (api === 'listOffsets') return { header: { offset: partition.highWatermark }, body: Buffer.alloc(0) }
      const { offset } = request as { offset: number }
      if (offset > partition.highWatermark) throw new PlayheadError('offsetOutOfRange', `found ${offset}`)
      await partition.waitForHighWatermark(offset + 1, 20, options?.signal)
      const { batches, nextOffset } = await partition.read(offset, 1e6)
      return { header: { nextOffset }, body: Buffer.concat(batches) }
    }
    const uncleanEpochOf = () => this.uncleanEpoch
    return { self: 2, count: 1, replicationFactorMax: 1, uncleanEpochOf, ask: ask as OtherBrokers['ask'] }
  }
}

interface Following extends AsyncDisposable {
  /** Of the broker that follows. */
  readonly partition: Partition
  readonly store: AccessStore
  readonly other: Other
  readonly reports: string[]
  readonly failures: Error[]
}

async function follow(...events: readonly AccessEvent[]): Promise<Following> {
  await using setUp = new AsyncDisposableStack()
  const other = new Other(setUp.use(await openTopic(false)))
  await append(other.leader, secret, ...events)
  const here = setUp.use(await openTopic(true))
  await here.partition.follow(1, 1)
  const reports: string[] = []
  const failures: Error[] = []
  const store = await AccessStore.open({
    partitions: here.partitions,
    clock: systemClock,
    random: systemRandom,
    others: other.brokers,
    onChange: () => undefined,
    onFailure: (error) => failures.push(error),
    report: (level, message) => reports.push(`${level}: ${message}`),
  })
  setUp.defer(() => store.close())
  const tearDown = setUp.move()
  const { partition } = here
  return { partition, store, other, reports, failures, [Symbol.asyncDispose]: () => tearDown.disposeAsync() }
}

test('access store: what others change is in force here', async () => {
  await using following = await follow(user('alice', 'YQ=='))
  const { store, other } = following
  assert.deepEqual([...store.facts.users.keys()], ['alice'])
  await append(other.leader, user('bob', 'Yg=='), { type: 'UserDeleted', data: { user: 'alice' } })
  await until(() => store.facts.users.has('bob') && !store.facts.users.has('alice'))
})

for (const [what, length] of [
  ['shorter than', 1],
  ['as long as', 3],
  ['longer than', 6],
] as const) {
  test(`access store: users and grants were given up by a recovery; the log is ${what} the one before: what it says is in force, and nobody stays who he was`, async () => {
    await using following = await follow(user('alice', 'YQ=='), user('mallory', 'bQ=='))
    const { store, other, reports } = following
    const { revision } = store.facts
    const { generation } = store.facts.users.get('alice')!
    await using recovered = await openTopic(false)
    await append(recovered, secret, user('alice', 'YQ=='))
    for (let count = 2; count < length; count++) await append(recovered, user(`user${count}`, 'dQ=='))
    other.uncleanEpoch = 7
    other.leader = recovered
    await systemClock.yield()
    assert.ok(store.facts.users.has('mallory') || length < 3, 'this broker takes no part in that epoch yet')
    await following.partition.follow(1, 7)
    await until(() => !store.facts.users.has('mallory'))
    assert.ok(store.facts.revision > revision)
    assert.notEqual(store.facts.users.get('alice')!.generation, generation)
    assert.match(reports.join('\n'), /read it anew/)
    await append(recovered, user('last', 'bA=='))
    await until(() => store.facts.users.has('last'))
    assert.deepEqual(following.failures, [])
  })
}

test('access store: a log that ends before what was read is read anew, before anybody says why', async () => {
  await using following = await follow(user('alice', 'YQ=='), user('mallory', 'bQ=='))
  await using recovered = await openTopic(false)
  await append(recovered, secret, user('alice', 'YQ=='))
  following.other.leader = recovered
  await until(() => !following.store.facts.users.has('mallory'))
  assert.ok(following.store.facts.users.has('alice'))
})

test('access store: a leader that cannot be read, and damage there, are told once and end nothing; it is followed again', async () => {
  await using following = await follow(user('alice', 'YQ=='))
  const { store, other, reports, failures } = following
  other.mood = 'refuse'
  await until(() => reports.some((line) => line.includes('damage at the leader')))
  await append(other.leader, user('bob', 'Yg=='))
  other.mood = 'answer'
  await until(() => store.facts.users.has('bob'))
  await until(() => reports.some((line) => line.includes('followed again')))
  assert.equal(reports.filter((line) => line.includes('cannot be followed')).length, 1)
  assert.deepEqual(failures, [])
})

test('access store: a leader that does not answer is asked again, or whoever leads by then', async () => {
  await using following = await follow(user('alice', 'YQ=='))
  const { store, other, failures } = following
  other.mood = 'hang'
  await until(() => other.hung > 0)
  other.mood = 'answer'
  await append(other.leader, { type: 'UserDeleted', data: { user: 'alice' } })
  await until(() => !store.facts.users.has('alice'))
  assert.deepEqual(failures, [])
})

test('access store: what a change waits for may have been read by whoever follows meanwhile (100 changes where the topic is led)', async () => {
  await using here = await openTopic(false)
  const { partition } = here
  const read = partition.read.bind(partition)
  let reads = 0
  partition.read = async (...request) => {
    const turns = (reads++ * 7) % 5 // now the one, now the other is first
    const found = await read(...request)
    for (let turn = 0; turn < turns; turn++) await systemClock.yield()
    return found
  }
  const store = await AccessStore.open({
    partitions: here.partitions,
    clock: systemClock,
    random: systemRandom,
    others: undefined,
    onChange: () => undefined,
    onFailure: assert.ifError,
    report: () => undefined,
  })
  for (let number = 0; number < 100; number++) await store.change('facts', () => user(`u${number}`, 'YQ=='))
  assert.equal(store.facts.users.size, 100)
  store.close()
})
