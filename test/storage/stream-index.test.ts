/** StreamIndex: against a model, with writes that are slow, fail, or cannot be told; over memory and LMDB. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../platform/clock.ts'
import { nodeFileSystem } from '../../platform/node-file-system.ts'
import { isPlayheadError } from '../../protocol/errors.ts'
import { afterPrefix, type CheckpointStore } from '../../storage/checkpoint-store.ts'
import { headBlockKey, logPrefix } from '../../storage/index-keys.ts'
import { LmdbCheckpointStore } from '../../storage/lmdb-checkpoint-store.ts'
import { MemoryCheckpointStore } from '../../storage/memory-checkpoint-store.ts'
import { StreamIndex } from '../../storage/stream-index.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { copyOf } from './copied-checkpoint-store.ts'
import { type Fate, FaultyCheckpointStore } from './faulty-checkpoint-store.ts'
import { SeededRandom } from './seeded-random.ts'

const prefix = logPrefix(Buffer.alloc(16, 5), 3)
const everything = Number.MAX_SAFE_INTEGER

function openIndex(store: CheckpointStore = new MemoryCheckpointStore()): StreamIndex {
  return StreamIndex.open({ store, prefix, clock: systemClock, headCacheBytesMax: 100 * 200 })
}

/** The log as a list: what is at each offset, undefined = no stream. */
class Model {
  readonly offsets = new Map<string, number[]>()
  readonly streamAt: (string | undefined)[] = []

  add(stream: string | undefined): number {
    const offset = this.streamAt.push(stream) - 1
    if (stream === undefined) return offset
    const known = this.offsets.get(stream)
    if (known === undefined) this.offsets.set(stream, [offset])
    else known.push(offset)
    return offset
  }

  of(stream: string): number[] {
    return this.offsets.get(stream) ?? []
  }
}

function checkStream(index: StreamIndex, model: Model, stream: string, random: SeededRandom): void {
  const offsets = model.of(stream)
  assert.equal(index.lastVersion(stream), offsets.length - 1, `last version of ${stream}`)
  const limitOffset = random.pick([everything, random.below(model.streamAt.length + 1)])
  const below = offsets.filter((offset) => offset < limitOffset)
  const extent = { lastVersion: below.length - 1, firstVersion: 0, lastOffset: below.at(-1) ?? -1 }
  assert.deepEqual(index.lastBelow(stream, limitOffset), extent, `${stream} below ${limitOffset}`)
  const fromVersion = random.below(offsets.length + 3)
  const count = 1 + random.below(random.pick([3, 2000]))
  const ahead = index.look(stream).lookup({ fromVersion, count, limitOffset, direction: 'forwards' })
  assert.deepEqual(ahead, { firstVersion: fromVersion, offsets: below.slice(fromVersion, fromVersion + count) })
  const end = Math.min(fromVersion + 1, below.length)
  const back = index.look(stream).lookup({ fromVersion, count, limitOffset, direction: 'backwards' })
  assert.deepEqual(back.offsets, below.slice(Math.max(0, end - count), end))
  if (back.offsets.length > 0) assert.equal(back.firstVersion, Math.max(0, end - count))
  const offset = random.below(model.streamAt.length + 1)
  assert.equal(index.versionAt(stream, offset), offsets.indexOf(offset), `version of ${stream} at ${offset}`)
}

function checkList(index: StreamIndex, model: Model, random: SeededRandom): void {
  const namePrefix = random.pick(['', 's', 's1', 'é', 'nobody'])
  const limitOffset = random.pick([everything, random.below(model.streamAt.length + 1)])
  const wanted = [...model.offsets]
    .map(([stream, offsets]) => ({ stream, lastVersion: offsets.filter((offset) => offset < limitOffset).length - 1 }))
    .filter(({ stream, lastVersion }) => stream.startsWith(namePrefix) && lastVersion >= 0)
    .toSorted((a, b) => Buffer.compare(Buffer.from(a.stream), Buffer.from(b.stream)))
  const limit = 1 + random.below(random.pick([5, 500]))
  const afterStream = random.pick([undefined, wanted[random.below(wanted.length)]?.stream])
  const start = afterStream === undefined ? 0 : wanted.findIndex(({ stream }) => stream === afterStream) + 1
  const found = index.list({ prefix: namePrefix, afterStream, limit, limitOffset })
  assert.deepEqual(found, wanted.slice(start, start + limit))
}

