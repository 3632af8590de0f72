/** What one log holds in memory and asks of a disk that does not answer, or says no, for long. */
import assert from 'node:assert/strict'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '../../platform/clock.ts'
import type { Clock } from '../../platform/clock.ts'
import { isPlayheadError } from '../../protocol/errors.ts'
import { encodeRecordBatch } from '../../protocol/record-batch.ts'
import { MemoryCheckpointStore } from '../../storage/memory-checkpoint-store.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { FaultyCheckpointStore } from './faulty-checkpoint-store.ts'
import { FaultyFileSystem, noSpace } from './faulty-file-system.ts'
import { eventsOf } from './log-contents.ts'
import { append, group, StoreUnderTest, until } from './store-under-test.ts'

const KiB = 1024

/** Monotonic time moves only when the test says so. */
function steppedClock(): { clock: Clock; advance: (ms: number) => void } {
  let nowMs = 0
  return {
    clock: { ...systemClock, monotonicMs: () => nowMs },
    advance: (ms) => {
      nowMs += ms
    },
  }
}

test('bounds: a sync that stalls and appends that do not wait (acks none): a few are taken in, the others wait and then succeed', async () => {
  await using directory = await TemporaryDirectory.make()
  const fileSystem = new FaultyFileSystem()
  const settings = { pendingBytesMax: 256 * KiB, groupBytesMax: 64 * KiB }
  await using opened = await StoreUnderTest.open(directory.path, { fileSystem, settings })
  const log = await opened.createLog()
  await append(log, 'a=0')
  const stall = Promise.withResolvers<void>()
  fileSystem.faults = { sync: () => stall.promise }
  const value = `a=${'x'.repeat(30 * KiB)}`
  const appends = Array.from({ length: 40 }, () => log.append(group([value], { acks: 'none' })))
  for (let turn = 0; turn < 100; turn++) await systemClock.yield()
  const taken = log.logEndOffset
  stall.resolve()
  fileSystem.faults = {}
  await Promise.all(appends)
  assert.equal(log.logEndOffset, 41)
  assert.ok(taken > 8 && taken < 14, `${taken} taken in during the stall`)
})

test('bounds: a sync that stalls and then fails while appends wait: each is answered or told why, and no rejection is left over', async () => {
  await using directory = await TemporaryDirectory.make()
  const fileSystem = new FaultyFileSystem()
  const settings = { pendingBytesMax: 256 * KiB, groupBytesMax: 64 * KiB }
  const opened = await StoreUnderTest.open(directory.path, { fileSystem, settings })
  const log = await opened.createLog()
  await append(log, 'a=0')
  const stall = Promise.withResolvers<void>()
  let stalled = false
  fileSystem.faults = {
    sync: () => {
      stalled = true
      return stall.promise
    },
  }
  const value = `a=${'x'.repeat(30 * KiB)}`
  const appends = Promise.allSettled(Array.from({ length: 40 }, () => log.append(group([value], { acks: 'none' }))))
  await until(() => stalled)
  stall.reject(new Error('EIO'))
  const refused = (await appends).flatMap((each) => (each.status === 'rejected' ? [each.reason] : []))
  assert.ok(refused.length > 20 && refused.every((error) => isPlayheadError(error, 'storageFailed')))
  for (let turn = 0; turn < 10; turn++) await systemClock.yield() // the runner hears of a rejection that nobody handles
  assert.equal(opened.failures.length, 1)
  fileSystem.faults = {}
  await assert.rejects(opened[Symbol.asyncDispose](), (error) => isPlayheadError(error, 'storageFailed'))
})

