import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Clock } from '../../platform/clock.ts'
import { systemClock } from '../../platform/clock.ts'
import { isPlayheadError } from '../../protocol/errors.ts'
import type { Log } from '../../storage/log.ts'
import { MemoryCheckpointStore } from '../../storage/memory-checkpoint-store.ts'
import { DyingFileSystem } from './dying-file-system.ts'
import { eventsOf, recordsOf } from './log-contents.ts'
import { MemoryFileSystem } from './memory-file-system.ts'
import { append, group, sealed, StoreUnderTest } from './store-under-test.ts'

const large = 'x'.repeat(300_000)
const settings = { 'segment.bytes': '1048576' }

/** Appends `stream=value` of 300 kB each, three to a segment. */
async function fill(log: Log, ...streams: readonly string[]): Promise<void> {
  for (const stream of streams) await append(log, `${stream}=${large}`)
}

async function copyOf(store: MemoryCheckpointStore): Promise<MemoryCheckpointStore> {
  const copy = new MemoryCheckpointStore()
  await copy.write(store.range(Buffer.alloc(0), Buffer.alloc(1, 0xff), { limit: 1e6 }))
  return copy
}

function filesOf(fileSystem: MemoryFileSystem, ending: string): number[] {
  return fileSystem.paths
    .filter((path) => path.endsWith(ending))
    .map((path) => Number(path.split('/').at(-1)!.split('.')[0]))
}

test('retention: deleteRecords moves the start at once and for good; whole segments before it go, versions go on', async () => {
  const fileSystem = new MemoryFileSystem()
  const checkpointStore = new MemoryCheckpointStore()
  {
    await using opened = await StoreUnderTest.open('/data', { fileSystem, checkpointStore })
    const log = await opened.createLog('carts', settings)
    await fill(log, 'a', 'b', 'a', 'c', 'a', 'b', 'b', 'c')
    await sealed(log)
    assert.deepEqual(filesOf(fileSystem, '.log'), [0, 3, 6])
    assert.equal(await log.deleteRecords(4), 4)
    assert.equal(await log.deleteRecords(2), 4, 'it never goes back')
    await assert.rejects(log.read({ offset: 3, maxBytes: 1, limitOffset: Infinity }), (error) => {
      assert.ok(isPlayheadError(error, 'offsetOutOfRange'))
      return error.details['logStartOffset'] === 4
    })
    assert.equal((await recordsOf(log)).length, 4)
    await assert.rejects(log.deleteRecords(9), (error) => isPlayheadError(error, 'offsetOutOfRange'))
    await log.retention.letGo()
    assert.deepEqual(filesOf(fileSystem, '.log'), [3, 6])
    assert.deepEqual(filesOf(fileSystem, '.idx'), [3])
    assert.deepEqual(filesOf(fileSystem, '.heads'), [3])
    await check(log)
  }
  {
    await using opened = await StoreUnderTest.open('/data', { fileSystem, checkpointStore })
    await check(opened.store.log('carts', 0))
  }
  {
    await using opened = await StoreUnderTest.open('/data', { fileSystem })
    await check(opened.store.log('carts', 0))
    assert.deepEqual(opened.reports, [])
  }
  async function check(log: Log): Promise<void> {
    assert.equal(log.logStartOffset, 4)
    assert.deepEqual(log.damage, [])
    assert.deepEqual(await eventsOf(log, 'a'), [`2=${large}`])
    assert.deepEqual(await eventsOf(log, 'b'), [`1=${large}`, `2=${large}`])
    assert.deepEqual(await eventsOf(log, 'c', { backwards: true }), [`1=${large}`])
    assert.deepEqual(log.streamInfo('b', Infinity), { lastVersion: 2, firstVersion: 1, lastOffset: 6 })
  }
})

