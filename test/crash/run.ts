/**
 * `npm run test:crash`: a real broker killed at each of its file-changing system calls, each of its writes and syncs failed, kill -9 under load and
 * of a broker with a tier, and reads and writes that come back short.
 *   --only kill|eio|load|tier|short   one of these
 *   --part first|second    of the scenario: before or after the kill -9 in its middle
 *   --at POINT             one point again, as it was printed
 *   --rounds N             kills under load (default 100); of a broker with a tier, at least so many
 *   --seed N               of the load (default: drawn, and printed)
 *   --report               adds what came of it to test/results/, of which the table in docs/guarantees.md is made
 * Ends with 1 if anything was found.
 */
import { parseArgs } from 'node:util'
import { SeededRandom } from '../storage/seeded-random.ts'
import { attack } from './attacks.ts'
import { pointOfText, pointsOf, recordScenario } from './crash-points.ts'
import { faults } from './faults.ts'
import { loadRun } from './load-run.ts'
import { shortIoRun } from './short-io.ts'
import { requireStrace } from './system-calls.ts'
import { Tally } from './tally.ts'
import { tierRun } from './tier-run.ts'

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    part: { type: 'string' },
    at: { type: 'string' },
    rounds: { type: 'string', default: '100' },
    seed: { type: 'string' },
    report: { type: 'boolean' },
  },
})
requireStrace()
/** Kills of one broker's directory. */
const roundsPerRun = 10
const tally = new Tally()
const seed = Number(values.seed ?? SeededRandom.fresh().seed)
const wants = (name: string) => values.at === undefined && (values.only === undefined || values.only === name)

if (values.at !== undefined)
  await attack({ fault: 'one point', points: [pointOfText(values.at)], beyond: false }, tally)
if (wants('kill') || wants('eio')) {
  const recorded = (await recordScenario()).filter(({ part }) => values.part === undefined || values.part === part)
  for (const { part, calls } of recorded) console.log(`${part} part: ${calls.length} file-changing calls`)
  for (const action of ['before', 'after'] as const) {
    const points = pointsOf(recorded, action)
    if (wants('kill')) await attack({ fault: faults.killAtCall, points, beyond: true }, tally)
  }
  const failures = pointsOf(recorded, 'error=EIO')
  if (wants('eio')) await attack({ fault: faults.inputOutputError, points: failures, beyond: false }, tally)
}
if (wants('load')) {
  for (let done = 0, run = seed; done < Number(values.rounds); done += roundsPerRun, run++)
    await loadRun({ seed: run, rounds: roundsPerRun }, tally)
}
// Each life of a broker with a tier ends with three kills, or two. By itself as many as under load; among the others a part of them, for the sake of time.
const shareOfTier = values.only === 'tier' ? 2 : 5
if (wants('tier')) {
  for (let done = 0, run = seed; done < Number(values.rounds); done += shareOfTier * roundsPerRun, run++)
    await tierRun({ seed: run, rounds: roundsPerRun }, tally)
}
if (wants('short')) await shortIoRun(seed, roundsPerRun, tally)
console.log(tally.text())
if (values.report === true) await tally.report('test:crash', seed)
process.exit(tally.findings.length > 0 ? 1 : 0)