test('bounds: a full disk and 200 waiting appends are a few tries to allocate; what is smaller still fits, and later all goes on', async () => {
  await using directory = await TemporaryDirectory.make()
  const fileSystem = new FaultyFileSystem()
  const { clock, advance } = steppedClock()
  const settings = { diskFullPauseMs: 1000 }
  await using opened = await StoreUnderTest.open(directory.path, { fileSystem, clock, settings })
  const log = await opened.createLog()
  const large = () => append(log, `a=${'x'.repeat(300 * KiB)}`)
  for (let place = 0; place < 30; place++) await large()
  let freeBytes = 200 * KiB
  let tries = 0
  fileSystem.faults = {
    allocate: (path, bytes) => {
      tries++
      if (bytes > freeBytes) throw noSpace(path)
      freeBytes -= bytes
    },
  }
  const results = await Promise.allSettled(Array.from({ length: 200 }, large))
  const errors = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
  assert.ok(errors.length > 100 && errors.every((error) => isPlayheadError(error, 'diskFull')))
  assert.ok(tries < 10, `${tries} tries`)
  await append(log, `a=${'x'.repeat(40 * KiB)}`)
  await assert.rejects(large())
  assert.ok(tries < 14, `${tries} tries`)
  freeBytes = Infinity
  advance(1000)
  await large()
  assert.deepEqual(opened.failures, [])
})

test('bounds: a full disk and 100 appends that wait for the first segment are one try to make it', async () => {
  await using directory = await TemporaryDirectory.make()
  const fileSystem = new FaultyFileSystem()
  const { clock, advance } = steppedClock()
  const settings = { diskFullPauseMs: 1000 }
  await using opened = await StoreUnderTest.open(directory.path, { fileSystem, clock, settings })
  const log = await opened.createLog()
  let tries = 0
  fileSystem.faults = {
    allocate: (path) => {
      tries++
      throw noSpace(path)
    },
  }
  const results = await Promise.allSettled(Array.from({ length: 100 }, () => append(log, 'a=1')))
  assert.ok(results.every(({ status }) => status === 'rejected'))
  assert.equal(tries, 1)
  fileSystem.faults = {}
  advance(1000)
  assert.equal((await append(log, 'a=1')).baseOffset, 0)
})

test('bounds: a cache that cannot be written is tried again after 1 s, 2 s, 4 s … at most 60 s; stopping tries at once', async () => {
  await using directory = await TemporaryDirectory.make()
  const { clock, advance } = steppedClock()
  let writes = 0
  const checkpointStore = new FaultyCheckpointStore(new MemoryCheckpointStore(), () => {
    writes++
    return 'refused'
  })
  const settings = { saveRetryMsMin: 1000, checkpointIntervalMs: 0 }
  const opened = await StoreUnderTest.open(directory.path, { checkpointStore, clock, settings })
  const log = await opened.createLog()
  await append(log, 'a=0')
  const waited: number[] = []
  for (let seconds = 0; seconds < 200; seconds++) {
    const { failures } = log.checkpointer.stats
    await log.checkpointer.save()
    if (log.checkpointer.stats.failures > failures) waited.push(seconds)
    advance(1000)
  }
  assert.deepEqual(waited, [0, 1, 3, 7, 15, 31, 63, 123, 183])
  const before = writes
  await opened[Symbol.asyncDispose]()
  assert.equal(writes, before + 1)
})

test('bounds: 1,000 failed saves with an append between each leave the index as large as one failed save does; then all of it is saved', async () => {
  await using directory = await TemporaryDirectory.make()
  let fate: 'written' | 'refused' | 'written, but refused' = 'written'
  const inner = new MemoryCheckpointStore()
  const checkpointStore = new FaultyCheckpointStore(inner, () => fate)
  const settings = { checkpointIntervalMs: 1_000_000 }
  {
    await using opened = await StoreUnderTest.open(directory.path, { checkpointStore, settings })
    const log = await opened.createLog()
    await append(log, 'a=0')
    await log.checkpointer.save()
    for (let round = 1; round <= 1000; round++) {
      fate = round % 2 === 0 ? 'refused' : 'written, but refused'
      await append(log, `a=${round}`)
      await log.checkpointer.save()
    }
    assert.equal(log.checkpointer.stats.failures, 1000)
    // A table has some hundred bytes, an event of a stream that is there already has four.
    assert.ok(log.checkpointer.indexBytes < 20_000, `${log.checkpointer.indexBytes} bytes`)
    fate = 'written'
    await append(log, 'b=0')
    assert.deepEqual((await eventsOf(log, 'a')).length, 1001)
  }
  await using again = await StoreUnderTest.open(directory.path, { checkpointStore: inner, settings })
  const log = again.store.log('carts', 0)
  assert.equal(log.checkpointer.indexBytes < 1000, true)
  assert.deepEqual((await eventsOf(log, 'a')).at(-1), '1000=1000')
  assert.deepEqual(await eventsOf(log, 'b'), ['0=0'])
})

