/**
 * `npm run test:sim`: many seeds, or one again.
 *   --seed N      this one, with its trace's hash; --trace prints every event
 *   --seeds N     so many (default 200), --from N the first of them (default: drawn, and printed)
 *   --minutes M   as many as there is time for
 * Ends with 1 if any seed found anything; what it found, and how to see it again, is printed.
 */
import { parseArgs } from 'node:util'
import { simulate } from './simulation.ts'
import type { SimulationResult } from './simulation.ts'
import { Totals } from './totals.ts'

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string' },
    from: { type: 'string' },
    minutes: { type: 'string' },
    trace: { type: 'boolean' },
  },
})

function print(result: SimulationResult): void {
  for (const line of result.trace) console.log(line)
  const { seed, hash, anomalies, findings, faults, events, simulatedMs, appends, acknowledged, reads } = result
  const facts = { events, simulatedSeconds: Math.round(simulatedMs / 1000), appends, acknowledged, reads, faults }
  console.log(`seed ${seed}: hash ${hash.toString(16)} ${JSON.stringify(facts)}`)
  for (const { kind, message } of anomalies) console.log(`  ${kind}: ${message}`)
  for (const finding of findings) console.log(`  ${finding}`)
  if (values.seed !== undefined) for (const report of result.reports) console.log(`  broker: ${report}`)
}

const isOne = values.seed !== undefined
const first = Number(values.seed ?? values.from ?? Date.now() % 2 ** 31)
const untilMs = values.minutes === undefined ? Infinity : Date.now() + Number(values.minutes) * 60_000
const count = isOne ? 1 : Number(values.seeds ?? (values.minutes === undefined ? 200 : Infinity))
if (!isOne) console.log(`seeds from ${first}`)

const totals = new Totals()
for (let seed = first; seed < first + count && Date.now() < untilMs; seed++) {
  const result = await simulate({ seed, keepTrace: values.trace === true })
  totals.add(result)
  const isWrong = result.anomalies.length + result.findings.length > 0
  if (isOne || isWrong) print(result)
  if (isWrong) console.log(`  again: npm run test:sim -- --seed ${seed}`)
}
console.log(totals.text())
process.exit(totals.wrong > 0 ? 1 : 0)
