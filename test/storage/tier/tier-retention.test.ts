/**
 * What retention, limits of single streams and compaction do to segments that are only in the tier: the log's start moves, manifests follow, objects
 * go after the grace and not before, and what is left reads the same, also for a broker that has nothing but the tier.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '../../../platform/clock.ts'
import type { Clock } from '../../../platform/clock.ts'
import { nodeFileSystem } from '../../../platform/node-file-system.ts'
import { systemRandom } from '../../../platform/random.ts'
import { isPlayheadError } from '../../../protocol/errors.ts'
import { encodeRecordBatch } from '../../../protocol/record-batch.ts'
import type { Log } from '../../../storage/log.ts'
import { noLimit } from '../../../storage/stream-limits.ts'
import { verifyTier } from '../../../storage/tier/tier-check.ts'
import { openObjectStore } from '../../../storage/tier/tier-location.ts'
import { restoreTier } from '../../../storage/tier/tier-restore.ts'
import { TemporaryDirectory } from '../../temporary-directory.ts'
import { eventsOf } from '../log-contents.ts'
import { append, until } from '../store-under-test.ts'
import { TieredStore } from './tiered-store.ts'

const foundation = { fileSystem: nodeFileSystem, clock: systemClock, random: systemRandom }
/** The broker itself looks for orphans, after each look at what there is to send. */
const withoutGrace = { orphanGraceMs: -1, orphanSearchMs: 0 }
const segmentsWritten = 6
const hourMs = 3_600_000
const noPause = () => systemClock.yield()
const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, place) => from + place)

class Place implements AsyncDisposable {
  readonly #directory: TemporaryDirectory
  readonly data: string
  readonly location: string

  private constructor(directory: TemporaryDirectory) {
    this.#directory = directory
    this.data = join(directory.path, 'data')
    this.location = `file://${directory.path}/tier`
  }

  static async make(): Promise<Place> {
    return new Place(await TemporaryDirectory.make())
  }