test('bounds: no active segment (the last one is damaged), an index beyond its memory and an empty cache: appends go on', async () => {
  await using directory = await TemporaryDirectory.make()
  {
    await using opened = await StoreUnderTest.open(directory.path)
    const log = await opened.createLog()
    for (let round = 0; round < 10; round++)
      await append(log, ...Array.from({ length: 500 }, (_, place) => `stream-${round}-${place}=v`))
  }
  const name = (await readdir(directory.path, { recursive: true })).find((each) => each.endsWith('.log')) ?? ''
  const bytes = await readFile(join(directory.path, name))
  bytes[500] = (bytes[500] ?? 0) ^ 1
  await writeFile(join(directory.path, name), bytes)
  await using opened = await StoreUnderTest.open(directory.path, { settings: { indexMemoryBytes: 64 * KiB } })
  const log = opened.store.log('carts', 0)
  assert.ok(log.checkpointer.indexBytes > 128 * KiB)
  // The memory in use is looked at by the schedule, a few times a second.
  const { saves } = log.checkpointer.stats
  while (log.checkpointer.stats.saves === saves) await new Promise((resolve) => setTimeout(resolve, 10))
  assert.equal((await append(log, 'a=1')).baseOffset, 5000)
  assert.deepEqual(await eventsOf(log, 'a'), ['0=1'])
})

/** Counts reads. */
class CountedStore extends FaultyCheckpointStore {
  reads = 0

  override get(key: Buffer): Buffer | undefined {
    this.reads++
    return super.get(key)
  }
}

test('bounds: a retry of 20,000 events of one stream that asks for versions looks the stream up once', async () => {
  await using directory = await TemporaryDirectory.make()
  const checkpointStore = new CountedStore(new MemoryCheckpointStore(), () => 'written')
  await using opened = await StoreUnderTest.open(directory.path, { checkpointStore })
  const log = await opened.createLog()
  const send = () => {
    const records = Array.from({ length: 20_000 }, (_, place) => ({ key: 'a', value: `${place}`, timestamp: 1 }))
    const batch = encodeRecordBatch(records, { producerId: 1, producerEpoch: 0, baseSequence: 0 })
    return log.append({ batch, expected: [], wantVersions: true, acks: 'all' })
  }
  await append(log, 'a=first')
  const first = await send()
  await log.checkpointer.save()
  checkpointStore.reads = 0
  const again = await send()
  assert.ok(again.duplicate)
  assert.deepEqual(again.versions, first.versions)
  assert.deepEqual([again.versions[0], again.versions.at(-1)], [1, 20_000])
  assert.ok(checkpointStore.reads < 20, `${checkpointStore.reads} reads`)
})

test('bounds: a wall clock that jumps two days ahead forgets no producer; two days that pass forget an idle one', async () => {
  await using directory = await TemporaryDirectory.make()
  const twoDaysMs = 2 * 24 * 3600 * 1000
  let jumpedMs = 0
  const { clock: stepped, advance } = steppedClock()
  const clock = { ...stepped, now: () => 1_800_000_000_000 + jumpedMs }
  await using opened = await StoreUnderTest.open(directory.path, { clock })
  const log = await opened.createLog()
  const send = (producerId: number, baseSequence: number) =>
    log.append(group(['a=1'], { batchOptions: { producerId, producerEpoch: 0, baseSequence } }))
  await send(1, 0)
  jumpedMs = twoDaysMs
  await send(2, 0)
  await log.checkpointer.save()
  assert.equal(log.producerState(1)?.lastSequence, 0)
  assert.ok((await send(1, 0)).duplicate)
  advance(twoDaysMs)
  await send(3, 0)
  await log.checkpointer.save()
  assert.equal(log.producerState(1), undefined)
  assert.equal(log.producerState(3)?.lastSequence, 0)
})