/** Adds, writes and opens again at random, and compares all the time. */
async function runAgainstModel(inner: CheckpointStore, random: SeededRandom, rounds: number): Promise<void> {
  const model = new Model()
  const fates: Fate[] = ['written', 'written', 'written', 'refused', 'written, but refused']
  const store = new FaultyCheckpointStore(inner, () => random.pick(fates))
  const streams = Array.from(
    { length: 1200 },
    (_, place) => `${random.pick(['s', 'é', '\u{1f600}', '\uffee'])}${place}`,
  )
  let index = openIndex(store)
  let writing: Promise<void> | undefined
  const hot = random.pick(streams)
  for (let round = 0; round < rounds; round++) {
    const action = random.below(10)
    if (action < 5) {
      const few = random.pick([1, 3, streams.length])
      for (let left = random.below(random.pick([5, 3000])); left > 0; left--) {
        const stream = random.below(20) === 0 ? undefined : random.below(4) === 0 ? hot : streams[random.below(few)]!
        const offset = model.add(stream)
        if (stream !== undefined) index.add(stream, offset)
      }
    } else if (action < 7 && !index.capturing) {
      writing = index
        .capture(model.streamAt.length)
        .write([])
        .catch((error: unknown) => assert(isPlayheadError(error, 'storageFailed')))
    } else if (action === 7) {
      await index.prefetch([hot, random.pick(streams), 'nobody'])
    } else if (action === 8) {
      await writing
      index = openIndex(store)
      assert(index.reachesTo <= model.streamAt.length)
      for (let offset = index.indexedTo; offset < model.streamAt.length; offset++) {
        const stream = model.streamAt[offset]
        if (stream !== undefined) index.add(stream, offset)
      }
    } else await new Promise((resolve) => setImmediate(resolve))
    for (const stream of [hot, random.pick(streams), random.pick(streams), 'nobody'])
      checkStream(index, model, stream, random)
    if (random.below(4) === 0) checkList(index, model, random)
  }
  await writing
}

test('stream index: equals a model over 400 rounds, writes failing at random (memory)', async () => {
  const random = SeededRandom.fresh()
  try {
    await runAgainstModel(new MemoryCheckpointStore(), random, 400)
  } catch (error) {
    console.error(`PLAYHEAD_TEST_SEED=${random.seed}`)
    throw error
  }
})

test('stream index: equals a model over 200 rounds, writes failing at random (lmdb)', async () => {
  await using directory = await TemporaryDirectory.make()
  const random = SeededRandom.fresh()
  const store = await LmdbCheckpointStore.open({
    directory: directory.path,
    fileSystem: nodeFileSystem,
    report: () => {},
  })
  try {
    await runAgainstModel(store, random, 200)
  } catch (error) {
    console.error(`PLAYHEAD_TEST_SEED=${random.seed}`)
    throw error
  } finally {
    await store.close()
  }
})

test('stream index: 10,000 streams are written in several transactions; cut after any of them, the store is right', async () => {
  const nameOf = (number: number) => `s${number}`.padEnd(600, '-')
  for (const writesLeft of [1, 2, 3, 99]) {
    const inner = new MemoryCheckpointStore()
    let left = writesLeft
    const store = new FaultyCheckpointStore(inner, () => (left-- > 0 ? 'written' : 'refused'))
    const index = openIndex(store)
    for (let offset = 0; offset < 30_000; offset++) index.add(nameOf(offset % 10_000), offset)
    const written = await index
      .capture(30_000)
      .write([])
      .then(
        () => true,
        () => false,
      )
    assert.equal(written, writesLeft === 99)
    const again = openIndex(inner)
    assert.equal(again.indexedTo, written ? 30_000 : 0)
    assert.equal(again.reachesTo, 30_000)
    for (let offset = again.indexedTo; offset < 30_000; offset++) again.add(nameOf(offset % 10_000), offset)
    for (const stream of [0, 5000, 9999].map(nameOf)) assert.equal(again.lastVersion(stream), 2)
    await again.capture(30_000).write([])
    for (const stream of [0, 5000, 9999].map(nameOf)) assert.equal(openIndex(inner).lastVersion(stream), 2)
  }
})

