import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SeededRandom } from '../storage/seeded-random.ts'
import { simulateCompaction } from './compaction-simulation.ts'

const seedCount = Number(process.env['PLAYHEAD_TEST_COMPACTION_SEEDS'] ?? 12)

test(`simulation: ${seedCount} seeds of a compacted topic under faults, caches go back: no event ever has another version, the newest of each stream is always there`, async (t) => {
  const first = SeededRandom.steady().seed
  let [acknowledged, reads, removed] = [0, 0, 0]
  for (let seed = first; seed < first + seedCount; seed++) {
    const result = await simulateCompaction(seed)
    assert.deepEqual(result.findings, [], `seed ${seed}`)
    acknowledged += result.acknowledged
    reads += result.reads
    removed += result.removed
  }
  assert(removed > acknowledged / 10, `found ${removed} removed of ${acknowledged}`)
  t.diagnostic(`seeds from ${first}: ${acknowledged} appends acknowledged, ${removed} events removed, ${reads} reads`)
})
