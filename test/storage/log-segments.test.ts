/** Rolling, sealing and reading over several segments; what is derived is deleted and made again. */
import assert from 'node:assert/strict'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { test } from 'node:test'
import { systemClock } from '../../platform/clock.ts'
import { isPlayheadError } from '../../protocol/errors.ts'
import { encodeRecordBatch } from '../../protocol/record-batch.ts'
import type { Log } from '../../storage/log.ts'
import { MemoryCheckpointStore } from '../../storage/memory-checkpoint-store.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { FaultyCheckpointStore } from './faulty-checkpoint-store.ts'
import { eventsOf, recordsOf } from './log-contents.ts'
import { pathsIn } from './paths-in.ts'
import { append, StoreUnderTest, until } from './store-under-test.ts'
import type { StoreOptions } from './store-under-test.ts'

const smallSegments = { 'segment.bytes': '1048576', 'max.message.bytes': '4194304' }
/** No tail cache, few open files: everything is read from segments. */
const fromFiles: StoreOptions = { settings: { tailCacheBytes: 0, openSegmentsMax: 2 } }
const filler = 'x'.repeat(1000)

/** 60 batches of 100 events of about 1 KB: 6 segments. Event times go up and down; answers what was appended. */
async function fill(log: Log): Promise<string[]> {
  const written: string[] = []
  for (let batch = 0; batch < 60; batch++) {
    const records = Array.from({ length: 100 }, (_, place) => {
      const number = batch * 100 + place
      return { key: `s${number % 37}`, value: `${number}-${filler}`, timestamp: 1_000_000 + (number ^ 1) * 10 }
    })
    written.push(...records.map(({ key, value }) => `${key}=${value}`))
    const compression = batch % 10 === 3 ? 'gzip' : 'none'
    await log.append({
      batch: encodeRecordBatch(records, { compression }),
      expected: [],
      wantVersions: false,
      acks: 'all',
    })
  }
  return written
}

function eventsExpected(written: readonly string[], stream: string): string[] {
  const values = written.filter((text) => text.startsWith(`${stream}=`)).map((text) => text.slice(stream.length + 1))
  return values.map((value, version) => `${version}=${value}`)
}

async function checkReads(log: Log, written: readonly string[]): Promise<void> {
  assert.deepEqual(log.damage, [])
  assert.deepEqual(await recordsOf(log, 0, 300_000), written)
  assert.deepEqual(await recordsOf(log, 4567, 1), written.slice(4567))
  for (const stream of ['s0', 's17', 's36']) {
    const expected = eventsExpected(written, stream)
    assert.deepEqual(await eventsOf(log, stream, { limit: 50 }), expected)
    assert.deepEqual(await eventsOf(log, stream, { limit: 33, backwards: true }), expected.toReversed())
  }
  for (const number of [0, 1, 500, 2999, 5998]) {
    const wanted = 1_000_000 + number * 10
    // Times are in pairs, the later one first: the first record at or after an even number's time is the one before it in the log.
    assert.equal(await log.offsetForTime(wanted, 'event', Infinity), number - (number % 2))
  }
  assert.equal(await log.offsetForTime(1_000_000 + 6000 * 10, 'event', Infinity), 6000)
  assert.equal(await log.offsetForTime(0, 'append', Infinity), 0)
  assert.equal(await log.offsetForTime(systemClock.now() + 60_000, 'append', Infinity), 6000)
}

test('segments: 6 MB in 1 MiB segments are read back whole, from files, before and after sealing and restarts', async () => {
  await using directory = await TemporaryDirectory.make()
  const checkpointStore = new MemoryCheckpointStore()
  let written: string[]
  {
    await using opened = await StoreUnderTest.open(directory.path, { ...fromFiles, checkpointStore })
    const log = await opened.createLog('carts', smallSegments)
    written = await fill(log)
    assert.ok(log.segmentCount >= 5, `${log.segmentCount} segments`)
    await checkReads(log, written)
    await until(async () => (await pathsIn(directory.path, '.idx')).length === log.segmentCount - 1)
    await checkReads(log, written)
    assert.deepEqual(opened.reports, [])
  }
  for (const store of [checkpointStore, new MemoryCheckpointStore()]) {
    await using opened = await StoreUnderTest.open(directory.path, { ...fromFiles, checkpointStore: store })
    const log = opened.store.log('carts', 0)
    await checkReads(log, written)
    assert.deepEqual(opened.reports, [])
    assert.ok(opened.store.stats.openSegments <= 4)
  }
})

