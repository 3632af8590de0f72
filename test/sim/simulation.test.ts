import assert from 'node:assert/strict'
import { availableParallelism } from 'node:os'
import { test } from 'node:test'
import { SeededRandom } from '../storage/seeded-random.ts'
import { faultKinds } from './nemesis.ts'
import { plantedBugs } from './planted-bugs.ts'
import { runSeeds } from './seed-pool.ts'
import { simulate } from './simulation.ts'
import { Totals } from './totals.ts'

/** More for a long search: PLAYHEAD_TEST_SEEDS=20000, or npm run test:sim -- --minutes M. */
const seedCount = Number(process.env['PLAYHEAD_TEST_SEEDS'] ?? 2_000)
/** A planted bug has to show within so many seeds. */
const seedsPerBugMax = 60
const shownMax = 40

test(`simulation: ${seedCount} seeds, nothing lost, nothing twice, nothing wrong, and alive again after every fault`, async (t) => {
  const first = SeededRandom.steady().seed
  t.diagnostic(`seeds from ${first}: PLAYHEAD_TEST_SEED=N takes others`)
  const totals = new Totals()
  const wrong: string[] = []
  await runSeeds({ first, count: seedCount, threads: availableParallelism() }, (result) => {
    totals.add(result)
    for (const { kind, message } of result.anomalies.slice(0, 5)) wrong.push(`seed ${result.seed}: ${kind}: ${message}`)
    for (const finding of result.findings.slice(0, 5)) wrong.push(`seed ${result.seed}: ${finding}`)
    return wrong.length < shownMax
  })
  t.diagnostic(totals.text())
  assert.deepEqual(wrong, [], 'npm run test:sim -- --seed N shows one of them again')
  for (const kind of faultKinds) assert.ok(seedCount < 500 || totals.times(kind) > 0, `${kind} never struck`)
})

/** What each of them found is mended; a seed stays the same run only as long as nothing changes in the order of events. */
const seedsThatFound = [2114769292, 2116329765, 2122750775, 2134870320, 2134870539, 2142295596, 2134871235]

test('simulation: seeds that once found something find nothing any more', async () => {
  for (const seed of seedsThatFound) {
    const { anomalies, findings } = await simulate({ seed })
    assert.deepEqual([...anomalies, ...findings], [], `npm run test:sim -- --seed ${seed}`)
  }
})

test('simulation: a seed is a run: twice the same events, another seed others', async () => {
  const hashes = new Set<number>()
  const first = SeededRandom.fresh().seed
  for (let seed = first; seed < first + 4; seed++) {
    const [one, again] = [await simulate({ seed, keepTrace: true }), await simulate({ seed, keepTrace: true })]
    const at = one.trace.findIndex((line, index) => line !== again.trace[index])
    const message = `seed ${seed}: event ${at} is ${one.trace[at]} and ${again.trace[at]}`
    assert.deepEqual([at, one.hash, one.trace.length], [-1, again.hash, again.trace.length], message)
    hashes.add(one.hash)
  }
  assert.equal(hashes.size, 4)
})

for (const { name, kinds, wrap } of plantedBugs) {
  test(`simulation: a planted bug is found: ${name}`, async (t) => {
    const first = SeededRandom.fresh().seed
    for (let seed = first; seed < first + seedsPerBugMax; seed++) {
      const { anomalies, findings } = await simulate({ seed, kinds, wrapFileSystem: wrap })
      const found = [...new Set(anomalies.map(({ kind }) => kind)), ...findings.map((text) => text.split('\n')[0])]
      if (found.length === 0) continue
      return t.diagnostic(`by seed ${seed}, after ${seed - first + 1}: ${found.join('; ').slice(0, 200)}`)
    }
    assert.fail(`seeds ${first} … ${first + seedsPerBugMax - 1} found nothing`)
  })
}