test('stream index: head blocks grow and are cut while tens of thousands of streams come in any order, over captures, some of which fail', async () => {
  const random = SeededRandom.fresh()
  const inner = new MemoryCheckpointStore()
  const store = new FaultyCheckpointStore(inner, () =>
    random.pick(['written', 'written', 'written, but refused', 'refused']),
  )
  const model = new Model()
  let index = openIndex(store)
  for (let round = 0; round < 10; round++) {
    const [first, streams] = [random.below(8000), random.pick([3, 500, 4000])]
    for (let step = 0; step < 6000; step++) {
      const stream = `${random.below(3)}/${'n'.repeat(random.below(2) * 40)}${first + random.below(streams)}`
      index.add(stream, model.add(stream))
    }
    const written = await index
      .capture(model.streamAt.length)
      .write([])
      .catch(() => 'refused')
    if (written !== 'refused' && random.below(2) === 0) index = openIndex(store)
    const names = [...model.offsets.keys()].toSorted()
    const listed = index.list({ prefix: '', limit: 100_000, limitOffset: everything })
    const wanted = names.map((stream) => ({ stream, lastVersion: model.of(stream).length - 1 }))
    assert.deepEqual(listed, wanted, `seed ${random.seed}, round ${round}`)
    for (let look = 0; look < 200; look++) checkStream(index, model, random.pick(names), random)
    checkList(index, model, random)
  }
})

test('stream index: one transaction of a capture fails and those behind it would not: after the next capture every stream is right', async () => {
  const random = SeededRandom.fresh()
  // Long names of many lengths, so that a capture takes several transactions and they end anywhere in a block.
  const nameOf = (number: number) => `s${String(number).padStart(5, '0')}`.padEnd(100 + ((number * 7919) % 900), '-')
  let failing = false
  let [failed, behindFailed] = [false, 0]
  const fate = (): Fate => {
    if (failed) behindFailed++
    failed ||= failing && random.below(4) === 0
    return failed && behindFailed === 0 ? 'refused' : 'written'
  }
  const index = openIndex(new FaultyCheckpointStore(new MemoryCheckpointStore(), fate))
  const model = new Model()
  for (let round = 0; round < 6; round++) {
    for (let step = 0; step < 5000; step++) {
      const stream = nameOf(random.below(12_000))
      index.add(stream, model.add(stream))
    }
    failing = round % 3 !== 2
    failed = false
    const write = index.capture(model.streamAt.length).write([])
    await (failing ? write.catch((error: unknown) => assert(isPlayheadError(error, 'storageFailed'))) : write)
    assert.equal(behindFailed, 0, `seed ${random.seed}, round ${round}: no transaction is begun behind one that failed`)
    if (failing) continue
    const wrong = [...model.offsets].filter(([stream, { length }]) => index.lastVersion(stream) !== length - 1)
    assert.equal(wrong.length, 0, `seed ${random.seed}, round ${round}: ${wrong.length} streams are wrong`)
  }
})

test('stream index: a stream of 200,000 events is cut into chunks and found by version and by offset', async () => {
  const inner = new MemoryCheckpointStore()
  const index = openIndex(inner)
  for (let version = 0; version < 200_000; version++) {
    index.add('hot', version * 3)
    if (version % 70_000 === 69_999) await index.capture(version * 3 + 1).write([])
  }
  await index.capture(600_000).write([])
  for (const cold of [index, openIndex(inner)]) {
    assert.deepEqual(
      cold.look('hot').lookup({ fromVersion: 69_998, count: 4, limitOffset: everything, direction: 'forwards' }),
      {
        firstVersion: 69_998,
        offsets: [209_994, 209_997, 210_000, 210_003],
      },
    )
    assert.equal(cold.versionAt('hot', 3 * 123_456), 123_456)
    assert.equal(cold.versionAt('hot', 3 * 123_456 + 1), -1)
    assert.deepEqual(cold.lastBelow('hot', 300), { lastVersion: 99, firstVersion: 0, lastOffset: 297 })
    const all = cold
      .look('hot')
      .lookup({ fromVersion: 0, count: everything, limitOffset: everything, direction: 'forwards' })
    assert.equal(all.offsets.length, 200_000)
    assert(all.offsets.every((offset, version) => offset === version * 3))
  }
})

test('stream index: cold until it was asked for or prefetched; never cold while nothing was written', async () => {
  const inner = new MemoryCheckpointStore()
  const index = openIndex(inner)
  index.add('a', 0)
  assert.equal(index.isCold('a'), false)
  assert.equal(index.isCold('nobody'), false)
  await index.capture(1).write([])
  assert.equal(index.isCold('a'), true)
  await index.prefetch(['a', 'nobody'])
  assert.equal(index.isCold('a'), false)
  assert.equal(index.isCold('nobody'), false)
  const gets = inner.stats.gets
  assert.equal(index.lastVersion('a'), 0)
  assert.equal(index.lastVersion('nobody'), -1)
  index.add('never asked for', 1)
  assert.equal(inner.stats.gets, gets, 'adding and asking for warm streams does not read the store')
})

