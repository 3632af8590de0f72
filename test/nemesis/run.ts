/**
 * `npm run test:nemesis`: three real brokers and a real etcd, each in a network namespace and on a disk of its own, under kills, pauses, power cuts, cut
 * networks, an etcd that is gone, slow and lost disks, with clients that append and read all the while. Needs root.
 *   --minutes M     no round begins later (default 10)
 *   --rounds N      instead: so many
 *   --seed N        of the first round, the next has the next (default: drawn, and printed)
 *   --fault-s S     of each round, with faults (default 40)
 *   --kinds A,B     only these faults (default: each round draws)
 *   --report        adds what came of it to test/results/, of which the table in docs/guarantees.md is made
 * Ends with 1 if anything was found; then the logs and the data directories are kept, and where is said.
 */
import { parseArgs } from 'node:util'
import { requireLoopDisks } from '../crash/loop-disk.ts'
import { writeRun } from '../results/test-run.ts'
import { SeededRandom } from '../storage/seeded-random.ts'
import { sessionMs } from './fleet.ts'
import { requireNamespaces } from './machine-network.ts'
import { nemesisFaults } from './nemesis.ts'
import { nemesisLife } from './nemesis-run.ts'
import type { RoundResult } from './nemesis-run.ts'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    rounds: { type: 'string' },
    seed: { type: 'string' },
    'fault-s': { type: 'string', default: '40' },
    kinds: { type: 'string' },
    report: { type: 'boolean' },
  },
})
requireNamespaces()
requireLoopDisks()
/** Of one cluster, from empty disks on. */
const roundsPerLife = 8
const startedAt = new Date().toISOString()
const seed = Number(values.seed ?? SeededRandom.fresh().seed)
const kinds = values.kinds?.split(',').map((name) => {
  const kind = nemesisFaults.find((each) => each === name)
  if (kind === undefined) throw new Error(`--kinds: found ${name}, wanted some of ${nemesisFaults.join(', ')}`)
  return kind
})
const untilMs = values.rounds === undefined ? performance.now() + Number(values.minutes) * 60_000 : Infinity
const roundsMax = Number(values.rounds ?? Infinity)
process.once('SIGINT', () => process.exit(130))
process.once('SIGTERM', () => process.exit(143))

const rounds: RoundResult[] = []
const findings: string[] = []
while (rounds.length < roundsMax && performance.now() < untilMs && findings.length === 0) {
  const life = await nemesisLife({
    seed: seed + rounds.length,
    rounds: Math.min(roundsPerLife, roundsMax - rounds.length),
    untilMs,
    faultMs: Number(values['fault-s']) * 1_000,
    kinds,
    onRound: (round) => {
      rounds.push(round)
      console.log(`round ${rounds.length}: ${roundText(round)}`)
    },
  })
  findings.push(...life.findings)
  if (life.findings.length === 0) continue
  for (const finding of life.findings) console.error(`FOUND ${finding}`)
  console.error(`in a cluster that began with seed ${life.seed}; its logs and data directories: ${life.directory}`)
}
const faults = nemesisFaults.map((fault) => ({
  fault,
  times: rounds.reduce((sum, each) => sum + (each.faults[fault] ?? 0), 0),
  operations: 0,
}))
const total = (count: (round: RoundResult) => number) => rounds.reduce((sum, each) => sum + count(each), 0)
const operations = total((round) => round.operations)
console.log(`${rounds.length} rounds from seed ${seed}, ${findings.length} findings; ${failoverText()}
${operations} operations judged: ${total((round) => round.appends)} appends, ${total((round) => round.acknowledged)} acknowledged, ${total((round) => round.refused)} refused, ${total((round) => round.reads)} reads
faults: ${faults.map(({ fault, times }) => `${fault} ${times}`).join(', ')}`)
if (values.report === true) {
  const survived = faults.filter(({ times }) => times > 0)
  const seeds = { first: seed, count: rounds.length }
  const limited = kinds === undefined ? {} : { kinds: kinds.join(', ') }
  await writeRun({
    command: 'test:nemesis',
    startedAt,
    seeds,
    ...limited,
    operations,
    findings: findings.length,
    faults: survived,
  })
}
process.exit(findings.length > 0 ? 1 : 0)

function roundText({
  seed: of,
  faults: by,
  acknowledged,
  appends,
  operations: judged,
  failoverMs,
  restMs,
}: RoundResult): string {
  const harm = Object.entries(by).map(([fault, times]) => `${fault} ${times}`)
  const times = `failover ${Math.round(failoverMs)} ms, at rest ${(restMs / 1000).toFixed(1)} s after healing`
  return `seed ${of}: ${acknowledged} of ${appends} appends acknowledged, ${judged} operations judged, ${times}; ${harm.join(', ')}`
}

function failoverText(): string {
  const all = rounds.map(({ failoverMs }) => failoverMs).toSorted((a, b) => a - b)
  const seconds = (ms = NaN) => `${(ms / 1000).toFixed(1)} s`
  const rest = Math.max(...rounds.map(({ restMs }) => restMs))
  return `failover after a kill -9 of the leader: median ${seconds(all[all.length >> 1])}, longest ${seconds(all.at(-1))} (two lease times: ${seconds(2 * sessionMs)}); at rest ${seconds(rest)} after healing at most`
}
