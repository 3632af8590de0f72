/**
 * The part of docs/guarantees.md that says how often each fault was survived, made of the runs in test/results/. Pure: the same runs give the same
 * text, and a test holds the page against them. Invariant: every figure comes from a run. Called by run.ts.
 */
import type { TestRun } from './test-run.ts'

const begin = '<!-- begin: made by npm run guarantees -->'
const end = '<!-- end: made by npm run guarantees -->'

/** How often each fault of the simulator strikes one broker in a bad year: what a simulated year is counted by. */
const timesInABadYear: Readonly<Record<string, number>> = {
  stop: 365,
  kill: 52,
  power: 12,
  reset: 8_760,
  clientDeath: 8_760,
  cut: 365,
  cutOneWay: 52,
  slow: 365,
  skew: 52,
  full: 12,
  writeError: 12,
  syncError: 12,
  unreadable: 12,
  flip: 12,
  flipSidecar: 12,
  cacheRot: 12,
}

const meanings: Readonly<Record<string, string>> = {
  stop: 'stopped and started',
  kill: 'killed, now and then again while it starts',
  power: 'power cut: any mixture of unsynced sectors is kept, some torn',
  reset: 'connections reset',
  clientDeath: 'a client dies in the middle of its work',
  cut: 'nothing gets through the network for a while',
  cutOneWay: 'only requests, or only replies, get through',
  slow: 'every disk call takes 20 times as long',
  skew: 'the wall clock jumps by up to an hour',
  full: 'the disk is full for a while',
  writeError: 'a write, an allocation, a rename or a sync of a directory fails',
  syncError: 'a sync fails, and the bytes may be lost',
  unreadable: 'pages of segments and sidecars cannot be read for a while',
  flip: 'a bit of a record or frame flips',
  flipSidecar: 'a bit of a sidecar flips',
  cacheRot: 'values of the cache cannot be read',
}

/** The same of the simulator of clusters, where they are others. */
const clusterMeanings: Readonly<Record<string, string>> = {
  kill: 'a broker is killed, now and then again while it starts',
  power: 'power cut of one broker',
  powerAll: 'power cut of all brokers at once',
  stop: 'a broker hands over, stops and is started',
  rolling: 'all are stopped and started, one after the other',
  loseDisk: 'a disk is lost, all replicas being in sync: the broker comes back with an empty one',
  pause: 'a broker stands still and wakes as what it was',
  cut: 'two of brokers, clients and etcd do not reach each other',
  cutOneWay: 'the same in one direction',
  isolate: 'a broker reaches nobody, or clients only',
  cutFromEtcd: 'a broker does not reach etcd',
  etcdDown: 'etcd answers nobody',
  etcdLeader: 'etcd changes its leader: leases begin anew, watches break',
  etcdFlaky: 'for one broker etcd loses requests and answers, takes some long after, and breaks watches',
  slow: 'every disk call of a broker takes 20 or 200 times as long',
  slowLink: 'messages between two take 300 times as long',
  skew: 'the wall clock of one broker jumps by up to an hour',
}

/** The same of real machines. */
const nemesisMeanings: Readonly<Record<string, string>> = {
  kill: 'kill -9 of a broker, the leader or any, now and then again while it starts',
  killAll: 'kill -9 of all brokers at once',
  power: 'power cut of one broker: its ext4 is shut down and mounted again',
  powerAll: 'power cut of all brokers at once, half the times of etcd too',
  stop: 'a broker hands over, stops and is started',
  rolling: 'all are stopped and started, one after the other',
  loseDisk: 'a disk is lost, all replicas being in sync: the broker comes back with an empty one',
  pause: 'a broker stands still (SIGSTOP) for half to three lease times',
  cut: 'packets between two of brokers, clients and etcd get lost',
  cutOneWay: 'the same in one direction',
  isolate: 'a broker reaches nobody, or clients only',
  cutFromEtcd: 'a broker does not reach etcd',
  etcdKill: 'kill -9 of etcd, back after up to three lease times',
  etcdPause: 'etcd stands still',
  slow: 'every write and sync of a broker takes 20 to 500 ms longer',
  clientDeath: 'a client dies in the middle of its work',
}

const meaningsOf: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'test:sim --cluster': clusterMeanings,
  'test:nemesis': nemesisMeanings,
}

/** The page with its part made anew. Throws when it has no place for it. */
export function pageWith(page: string, runs: readonly TestRun[]): string {
  const [from, to] = [page.indexOf(begin), page.indexOf(end)]
  if (from < 0 || to < from) throw new Error(`docs/guarantees.md: found no place, wanted ${begin} … ${end}`)
  return `${page.slice(0, from + begin.length)}\n\n${survivedText(runs)}\n\n${page.slice(to)}`
}

