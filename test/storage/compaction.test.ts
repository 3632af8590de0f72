import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Clock } from '../../platform/clock.ts'
import type { File } from '../../platform/file-system.ts'
import { systemClock } from '../../platform/clock.ts'
import { encodeRecordBatch, RecordBatch } from '../../protocol/record-batch.ts'
import type { Compression } from '../../protocol/record-batch.ts'
import type { CheckpointStore } from '../../storage/checkpoint-store.ts'
import { aloneCleaning, heldCleaning } from '../../storage/log-cleaning.ts'
import type { Log } from '../../storage/log.ts'
import { MemoryCheckpointStore } from '../../storage/memory-checkpoint-store.ts'
import { verify } from '../../storage/verify.ts'
import { copyOf } from './copied-checkpoint-store.ts'
import { DyingFileSystem } from './dying-file-system.ts'
import { FaultyCheckpointStore } from './faulty-checkpoint-store.ts'
import type { Fate } from './faulty-checkpoint-store.ts'
import { MemoryFileSystem } from './memory-file-system.ts'
import { SeededRandom } from './seeded-random.ts'
import { sealed, StoreUnderTest, until } from './store-under-test.ts'

/** A record as it was appended, and the version that it was given. */
interface Written {
  readonly offset: number
  readonly key: string | null
  readonly value: string | null
  readonly version: number
  readonly appendTimeMs: number
}

const noPause = async () => {
  await systemClock.yield()
}

class Topic {
  readonly fileSystem = new MemoryFileSystem()
  readonly written: Written[] = []
  readonly random: SeededRandom
  nowMs = 1_000_000_000
  checkpointStore: CheckpointStore = new MemoryCheckpointStore()
  opened!: StoreUnderTest

  constructor(random: SeededRandom) {
    this.random = random
  }

  get log(): Log {
    return this.opened.store.log('carts', 0)
  }

  async open(fileSystem: MemoryFileSystem | DyingFileSystem = this.fileSystem): Promise<void> {
    const clock: Clock = { ...systemClock, now: () => this.nowMs, monotonicMs: () => this.nowMs }
    this.opened = await StoreUnderTest.open('/data', {
      fileSystem: fileSystem instanceof DyingFileSystem ? fileSystem.fileSystem : fileSystem,
      clock,
      checkpointStore: this.checkpointStore,
      settings: { tailCacheBytes: 0, openSegmentsMax: 2 }, // the newest batches are served from memory as they came
    })
  }

  /** By another process, from what this one has left on the disk and in the cache when it was killed. */
  async openedAgain(left: MemoryFileSystem, cache: CheckpointStore): Promise<Topic> {
    const again = new Topic(this.random)
    again.written.push(...this.written)
    again.nowMs = this.nowMs
    again.checkpointStore = await copyOf(cache)
    const fileSystem = left.copy()
    await fileSystem.remove('/data/lock') // its process is dead
    await again.open(fileSystem)
    return again
  }

  /** Also of a test that failed: what it left open would keep the whole run waiting. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.opened[Symbol.asyncDispose]()
  }

  async append(
    records: readonly (readonly [string | null, string | null])[],
    compression: Compression = 'none',
  ): Promise<void> {
    const inputs = records.map(([key, value], at) => ({
      key,
      value,
      timestamp: at,
      headers: [{ key: 'v', value: 'of the user' }],
    }))
    const batch = encodeRecordBatch(inputs, { compression })
    const { baseOffset, versions, appendTimeMs } = await this.log.append({
      batch,
      expected: [],
      wantVersions: true,
      acks: 'all',
    })
    for (const [at, [key, value]] of records.entries())
      this.written.push({ offset: baseOffset + at, key, value, version: versions[at] ?? -1, appendTimeMs })
  }

  async appendMany(batches: number, keys: number): Promise<void> {
    const { random } = this
    for (let batch = 0; batch < batches; batch++) {
      const records = Array.from({ length: 1 + random.below(8) }, (): [string | null, string | null] => {
        const key = random.below(20) === 0 ? null : `k${random.below(keys)}`
        return [key, random.below(5) === 0 && key !== null ? null : 'x'.repeat(random.below(15_000))]
      })
      await this.append(records, random.pick(['none', 'none', 'gzip', 'zstd']))
      this.nowMs += 10
    }
  }

  /** What must be there when all below `compactedTo` was compacted at `nowMs`: by going over all that was ever appended. */
  expected(compactedTo: number, deleteRetentionMs: number, nowMs = this.nowMs): Written[] {
    const newest = new Map<string, number>()
    for (const { key, offset } of this.written) if (key !== null && offset < compactedTo) newest.set(key, offset)
    return this.written.filter(({ offset, key, value, appendTimeMs }) => {
      if (offset >= compactedTo || key === null) return true
      return newest.get(key) === offset && (value !== null || appendTimeMs >= nowMs - deleteRetentionMs)
    })
  }
}

