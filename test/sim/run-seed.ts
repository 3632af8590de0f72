/**
 * What a run of either simulation is, whoever is simulated: begun on a scheduler of its own, waited for, told of. Neighbours: simulation.ts and
 * cluster/cluster-simulation.ts.
 */
// First, for its effect on node:zlib.
import { answerInTurn } from './zlib-in-turn.ts'
import { SeededRandom } from '../storage/seeded-random.ts'
import type { Recorder } from './recorder.ts'
import { Scheduler } from './scheduler.ts'
import type { Anomaly } from '../history/history.ts'

/** What is counted of a seed, and summed up over many. */
export const noCounts = {
  /** Of clients, all of them judged by the history checker. */
  operations: 0,
  appends: 0,
  acknowledged: 0,
  refused: 0,
  reads: 0,
  starts: 0,
  events: 0,
  simulatedMs: 0,
}
export type SimulationCounts = Readonly<typeof noCounts>

export interface SimulationResult extends SimulationCounts {
  readonly seed: number
  /** Of the whole trace. */
  readonly hash: number
  readonly anomalies: readonly Anomaly[]
  /** Whatever else should not have been. */
  readonly findings: readonly string[]
  readonly faults: Readonly<Record<string, number>>
  readonly reports: readonly string[]
  readonly trace: readonly string[]
}

/** Of a seed about which nothing is known yet. */
export function emptyResult(seed: number): SimulationResult {
  return { seed, hash: 0, anomalies: [], findings: [], faults: {}, reports: [], trace: [], ...noCounts }
}

/** One run, on the scheduler it was made with. */
interface SeedRun {
  readonly findings: string[]
  main(): Promise<void>
  result(): SimulationResult
}

export interface SeedOptions {
  readonly seed: number
  readonly keepTrace?: boolean
}

/** What ends the run early is a finding. */
export async function runSeed(
  { seed, keepTrace }: SeedOptions,
  eventsMax: number,
  make: (scheduler: Scheduler) => SeedRun,
): Promise<SimulationResult> {
  const scheduler = new Scheduler(new SeededRandom(seed))
  if (keepTrace) scheduler.lines = []
  const run = make(scheduler)
  answerInTurn((answer) => scheduler.after(scheduler.between(0.01, 1), 'zlib', answer))
  try {
    await scheduler.run(() => run.main(), eventsMax)
  } catch (error) {
    run.findings.push(error instanceof Error ? (error.stack ?? error.message) : String(error))
  }
  return run.result()
}

/** As far as the scheduler and the recorder have it. */
export function recordedResult(
  scheduler: Scheduler,
  recorder: Recorder,
): Omit<SimulationResult, 'seed' | 'findings' | 'faults' | 'starts' | 'reports'> {
  const { anomalies, operations } = recorder.finish()
  const { appends, acknowledged, refused, reads } = recorder
  return { anomalies, operations, appends, acknowledged, refused, reads, ...scheduledResult(scheduler) }
}

/** As far as the scheduler has it. */
export function scheduledResult({
  hash,
  events,
  nowMs: simulatedMs,
  lines: trace = [],
}: Scheduler): Pick<SimulationResult, 'hash' | 'events' | 'simulatedMs' | 'trace'> {
  return { hash, events, simulatedMs, trace }
}

/** What is not done within `msMax` never will be; `why`, in words, is asked then. */
export async function withDeadline<T>(
  scheduler: Scheduler,
  msMax: number,
  what: string,
  promise: Promise<T>,
  why?: () => string | undefined,
): Promise<T> {
  let timer: { cancel(): void } | undefined
  const overdue = new Promise<never>((_, reject) => {
    timer = scheduler.after(msMax, 'overdue', () => {
      const reason = why?.()
      reject(new Error(`${what}: not done after ${msMax} ms${reason === undefined ? '' : `: ${reason}`}`))
    })
  })
  try {
    return await Promise.race([promise, overdue])
  } finally {
    timer?.cancel()
  }
}
