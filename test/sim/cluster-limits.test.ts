import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SeededRandom } from '../storage/seeded-random.ts'
import { simulateLimits } from './cluster/limits-simulation.ts'

const seedCount = Number(process.env['PLAYHEAD_TEST_LIMITS_SEEDS'] ?? 6)

test(`cluster simulation: ${seedCount} seeds of limits of one stream, changed by several clients under faults: what was answered to be hidden is never read again, no change is lost`, async (t) => {
  const first = SeededRandom.steady().seed
  let [acknowledged, reads] = [0, 0]
  for (let seed = first; seed < first + seedCount; seed++) {
    const result = await simulateLimits(seed)
    assert.deepEqual(result.findings, [], `seed ${seed}`)
    acknowledged += result.acknowledged
    reads += result.reads
  }
  t.diagnostic(`seeds from ${first}: ${acknowledged} appends acknowledged, ${reads} reads`)
})