test('stream index: what goes with a capture is there when indexedTo is, and not before', async () => {
  const inner = new MemoryCheckpointStore()
  const fates: Fate[] = ['refused', 'written']
  const index = openIndex(new FaultyCheckpointStore(inner, () => fates.shift()!))
  const extra = [{ key: Buffer.from('position'), value: Buffer.from('17') }]
  index.add('a', 0)
  await assert.rejects(index.capture(1).write(extra), (error) => isPlayheadError(error, 'storageFailed'))
  assert.equal(index.indexedTo, 0)
  assert.equal(inner.get(Buffer.from('position')), undefined)
  assert.equal(index.lastVersion('a'), 0)
  await index.capture(1).write(extra)
  assert.equal(openIndex(inner).indexedTo, 1)
  assert.equal(inner.get(Buffer.from('position'))?.toString(), '17')
})

test('stream index: a write that happened and was reported as failed leaves no stale head behind', async () => {
  const fates: Fate[] = ['written', 'written, but refused', 'written']
  const index = openIndex(new FaultyCheckpointStore(new MemoryCheckpointStore(), () => fates.shift() ?? 'written'))
  index.add('a', 0)
  await index.capture(1).write([])
  assert.equal(index.lastVersion('a'), 0) // warm from here on
  index.add('a', 1)
  await assert.rejects(index.capture(2).write([]))
  await index.capture(2).write([])
  assert.equal(index.lastVersion('a'), 1)
})

test('stream index: an abandoned capture is covered by the next one', async () => {
  const inner = new MemoryCheckpointStore()
  const index = openIndex(inner)
  index.add('a', 0)
  index.capture(1).abandon()
  index.add('a', 1)
  await index.capture(2).write([])
  assert.equal(openIndex(inner).lastVersion('a'), 1)
})

test('stream index: wipe forgets this log and no other', async () => {
  const inner = new MemoryCheckpointStore()
  const other = StreamIndex.open({ store: inner, prefix: logPrefix(Buffer.alloc(16, 5), 4), clock: systemClock })
  const index = openIndex(inner)
  for (const each of [index, other]) {
    each.add('a', 0)
    await each.capture(1).write([{ key: Buffer.concat([prefix, Buffer.from('c')]), value: Buffer.from('1') }])
    each.add('a', 1)
  }
  await index.wipe()
  assert.deepEqual([index.lastVersion('a'), index.indexedTo, index.reachesTo], [-1, 0, 0])
  assert.equal(openIndex(inner).lastVersion('a'), -1)
  assert.equal(other.lastVersion('a'), 1)
  assert.equal(inner.get(Buffer.concat([prefix, Buffer.from('c')]))?.toString(), '1')
})

test('stream index: offsets more than 2^32 apart', async () => {
  const inner = new MemoryCheckpointStore()
  const index = openIndex(inner)
  const offsets = [0, 2 ** 33, 2 ** 34, 2 ** 52]
  for (const offset of offsets) index.add('a', offset)
  const all = { fromVersion: 0, count: 9, limitOffset: everything, direction: 'forwards' } as const
  assert.deepEqual(index.look('a').lookup(all).offsets, offsets)
  await index.capture(2 ** 52 + 1).write([])
  assert.deepEqual(openIndex(inner).look('a').lookup(all).offsets, offsets)
})

test('stream index: a head that cannot be read is damage, not an empty stream', async () => {
  const inner = new MemoryCheckpointStore()
  const index = openIndex(inner)
  index.add('a', 0)
  await index.capture(1).write([])
  const key = headBlockKey(prefix, Buffer.alloc(0))
  const store: CheckpointStore = {
    stats: inner.stats,
    isWarm: false,
    get: (each) => inner.get(each),
    prefetch: () => inner.prefetch(),
    range(from, to, options) {
      const entries = inner.range(from, to, options)
      const sound = entries.filter((entry) => !entry.key.equals(key))
      inner.stats.badValues += entries.length - sound.length
      return sound
    },
    write: (puts) => inner.write(puts),
    removeRange: (from, to) => inner.removeRange(from, to),
    condemn: () => inner.condemn(),
    close: () => inner.close(),
  }
  const cold = openIndex(store)
  assert.throws(
    () => cold.lastVersion('a'),
    (error) => isPlayheadError(error, 'damagedData'),
  )
  assert.throws(
    () => cold.lastVersion('b'), // it may have been in what cannot be read
    (error) => isPlayheadError(error, 'damagedData'),
  )
  for (const value of [[0xff], [1], [1, 0x61], [1, 0x61, 4, 0, 0], [1, 0x61, 1, 0xff], [1, 0x61, 4, 0, 5, 0, 0]]) {
    await inner.write([{ key, value: Buffer.from(value) }])
    assert.throws(
      () => openIndex(inner).lastVersion('a'),
      (error) => isPlayheadError(error, 'damagedData'),
    )
  }
})

