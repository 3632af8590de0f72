/**
 * Every single bit of small segments and their sidecars, one flip a run: what is served is what was written; what is not served is named, by the
 * broker and by verify; the log ends where it ended; versions stay. A flip that verify does not name must be in the last frame of the active segment,
 * which holds no batch: it only says what is durable, and a stop that was clean has nothing behind it.
 * Without the cache too; then alone the events of streams behind damage in the newest segment are not compared: how many are missing is written
 * nowhere else yet.
 * Every 61st bit here from a random one on, all of them with PLAYHEAD_TEST_FLIPS=all (`npm run test:flips`).
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../platform/clock.ts'
import type { CheckpointStore } from '../../storage/checkpoint-store.ts'
import { MemoryCheckpointStore } from '../../storage/memory-checkpoint-store.ts'
import { FRAME_BYTES, SEGMENT_HEADER_BYTES } from '../../storage/segment-format.ts'
import { verify } from '../../storage/verify.ts'
import { copyOf } from './copied-checkpoint-store.ts'
import { MemoryFileSystem } from './memory-file-system.ts'
import { eventsAround, recordsAround } from './read-around.ts'
import { SeededRandom } from './seeded-random.ts'
import { append, group, sealed, StoreUnderTest } from './store-under-test.ts'

const directory = '/data'
const settings = { tailCacheBytes: 0, openSegmentsMax: 1, idleFloorMs: 1_000_000, allocationBytesMin: 4096 }
const segmentBytesMax = 8 * 1024

interface Written {
  readonly fileSystem: MemoryFileSystem
  readonly cache: MemoryCheckpointStore
  /** `stream=value` by offset. */
  readonly records: readonly string[]
}

/** Two sealed segments with sidecars and an active one, of a clean stop: several streams, null keys, producers, zstd. */
async function write(): Promise<Written> {
  const fileSystem = new MemoryFileSystem()
  const cache = new MemoryCheckpointStore()
  const records: string[] = []
  let nowMs = 1_700_000_000_000
  const clock = { ...systemClock, now: () => nowMs }
  await using opened = await StoreUnderTest.open(directory, { fileSystem, clock, checkpointStore: cache, settings })
  const log = await opened.createLog('carts', { 'segment.ms': '1000' })
  for (let round = 0; round < 12; round++) {
    if (round % 4 === 0) nowMs += 10_000
    const texts = [`a=${round}`, `=nobody ${round}`, `b${round % 3}=${'x'.repeat(round * 10)}`, `a=${round} again`]
    const producer = { producerId: 5, producerEpoch: 0, baseSequence: round * texts.length }
    const compression = round % 3 === 0 ? ('zstd' as const) : ('none' as const)
    await log.append(group(texts, { batchOptions: { ...producer, compression } }))
    records.push(...texts)
  }
  await sealed(log)
  return { fileSystem, cache, records }
}

/** Opens what is there; answers how many records are not served. */
async function serve(
  fileSystem: MemoryFileSystem,
  checkpointStore: CheckpointStore,
  records: readonly string[],
  streams: readonly string[],
): Promise<number> {
  await using opened = await StoreUnderTest.open(directory, { fileSystem, checkpointStore, settings })
  const log = opened.store.log('carts', 0)
  assert.equal(log.logEndOffset, records.length, 'the end of the log')
  const found = await recordsAround(log)
  for (const [offset, record] of found) assert.equal(record, records[offset], `offset ${offset}`)
  for (const stream of streams) {
    const events = records.filter((text) => text.startsWith(`${stream}=`))
    for (const [version, event] of await eventsAround(log, stream))
      assert.equal(event, events[version], `${stream} ${version}`)
  }
  const lost = records.length - found.size
  if (lost > 0) assert.notDeepEqual(log.damage, [], 'records are missing and nothing is named')
  assert.ok(lost <= 4, `${lost} records of one batch at most are lost`)
  assert.equal((await append(log, 'a=after')).baseOffset, records.length)
  return lost
}

/** Whether this is the newest segment, which has no sidecar. */
function isActive(path: string, { fileSystem }: Written): boolean {
  return path.endsWith('.log') && !fileSystem.paths.includes(path.replace(/\.log$/, '.idx'))
}

interface Flip {
  readonly path: string
  readonly at: number
  readonly bit: number
}

interface Outcome {
  readonly lost: number
  readonly named: boolean
}

async function tryFlip({ path, at, bit }: Flip, written: Written, withCache: boolean): Promise<Outcome> {
  const fileSystem = written.fileSystem.copy()
  fileSystem.bytes(path)[at]! ^= 1 << bit
  const { damage, notes } = await verify({ directory, fileSystem: fileSystem.copy(), clock: systemClock })
  const named = damage.some(({ file, position }) => file === path && position <= at)
  const cache = withCache ? await copyOf(written.cache) : new MemoryCheckpointStore()
  const streams = withCache || !isActive(path, written) ? ['a', 'b0', 'b1', 'b2'] : []
  const lost = await serve(fileSystem, cache, written.records, streams)
  const isLastFrame = isActive(path, written) && at >= written.fileSystem.bytes(path).length - FRAME_BYTES
  assert.ok(named || (isLastFrame && lost === 0), `not named by verify: ${JSON.stringify({ damage, notes })}`)
  return { lost, named }
}

test('log flips: how many offsets the first batch says that it has: only that batch is lost, although others are found behind it', async () => {
  const written = await write()
  const path = written.fileSystem.paths.find((each) => each.endsWith('.log'))!
  const lastOffsetDelta = SEGMENT_HEADER_BYTES + FRAME_BYTES + 23
  for (let place = 0; place < 32; place++) {
    const flip = { path, at: lastOffsetDelta + (place >> 3), bit: place & 7 }
    assert.deepEqual(await tryFlip(flip, written, true), { lost: 4, named: true }, `bit ${place}`)
  }
})

const step = process.env['PLAYHEAD_TEST_FLIPS'] === 'all' ? 1 : 61

for (const cache of ['there', 'gone'] as const) {
  test(`log flips: any one bit of segments and sidecars, the cache ${cache}`, async (t) => {
    const random = SeededRandom.fresh()
    const written = await write()
    const paths = written.fileSystem.paths.filter((path) => /\.(log|idx)$/.test(path))
    assert.equal(paths.length, 5)
    let [flips, named, lossy] = [0, 0, 0]
    for (const path of paths) {
      const bits = written.fileSystem.bytes(path).length * 8
      assert.ok(bits <= segmentBytesMax * 8)
      for (let place = random.below(step); place < bits; place += step) {
        const flip = { path, at: place >> 3, bit: place & 7 }
        try {
          const outcome = await tryFlip(flip, written, cache === 'there')
          flips++
          if (outcome.named) named++
          if (outcome.lost > 0) lossy++
        } catch (error) {
          throw new Error(`seed ${random.seed}: byte ${flip.at} bit ${flip.bit} of ${path}`, { cause: error })
        }
      }
    }
    t.diagnostic(`${flips} flips: ${named} named, ${flips - named} harmless; ${lossy} kept a batch from being served`)
  })
}
