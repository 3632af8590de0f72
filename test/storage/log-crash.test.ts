/**
 * Random appends, reads, power cuts and restarts of one log on a simulated disk, against a model that knows what was promised:
 * what was acknowledged is there at its offset; what a reader saw stays; a retry never duplicates; versions are contiguous in offset order.
 * A failing run prints its seed: run it again with PLAYHEAD_TEST_SEED=<seed>.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { FileSystem } from '../../platform/file-system.ts'
import { isPlayheadError } from '../../protocol/errors.ts'
import { encodeRecordBatch } from '../../protocol/record-batch.ts'
import type { Appended, Log } from '../../storage/log.ts'
import { MemoryCheckpointStore } from '../../storage/memory-checkpoint-store.ts'
import { FRAME_BYTES, SEGMENT_HEADER_BYTES } from '../../storage/segment-format.ts'
import { eventsOf, recordsOf } from './log-contents.ts'
import { SeededRandom } from './seeded-random.ts'
import { SimulatedDisk } from './simulated-disk.ts'
import { append, group, StoreUnderTest, until } from './store-under-test.ts'

/** More for a long search: PLAYHEAD_TEST_RUNS=100. */
const runs = Number(process.env['PLAYHEAD_TEST_RUNS'] ?? 3)
const streams = ['a', 'b', 'c', 'd', 'e']

/** One batch, and what is known of its fate. */
interface Attempt {
  readonly records: readonly { key: string; value: string }[]
  readonly baseSequence: number
  readonly expected: readonly { stream: string; version: number }[]
  appended?: Appended
  refused?: boolean
}

class CrashModel {
  readonly random: SeededRandom
  readonly disk: SimulatedDisk
  readonly attempts: Attempt[] = []
  /** What some reader saw, from offset 0 on, whether it is still there or not. */
  seen: string[] = []
  /** Where the log was told to begin. */
  start = 0
  checkpointStore = new MemoryCheckpointStore()
  opened: StoreUnderTest | undefined
  nextSequence = 0
  crashes = 0
  #counter = 0

  constructor(random: SeededRandom) {
    this.random = random
    this.disk = new SimulatedDisk(random)
  }

  get log(): Log {
    assert.ok(this.opened !== undefined)
    return this.opened.store.log('carts', 0)
  }

  async open(): Promise<void> {
    this.opened = await StoreUnderTest.open('/data', {
      fileSystem: this.disk.mount(),
      clock: this.disk.clock(),
      checkpointStore: this.checkpointStore,
      settings: {
        idleFloorMs: 1 + this.random.below(5),
        groupBytesMax: 8192,
        allocationBytesMin: 64 * 1024,
        tailCacheBytes: this.random.below(2) * 100_000,
        checkpointIntervalMs: 0,
        openSegmentsMax: 2,
      },
    })
  }

  newAttempt(): Attempt {
    const count = 1 + this.random.below(3)
    const large = this.random.below(4) === 0
    const records = Array.from({ length: count }, () => {
      this.#counter++
      return {
        key: this.random.pick(streams),
        value: `${this.#counter}-${'x'.repeat(large ? this.random.below(60_000) : 10)}`,
      }
    })
    const expected =
      this.random.below(3) === 0
        ? streams.slice(0, 2).map((stream) => ({
            stream,
            version: this.log.streamInfo(stream, Infinity).lastVersion - this.random.below(2),
          }))
        : []
    const attempt = {
      records,
      baseSequence: this.nextSequence,
      expected: expected.filter(({ version }) => version >= -1),
    }
    this.nextSequence += count
    this.attempts.push(attempt)
    return attempt
  }

  /** Sends; what came of it is noted in the attempt. Never rejects for an expected reason. */
  async send(attempt: Attempt): Promise<void> {
    const records = attempt.records.map((record) => ({ ...record, timestamp: 1 }))
    const batch = encodeRecordBatch(records, { producerId: 1, producerEpoch: 0, baseSequence: attempt.baseSequence })
    try {
      const appended = await this.log.append({ batch, expected: attempt.expected, wantVersions: true, acks: 'all' })
      if (attempt.appended !== undefined)
        assert.equal(appended.baseOffset, attempt.appended.baseOffset, 'a retry has the first offset')
      attempt.appended = appended
    } catch (error) {
      if (!isPlayheadError(error)) throw error
      // A refusal that a crash made the broker forget: later sequences are there, so this one never will be.
      const forgotten = error.code === 'outOfOrderSequence' && attempt.expected.length > 0 && this.crashes > 0
      if (error.code === 'wrongExpectedVersion' || forgotten) attempt.refused = true
      else assert.ok(['storageFailed', 'stopping'].includes(error.code), `${error.code}: ${error.message}`)
    }
  }