  /** Objects of segments that are there, those that manifests name, and what is wrong with these. */
  async objects(): Promise<{ objects: number; named: number; damage: number }> {
    const store = await openObjectStore(this.location, foundation)
    const scratchDirectory = join(this.#directory.path, 'scratch')
    const { segments, damage } = await verifyTier({ ...foundation, store, scratchDirectory }, () => undefined)
    let objects = 0
    for await (const { key } of store.list('logs/')) if (/\/data\//.test(key)) objects++
    await store.close()
    return { objects, named: segments * 2, damage: damage.length }
  }

  /** Until there is nothing that nobody names. */
  async cleaned(): Promise<void> {
    await until(async () => {
      const { objects, named, damage } = await this.objects()
      assert.equal(damage, 0)
      return objects === named
    })
  }

  /** A broker on another machine, from the tier alone. */
  async restored(name: string): Promise<TieredStore> {
    const store = await openObjectStore(this.location, foundation)
    const dataDirectory = join(this.#directory.path, name)
    await restoreTier({ ...foundation, store, location: this.location, dataDirectory })
    await store.close()
    return TieredStore.open(dataDirectory, this.location, { tier: withoutGrace })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#directory[Symbol.asyncDispose]()
  }
}

/** The system's, and ahead of it by as much as is asked for. */
function movableClock(): { readonly clock: Clock; aheadMs: number } {
  const movable = { clock: systemClock, aheadMs: 0 }
  movable.clock = {
    ...systemClock,
    now: () => systemClock.now() + movable.aheadMs,
    monotonicMs: () => systemClock.monotonicMs() + movable.aheadMs,
  }
  return movable
}

/** Segments of an event each of `a`, `b` and one other stream, all in the tier and none but the active one here. */
async function tiered(store: TieredStore, settings: Record<string, string> = {}): Promise<Log> {
  const log = await store.createLog('carts', settings)
  for (let segment = 0; segment < segmentsWritten; segment++) {
    await append(log, `a=${segment}`, `b=${segment}`, `only-${segment}=x`)
    await log.files.roll()
  }
  await store.sent(log)
  return log
}

async function versionsOf(log: Log, stream: string): Promise<number[]> {
  return (await eventsOf(log, stream)).map((text) => Number(text.split('=')[0]))
}

async function refusedBefore(log: Log, start: number): Promise<void> {
  await assert.rejects(log.read({ offset: start - 1, maxBytes: 1 << 20, limitOffset: Infinity }), (error) => {
    assert.ok(isPlayheadError(error, 'offsetOutOfRange'))
    return error.details['logStartOffset'] === start
  })
}

for (const by of ['retention.bytes', 'retention.ms', 'deleteRecords'] as const) {
  test(`tier and retention: ${by} over segments that only the tier has: the start moves, manifests follow, objects go after the grace`, async () => {
    await using place = await Place.make()
    const movable = movableClock()
    const { clock } = movable
    {
      await using store = await TieredStore.open(place.data, place.location, {
        clock,
        tier: { uploadIntervalMs: hourMs },
      })
      const log = await tiered(store)
      const start = 3 * (segmentsWritten - 2)
      if (by === 'deleteRecords') await log.deleteRecords(start)
      else if (by === 'retention.bytes')
        await store.under.store.alterTopic('carts', {
          [by]: String(Math.floor((2.5 * log.sizeBytes) / (segmentsWritten + 1))),
        })
      else {
        movable.aheadMs += 1_000_000
        await append(log, 'a=late', 'b=late', 'only-late=x')
        await store.under.store.alterTopic('carts', { [by]: '500000' })
      }
      await log.retention.enforce()
      const found = log.logStartOffset
      if (by !== 'retention.bytes') assert.equal(found, by === 'retention.ms' ? 3 * segmentsWritten : start)
      assert.ok(found >= 3 && found < log.logEndOffset && found % 3 === 0, `begins at ${found}`)
      await refusedBefore(log, found)
      assert.equal((await versionsOf(log, 'a'))[0], found / 3)
      assert.deepEqual(await versionsOf(log, 'only-0'), [])
      // Out of the manifest soon, and still there for whoever reads it just now.
      const kept = segmentsWritten - found / 3
      await until(async () => (await place.objects()).named === kept * 2)
      assert.deepEqual(await place.objects(), { objects: segmentsWritten * 2, named: kept * 2, damage: 0 })
      await append(log, 'only-0=again')
      assert.deepEqual(await versionsOf(log, 'only-0'), [1], 'versions go on')
    }
    await using again = await TieredStore.open(place.data, place.location, { clock, tier: withoutGrace })
    await place.cleaned()
    const log = again.log('carts')
    const start = log.logStartOffset
    assert.ok(start > 0)
    await refusedBefore(log, start)
    assert.equal((await versionsOf(log, 'a'))[0], start / 3)
    await again.sent(log)
    await using elsewhere = await place.restored('elsewhere')
    assert.equal(elsewhere.log('carts').logStartOffset, start)
    assert.deepEqual(await eventsOf(elsewhere.log('carts'), 'a'), await eventsOf(log, 'a'))
    assert.deepEqual(await versionsOf(elsewhere.log('carts'), 'only-0'), [1])
  })
}

test('tier and retention: reads of the tier that race with it finish, or hear where the log begins', async () => {
  await using place = await Place.make()
  await using store = await TieredStore.open(place.data, place.location)
  const log = await tiered(store)
  const over = new AbortController()
  let [answered, refused] = [0, 0]
  const reading = (async () => {
    for (let offset = 0; !over.signal.aborted || offset < log.logEndOffset; ) {
      await systemClock.yield() // what is in memory is answered without one
      if (offset >= log.logEndOffset) offset = Math.max(0, log.logStartOffset - 1)
      try {
        const { nextOffset } = await log.read({ offset, maxBytes: 1, limitOffset: Infinity })
        assert.ok(nextOffset > offset)
        offset = nextOffset
        answered++
      } catch (error) {
        assert.ok(isPlayheadError(error, 'offsetOutOfRange'), String(error))
        offset = Number(error.details['logStartOffset'])
        refused++
      }
    }
  })()
  for (let segment = 1; segment < segmentsWritten; segment++) {
    await log.deleteRecords(3 * segment)
    await log.retention.letGo()
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  over.abort()
  await reading
  assert.ok(answered > 0 && refused > 0, `${answered} answered, ${refused} refused`)
  assert.deepEqual(log.damage, [])
})

test('tier and limits of streams: what they hide in segments that only the tier has goes there too; versions go on', async () => {
  await using place = await Place.make()
  const limit = (log: Log) => {
    log.limits.set('a', { ...noLimit, maxCount: 2 })
    log.limits.set('b', { ...noLimit, truncateBefore: segmentsWritten })
  }
  const check = async (log: Log) => {
    assert.deepEqual(await versionsOf(log, 'a'), [4, 5])
    assert.deepEqual(await versionsOf(log, 'b'), [])
    assert.deepEqual(await versionsOf(log, 'only-1'), [0])
    assert.equal(log.streamInfo('b', Infinity).lastVersion, segmentsWritten - 1)
    assert.deepEqual(log.damage, [])
  }
  {
    await using store = await TieredStore.open(place.data, place.location, { tier: withoutGrace })
    const log = await tiered(store)
    limit(log)
    await check(log)
    assert.ok(log.compaction.isDue)
    await log.compaction.run(noPause)
    assert.equal(log.compaction.stats.removedRecords, 4 + segmentsWritten)
    await check(log)
    await store.sent(log)
    await place.cleaned()
    await check(log)
  }
  await using elsewhere = await place.restored('elsewhere')
  const log = elsewhere.log('carts')
  limit(log)
  await check(log)
  await append(log, 'b=after all')
  assert.deepEqual(await versionsOf(log, 'b'), [segmentsWritten])
})

test('tier and limits of streams: what is too old goes from segments that only the tier has; the rest of them stays', async () => {
  await using place = await Place.make()
  const movable = movableClock()
  const wanted = numbers(segmentsWritten / 2, segmentsWritten)
  const all = numbers(0, segmentsWritten)
  {
    await using store = await TieredStore.open(place.data, place.location, {
      tier: withoutGrace,
      clock: movable.clock,
    })
    const log = await store.createLog('carts')
    for (const segment of all) {
      if (segment === segmentsWritten / 2) movable.aheadMs += hourMs
      await append(log, `a=${segment}`, `b=${segment}`)
      await log.files.roll()
    }
    await store.sent(log)
    log.limits.set('a', { ...noLimit, maxAgeMs: hourMs / 2 })
    assert.deepEqual(await versionsOf(log, 'a'), wanted)
    assert.ok(log.compaction.isDue)
    await log.compaction.run(noPause)
    assert.equal(log.compaction.stats.removedRecords, segmentsWritten / 2)
    await store.sent(log)
    await place.cleaned()
    assert.deepEqual([await versionsOf(log, 'a'), await versionsOf(log, 'b'), log.damage], [wanted, all, []])
  }
  await using elsewhere = await place.restored('elsewhere')
  const log = elsewhere.log('carts') // without the limit: what was removed is not there
  assert.deepEqual([await versionsOf(log, 'a'), await versionsOf(log, 'b'), log.damage], [wanted, all, []])
  await append(log, 'a=on')
  assert.deepEqual(await versionsOf(log, 'a'), [...wanted, segmentsWritten])
})

test('tier and compaction: a record without a value stays its time in segments that only the tier has, and goes; the stream goes on after it', async () => {
  await using place = await Place.make()
  const movable = movableClock()
  const check = async (log: Log, ofB: readonly number[]) => {
    assert.deepEqual(
      [await versionsOf(log, 'a'), await versionsOf(log, 'b'), log.damage],
      [[segmentsWritten - 1], ofB, []],
    )
    assert.equal(log.streamInfo('b', Infinity).lastVersion, segmentsWritten)
  }
  {
    await using store = await TieredStore.open(place.data, place.location, {
      tier: withoutGrace,
      clock: movable.clock,
    })
    const log = await tiered(store, { 'delete.retention.ms': String(hourMs) })
    const batch = encodeRecordBatch([{ key: 'b', value: null, timestamp: 1 }])
    await log.append({ batch, expected: [], wantVersions: false, acks: 'all' })
    await store.sent(log)
    await store.under.store.alterTopic('carts', { 'cleanup.policy': 'compact' })
    await log.compaction.run(noPause)
    await store.sent(log)
    await check(log, [segmentsWritten])
    assert.ok(!log.compaction.isDue)
    movable.aheadMs += 2 * hourMs
    assert.ok(log.compaction.isDue)
    await log.compaction.run(noPause)
    await store.sent(log)
    await place.cleaned()
    await check(log, [])
  }
  await using elsewhere = await place.restored('elsewhere')
  await check(elsewhere.log('carts'), [])
  await append(elsewhere.log('carts'), 'b=after it')
  assert.deepEqual(await versionsOf(elsewhere.log('carts'), 'b'), [segmentsWritten + 1])
})

test('tier and compaction: a log whose old segments only the tier has keeps the newest event of each stream, there too', async () => {
  await using place = await Place.make()
  const check = async (log: Log) => {
    assert.deepEqual(await eventsOf(log, 'a'), ['5=5', '6=newest'])
    assert.deepEqual(await versionsOf(log, 'b'), [5])
    for (const number of numbers(0, segmentsWritten)) assert.deepEqual(await eventsOf(log, `only-${number}`), ['0=x'])
    assert.deepEqual(log.damage, [])
  }
  {
    await using store = await TieredStore.open(place.data, place.location, {
      tier: { ...withoutGrace, uploadIntervalMs: hourMs },
    })
    const log = await tiered(store)
    await append(log, 'a=newest')
    const sentBefore = store.tier.stats.sentSegments
    await store.under.store.alterTopic('carts', { 'cleanup.policy': 'compact' })
    assert.ok(log.compaction.isDue)
    await log.compaction.run(noPause)
    assert.equal(log.compaction.stats.removedRecords, 2 * (segmentsWritten - 1))
    await check(log)
    await until(() => store.tier.stats.sentSegments > sentBefore)
    await place.cleaned()
    await check(log)
  }
  await using again = await TieredStore.open(place.data, place.location, { tier: withoutGrace })
  await check(again.log('carts'))
  await again.sent(again.log('carts'))
  await using elsewhere = await place.restored('elsewhere')
  await check(elsewhere.log('carts'))
})
