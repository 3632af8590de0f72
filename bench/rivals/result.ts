/**
 * Result: what a run of the comparison leaves in bench/results/, and how its lines are made of single figures. Pure. Invariant: a line stands
 * for as many figures of each side as the run had rounds; what failed once is in `failures` and has no line. Written by run.ts, read by page.ts.
 */
import { ratioOf, sideOf, valueOf } from './figure.ts'
import type { Figure, Metric, Side } from './figure.ts'
import type { Machine } from './machine.ts'
import { titleOf } from './our-work.ts'
import type { Durability, Workload } from './peer.ts'

export interface Line {
  readonly work: string
  readonly tool: string
  readonly recordBytes: number
  readonly durability: Durability
  readonly metric: Metric
  readonly ours: Side
  readonly theirs: Side
  /** Above 1: ours did better. */
  readonly ratio: number
}

export interface PeerResult {
  readonly name: string
  readonly title: string
  readonly version: string
  readonly durability: { readonly default: string; readonly durable?: string }
  readonly settings: readonly string[]
  readonly lines: readonly Line[]
}

export interface RunResult {
  /** ISO-8601, UTC. */
  readonly startedAt: string
  readonly seconds: number
  readonly rounds: number
  readonly isQuick: boolean
  readonly ours: { readonly version: string; readonly durability: string; readonly settings: readonly string[] }
  readonly machine: Machine
  readonly peers: readonly PeerResult[]
  readonly failures: readonly string[]
}

/** One workload on one kind of server, with a figure of each side per round. */
export interface Measured {
  readonly workload: Workload
  readonly durability: Durability
  readonly ours: readonly Figure[]
  readonly theirs: readonly Figure[]
}

/** A line per metric; none when a round is missing on either side. */
export function linesOf({ workload, durability, ours, theirs }: Measured, rounds: number): Line[] {
  if (ours.length !== rounds || theirs.length !== rounds) return []
  return workload.metrics.map((metric) => {
    const [ourSide, theirSide] = [ours, theirs].map((figures) => sideOf(figures.map((each) => valueOf(each, metric))))
    return {
      work: titleOf(workload.ours),
      tool: workload.tool,
      recordBytes: workload.ours.recordBytes,
      durability,
      metric,
      ours: ourSide!,
      theirs: theirSide!,
      ratio: ratioOf(metric, ourSide!, theirSide!),
    }
  })
}
