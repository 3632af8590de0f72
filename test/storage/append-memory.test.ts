/** What appended batches lie in, from their arrival to their leaving the tail cache. Memory that is let go of is overwritten (store-under-test.ts): who looks too long is found. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemClock } from '../../platform/clock.ts'
import { nodeFileSystem } from '../../platform/node-file-system.ts'
import { FrameMemory } from '../../protocol/frame-memory.ts'
import { KiB, MiB } from '../../protocol/limits.ts'
import type { Log } from '../../storage/log.ts'
import { verify } from '../../storage/verify.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { recordsOf } from './log-contents.ts'
import { SeededRandom } from './seeded-random.ts'
import { group, sealed, StoreUnderTest } from './store-under-test.ts'

const idleFloorMs = 5

/** Batches of all kinds in one write: copied or not, in memory that is used again or not. Answers their records. */
async function appendAtOnce(log: Log, random: SeededRandom, frames: FrameMemory, round: number): Promise<string[]> {
  const records = Array.from({ length: 1 + random.below(12) }, (_, place) => {
    const valueBytes = random.pick([20, 2 * KiB, 15 * KiB, 40 * KiB, 90 * KiB])
    return `s${random.below(5)}=${round}.${place}${'x'.repeat(valueBytes)}`
  })
  const appends = records.map(async (record) => {
    const { batch, ...rest } = group([record])
    if (random.below(2) === 0) return await log.append({ ...rest, batch })
    const piece = frames.take(batch.length)
    batch.copy(piece.bytes)
    const answer = await log.append({ ...rest, batch: piece.bytes.subarray(0, batch.length), piece })
    piece.letGo()
    return answer
  })
  await Promise.all(appends)
  return records
}

test('append memory: what was appended is read back from the tail, from the file and after a restart (batches of 100 B to 90 KiB in groups, pauses, a tail cache of 512 KiB)', async (t) => {
  const random = SeededRandom.fresh()
  t.diagnostic(`seed ${random.seed}`)
  await using directory = await TemporaryDirectory.make()
  const settings = { idleFloorMs, tailCacheBytesPerLog: 512 * KiB, allocationBytesMin: 64 * KiB }
  const expected: string[] = []
  {
    await using opened = await StoreUnderTest.open(directory.path, { settings })
    const log = await opened.createLog('carts', { 'segment.bytes': String(2 * MiB) })
    const frames = new FrameMemory(1 * MiB)
    for (let round = 0; round < 60; round++) {
      expected.push(...(await appendAtOnce(log, random, frames, round)))
      if (random.below(5) === 0) await sleep(2 * idleFloorMs)
      if (round % 10 === 0) assert.deepEqual(await recordsOf(log), expected)
    }
    assert.deepEqual(await recordsOf(log), expected)
    assert.ok(log.segmentCount > 2)
    await sealed(log)
  }
  await using scratch = await TemporaryDirectory.make()
  const checked = await verify({
    directory: directory.path,
    fileSystem: nodeFileSystem,
    clock: systemClock,
    scratchDirectory: scratch.path,
  })
  assert.deepEqual(checked.damage, [])
  await using opened = await StoreUnderTest.open(directory.path, { settings })
  assert.deepEqual(await recordsOf(opened.store.log('carts', 0)), expected)
})