test('retention: a stream whose events are all gone goes on after its last version, also without the cache and any sidecar', async () => {
  const fileSystem = new MemoryFileSystem()
  {
    await using opened = await StoreUnderTest.open('/data', { fileSystem })
    const log = await opened.createLog('carts', settings)
    await fill(log, 'a', 'a', 'b', 'c', 'b', 'd', 'e')
    await sealed(log)
    await log.deleteRecords(3)
    await log.retention.letGo()
    await log.deleteRecords(6)
    await log.retention.letGo()
    assert.deepEqual(filesOf(fileSystem, '.log'), [6])
    assert.deepEqual(filesOf(fileSystem, '.heads'), [6], 'merged')
    assert.deepEqual(log.streamInfo('a', Infinity), { lastVersion: 1, firstVersion: -1, lastOffset: -1 })
    assert.deepEqual(log.listStreams({ prefix: '', limit: 9, limitOffset: Infinity }), [
      { stream: 'e', lastVersion: 0 },
    ])
  }
  await using opened = await StoreUnderTest.open('/data', { fileSystem })
  const log = opened.store.log('carts', 0)
  for (const [stream, last] of [
    ['a', 1],
    ['b', 1],
    ['c', 0],
    ['d', 0],
  ] as const) {
    assert.deepEqual(log.streamInfo(stream, Infinity), { lastVersion: last, firstVersion: -1, lastOffset: -1 })
    const refused = await log
      .append(group([`${stream}=x`], { expected: [{ stream, version: -1 }] }))
      .catch((error) => error)
    assert.ok(isPlayheadError(refused, 'wrongExpectedVersion') && refused.conflicts[0]?.found === last)
    const expected = [{ stream, version: last }]
    assert.deepEqual((await log.append(group([`${stream}=x`], { expected, wantVersions: true }))).versions, [last + 1])
    assert.deepEqual(await eventsOf(log, stream), [`${last + 1}=x`])
  }
  assert.deepEqual((await log.append(group(['e=x', 'f=x'], { wantVersions: true }))).versions, [1, 0])
})

test('retention: by age and by size, whole segments from the oldest on; one that is old and under way is sealed first', async () => {
  const fileSystem = new MemoryFileSystem()
  let nowMs = 1_000_000
  const clock: Clock = { ...systemClock, now: () => nowMs, monotonicMs: () => nowMs }
  await using opened = await StoreUnderTest.open('/data', { fileSystem, clock })
  const log = await opened.createLog('carts', { ...settings, 'retention.bytes': '1500000' })
  await fill(log, 'a', 'a', 'a', 'b', 'b', 'b', 'c', 'c', 'c', 'd')
  await sealed(log)
  await log.retention.enforce()
  assert.deepEqual(filesOf(fileSystem, '.log'), [3, 6, 9], 'as much as 1.5 MB is left')
  assert.equal(log.logStartOffset, 3)
  await opened.store.alterTopic('carts', { 'retention.ms': '1000', 'retention.bytes': null })
  await log.retention.enforce()
  assert.equal(log.logStartOffset, 3)
  nowMs += 1001
  await log.retention.enforce()
  await sealed(log)
  await log.retention.enforce()
  assert.deepEqual(filesOf(fileSystem, '.log'), [10])
  assert.deepEqual([log.logStartOffset, log.logEndOffset, log.retention.stats.removedSegments], [10, 10, 4])
  assert.deepEqual((await log.append(group(['a=x'], { wantVersions: true }))).versions, [3])
  await opened.store.alterTopic('carts', { 'cleanup.policy': 'compact' })
  nowMs += 1001
  await log.retention.enforce()
  assert.equal(log.logStartOffset, 10, 'compact does not delete by age')
})

test('retention: a clock that jumps ahead deletes nothing', async () => {
  let nowMs = 1_000_000
  const clock: Clock = { ...systemClock, now: () => nowMs }
  await using opened = await StoreUnderTest.open('/data', { fileSystem: new MemoryFileSystem(), clock })
  const log = await opened.createLog('carts', { ...settings, 'retention.ms': '3600000' })
  await fill(log, 'a', 'a', 'a', 'b')
  nowMs += 365 * 24 * 3_600_000
  await log.retention.enforce()
  assert.equal(log.logStartOffset, 0)
})

