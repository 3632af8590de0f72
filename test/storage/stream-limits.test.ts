import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Clock } from '../../platform/clock.ts'
import { systemClock } from '../../platform/clock.ts'
import type { Log } from '../../storage/log.ts'
import { MemoryCheckpointStore } from '../../storage/memory-checkpoint-store.ts'
import { noLimit, StreamLimits } from '../../storage/stream-limits.ts'
import { verify } from '../../storage/verify.ts'
import { eventsOf } from './log-contents.ts'
import { MemoryFileSystem } from './memory-file-system.ts'
import { append, group, sealed, StoreUnderTest } from './store-under-test.ts'

const large = 'x'.repeat(200_000)
const noPause = () => systemClock.yield()

async function versionsOf(log: Log, stream: string, backwards = false): Promise<number[]> {
  return (await eventsOf(log, stream, { backwards })).map((text) => Number(text.split('=')[0]))
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, at) => from + at)

function setLimits(log: Log): void {
  log.limits.set('count', { ...noLimit, maxCount: 3 })
  log.limits.set('cut', { ...noLimit, truncateBefore: 7 })
  log.limits.set('gone', { ...noLimit, truncateBefore: 12 })
  log.limits.set('young', { ...noLimit, maxAgeMs: 4500 })
}

/** `isCompacted`: of each stream there is only the newest event. */
async function check(log: Log, isCompacted: boolean): Promise<void> {
  assert.deepEqual((await versionsOf(log, 'count')).at(-1), 11)
  assert.ok((await versionsOf(log, 'count')).length <= 3)
  assert.ok((await versionsOf(log, 'cut')).every((version) => version >= 7))
  assert.deepEqual(await versionsOf(log, 'gone'), [])
  assert.deepEqual(await versionsOf(log, 'gone', true), [])
  if (isCompacted) return
  assert.deepEqual(await versionsOf(log, 'all'), range(0, 12))
  assert.deepEqual(await versionsOf(log, 'count', true), [11, 10, 9])
  assert.deepEqual(await versionsOf(log, 'cut'), range(7, 12))
  assert.deepEqual(await versionsOf(log, 'young'), range(8, 12))
  assert.deepEqual(log.streamInfo('count', Infinity).firstVersion, 9)
  assert.deepEqual(log.streamInfo('gone', Infinity), { lastVersion: 11, firstVersion: -1, lastOffset: -1 })
}

for (const policy of ['delete', 'compact,delete']) {
  test(`stream limits: hide at once; compaction removes (policy ${policy}); versions go on, whatever is lost of what is derived`, async () => {
    const fileSystem = new MemoryFileSystem()
    let nowMs = 1_000_000
    const clock: Clock = { ...systemClock, now: () => nowMs, monotonicMs: () => nowMs }
    const settings = { tailCacheBytes: 0 }
    let opened = await StoreUnderTest.open('/data', { fileSystem, clock, settings })
    let log = await opened.createLog('carts', {
      'segment.bytes': '1048576',
      'cleanup.policy': policy,
      'min.cleanable.dirty.ratio': '1',
    })
    const streams = ['all', 'count', 'cut', 'gone', 'young']
    for (let round = 0; round < 12; round++) {
      for (const stream of streams) await append(log, `${stream}=${large}`)
      nowMs += 1000
    }
    await sealed(log)
    setLimits(log)
    const isCompacted = () => policy !== 'delete' && log.compaction.compactedTo > 0
    await check(log, isCompacted())
    const before = log.sizeBytes
    assert.ok(log.compaction.isDue)
    await log.compaction.run(noPause)
    assert.ok(!log.compaction.isDue)
    // A third of the events are hidden, but for those in the segment under way.
    assert.ok(log.sizeBytes < before * 0.75, `${before} bytes before, ${log.sizeBytes} after`)
    await check(log, isCompacted())
    for (const lost of ['nothing', 'the cache', 'the cache and sidecars']) {
      await opened[Symbol.asyncDispose]()
      const { damage } = await verify({ directory: '/data', fileSystem, clock: systemClock })
      assert.deepEqual(damage, [])
      if (lost === 'the cache and sidecars')
        for (const path of fileSystem.paths) if (path.endsWith('.idx')) await fileSystem.remove(path)
      opened = await StoreUnderTest.open('/data', {
        fileSystem,
        clock,
        settings,
        ...(lost === 'nothing' && { checkpointStore: new MemoryCheckpointStore() }),
      })
      log = opened.store.log('carts', 0)
      setLimits(log)
      await sealed(log)
      await check(log, isCompacted())
    }
    for (const stream of streams)
      assert.deepEqual((await log.append(group([`${stream}=x`], { wantVersions: true }))).versions, [12], stream)
    assert.deepEqual(await versionsOf(log, 'gone'), [12])
    assert.deepEqual((await versionsOf(log, 'count')).at(-1), 12)
    assert.ok((await versionsOf(log, 'count')).length <= 3)
    await opened[Symbol.asyncDispose]()
  })
}

test('stream limits: shared with who changes them, compaction goes no further by them than they are certain; what is not committed pushes nothing out', async () => {
  const fileSystem = new MemoryFileSystem()
  let nowMs = 1_000_000
  const clock: Clock = { ...systemClock, now: () => nowMs, monotonicMs: () => nowMs }
  await using opened = await StoreUnderTest.open('/data', { fileSystem, clock, settings: { tailCacheBytes: 0 } })
  const log = await opened.createLog('carts', { 'segment.bytes': '1048576', 'min.cleanable.dirty.ratio': '0' })
  for (let round = 0; round < 24; round++) {
    for (const stream of ['count', 'young', 'cut']) await append(log, `${stream}=${large}`)
    nowMs += 1000
  }
  await sealed(log)
  const table = StreamLimits.uncertain()
  log.limits.share(table)
  table.set('count', { ...noLimit, maxCount: 1 })
  table.set('young', { ...noLimit, maxAgeMs: 4500 })
  assert.deepEqual(await versionsOf(log, 'count'), [23])
  log.limits.committedOffset = () => 60
  assert.deepEqual((await versionsOf(log, 'count'))[0], 19)
  assert.ok(!log.compaction.isDue, 'nothing is certain')
  log.limits.certify({ offset: 36, atMs: 1_012_000 })
  table.set('cut', { ...noLimit, truncateBefore: 20 })
  assert.ok(log.compaction.isDue)
  await log.compaction.run(noPause)
  // Lifted, as by others before they were heard of: what came since is there.
  for (const stream of ['count', 'young', 'cut']) table.set(stream, noLimit)
  const [count, young, cut] = [
    await versionsOf(log, 'count'),
    await versionsOf(log, 'young'),
    await versionsOf(log, 'cut'),
  ]
  assert.ok(count[0]! > 5 && count[0]! <= 11, `${count[0]} is the first that is there, of 36 events there were 12`)
  assert.ok(young[0]! > 2 && young[0]! <= 8, `${young[0]} is the first that is there, 7 had been too old`)
  assert.ok(cut[0]! > 12 && cut[0]! <= 20, `${cut[0]} is the first that is there; below 20 they are gone for all`)
  assert.deepEqual([count.at(-1), young.at(-1), cut.at(-1)], [23, 23, 23])
})
