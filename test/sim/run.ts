/**
 * `npm run test:sim`: many seeds over all cores, or one again.
 *   --seed N       this one, with its trace's hash; --trace prints every event
 *   --seeds N      so many (default 200), --from N the first of them (default: drawn, and printed)
 *   --minutes M    as many as there is time for
 *   --threads N    at once (default: one for each core)
 *   --cluster      of clusters of three to five brokers, not of one broker
 *   --kinds A,B    only these faults (nemesis.ts has their names, cluster/cluster-nemesis.ts those of clusters)
 *   --until-wrong  ends with the first seed that found something
 *   --report       adds what came of it to test/results/, of which the table in docs/guarantees.md is made
 * Ends with 1 if any seed found anything; what it found, and how to see it again, is printed.
 */
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { writeRun } from '../results/test-run.ts'
import { runSeeds } from './seed-pool.ts'
import type { SimulationResult } from './run-seed.ts'
import { kindsOf, simulateAny } from './simulate-any.ts'
import { Totals } from './totals.ts'

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string' },
    from: { type: 'string' },
    minutes: { type: 'string' },
    threads: { type: 'string' },
    kinds: { type: 'string' },
    cluster: { type: 'boolean', default: false },
    'until-wrong': { type: 'boolean' },
    report: { type: 'boolean' },
    trace: { type: 'boolean' },
  },
})

/** What many seeds find is shown in short: one of them again shows all. */
const shownMax = 4

function print(result: SimulationResult): void {
  for (const line of result.trace) console.log(line)
  const { seed, hash, anomalies, findings, faults, events, simulatedMs, appends, acknowledged, reads } = result
  const facts = { events, simulatedSeconds: Math.round(simulatedMs / 1000), appends, acknowledged, reads, faults }
  console.log(`seed ${seed}: hash ${hash.toString(16)} ${JSON.stringify(facts)}`)
  const found = [...findings, ...anomalies.map(({ kind, message }) => `${kind}: ${message}`)]
  const shown = isOne ? found : found.slice(0, shownMax).map((text) => text.split('\n')[0])
  for (const text of shown) console.log(`  ${text}`)
  if (shown.length < found.length) console.log(`  … ${found.length} in all`)
  if (values.seed !== undefined) for (const report of result.reports) console.log(`  broker: ${report}`)
}

function wantedKinds(): string[] | undefined {
  const kinds = values.kinds?.split(',')
  const known = kindsOf(isCluster)
  const unknown = kinds?.find((kind) => !known.includes(kind))
  if (unknown !== undefined) throw new Error(`--kinds: found ${unknown}, wanted some of ${known.join(',')}`)
  return kinds
}

const isCluster = values.cluster
const isOne = values.seed !== undefined
const startedAt = new Date().toISOString()
const first = Number(values.seed ?? values.from ?? Date.now() % 2 ** 31)
const kinds = wantedKinds()
const totals = new Totals()
const flags = `${isCluster ? ' --cluster' : ''}${kinds ? ` --kinds ${kinds.join(',')}` : ''}`
const again = (seed: number) => `npm run test:sim -- --seed ${seed}${flags}`

function take(result: SimulationResult): boolean {
  totals.add(result)
  const isWrong = result.anomalies.length + result.findings.length > 0
  if (isOne || isWrong) print(result)
  if (isWrong) console.log(`  again: ${again(result.seed)}`)
  return !(isWrong && values['until-wrong'] === true)
}

if (isOne) {
  take(await simulateAny({ isCluster, seed: first, keepTrace: values.trace === true, ...(kinds && { kinds }) }))
} else {
  console.log(`seeds from ${first}`)
  const untilMs = values.minutes === undefined ? Infinity : Date.now() + Number(values.minutes) * 60_000
  const count = Number(values.seeds ?? (values.minutes === undefined ? 200 : Infinity))
  await runSeeds(
    { first, count, untilMs, threads: Number(values.threads ?? availableParallelism()), kinds, isCluster },
    take,
  )
}
console.log(totals.text())
if (values.report === true)
  await writeRun({
    command: isCluster ? 'test:sim --cluster' : 'test:sim',
    startedAt,
    ...(kinds && { kinds: kinds.join(', ') }),
    ...totals.report(first),
  })
process.exit(totals.wrong > 0 ? 1 : 0)
