/** The client against a real broker over TCP: races, retries, read your writes, replay, follow, abort, every request once. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { test } from 'node:test'
import { Broker } from '../../broker/broker.ts'
import { connect, isPlayheadError } from '../../client/index.ts'
import type { ConnectOptions, Playhead, StreamEvent } from '../../client/index.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { CuttingTransport } from './cutting-transport.ts'
import { listOf } from './list-of.ts'
import { freshSeed, seededRandom } from './seeded-random.ts'
import { overwriteLetGo } from '../overwrite-let-go.ts'

overwriteLetGo()

interface Live extends AsyncDisposable {
  readonly broker: Broker
  readonly playhead: Playhead
}

async function live(partitions = 1, options: ConnectOptions = {}): Promise<Live> {
  await using setUp = new AsyncDisposableStack()
  const { path } = setUp.use(await TemporaryDirectory.make())
  const broker = setUp.use(await Broker.start({ data: join(path, 'data'), port: 0, httpPort: 0 }))
  const playhead = setUp.use(await connect(`localhost:${broker.port}`, options))
  await playhead.admin.createTopic('carts', { partitions })
  const tearDown = setUp.move()
  return { broker, playhead, [Symbol.asyncDispose]: () => tearDown.disposeAsync() }
}

const sleep = (delayMs: number) => new Promise((resolve) => setTimeout(resolve, delayMs))
const upTo = (count: number) => Array.from({ length: count }, (_, index) => index)

test('live: append, refusal with what was found, read both ways, fold, info', async () => {
  await using set = await live()
  const stream = set.playhead.topic('carts').stream('customer-17850')
  const items = [3, 1, 2].map((quantity) => ({
    type: 'ItemAdded',
    data: { quantity },
    tags: ['web'],
    metadata: { by: 'test' },
  }))
  const { version, versions, offset, partition } = await stream.append(items, { expectedVersion: 'none' })
  assert.deepEqual(
    { version, versions, offset, partition },
    { version: 2, versions: [0, 1, 2], offset: 2, partition: 0 },
  )
  await assert.rejects(stream.append({ type: 'Late' }, { expectedVersion: 1 }), {
    code: 'wrongExpectedVersion',
    conflicts: [{ stream: 'customer-17850', expected: 1, found: 2 }],
  })
  const forwards = await listOf(stream.read())
  assert.deepEqual(
    forwards.map(({ version: at, data }) => [at, data]),
    [
      [0, { quantity: 3 }],
      [1, { quantity: 1 }],
      [2, { quantity: 2 }],
    ],
  )
  assert.deepEqual(forwards[0]!.tags, ['web'])
  assert.deepEqual(forwards[0]!.metadata, { by: 'test' })
  assert.deepEqual(await listOf(stream.read({ backwards: true })), forwards.toReversed())
  assert.deepEqual(
    (await listOf(stream.read({ backwards: true, from: 1, limit: 1 }))).map(({ version: at }) => at),
    [1],
  )
  const sum = {
    initial: 0,
    apply: (total: number, event: StreamEvent) => total + (event.data as { quantity: number }).quantity,
  }
  assert.deepEqual(await stream.foldWithVersion(sum), { state: 6, version: 2 })
  assert.deepEqual(await stream.info(), { partition: 0, lastVersion: 2, firstVersion: 0, lastOffset: 2 })
  const nothing = await set.playhead.topic('carts').stream('nobody').info()
  assert.deepEqual(nothing, { partition: 0, lastVersion: -1, firstVersion: -1, lastOffset: -1 })
})

test('live: a stream as of a moment and as known at a moment, over several pages', async () => {
  await using set = await live()
  const stream = set.playhead.topic('carts').stream('c')
  const at = (day: number) => new Date(Date.UTC(2011, 0, 1) + day * 86_400_000)
  await stream.append(upTo(2_500).map((day) => ({ type: 'Day', data: day, timestamp: at(2_499 - day) })))
  assert.deepEqual(
    (await listOf(stream.read())).map(({ data }) => data),
    upTo(2_500),
  )
  const early = await listOf(stream.read({ asOf: at(9) }))
  assert.deepEqual(
    early.map(({ version }) => version),
    upTo(10).map((index) => 2_490 + index),
    'version order, versions kept',
  )
  assert.equal((await listOf(stream.read({ knownAt: at(0) }))).length, 0, 'nothing had been appended in 2011')
  assert.equal((await listOf(stream.read({ knownAt: new Date(Date.now() + 60_000) }))).length, 2_500)
})

test('live: several streams of one append, all or nothing, every failing condition named', async () => {
  await using set = await live()
  const topic = set.playhead.topic('carts')
  const both = await topic.append([
    { stream: 'cart', events: [{ type: 'CheckedOut' }], expectedVersion: 'none' },
    { stream: 'order', events: [{ type: 'Placed' }, { type: 'Paid' }], expectedVersion: 'none' },
  ])
  assert.deepEqual(both.streams, [
    { stream: 'cart', versions: [0] },
    { stream: 'order', versions: [0, 1] },
  ])
  const refused = topic.append([
    { stream: 'cart', events: [{ type: 'Again' }], expectedVersion: 7 },
    { stream: 'order', events: [], expectedVersion: 'none' },
    { stream: 'third', events: [{ type: 'Other' }], expectedVersion: 'none' },
  ])
  await assert.rejects(refused, {
    code: 'wrongExpectedVersion',
    conflicts: [
      { stream: 'cart', expected: 7, found: 0 },
      { stream: 'order', expected: -1, found: 1 },
    ],
  })
  assert.equal((await topic.stream('third').info()).lastVersion, -1)
})

test('live: 16 racers on their own connections, staggered starts: one winner a round', async () => {
  await using set = await live()
  const rounds = 25
  let won = 0
  await Promise.all(
    upTo(16).map(async (racer) => {
      await using playhead = await connect(`localhost:${set.broker.port}`)
      const stream = playhead.topic('carts').stream('contended')
      await sleep((racer * 7) % 50)
      for (;;) {
        const { lastVersion } = await stream.info()
        if (lastVersion + 1 >= rounds) return
        try {
          const expectedVersion = lastVersion < 0 ? 'none' : lastVersion
          const { version } = await stream.append({ type: 'Bid', data: racer }, { expectedVersion })
          assert.equal(version, lastVersion + 1)
          won++
        } catch (error) {
          if (!isPlayheadError(error, 'wrongExpectedVersion')) throw error
        }
      }
    }),
  )
  const events = await listOf(set.playhead.topic('carts').stream('contended').read())
  assert.deepEqual(
    events.map(({ version }) => version),
    upTo(won),
    'every winner is there, once',
  )
  assert.ok(won >= rounds)
})

test('live: connections that break at any byte: appends and produced records are there once and in order', async () => {
  const seed = freshSeed()
  console.log(`# SEED=${seed}`)
  const transport = new CuttingTransport(seededRandom(seed), 10_000)
  await using set = await live(3)
  await using playhead = await connect(`localhost:${set.broker.port}`, { transport })
  const topic = playhead.topic('carts')
  const producer = topic.producer({ batchBytes: 700, inFlight: 4, bufferBytesMax: 20_000 })
  const producing = (async () => {
    for (const index of upTo(3_000)) await producer.send({ key: `k${index % 10}`, value: `${index}` })
    await producer.flush()
  })()
  const appending = (async () => {
    for (const index of upTo(40)) {
      const versions = await Promise.all(upTo(5).map(() => topic.stream('many').append({ type: `T${index}` })))
      assert.deepEqual(
        versions.map(({ version }) => version),
        upTo(5).map((at) => index * 5 + at),
      )
    }
  })()
  await Promise.all([producing, appending])
  assert.ok(transport.cuts > 3, `${transport.cuts} cuts`)
  const seen = new Map<string, number[]>()
  for await (const batch of set.playhead.topic('carts').replay()) {
    for (const { stream, value } of batch) {
      if (stream === 'many') continue
      const values = seen.get(stream!) ?? []
      seen.set(stream!, [...values, Number(value!.toString())])
    }
  }
  for (const at of upTo(10))
    assert.deepEqual(
      seen.get(`k${at}`),
      upTo(300).map((index) => index * 10 + at),
    )
  assert.equal((await listOf(topic.stream('many').read())).length, 200)
})

test('live: an import over breaking connections, started again three times: every record once', async () => {
  const seed = freshSeed()
  console.log(`# SEED=${seed}`)
  const random = seededRandom(seed)
  await using set = await live(4)
  const nameHash = createHash('sha256').update('file and mapping').digest()
  for (const until of [500, 1_700, 3_000, 3_000]) {
    const transport = new CuttingTransport(random, 20_000)
    await using playhead = await connect(`localhost:${set.broker.port}`, { transport })
    const producer = await playhead.topic('carts').namedProducer(nameHash, { batchBytes: 2_000 })
    for (const index of upTo(until)) await producer.send({ key: `k${index % 37}`, value: `${index}` })
    await producer.flush()
    const { appended, skipped } = producer.counts
    assert.equal(appended + skipped, until)
  }
  const values: number[] = []
  for await (const batch of set.playhead.topic('carts').replay())
    for (const { value } of batch) values.push(Number(value!.toString()))
  assert.deepEqual(
    values.toSorted((a, b) => a - b),
    upTo(3_000),
  )
})

test('live: a broker that restarts: the client goes on, versions and offsets continue', async () => {
  await using directory = await TemporaryDirectory.make()
  const settings = { data: join(directory.path, 'data'), httpPort: 0 }
  const first = await Broker.start({ ...settings, port: 0 })
  await using playhead = await connect(`localhost:${first.port}`)
  await playhead.admin.createTopic('carts')
  const stream = playhead.topic('carts').stream('c')
  await stream.append({ type: 'Before' })
  await first.stop()
  const during = stream.append({ type: 'During' })
  await using second = await Broker.start({ ...settings, port: first.port })
  assert.equal((await during).version, 1)
  assert.equal((await stream.append({ type: 'After' }, { expectedVersion: 1 })).offset, 2)
  assert.deepEqual(
    (await listOf(stream.read())).map(({ type }) => type),
    ['Before', 'During', 'After'],
  )
  assert.ok(second.port > 0)
})

test('live: replay by time, by offset, by partition; streams by prefix; positions', async () => {
  await using set = await live(4)
  const topic = set.playhead.topic('carts')
  const producer = topic.producer({ compression: 'zstd', batchBytes: 1_000 })
  for (const index of upTo(1_000))
    await producer.send({ key: `k${index % 20}`, value: `${index}`, timestamp: 1_300_000_000_000 + index * 1_000 })
  await producer.flush()
  const count = async (options: Parameters<typeof topic.replay>[0]) => {
    const offsets: string[] = []
    for await (const batch of topic.replay(options))
      for (const { partition, offset } of batch) offsets.push(`${partition}/${offset}`)
    assert.equal(new Set(offsets).size, offsets.length)
    return offsets.length
  }
  assert.equal(await count({}), 1_000)
  assert.equal(await count({ from: new Date(1_300_000_000_000 + 400_000) }), 600)
  assert.equal(await count({ until: new Date(1_300_000_000_000 + 400_000).toISOString() }), 400)
  const halves = upTo(4).map((partition) => ({ partition, offset: 10 }))
  assert.equal(await count({ from: halves }), 960)
  assert.equal(await count({ until: halves }), 40)
  const ends = await topic.positions('end')
  assert.equal(
    ends.reduce((sum, { offset }) => sum + offset, 0),
    1_000,
  )
  const names = (await listOf(topic.streams({ prefix: 'k1' }))).map(({ stream }) => stream)
  assert.deepEqual(names, ['k1', ...upTo(10).map((digit) => `k1${digit}`)])
  assert.deepEqual(
    (await listOf(topic.streams({ limit: 3 }))).map(({ lastVersion }) => lastVersion),
    [49, 49, 49],
  )
})

test('live: follow wakes for what is appended later, and the signal ends it while it waits', async () => {
  await using set = await live(2)
  const topic = set.playhead.topic('carts')
  const abort = new AbortController()
  const seen: (string | null)[] = []
  const following = (async () => {
    for await (const batch of topic.replay({ from: 'end', follow: true, signal: abort.signal })) {
      for (const { type } of batch) seen.push(type)
      if (seen.length === 3) setImmediate(() => abort.abort(new Error('enough')))
    }
  })()
  await sleep(50)
  for (const [index, type] of ['A', 'B', 'C'].entries()) await topic.stream(`c${index}`).append({ type })
  await assert.rejects(following, /enough/)
  assert.deepEqual(new Set(seen), new Set(['A', 'B', 'C']))
})

test('live: a parked follow does not delay appends', async () => {
  await using set = await live()
  const abort = new AbortController()
  const topic = set.playhead.topic('carts')
  const following = topic.replay({ follow: true, from: 'end', signal: abort.signal })[Symbol.asyncIterator]().next()
  await sleep(30)
  const { token } = await topic.stream('c').append({ type: 'A' })
  assert.equal((await following).value?.partition, token.partition)
  abort.abort()
})

test('live: tokens carry writes to another client; a token of another topic is refused', async () => {
  await using set = await live()
  await using other = await connect(`localhost:${set.broker.port}`)
  const { token } = await set.playhead.topic('carts').stream('c').append({ type: 'A' })
  assert.equal((await listOf(other.topic('carts').stream('c').read({ after: token }))).length, 1)
  const wrong = { ...token, topicId: '00000000-0000-7000-8000-000000000000' }
  await assert.rejects(listOf(other.topic('carts').stream('c').read({ after: wrong })), { code: 'tokenMismatch' })
})

test('live: a topic deleted and created anew under a running client', async () => {
  await using set = await live()
  const topic = set.playhead.topic('carts')
  await topic.stream('c').append([{ type: 'A' }, { type: 'B' }])
  await set.playhead.admin.deleteTopic('carts')
  await assert.rejects(listOf(topic.stream('c').read()), { code: 'unknownTopic' })
  await assert.rejects(topic.stream('c').append({ type: 'C' }), { code: 'unknownTopic' })
  await set.playhead.admin.createTopic('carts', { partitions: 3 })
  assert.deepEqual(await listOf(topic.stream('c').read()), [])
  assert.equal((await topic.stream('c').append({ type: 'C' })).version, 0)
})

test('live: topics: create, list, describe, alter, bad names and settings', async () => {
  await using set = await live()
  const { admin } = set.playhead
  await assert.rejects(admin.createTopic('carts'), { code: 'topicExists' })
  for (const name of ['', '..', 'a/b', 'a\0b', 'x'.repeat(250)])
    await assert.rejects(admin.createTopic(name), { code: 'invalidTopicName' })
  await assert.rejects(admin.createTopic('b', { settings: { nonsense: 1 } }), { code: 'unknownSetting' })
  await assert.rejects(admin.createTopic('b', { settings: { 'segment.bytes': -5 } }), { code: 'invalidSetting' })
  await assert.rejects(admin.createTopic('b', { partitions: 5_000 }), { code: 'invalidPartitions' })
  await admin.alterTopic('carts', { 'segment.bytes': 16 * 1024 * 1024 })
  const setting = async () => (await admin.describeTopic('carts')).settings.find(({ name }) => name === 'segment.bytes')
  assert.deepEqual(await setting(), { name: 'segment.bytes', value: '16777216', source: 'topic' })
  await admin.alterTopic('carts', { 'segment.bytes': null })
  assert.equal((await setting())?.source, 'default')
  assert.deepEqual(
    (await admin.listTopics()).map(({ topic }) => topic),
    ['carts'],
  )
  const status = await set.playhead.status()
  assert.equal(status.topics >= 1, true)
})

test('live: named playheads: commit, read, conditional commit, list', async () => {
  await using set = await live(2)
  const topic = set.playhead.topic('carts')
  await topic.stream('a').append({ type: 'A' })
  const reader = topic.playhead('mailer')
  assert.equal(await reader.read(), undefined)
  const positions = await topic.positions('end')
  const { version } = await reader.commit(positions, { expectedVersion: 'none' })
  assert.deepEqual(
    (await reader.read())?.positions.toSorted((a, b) => a.partition - b.partition),
    positions,
  )
  await assert.rejects(reader.commit(positions, { expectedVersion: 'none' }), { code: 'playheadMoved' })
  await reader.commit(await topic.positions('start'), { expectedVersion: version })
  assert.deepEqual(
    (await topic.playheads()).map(({ name }) => name),
    ['mailer'],
  )
})
