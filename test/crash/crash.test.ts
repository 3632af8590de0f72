/**
 * The short form of `npm run test:crash`, part of `npm test`: some of the points where a broker can be killed or its disk can fail, drawn from a seed,
 * and kill -9 under load. Needs strace and fails without it.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SeededRandom } from '../storage/seeded-random.ts'
import { attack } from './attacks.ts'
import { pointsOf, recordScenario, textOfPoint } from './crash-points.ts'
import type { ScenarioCalls } from './crash-points.ts'
import type { Harm } from './crash-run.ts'
import { faults } from './faults.ts'
import { loadRun } from './load-run.ts'
import { requireStrace } from './system-calls.ts'
import { Tally } from './tally.ts'
import { tierRun } from './tier-run.ts'

const killedAt = 8
const failedAt = 4
const killsUnderLoad = 8
const livesWithTier = 2

const random = SeededRandom.fresh()
let recorded: ScenarioCalls[]

function drawn(points: readonly Harm[], count: number): Harm[] {
  const left = [...points]
  return Array.from({ length: count }, () => left.splice(random.below(left.length), 1)[0]!)
}

test('crash: the scenario changes files by at most 300 system calls, each of them seen', async (t) => {
  requireStrace()
  recorded = await recordScenario()
  const counts = recorded.map(({ calls }) => calls.length)
  t.diagnostic(`${counts.join(' + ')} calls`)
  assert.ok(counts.every((count) => count > 50) && counts[0]! + counts[1]! <= 300, counts.join())
  const seen = new Set(recorded.flatMap(({ calls }) => calls.map(({ call }) => call)))
  for (const call of ['pwrite64', 'fdatasync', 'fsync', 'ftruncate'] as const) assert.ok(seen.has(call), call)
})

test(`crash: killed at ${killedAt} of its file-changing calls, a broker loses nothing and repeats nothing (seed ${random.seed})`, async (t) => {
  const tally = new Tally()
  const points = drawn([...pointsOf(recorded, 'before'), ...pointsOf(recorded, 'after')], killedAt)
  t.diagnostic(points.map(textOfPoint).join(', '))
  await attack({ fault: faults.killAtCall, points, beyond: false }, tally)
  assert.deepEqual(tally.findings, [])
})

test(`crash: EIO from ${failedAt} of its writes and syncs: a broker that cannot write its log ends, and nothing is lost (seed ${random.seed})`, async (t) => {
  const tally = new Tally()
  const points = drawn(pointsOf(recorded, 'error=EIO'), failedAt)
  t.diagnostic(points.map(textOfPoint).join(', '))
  await attack({ fault: faults.inputOutputError, points, beyond: false }, tally)
  assert.deepEqual(tally.findings, [])
})

test('crash: EIO from the disk under the cache: the broker ends, and no version begins anew', async () => {
  const tally = new Tally()
  const file = 'cache/data.mdb'
  const points = ['2', '3', '2', '3'].map(
    (when): Harm => ({ part: 'first', call: 'pwrite64', when, action: 'error=EIO', file }),
  )
  await attack({ fault: faults.inputOutputError, points, beyond: false, missedMax: points.length - 1 }, tally)
  assert.deepEqual(tally.findings, [])
  assert.ok(tally.times(faults.inputOutputError) > 0)
})

test(`crash: kill -9 under load, ${killsUnderLoad} times (seed ${random.seed})`, async () => {
  const tally = new Tally()
  await loadRun({ seed: random.seed, rounds: killsUnderLoad }, tally)
  assert.deepEqual(tally.findings, [])
})

test(`crash: kill -9 of a broker that seals, sends, writes manifests, lets go and compacts, ${livesWithTier} lives (seed ${random.seed})`, async () => {
  const tally = new Tally()
  await tierRun({ seed: random.seed, rounds: livesWithTier }, tally)
  assert.deepEqual(tally.findings, [])
})