export function survivedText(runs: readonly TestRun[]): string {
  if (runs.length === 0) return 'No run is recorded in `test/results/` yet.'
  return [faultTable(runs), yearText(runs), mutantTable(runs), runTable(runs)]
    .filter((part) => part !== '')
    .join('\n\n')
}

interface Sum {
  times: number
  operations: number
}

/** By layer and fault, in the order in which they come. */
function sumsOf(runs: readonly TestRun[]): Map<string, Map<string, Sum>> {
  const layers = new Map<string, Map<string, Sum>>()
  for (const { command, faults } of runs) {
    const layer = layers.get(command) ?? new Map<string, Sum>()
    layers.set(command, layer)
    for (const { fault, times, operations } of faults) {
      const sum = layer.get(fault) ?? { times: 0, operations: 0 }
      layer.set(fault, { times: sum.times + times, operations: sum.operations + operations })
    }
  }
  return layers
}

function faultTable(runs: readonly TestRun[]): string {
  const rows: string[][] = []
  for (const [command, faults] of [...sumsOf(runs)].toSorted(([a], [b]) => a.localeCompare(b))) {
    for (const [fault, { times, operations }] of [...faults].toSorted(([a], [b]) => a.localeCompare(b))) {
      const meaning = meaningsOf[command]?.[fault] ?? meanings[fault]
      const title = meaning === undefined ? fault : `${fault}: ${meaning}`
      rows.push([title, command, number(times), operations === 0 ? '' : number(operations)])
    }
  }
  return table(['fault', 'by', 'times survived', 'operations judged'], rows)
}

function yearText(runs: readonly TestRun[]): string {
  const simulated = runs.filter(({ command }) => command === 'test:sim')
  const faults = sumsOf(simulated).get('test:sim')
  if (faults === undefined) return ''
  const rows = Object.entries(timesInABadYear).map(([fault, perYear]) => {
    const times = faults.get(fault)?.times ?? 0
    return { fault, perYear, times, years: times / perYear }
  })
  const least = rows.toSorted((a, b) => a.years - b.years)[0]!
  const hours = simulated.reduce((sum, { simulatedHours = 0 }) => sum + simulatedHours, 0)
  const operations = simulated.reduce((sum, run) => sum + run.operations, 0)
  const seeds = simulated.reduce((sum, { seeds: drawn }) => sum + (drawn?.count ?? 0), 0)
  const verdict =
    least.years >= 1
      ? `at least ${years(least.years)} of each`
      : `so far ${years(least.years)} of the scarcest, ${least.fault}`
  return `### Simulated time, and how it is counted

${number(seeds)} seeds, ${number(operations)} operations of clients judged, ${number(Math.round(hours))} hours on the clocks of the simulated machines. These
hours are dense: a machine that was left alone for a year would have nothing to show for it, so its quiet time is not simulated and not counted. What is counted is harm. A *bad year* of one
broker is taken to bring each fault as often as the table says: a stop and start every day, a kill every week, a power cut every month, a reset connection and a dead client every hour, and
so on (for comparison: 0.03 % of SSDs show a sector that cannot be read in a year). A fault that struck so many times that many bad years would have brought it stands for so many years: **${verdict}**.
Each fault is counted by itself; a seed has any number of them, in any order and often at once. Some runs are limited to a few faults, as the table of runs says.

${table(
  ['fault', 'in a bad year', 'survived', 'years'],
  rows.map(({ fault, perYear, times, years: count }) => [fault, number(perYear), number(times), years(count)]),
)}`
}

/** Of each the newest. */
function mutantTable(runs: readonly TestRun[]): string {
  const newest = new Map(runs.flatMap(({ mutants = [] }) => mutants.map((each) => [each.mutant, each] as const)))
  if (newest.size === 0) return ''
  const rows = [...newest.values()].map(({ mutant, killed, by }) => [
    mutant,
    killed ? by.replaceAll('|', '/') : 'nothing',
  ])
  const killed = [...newest.values()].filter((each) => each.killed).length
  return `### Mutants: ${killed} of ${newest.size} killed

Each in a copy of the sources of its own.

${table(['mutant', 'found by'], rows)}`
}

function runTable(runs: readonly TestRun[]): string {
  const rows = runs.map(({ command, startedAt, version, seconds, seeds, kinds, operations, findings }) => [
    startedAt.slice(0, 16).replace('T', ' '),
    command,
    version,
    `${number(Math.round(seconds / 60))} min`,
    [seeds === undefined ? '' : `${number(seeds.count)} from ${seeds.first}`, kinds ?? ''].filter(Boolean).join(': '),
    number(operations),
    number(findings),
  ])
  return `### Runs

${table(['started (UTC)', 'command', 'version', 'took', 'seeds', 'operations', 'findings'], rows)}`
}

function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  return [header, header.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

function number(value: number): string {
  return value.toLocaleString('en-US')
}

function years(value: number): string {
  return value >= 10 ? number(Math.floor(value)) : `${Math.floor(value * 100) / 100}`
}