test('segments: sidecars that are missing, cut, or of another segment are made again', async () => {
  await using directory = await TemporaryDirectory.make()
  let written: string[]
  {
    await using opened = await StoreUnderTest.open(directory.path, fromFiles)
    const log = await opened.createLog('carts', smallSegments)
    written = await fill(log)
    await until(async () => (await pathsIn(directory.path, '.idx')).length === log.segmentCount - 1)
  }
  const [first, second, third, fourth] = await pathsIn(directory.path, '.idx')
  await rm(first!)
  await writeFile(second!, (await readFile(second!)).subarray(0, 500))
  await writeFile(third!, await readFile(fourth!))
  const body = await readFile(fourth!)
  body[300]! ^= 1 // the footer is sound, a section is not
  await writeFile(fourth!, body)
  {
    await using opened = await StoreUnderTest.open(directory.path, fromFiles)
    const log = opened.store.log('carts', 0)
    await checkReads(log, written)
    await until(async () => (await pathsIn(directory.path, '.idx')).length === log.segmentCount - 1)
    await checkReads(log, written)
  }
  await using opened = await StoreUnderTest.open(directory.path, fromFiles)
  await checkReads(opened.store.log('carts', 0), written)
})

test('segments: a flipped byte in a sealed one is found when it is read, and only that batch is lost', async () => {
  await using directory = await TemporaryDirectory.make()
  let written: string[]
  {
    await using opened = await StoreUnderTest.open(directory.path, fromFiles)
    const log = await opened.createLog('carts', smallSegments)
    written = await fill(log)
    await until(async () => (await pathsIn(directory.path, '.idx')).length === log.segmentCount - 1)
  }
  const [, segment] = await pathsIn(directory.path, '.log')
  const bytes = await readFile(segment!)
  bytes[400_000]! ^= 4
  await writeFile(segment!, bytes)
  await using opened = await StoreUnderTest.open(directory.path, fromFiles)
  const log = opened.store.log('carts', 0)
  assert.deepEqual(log.damage, [])
  const found: string[] = []
  let lost: { offset: number; nextOffset: number } | undefined
  for (let offset = 0; offset < 6000; ) {
    try {
      const { nextOffset } = await log.read({ offset, maxBytes: 1, limitOffset: Infinity })
      found.push(...written.slice(offset, nextOffset))
      offset = nextOffset
    } catch (error) {
      assert.ok(isPlayheadError(error, 'corruptBatch') && lost === undefined)
      lost = { offset: Number(error.details.offset), nextOffset: Number(error.details.nextOffset) }
      offset = lost.nextOffset
    }
  }
  assert.ok(lost !== undefined && lost.nextOffset - lost.offset === 100)
  assert.deepEqual([found.length, log.damage.length], [5900, 1])
  await checkStreamAround(log, written, lost)
})

/** A stream is read up to the damage, then refused with the versions lost, then read on behind it. */
async function checkStreamAround(
  log: Log,
  written: readonly string[],
  lost: { offset: number; nextOffset: number },
): Promise<void> {
  const read = (from: number, backwards = false) =>
    log.readStream({ stream: 's5', from, limit: 500, backwards, maxBytes: 1e9, limitOffset: Infinity })
  const total = eventsExpected(written, 's5').length
  const before = written.slice(0, lost.offset).filter((text) => text.startsWith('s5=')).length
  const behind = written.slice(0, lost.nextOffset).filter((text) => text.startsWith('s5=')).length
  const page = await read(0)
  assert.deepEqual([page.versions.length, page.nextVersion], [before, before])
  await assert.rejects(read(before), (error: unknown) => {
    assert.ok(isPlayheadError(error, 'corruptBatch'))
    assert.deepEqual([error.details.version, error.details.nextVersion], [before, behind])
    return true
  })
  assert.deepEqual((await read(behind)).versions.length, total - behind)
  const backwards = await read(total - 1, true)
  assert.deepEqual([backwards.versions[0], backwards.nextVersion], [behind, behind - 1])
}