  async look(): Promise<void> {
    const { logStartOffset } = this.log
    assert.ok(logStartOffset >= this.start, 'the start never goes back')
    const records = await recordsOf(this.log, logStartOffset, 20_000)
    const before = this.seen.slice(logStartOffset)
    assert.deepEqual(records.slice(0, before.length), before, 'what was seen stays')
    this.seen = [...this.seen.slice(0, logStartOffset), ...records]
  }

  /** Gives up some of what has been seen; what the disk does with it, nobody waits for. */
  async trim(): Promise<void> {
    await this.look()
    const { log } = this
    try {
      this.start = await log.deleteRecords(this.random.below(this.seen.length + 1))
      log.retention.letGo().catch(() => undefined)
    } catch (error) {
      assert.ok(isPlayheadError(error), String(error))
    }
  }

  /** Everything that was promised holds. */
  async check(): Promise<void> {
    const { log } = this
    assert.deepEqual(log.damage, [])
    assert.equal(log.durableOffset, log.logEndOffset)
    await this.look()
    const records = this.seen
    assert.equal(new Set(records).size, records.length, 'nothing is there twice')
    const attempted = new Set(
      this.attempts.flatMap((attempt) => attempt.records.map(({ key, value }) => `${key}=${value}`)),
    )
    for (const record of records) assert.ok(attempted.has(record))
    const { logStartOffset } = log
    for (const { appended, refused, records: sent } of this.attempts) {
      const texts = sent.map(({ key, value }) => `${key}=${value}`)
      if (appended !== undefined)
        assert.deepEqual(
          records.slice(appended.baseOffset, appended.endOffset),
          texts,
          'what was acknowledged is there',
        )
      else if (refused === true) assert.ok(!records.includes(texts[0] ?? ''), 'what was refused is not there')
    }
    for (const stream of streams) {
      const expected = records
        .map((text, offset) => ({ text, offset }))
        .filter(({ text }) => text.startsWith(`${stream}=`))
        .map(({ text, offset }, version) => ({ text: `${version}${text.slice(1)}`, offset }))
      const there = expected.filter(({ offset }) => offset >= logStartOffset).map(({ text }) => text)
      assert.deepEqual(await eventsOf(log, stream), there)
      assert.equal(log.streamInfo(stream, Infinity).lastVersion, expected.length - 1)
    }
  }
}

async function run(model: CrashModel, rounds: number): Promise<void> {
  const { random } = model
  await model.open()
  await model.opened?.createLog('carts', { 'segment.bytes': '1048576' })
  for (let round = 0; round < rounds; round++) {
    const sends = Array.from({ length: 1 + random.below(12) }, () => model.send(model.newAttempt()))
    if (random.below(4) === 0) await model.look()
    if (random.below(3) === 0) void model.log.checkpointer.save()
    if (random.below(8) === 0) await model.trim()
    for (let turns = random.below(30); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve))
    const fate = random.below(6)
    if (fate > 1) await Promise.all(sends)
    if (fate === 2) await new Promise((resolve) => setTimeout(resolve, 8)) // idle: floors and checkpoints
    if (fate === 3) {
      await model.opened?.[Symbol.asyncDispose]()
      if (random.below(2) === 0) model.checkpointStore = new MemoryCheckpointStore()
      await model.open()
      await model.check()
    }
    if (fate < 2) await crash(model)
  }
  await model.check()
  await model.opened?.[Symbol.asyncDispose]()
}