/** All that fetch gives, in order. */
async function fetched(log: Log): Promise<{ offset: number; key: string | null; value: string | null }[]> {
  const records: { offset: number; key: string | null; value: string | null }[] = []
  for (let offset = log.logStartOffset; offset < log.logEndOffset; ) {
    const { batches, nextOffset } = await log.read({ offset, maxBytes: 50_000, limitOffset: Infinity })
    for (const bytes of batches)
      for (const record of new RecordBatch(bytes))
        if (record.offset >= offset)
          records.push({
            offset: record.offset,
            key: record.key?.toString() ?? null,
            value: record.value?.toString() ?? null,
          })
    assert.ok(nextOffset > offset)
    offset = nextOffset
  }
  return records
}

async function streamOf(log: Log, stream: string, backwards = false): Promise<{ version: number; offset: number }[]> {
  const events: { version: number; offset: number }[] = []
  for (let from: number | undefined, isMore = true; isMore; ) {
    const page = await log.readStream({ stream, from, limit: 3, backwards, maxBytes: 1e6, limitOffset: Infinity })
    const found = page.records.map(({ offset }, at) => ({ version: page.versions[at]!, offset }))
    events.push(...(backwards ? found.toReversed() : found))
    from = page.nextVersion
    isMore = from !== undefined
  }
  return backwards ? events.toReversed() : events
}

async function check(topic: Topic, wanted: readonly Written[]): Promise<void> {
  const { log } = topic
  assert.deepEqual(log.damage, [])
  assert.deepEqual(
    await fetched(log),
    wanted.map(({ offset, key, value }) => ({ offset, key, value })),
  )
  const keys = new Set(topic.written.map(({ key }) => key).filter((key) => key !== null))
  for (const key of keys) {
    const events = wanted.filter((record) => record.key === key).map(({ version, offset }) => ({ version, offset }))
    assert.deepEqual(await streamOf(log, key), events, key)
    assert.deepEqual(await streamOf(log, key, true), events, key)
    const last = topic.written.findLast((record) => record.key === key)!
    assert.equal(log.streamInfo(key, Infinity).lastVersion, last.version, key)
  }
}

async function verified(topic: Topic): Promise<void> {
  const { damage } = await verify({ directory: '/data', fileSystem: topic.fileSystem, clock: systemClock })
  assert.deepEqual(damage, [])
}

const settings = { 'segment.bytes': '1048576', 'cleanup.policy': 'compact', 'delete.retention.ms': '3000' }

test('compaction: keeps exactly the newest record of each key, tombstones for their time, offsets and versions; what is found is what an independent pass finds', async () => {
  await using topic = new Topic(SeededRandom.fresh())
  await topic.open()
  await topic.opened.createLog('carts', settings)
  for (let round = 0; round < 3; round++) {
    await topic.append([['gone', null]]) // whatever else comes by chance
    await topic.appendMany(250, 30) // of which the last segment, with compressed batches, has a few hundred records at most
    await sealed(topic.log)
    assert.ok(topic.log.compaction.isDue)
    await topic.log.compaction.run(noPause)
    const compactedTo = topic.log.compaction.compactedTo
    assert.ok(compactedTo > 0)
    const wanted = topic.expected(compactedTo, 3000)
    assert.ok(wanted.length < topic.written.length / (round + 1.5))
    await check(topic, wanted)
    assert.ok(!topic.log.compaction.isDue)
    for (const cache of ['kept', 'wiped', 'wiped, and sidecars lost']) {
      await topic[Symbol.asyncDispose]()
      await verified(topic)
      if (cache !== 'kept') topic.checkpointStore = new MemoryCheckpointStore()
      if (cache === 'wiped, and sidecars lost')
        for (const path of topic.fileSystem.paths) if (path.endsWith('.idx')) await topic.fileSystem.remove(path)
      await topic.open()
      await sealed(topic.log)
      await check(topic, wanted)
    }
  }
  // Tombstones go when their time is over, although nothing new has come.
  topic.nowMs += 10_000
  assert.ok(topic.log.compaction.isDue)
  await topic.log.compaction.run(noPause)
  const wanted = topic.expected(topic.log.compaction.compactedTo, 3000)
  await check(topic, wanted)
  await topic[Symbol.asyncDispose]()
  topic.checkpointStore = new MemoryCheckpointStore()
  await topic.open()
  await check(topic, wanted)
  await topic.appendMany(5, 30)
  const expected = topic.expected(topic.log.compaction.compactedTo, 3000, topic.nowMs - 50)
  assert.ok(expected.length > wanted.length)
  await check(topic, expected)
  await topic[Symbol.asyncDispose]()
})