test('segments: a missing file in the middle is named; before and behind it is served', async () => {
  await using directory = await TemporaryDirectory.make()
  const opened = await StoreUnderTest.open(directory.path, fromFiles)
  const log = await opened.createLog('carts', smallSegments)
  const written = await fill(log)
  await opened[Symbol.asyncDispose]()
  const [, second, third] = await pathsIn(directory.path, '.log')
  const from = Number(second!.slice(-24, -4))
  const to = Number(third!.slice(-24, -4))
  await rm(second!)
  await using again = await StoreUnderTest.open(directory.path, fromFiles)
  const found = again.store.log('carts', 0)
  assert.match(found.damage[0]!, new RegExp(`offsets ${from} to ${to - 1}`))
  assert.deepEqual(await recordsOf(found, to), written.slice(to))
  await assert.rejects(recordsOf(found, 0), (error) => isPlayheadError(error, 'corruptBatch'))
  assert.equal((await append(found, 'a=1')).baseOffset, written.length)
})

test('segments: a batch larger than a segment gets one of its own; an old segment is left for a new one (segment.ms)', async () => {
  await using directory = await TemporaryDirectory.make()
  await using opened = await StoreUnderTest.open(directory.path, fromFiles)
  const log = await opened.createLog('carts', { ...smallSegments, 'segment.ms': '100' })
  await append(log, 'a=small')
  const big = encodeRecordBatch([{ key: 'a', value: Buffer.alloc(3_000_000, 1), timestamp: 1 }])
  await log.append({ batch: big, expected: [], wantVersions: false, acks: 'all' })
  assert.equal(log.segmentCount, 2)
  const end = systemClock.now() + 150
  await until(() => systemClock.now() > end)
  await append(log, 'a=late')
  assert.equal(log.segmentCount, 3)
  const page = await log.readStream({ stream: 'a', limit: 10, backwards: false, maxBytes: 1e9, limitOffset: Infinity })
  assert.deepEqual(
    page.records.map(({ value }) => value?.length),
    [5, 3_000_000, 4],
  )
})

test('segments: as-of and known-at (event times out of order, two appends a moment apart)', async () => {
  await using directory = await TemporaryDirectory.make()
  await using opened = await StoreUnderTest.open(directory.path, fromFiles)
  const log = await opened.createLog()
  const at = (value: string, timestamp: number) => ({ key: 'a', value, timestamp })
  const first = encodeRecordBatch([at('0', 500), at('1', 100), at('2', 900), at('3', 200)])
  const { appendTimeMs } = await log.append({ batch: first, expected: [], wantVersions: false, acks: 'all' })
  await until(() => systemClock.now() > appendTimeMs + 1)
  await log.append({ batch: encodeRecordBatch([at('4', 50)]), expected: [], wantVersions: false, acks: 'all' })
  assert.deepEqual(await eventsOf(log, 'a', { asOf: 200 }), ['1=1', '3=3', '4=4'])
  assert.deepEqual(await eventsOf(log, 'a', { asOf: 200, backwards: true, limit: 1 }), ['4=4', '3=3', '1=1'])
  assert.deepEqual(await eventsOf(log, 'a', { knownAt: appendTimeMs }), ['0=0', '1=1', '2=2', '3=3'])
  assert.deepEqual(await eventsOf(log, 'a', { knownAt: appendTimeMs - 1 }), [])
  assert.deepEqual(await eventsOf(log, 'a', { knownAt: appendTimeMs, asOf: 200 }), ['1=1', '3=3'])
  const page = await log.readStream({
    stream: 'a',
    limit: 10,
    backwards: false,
    maxBytes: 1e6,
    limitOffset: Infinity,
    knownAt: appendTimeMs,
  })
  assert.equal(page.lastVersion, 3)
})

test('segments: of more streams than are looked up one by one, while no save succeeds: each is sealed all the same', async () => {
  await using directory = await TemporaryDirectory.make()
  // Time stands still: who waits for a deadline waits for ever.
  const clock = { ...systemClock, monotonicMs: () => 0 }
  const checkpointStore = new FaultyCheckpointStore(new MemoryCheckpointStore(), () => 'refused')
  await using opened = await StoreUnderTest.open(directory.path, { clock, checkpointStore })
  const log = await opened.createLog('carts', smallSegments)
  for (let batch = 0; batch < 4; batch++) {
    await append(log, ...Array.from({ length: 5000 }, (_, place) => `s${batch * 5000 + place}=${filler.slice(0, 190)}`))
  }
  await log.checkpointer.save()
  await until(async () => (await pathsIn(directory.path, '.idx')).length === log.segmentCount - 1)
  assert.equal(log.segmentCount, 4)
})
