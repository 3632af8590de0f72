/**
 * Any single flipped byte of a stopped log's files: nothing wrong is ever served, what lies elsewhere is, the end of the log stays where it was,
 * and versions stay what they were (the cache is there). A failing run prints its seed: PLAYHEAD_TEST_SEED=<seed> repeats it.
 */
import assert from 'node:assert/strict'
import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { CheckpointStore } from '../../storage/checkpoint-store.ts'
import { MemoryCheckpointStore } from '../../storage/memory-checkpoint-store.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { copyOf } from './copied-checkpoint-store.ts'
import { eventsAround, recordsAround } from './read-around.ts'
import { SeededRandom } from './seeded-random.ts'
import { append, StoreUnderTest } from './store-under-test.ts'

const flips = Number(process.env['PLAYHEAD_TEST_RUNS'] ?? 40)
const settings = { tailCacheBytes: 0, openSegmentsMax: 1 }

async function writeLog(directory: string, checkpointStore: CheckpointStore, random: SeededRandom): Promise<string[]> {
  const written: string[] = []
  await using opened = await StoreUnderTest.open(directory, { checkpointStore, settings })
  const log = await opened.createLog('carts', { 'segment.bytes': '1048576' })
  for (let round = 0; round < 120; round++) {
    const records = Array.from(
      { length: 1 + random.below(4) },
      (_, place) => `s${random.below(6)}=${round}-${place}-${'x'.repeat(random.below(10_000))}`,
    )
    await append(log, ...records)
    written.push(...records)
  }
  return written
}

async function checkFlipped(
  directory: string,
  checkpointStore: CheckpointStore,
  written: readonly string[],
): Promise<void> {
  await using opened = await StoreUnderTest.open(directory, { checkpointStore, settings })
  const log = opened.store.log('carts', 0)
  assert.equal(log.logEndOffset, written.length)
  const found = await recordsAround(log)
  for (const [offset, record] of found) assert.equal(record, written[offset])
  assert.ok(found.size >= written.length - 4, `one batch at most is lost: ${written.length - found.size} records`)
  for (const stream of ['s0', 's3', 's5']) {
    const versions = written.filter((text) => text.startsWith(`${stream}=`))
    for (const [version, event] of await eventsAround(log, stream)) assert.equal(event, versions[version])
  }
  assert.equal((await append(log, 's0=after')).baseOffset, written.length)
}

test('bit rot: any flipped byte of segments and sidecars of a stopped log', async () => {
  const random = SeededRandom.fresh()
  await using directory = await TemporaryDirectory.make()
  const checkpointStore = new MemoryCheckpointStore()
  const origin = join(directory.path, 'origin')
  const written = await writeLog(origin, checkpointStore, random)
  const names = (await readdir(origin, { recursive: true })).filter((name) => /\.(log|idx)$/.test(name))
  for (let flip = 0; flip < flips; flip++) {
    const copy = join(directory.path, 'copy')
    await cp(origin, copy, { recursive: true })
    const path = join(copy, random.pick(names))
    const bytes = await readFile(path)
    // Half of them near an end, where headers, footers and floors are.
    const at = random.pick([
      random.below(bytes.length),
      random.below(bytes.length),
      random.below(100),
      bytes.length - 1 - random.below(200),
    ])
    bytes[at]! ^= 1 << random.below(8)
    await writeFile(path, bytes)
    try {
      await checkFlipped(copy, await copyOf(checkpointStore), written)
    } catch (error) {
      throw new Error(`seed ${random.seed}, flip ${flip}: byte ${at} of ${path}`, { cause: error })
    }
    await rm(copy, { recursive: true })
  }
})