test('compaction: killed before any change of a file, it goes on after the next start; nothing that stays is ever missing', async () => {
  await using topic = new Topic(SeededRandom.fresh())
  const dying = new DyingFileSystem(topic.fileSystem)
  await topic.open(dying)
  await topic.opened.createLog('carts', { ...settings, 'delete.retention.ms': '1000' })
  await topic.appendMany(50, 20)
  await topic.log.checkpointer.save()
  const savedLongBefore = await copyOf(topic.checkpointStore)
  await topic.appendMany(90, 20)
  await sealed(topic.log)
  dying.isWatching = true
  await topic.log.compaction.run(noPause)
  dying.isWatching = false
  const wanted = topic.expected(topic.log.compaction.compactedTo, 1000)
  await check(topic, wanted)
  await topic[Symbol.asyncDispose]()
  assert.ok(dying.moments.length > 12, `${dying.moments.length} moments`)
  for (const [place, { call, left }] of dying.moments.entries()) {
    for (const cache of [new MemoryCheckpointStore(), savedLongBefore, topic.checkpointStore]) {
      const again = await topic.openedAgain(left, cache)
      try {
        const { log } = again
        assert.deepEqual(log.damage, [])
        const there = new Set((await fetched(log)).map(({ offset }) => offset))
        for (const { offset } of wanted) assert.ok(there.has(offset), `offset ${offset}`)
        await sealed(log)
        await until(async () => {
          await log.compaction.run(noPause)
          return !log.compaction.isUnfinished
        })
        await check(again, wanted)
      } catch (error) {
        throw new Error(`killed before ${call} (${place} of ${dying.moments.length})`, { cause: error })
      } finally {
        await again.opened[Symbol.asyncDispose]()
      }
    }
  }
})

test('compaction: it saves the index first, and waits where that cannot be saved', async () => {
  await using topic = new Topic(SeededRandom.fresh())
  let fate: Fate = 'refused'
  topic.checkpointStore = new FaultyCheckpointStore(new MemoryCheckpointStore(), () => fate)
  await topic.open()
  await topic.opened.createLog('carts', settings)
  await topic.appendMany(140, 20)
  await sealed(topic.log)
  await topic.log.compaction.run(noPause)
  assert.equal(topic.log.compaction.compactedTo, 0)
  fate = 'written'
  topic.nowMs += 3_600_000 // it tries again after a while
  await until(async () => {
    await topic.log.compaction.run(noPause)
    return topic.log.compaction.compactedTo > 0
  })
  const wanted = topic.expected(topic.log.compaction.compactedTo, 3000)
  await check(topic, wanted)
  await using killed = await topic.openedAgain(topic.fileSystem, topic.checkpointStore)
  assert.deepEqual(
    killed.opened.reports.filter((report) => report.includes('made again')),
    [],
  )
  await check(killed, wanted)
})

for (const what of ['nothing may be rewritten any more', 'compaction is held'] as const) {
  test(`compaction: while the index is saved it turns out that ${what}: the pass is not made, and not taken for made`, async () => {
    await using topic = new Topic(SeededRandom.fresh())
    let onWrite = () => {}
    topic.checkpointStore = new FaultyCheckpointStore(new MemoryCheckpointStore(), () => {
      onWrite()
      return 'written'
    })
    await topic.open()
    await topic.opened.createLog('carts', settings)
    await topic.appendMany(140, 20)
    await sealed(topic.log)
    const { replica, compaction } = topic.log
    onWrite = () => {
      if (what === 'compaction is held') compaction.isHeld = true
      else replica.cleaning = heldCleaning
    }
    await compaction.run(noPause)
    assert.deepEqual([compaction.compactedTo, topic.log.stats.compactions], [0, 0])
    onWrite = () => {}
    compaction.isHeld = false
    replica.cleaning = aloneCleaning
    await compaction.run(noPause)
    assert.ok(compaction.compactedTo > 0)
    await check(topic, topic.expected(compaction.compactedTo, 3000))
  })
}

