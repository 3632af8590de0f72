/**
 * TestRun: what one long run of the harness has been through, as it lies in test/results/. Invariant: a run that is written is never overwritten, and
 * one that found something says so. Written by the `--report` of test:sim, test:crash, test:power, test:nemesis, test:flips
 * and test:mutants; read by page.ts.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ourVersion } from '../../bench/rivals/machine.ts'

export interface FaultCount {
  readonly fault: string
  readonly times: number
  /** Of clients while it struck, all judged; 0 where operations are not told apart by fault. */
  readonly operations: number
}

export interface TestRun {
  /** As in package.json: test:sim … */
  readonly command: string
  /** ISO-8601, UTC. */
  readonly startedAt: string
  readonly seconds: number
  /** Of the product when the run began: release and commit. */
  readonly version: string
  /** Drawn or given, and how many from there on; none where nothing is drawn. */
  readonly seeds?: { readonly first: number; readonly count: number }
  /** Faults that it was limited to, if it was. */
  readonly kinds?: string
  /** Appends and reads of clients, all of them judged by the history checker. */
  readonly operations: number
  /** On the clocks of the simulated machines, one after the other. */
  readonly simulatedHours?: number
  /** Things that should not have been. */
  readonly findings: number
  readonly faults: readonly FaultCount[]
  /** Known mistakes in a copy of the sources, and what found each. */
  readonly mutants?: readonly MutantFound[]
}

interface MutantFound {
  readonly mutant: string
  readonly killed: boolean
  /** Which seed, or which test. */
  readonly by: string
}

/** Of what runs here, not of what the checkout has become meanwhile. */
const version = ourVersion(join(import.meta.dirname, '..', '..'))

/** Adds the run to the results, and says where. */
export async function writeRun(run: Omit<TestRun, 'version' | 'seconds'>): Promise<void> {
  const { command, startedAt } = run
  const seconds = Math.round((Date.now() - Date.parse(startedAt)) / 1000)
  const whole: TestRun = { ...run, seconds, version: await version }
  const stem = `${command.replace('test:', '').replaceAll(/[^a-z]+/g, '-')}-${startedAt.slice(0, 19).replaceAll(/[-:]/g, '')}`
  let name = `${stem}.json`
  for (let count = 2; existsSync(join(import.meta.dirname, name)); count++) name = `${stem}-${count}.json`
  writeFileSync(join(import.meta.dirname, name), `${JSON.stringify(whole, null, 2)}\n`, { flag: 'wx' })
  console.log(`test/results/${name} written; npm run guarantees puts it into docs/guarantees.md`)
}

/** Oldest first. */
export function readRuns(): TestRun[] {
  const names = readdirSync(import.meta.dirname).filter((name) => name.endsWith('.json'))
  const runs = names.map((name) => JSON.parse(readFileSync(join(import.meta.dirname, name), 'utf8')) as TestRun)
  return runs.toSorted((a, b) => a.startedAt.localeCompare(b.startedAt))
}