test('stream index: names with surrogates and of 1,024 bytes', async () => {
  const index = openIndex()
  const names = ['\u{1f600}'.repeat(256), 'x'.repeat(1024), '\uffee', '\u{1f600}', 'a\0b']
  for (const [offset, name] of names.entries()) index.add(name, offset)
  await index.capture(names.length).write([])
  for (const [offset, name] of names.entries()) assert.equal(index.versionAt(name, offset), 0)
  const listed = index.list({ prefix: '', limit: 9, limitOffset: everything }).map(({ stream }) => stream)
  assert.deepEqual(
    listed,
    names.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
  )
})

test('stream index: a head block that is gone, any of them, is damage: no stream in it is taken for one that does not exist', async () => {
  const inner = new MemoryCheckpointStore()
  const index = openIndex(inner)
  const streams = Array.from({ length: 2000 }, (_, place) => `stream-${String(place).padStart(5, '0')}`)
  for (const [offset, stream] of streams.entries()) index.add(stream, offset)
  await index.capture(streams.length).write([])
  const first = headBlockKey(prefix, Buffer.alloc(0))
  const blocks = inner.range(first, afterPrefix(first), { limit: 1000 })
  assert.ok(blocks.length >= 3, `${blocks.length} blocks`)
  const isDamage = (error: unknown) => isPlayheadError(error, 'damagedData')
  for (const [place, { key, value }] of blocks.entries()) {
    await inner.write([{ key, value: null }])
    const opened = openIndex(inner)
    const gone = streams.filter(
      (stream) =>
        Buffer.compare(headBlockKey(prefix, Buffer.from(stream)), key) >= 0 &&
        (place + 1 === blocks.length ||
          Buffer.compare(headBlockKey(prefix, Buffer.from(stream)), blocks[place + 1]!.key) < 0),
    )
    assert.ok(gone.length > 10)
    for (const stream of gone) assert.throws(() => opened.lastBelow(stream, everything), isDamage, stream)
    assert.throws(() => opened.list({ prefix: '', limit: streams.length, limitOffset: everything }), isDamage)
    opened.add(gone[0]!, streams.length)
    await assert.rejects(opened.capture(streams.length + 1).write([]), isDamage)
    await inner.write([{ key, value }])
  }
  assert.equal(openIndex(inner).list({ prefix: '', limit: 9999, limitOffset: everything }).length, streams.length)
})

test('stream index: a wipe that is cut off after any of its writes leaves none, or one that says it is none', async () => {
  const inner = new MemoryCheckpointStore()
  const index = openIndex(inner)
  for (let offset = 0; offset < 2000; offset++) index.add('a', offset)
  await index.capture(2000).write([])
  for (let left = 0; left <= 4; left++) {
    const store = await copyOf(inner)
    const dying = new DyingStore(store, left)
    await assert.rejects(openIndex(dying).wipe(), /killed/)
    const again = openIndex(store)
    const isLeft = store.range(Buffer.alloc(0), Buffer.alloc(600, 0xff), { limit: 1 }).length > 0
    if (left > 0) assert.equal(again.reachesTo, isLeft ? Number.MAX_SAFE_INTEGER : 0, `${left} writes`)
    await again.wipe()
    assert.equal(openIndex(store).reachesTo, 0)
    assert.equal(store.range(Buffer.alloc(0), Buffer.alloc(600, 0xff), { limit: 1 }).length, 0)
  }
})

/** Of a process that is killed after so many changes of the store; a range is removed in two. */
class DyingStore extends FaultyCheckpointStore {
  #left: number

  constructor(store: CheckpointStore, left: number) {
    super(store, () => 'written')
    this.#left = left
  }

  override async write(puts: Parameters<CheckpointStore['write']>[0]): Promise<void> {
    this.#change()
    await super.write(puts)
  }

  override async removeRange(from: Buffer, to: Buffer): Promise<void> {
    const first = this.range(from, to, { limit: 1 })[0]
    this.#change()
    if (first !== undefined) await super.write([{ key: first.key, value: null }])
    this.#change()
    await super.removeRange(from, to)
  }

  #change(): void {
    if (this.#left-- <= 0) throw new Error('killed')
  }
}