test('compaction: reads that race with it see all that stays, and nothing twice', async () => {
  await using topic = new Topic(SeededRandom.fresh())
  await topic.open()
  await topic.opened.createLog('carts', settings)
  await topic.appendMany(200, 20)
  await sealed(topic.log)
  const { compaction } = topic.log
  const compacted = compaction.run(noPause)
  const seen: { offset: number }[][] = []
  do {
    seen.push(await fetched(topic.log))
    for (const key of ['k1', 'k2', 'k3']) {
      const versions = (await streamOf(topic.log, key)).map(({ version }) => version)
      assert.equal(versions.at(-1), topic.written.findLast((record) => record.key === key)?.version)
    }
  } while (compaction.stats.compactions === 0)
  await compacted
  const wanted = topic.expected(topic.log.compaction.compactedTo, 3000)
  for (const records of seen) {
    const offsets = records.map(({ offset }) => offset)
    assert.deepEqual(
      offsets,
      [...new Set(offsets)].toSorted((a, b) => a - b),
    )
    const there = new Set(offsets)
    for (const { offset } of wanted) assert.ok(there.has(offset))
  }
  await check(topic, wanted)
  await topic[Symbol.asyncDispose]()
})

test('compaction: a retry is still known when the records of its batch are gone', async () => {
  await using topic = new Topic(SeededRandom.fresh())
  await topic.open()
  await topic.opened.createLog('carts', settings)
  const batch = encodeRecordBatch([{ key: 'k1', value: 'x', timestamp: 1 }], {
    producerId: 7,
    producerEpoch: 0,
    baseSequence: 0,
  })
  const first = await topic.log.append({ batch: Buffer.from(batch), expected: [], wantVersions: false, acks: 'all' })
  await topic.appendMany(150, 5)
  await sealed(topic.log)
  await topic.log.compaction.run(noPause)
  assert.notEqual((await fetched(topic.log))[0]?.offset, 0)
  await topic[Symbol.asyncDispose]()
  topic.checkpointStore = new MemoryCheckpointStore()
  await topic.open()
  const again = await topic.log.append({ batch, expected: [], wantVersions: false, acks: 'all' })
  assert.deepEqual([again.duplicate, again.baseOffset], [true, first.baseOffset])
  await topic[Symbol.asyncDispose]()
})

/** Holds the next opening of a segment for reading until it is let go. */
class HeldFileSystem extends MemoryFileSystem {
  isArmed = false
  readonly #gate = Promise.withResolvers<void>()

  letGo(): void {
    this.#gate.resolve()
  }

  override async open(path: string, mode: 'read' | 'write' | 'create'): Promise<File> {
    const isHeld = this.isArmed && mode === 'read' && path.endsWith('.log')
    this.isArmed &&= !isHeld
    if (isHeld) await this.#gate.promise
    return super.open(path, mode)
  }
}

test('compaction: a read that was planned before a segment was rewritten and opens it afterwards is planned again', async () => {
  await using topic = new Topic(SeededRandom.fresh())
  const fileSystem = new HeldFileSystem()
  await topic.open(fileSystem)
  await topic.opened.createLog('carts', settings)
  await topic.appendMany(120, 5)
  await sealed(topic.log)
  await topic[Symbol.asyncDispose]()
  await topic.open(fileSystem) // nothing is open
  fileSystem.isArmed = true
  const reading = topic.log.read({ offset: 0, maxBytes: 1e6, limitOffset: Infinity })
  await until(() => !fileSystem.isArmed)
  const compacting = topic.log.compaction.run(noPause)
  const first = fileSystem.paths.find((path) => path.endsWith('.log'))!
  const before = fileSystem.bytes(first).length
  await until(() => fileSystem.bytes(first).length < before)
  fileSystem.letGo()
  const { batches } = await reading
  await compacting
  assert.ok(batches.length > 0)
  assert.deepEqual(topic.log.damage, [])
  await check(topic, topic.expected(topic.log.compaction.compactedTo, 3000))
  await topic[Symbol.asyncDispose]()
})
