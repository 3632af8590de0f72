/** Recovery on real files: what a crash may leave at the end of a log, and what is damage. */
import assert from 'node:assert/strict'
import { cp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { isPlayheadError, PlayheadError } from '../../protocol/errors.ts'
import type { CheckpointStore } from '../../storage/checkpoint-store.ts'
import { MemoryCheckpointStore } from '../../storage/memory-checkpoint-store.ts'
import { FRAME_BYTES, SEGMENT_HEADER_BYTES } from '../../storage/segment-format.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { FaultyFileSystem } from './faulty-file-system.ts'
import { recordsOf } from './log-contents.ts'
import { pathsIn } from './paths-in.ts'
import { append, group, sealed, StoreUnderTest, until } from './store-under-test.ts'
import type { StoreOptions } from './store-under-test.ts'

/** What kill -9 leaves: a copy of the directory while the store is open. The lock of the living process stays behind. */
async function crashCopy(from: string, to: string): Promise<void> {
  await cp(from, to, { recursive: true })
  await rm(join(to, 'lock'), { force: true })
}

async function onlySegment(directory: string): Promise<string> {
  const [path, ...others] = await pathsIn(directory, '.log')
  assert.ok(path !== undefined && others.length === 0)
  return path
}

interface Reopened {
  readonly records: string[]
  readonly damage: string[]
  readonly endOffset: number
}

/** Opens the directory, looks at carts/0, appends one event, closes; opens again and checks that all of that is there. */
async function reopen(directory: string, options: StoreOptions = {}): Promise<Reopened> {
  let found: Reopened
  {
    await using opened = await StoreUnderTest.open(directory, options)
    const log = opened.store.log('carts', 0)
    found = { records: await recordsOf(log), damage: log.damage, endOffset: log.logEndOffset }
    assert.equal(log.durableOffset, log.logEndOffset)
    assert.equal((await append(log, 'after=x')).baseOffset, found.endOffset)
  }
  await using again = await StoreUnderTest.open(directory)
  assert.deepEqual(await recordsOf(again.store.log('carts', 0)), [...found.records, 'after=x'])
  return found
}

test('recovery: after a clean stop everything is there and nothing is read but the tail', async () => {
  await using directory = await TemporaryDirectory.make()
  const checkpointStore = new MemoryCheckpointStore() // outlives its broker, as the cache on disk does
  {
    await using opened = await StoreUnderTest.open(directory.path, { checkpointStore })
    const log = await opened.createLog('carts', { 'segment.bytes': '1048576' })
    for (let round = 0; round < 40; round++) await append(log, 'a=1', `b=${'x'.repeat(100_000)}`)
    await sealed(log)
  }
  const reading = await bytesRead(directory.path, checkpointStore)
  assert.ok(reading.bytes < 250_000, `${reading.bytes} bytes read`) // the last batch, headers and footers; of 4 MB
  assert.deepEqual([reading.endOffset, reading.version, reading.epoch], [80, 40, 1])
})

test('recovery: after kill -9 only what came after the checkpoint is read', async () => {
  await using directory = await TemporaryDirectory.make()
  const checkpointStore = new MemoryCheckpointStore()
  const live = join(directory.path, 'live')
  await using opened = await StoreUnderTest.open(live, {
    checkpointStore,
    settings: { checkpointIntervalMs: 1e9, allocationBytesMin: 65_536 },
  })
  const log = await opened.createLog()
  for (let round = 0; round < 40; round++) await append(log, 'a=1', `b=${'x'.repeat(100_000)}`)
  await log.checkpointer.save()
  await append(log, 'a=1', 'b=tail')
  const copy = join(directory.path, 'copy')
  await crashCopy(live, copy)
  await truncate(await onlySegment(copy), log.sizeBytes) // zeros behind the end are looked at too, but are not what this is about
  const reading = await bytesRead(copy, checkpointStore)
  assert.ok(reading.bytes < 250_000, `${reading.bytes} bytes read`)
  assert.deepEqual([reading.endOffset, reading.version], [82, 41])
})

/** Opens and closes the store, and answers what was read from segments and sidecars for it. */
async function bytesRead(directory: string, checkpointStore: CheckpointStore) {
  let bytes = 0
  const fileSystem = new FaultyFileSystem()
  fileSystem.faults = {
    read: (path, count) => {
      if (path.includes('/topics/')) bytes += count
    },
  }
  await using opened = await StoreUnderTest.open(directory, { checkpointStore, fileSystem })
  const read = bytes
  const log = opened.store.log('carts', 0)
  const { versions } = await log.append(group(['a=2'], { wantVersions: true }))
  assert.deepEqual(log.damage, [])
  return { bytes: read, endOffset: log.logEndOffset - 1, version: versions[0], epoch: opened.store.epoch }
}

test('recovery: an abandoned store (kill -9) loses nothing that was acknowledged', async () => {
  await using directory = await TemporaryDirectory.make()
  await using opened = await StoreUnderTest.open(join(directory.path, 'live'))
  const log = await opened.createLog()
  const written: string[] = []
  for (let round = 0; round < 20; round++) {
    const records = [`s${round % 3}=${round}`, `t=${round}`]
    await append(log, ...records)
    written.push(...records)
    if (round % 5 !== 0) continue
    const copy = join(directory.path, `copy-${round}`)
    await crashCopy(join(directory.path, 'live'), copy)
    assert.deepEqual((await reopen(copy)).records, written)
  }
})

test('recovery: a last batch torn at every byte is cut, everything before it stays (3 batches of 2)', async () => {
  await using directory = await TemporaryDirectory.make()
  const live = join(directory.path, 'live')
  const sizes: number[] = []
  const opened = await StoreUnderTest.open(live, { settings: { idleFloorMs: 1_000_000 } })
  const log = await opened.createLog()
  for (const round of [0, 1, 2]) {
    await append(log, `a=${round}`, `b=${round}`)
    sizes.push(log.sizeBytes)
  }
  await crashCopy(live, join(directory.path, 'crashed'))
  await opened[Symbol.asyncDispose]()
  const segment = await onlySegment(join(directory.path, 'crashed'))
  const bytes = await readFile(segment)
  const [, lastStart = 0, lastEnd = 0] = sizes
  for (let cut = lastStart; cut < lastEnd; cut++) {
    const torn = Buffer.from(bytes)
    torn.fill(0, cut, lastEnd)
    if (torn.equals(bytes)) continue // the last bytes of the batch are zeros anyway
    await writeFile(segment, torn)
    await using reopened = await StoreUnderTest.open(join(directory.path, 'crashed'))
    const found = reopened.store.log('carts', 0)
    assert.deepEqual([cut, await recordsOf(found), found.damage], [cut, ['a=0', 'b=0', 'a=1', 'b=1'], []])
  }
  await writeFile(segment, bytes)
  assert.equal((await reopen(join(directory.path, 'crashed'))).records.length, 6)
})

test('recovery: a file that ends anywhere inside its last batch is cut there (truncated at every byte)', async () => {
  await using directory = await TemporaryDirectory.make()
  const live = join(directory.path, 'live')
  const opened = await StoreUnderTest.open(live, { settings: { idleFloorMs: 1_000_000 } })
  const log = await opened.createLog()
  await append(log, 'a=0')
  const start = log.sizeBytes
  await append(log, 'a=1')
  const end = log.sizeBytes
  const copy = join(directory.path, 'copy')
  await crashCopy(live, copy)
  await opened[Symbol.asyncDispose]()
  const segment = await onlySegment(copy)
  const bytes = await readFile(segment)
  for (let size = start; size < end; size += 1) {
    await writeFile(segment, bytes.subarray(0, size))
    await using reopened = await StoreUnderTest.open(copy)
    assert.deepEqual(await recordsOf(reopened.store.log('carts', 0)), ['a=0'])
  }
})

test('recovery: stale frames behind the cut never come back (torn batch in front of a sound one of the same write)', async () => {
  await using directory = await TemporaryDirectory.make()
  const live = join(directory.path, 'live')
  const opened = await StoreUnderTest.open(live, { settings: { idleFloorMs: 1_000_000 } })
  const log = await opened.createLog()
  await append(log, 'a=0')
  const start = log.sizeBytes
  await Promise.all([append(log, 'a=1'), append(log, 'a=2'), append(log, 'a=3')]) // one group: none of them proves another
  const copy = join(directory.path, 'copy')
  await crashCopy(live, copy)
  await opened[Symbol.asyncDispose]()
  const segment = await onlySegment(copy)
  const bytes = await readFile(segment)
  bytes.fill(0, start, start + FRAME_BYTES)
  await writeFile(segment, bytes)
  const { records, damage } = await reopen(copy)
  assert.deepEqual([records, damage], [['a=0'], []])
})

/** Appends 4 batches of 2, each in a group of its own, lets the log write its floor, and answers the positions of the batches. */
async function provenLog(directory: string, floor: boolean): Promise<number[]> {
  const opened = await StoreUnderTest.open(`${directory}/live`, { settings: { idleFloorMs: floor ? 5 : 1_000_000 } })
  const log = await opened.createLog()
  const positions: number[] = []
  for (const round of [0, 1, 2, 3]) {
    positions.push(round === 0 ? SEGMENT_HEADER_BYTES : log.sizeBytes)
    await append(log, `a=${round}`, `b=${round}`)
  }
  if (floor) await until(() => log.stats.floorFrames > 0)
  await crashCopy(`${directory}/live`, `${directory}/copy`)
  await opened[Symbol.asyncDispose]()
  return positions
}

for (const damaged of [0, 1, 2, 3]) {
  test(`recovery: a flipped byte in batch ${damaged} of 4, all proven durable, is damage: never served, never cut`, async () => {
    await using directory = await TemporaryDirectory.make()
    const positions = await provenLog(directory.path, true)
    const copy = join(directory.path, 'copy')
    const segment = await onlySegment(copy)
    const bytes = await readFile(segment)
    bytes[positions[damaged]! + FRAME_BYTES + 70]! ^= 0x10
    await writeFile(segment, bytes)
    await using opened = await StoreUnderTest.open(copy)
    const log = opened.store.log('carts', 0)
    assert.equal(log.damage.length, 1)
    assert.match(log.damage[0]!, new RegExp(`byte ${positions[damaged]}, offsets ${damaged * 2} to ${damaged * 2 + 1}`))
    assert.equal(log.logEndOffset, 8)
    for (const batch of [0, 1, 2, 3]) {
      const read = () => log.read({ offset: batch * 2, maxBytes: 1, limitOffset: Infinity })
      if (batch !== damaged) assert.equal((await read()).nextOffset, batch * 2 + 2)
      else {
        await assert.rejects(read(), (error: unknown) => {
          assert.ok(isPlayheadError(error, 'corruptBatch'))
          assert.deepEqual(error.details, {
            file: segment,
            position: positions[damaged]!,
            offset: damaged * 2,
            nextOffset: damaged * 2 + 2,
          })
          return true
        })
      }
    }
    assert.equal((await append(log, 'a=later')).baseOffset, 8)
    const after = await readFile(segment)
    assert.ok(after.subarray(0, bytes.length).equals(bytes), 'the bytes are kept as they are')
    await using again = await openAgain(opened, copy)
    assert.equal(again.store.log('carts', 0).logEndOffset, 9)
    assert.equal(again.store.log('carts', 0).damage.length, 1)
  })
}

async function openAgain(opened: StoreUnderTest, directory: string): Promise<StoreUnderTest> {
  await opened[Symbol.asyncDispose]()
  return StoreUnderTest.open(directory)
}

test('recovery: the same flip in the last batch, not proven durable, is a torn tail', async () => {
  await using directory = await TemporaryDirectory.make()
  const positions = await provenLog(directory.path, false)
  const copy = join(directory.path, 'copy')
  const segment = await onlySegment(copy)
  const bytes = await readFile(segment)
  bytes[positions[3]! + FRAME_BYTES + 70]! ^= 0x10
  await writeFile(segment, bytes)
  const { records, damage } = await reopen(copy)
  assert.deepEqual([records.length, damage], [6, []])
})

test('recovery: an end that a checkpoint had seen durable and that is gone is damage', async () => {
  await using directory = await TemporaryDirectory.make()
  const checkpointStore = new MemoryCheckpointStore()
  const opened = await StoreUnderTest.open(join(directory.path, 'live'), { checkpointStore })
  const log = await opened.createLog()
  await append(log, 'a=0')
  const end = log.sizeBytes
  await append(log, 'a=1')
  await opened[Symbol.asyncDispose]()
  const segment = await onlySegment(join(directory.path, 'live'))
  await truncate(segment, end)
  await using again = await StoreUnderTest.open(join(directory.path, 'live'), { checkpointStore })
  const found = again.store.log('carts', 0)
  assert.deepEqual([found.logEndOffset, found.damage.length], [2, 1])
  await assert.rejects(found.read({ offset: 1, maxBytes: 1, limitOffset: Infinity }), (error) =>
    isPlayheadError(error, 'corruptBatch'),
  )
  assert.equal((await append(found, 'a=2')).baseOffset, 2)
})

test('recovery: a damaged header is named, and the log is served from its frames', async () => {
  await using directory = await TemporaryDirectory.make()
  await provenLog(directory.path, true)
  const copy = join(directory.path, 'copy')
  const segment = await onlySegment(copy)
  const bytes = await readFile(segment)
  bytes[20]! ^= 1
  await writeFile(segment, bytes)
  const { records, damage } = await reopen(copy)
  assert.equal(records.length, 8)
  assert.match(damage[0]!, /header is damaged/)
})

test('recovery: a first segment that was not finished is removed (empty, zeros only, half a header)', async () => {
  for (const content of [Buffer.alloc(0), Buffer.alloc(1024 * 1024), Buffer.from('PLAYHEAD')]) {
    await using directory = await TemporaryDirectory.make()
    const opened = await StoreUnderTest.open(directory.path)
    const log = await opened.createLog()
    await append(log, 'a=0')
    await opened[Symbol.asyncDispose]()
    const segment = await onlySegment(directory.path)
    await writeFile(segment, content)
    assert.deepEqual((await reopen(directory.path)).records, [])
  }
})

test('recovery: a file of another log, or without anything readable, is refused by name', async () => {
  await using directory = await TemporaryDirectory.make()
  const opened = await StoreUnderTest.open(directory.path)
  await append(await opened.createLog('carts'), 'a=0')
  await append(await opened.createLog('other'), 'b=0')
  await opened[Symbol.asyncDispose]()
  const [one, two] = await pathsIn(directory.path, '.log')
  const bytes = await readFile(one!)
  await writeFile(one!, await readFile(two!))
  await assert.rejects(
    StoreUnderTest.open(directory.path),
    (error) => error instanceof PlayheadError && error.code === 'damagedData' && error.message.includes(one!),
  )
  await writeFile(one!, bytes.fill(0xaa))
  await assert.rejects(
    StoreUnderTest.open(directory.path),
    (error) => error instanceof PlayheadError && error.code === 'damagedData' && error.message.includes(one!),
  )
})

test('recovery: producers are known again, from the log alone (no checkpoint)', async () => {
  await using directory = await TemporaryDirectory.make()
  const producer = (baseSequence: number) => ({ producerId: 9, producerEpoch: 2, baseSequence })
  const opened = await StoreUnderTest.open(directory.path)
  const log = await opened.createLog()
  await log.append(group(['a=0', 'a=1'], { batchOptions: producer(0) }))
  await log.append(group(['a=2'], { batchOptions: producer(2) }))
  await opened[Symbol.asyncDispose]()
  await using again = await StoreUnderTest.open(directory.path)
  const found = again.store.log('carts', 0)
  const retried = await found.append(group(['a=0', 'a=1'], { batchOptions: producer(0), wantVersions: true }))
  assert.deepEqual([retried.duplicate, retried.baseOffset, retried.versions], [true, 0, [0, 1]])
  assert.deepEqual(found.producerState(9), { producerEpoch: 2, lastSequence: 2, lastOffset: 2 })
})

test('recovery: running it three times without an append changes no byte after the first', async () => {
  await using directory = await TemporaryDirectory.make()
  await provenLog(directory.path, false)
  const copy = join(directory.path, 'copy')
  const segment = await onlySegment(copy)
  const contents: Buffer[] = []
  for (const _ of [1, 2, 3]) {
    await (await StoreUnderTest.open(copy))[Symbol.asyncDispose]()
    contents.push(await readFile(segment))
  }
  assert.ok(contents[1]!.equals(contents[0]!) && contents[2]!.equals(contents[0]!))
})

test('recovery: an index made again from 8 segments without sidecars is saved on the way, when it is over its memory', async () => {
  await using directory = await TemporaryDirectory.make()
  {
    await using opened = await StoreUnderTest.open(directory.path)
    const log = await opened.createLog('carts', { 'segment.bytes': '1048576' })
    for (let round = 0; round < 8; round++) {
      const records = Array.from({ length: 500 }, (_, place) => `stream-${round}-${place}=${'x'.repeat(1_800)}`)
      await append(log, ...records)
    }
  }
  for (const name of await readdir(directory.path, { recursive: true }))
    if (name.endsWith('.idx')) await rm(join(directory.path, name))
  await using again = await StoreUnderTest.open(directory.path, { settings: { indexMemoryBytes: 400_000 } })
  const log = again.store.log('carts', 0)
  const { indexBytes } = log.checkpointer
  assert.ok(indexBytes < 200_000, `${indexBytes} bytes of the index in memory`)
  assert.deepEqual(
    ['stream-0-0', 'stream-7-499'].map((stream) => log.streamInfo(stream, Infinity).lastVersion),
    [0, 0],
  )
})