test('retention: reads that race with it finish, or hear where the log begins', async () => {
  const fileSystem = new MemoryFileSystem()
  await using opened = await StoreUnderTest.open('/data', {
    fileSystem,
    settings: { tailCacheBytes: 0, openSegmentsMax: 1 },
  })
  const log = await opened.createLog('carts', settings)
  await fill(log, ...'abcabcabcabcabcabc'.split(''))
  await sealed(log)
  let [finished, refused] = [0, 0]
  for (let start = 3; start <= 15; start += 3) {
    const reads = Array.from({ length: 18 }, async (_, offset) => {
      try {
        const { nextOffset, batches } = await log.read({ offset, maxBytes: 1, limitOffset: Infinity })
        assert.equal(nextOffset, offset + 1)
        assert.equal(batches.length, 1)
        finished++
      } catch (error) {
        assert.ok(isPlayheadError(error, 'offsetOutOfRange'), String(error))
        assert.ok(offset < Number(error.details['logStartOffset']))
        refused++
      }
    })
    const streams = ['a', 'b', 'c'].map(async (stream) => {
      const versions = (await eventsOf(log, stream)).map((text) => Number(text.split('=')[0]))
      assert.equal(versions.at(-1), 5)
      assert.deepEqual(
        versions,
        Array.from({ length: versions.length }, (_, place) => 6 - versions.length + place),
      )
    })
    await log.deleteRecords(start)
    const letGo = log.retention.letGo()
    await Promise.all([...reads, ...streams, letGo])
  }
  assert.ok(finished > 0 && refused > 0)
  assert.deepEqual(log.damage, [])
})

test('retention: killed before any change of a file, nothing that was kept is lost and versions go on, with and without the cache', async () => {
  const inner = new MemoryFileSystem()
  const dying = new DyingFileSystem(inner)
  const checkpointStore = new MemoryCheckpointStore()
  const opened = await StoreUnderTest.open('/data', { fileSystem: dying.fileSystem, checkpointStore })
  const log = await opened.createLog('carts', settings)
  await fill(log, ...'aabcbcddeabff'.split(''))
  await sealed(log)
  const starts: { from: number; start: number }[] = []
  dying.isWatching = true
  for (const start of [4, 7, 12]) {
    await log.deleteRecords(start)
    starts.push({ from: dying.moments.length, start })
    await log.retention.letGo()
  }
  dying.isWatching = false
  await opened[Symbol.asyncDispose]()
  assert.ok(dying.moments.length > 25, `${dying.moments.length} moments`)
  for (const [place, { call, left }] of dying.moments.entries()) {
    // What was told is on disk; what was under way may be.
    const start = starts.findLast(({ from }) => from <= place)?.start ?? 0
    for (const store of [new MemoryCheckpointStore(), await copyOf(checkpointStore)]) {
      const fileSystem = left.copy()
      await fileSystem.remove('/data/lock') // its process is dead
      const again = await StoreUnderTest.open('/data', { fileSystem, checkpointStore: store })
      try {
        await checkAll(again.store.log('carts', 0), start)
      } catch (error) {
        throw new Error(`killed before ${call} (${place} of ${dying.moments.length})`, { cause: error })
      } finally {
        await again[Symbol.asyncDispose]()
      }
    }
  }
  async function checkAll(found: Log, start: number): Promise<void> {
    assert.ok(found.logStartOffset >= start)
    assert.deepEqual([found.damage, found.logEndOffset], [[], 13])
    const first = found.logStartOffset
    const keys = (await recordsOf(found, first)).map((text) => text[0])
    assert.equal(keys.join(''), 'aabcbcddeabff'.slice(first))
    await found.retention.letGo()
    for (const [stream, count] of Object.entries({ a: 3, b: 3, c: 2, d: 2, e: 1, f: 2 })) {
      const versions = (await eventsOf(found, stream)).map((text) => Number(text.split('=')[0]))
      const kept = keys.filter((key) => key === stream).length
      assert.deepEqual(
        versions,
        Array.from({ length: kept }, (_, at) => count - kept + at),
      )
      assert.deepEqual((await found.append(group([`${stream}=x`], { wantVersions: true }))).versions, [count])
    }
  }
})