/** Power cut with everything under way; restart, itself cut off sometimes; then whatever was not answered is sent again, in order. */
async function crash(model: CrashModel): Promise<void> {
  model.crashes++
  model.disk.cutPower()
  if (model.random.below(3) === 0) model.checkpointStore = new MemoryCheckpointStore()
  while (model.random.below(3) === 0) {
    model.open().catch(() => undefined)
    for (let turns = model.random.below(100); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve))
    model.disk.cutPower()
  }
  await model.open()
  await model.check()
  for (const attempt of model.attempts)
    if (attempt.appended === undefined && attempt.refused !== true) await model.send(attempt)
  await model.check()
}

test('crash: power cuts at random moments on a disk that keeps any mixture of unsynced sectors', async () => {
  const first = SeededRandom.fresh()
  for (let seed = first.seed; seed < first.seed + runs; seed++) {
    const model = new CrashModel(new SeededRandom(seed))
    try {
      await run(model, 40)
    } catch (error) {
      model.disk.cutPower() // ends what still runs
      throw new Error(`seed ${seed}: PLAYHEAD_TEST_SEED=${seed} repeats it`, { cause: error })
    }
  }
})

test('crash: what a failed sync left in memory only is made durable before it is served (then the power goes)', async () => {
  const disk = new SimulatedDisk(SeededRandom.fresh())
  const open = () =>
    StoreUnderTest.open('/data', { fileSystem: disk.mount(), clock: disk.clock(), settings: { idleFloorMs: 1e6 } })
  const first = await open()
  const log = await first.createLog()
  await append(log, 'a=0')
  disk.failNextSync = true
  await assert.rejects(append(log, 'a=1', `b=${'x'.repeat(5000)}`), (error) => isPlayheadError(error, 'storageFailed'))
  assert.equal(first.failures.length, 1)
  disk.endProcess()
  const second = await open()
  const seen = await recordsOf(second.store.log('carts', 0))
  assert.equal(seen.length, 3, 'the page cache shows it')
  disk.cutPower()
  const third = await open()
  const found = third.store.log('carts', 0)
  assert.deepEqual([await recordsOf(found), found.damage], [seen, []])
  await third[Symbol.asyncDispose]()
})

test('crash: so is a frame without a batch that straddles two sectors, which nothing but the failed sync would have carried', async () => {
  const disk = new SimulatedDisk(SeededRandom.fresh())
  const open = () =>
    StoreUnderTest.open('/data', { fileSystem: disk.mount(), clock: disk.clock(), settings: { idleFloorMs: 1 } })
  // The frame that follows this batch begins 16 bytes before the end of a sector.
  const endOf = (text: string) => SEGMENT_HEADER_BYTES + FRAME_BYTES + group([text]).batch.length
  const text = Array.from({ length: 600 }, (_, count) => `a=${'x'.repeat(count)}`).find((it) => endOf(it) % 512 === 496)
  assert.ok(text !== undefined)
  const first = await open()
  const log = await first.createLog()
  await append(log, text)
  await until(() => log.stats.floorFrames === 1)
  disk.failNextSync = true
  await assert.rejects(append(log, `b=${'x'.repeat(5000)}`), (error) => isPlayheadError(error, 'storageFailed'))
  disk.endProcess()
  try {
    const second = await open()
    const seen = await recordsOf(second.store.log('carts', 0))
    disk.cutPower()
    await using third = await open()
    const found = third.store.log('carts', 0)
    assert.deepEqual([await recordsOf(found), found.damage], [seen, []])
  } finally {
    disk.endProcess()
  }
})

test('crash: names that a killed run may have made and not synced are made durable at the start, before anything is promised in them', async () => {
  const disk = new SimulatedDisk(SeededRandom.fresh())
  const synced: string[] = []
  const open = (fileSystem: FileSystem) => StoreUnderTest.open('/data', { fileSystem, clock: disk.clock() })
  const log = await (await open(disk.mount())).createLog()
  await append(log, 'a=0')
  disk.endProcess()
  const mounted = disk.mount()
  const syncDirectory = mounted.syncDirectory.bind(mounted)
  mounted.syncDirectory = (path) => {
    synced.push(path.replace(/[0-9a-f-]{36}/, 'topic'))
    return syncDirectory(path)
  }
  const second = await open(mounted)
  const atStart = new Set(synced)
  await second[Symbol.asyncDispose]()
  disk.endProcess()
  for (const path of ['/data', '/data/topics/topic', '/data/topics/topic/0']) assert.ok(atStart.has(path), path)
})
