/**
 * Figure: what one measurement gave, and the medians and ratios made of several. Pure: no process, no clock.
 * Invariant: a ratio above 1 always means that ours did better, whatever is measured. Made by playhead.ts and the peers, compared by
 * comparison.ts, printed by page.ts and chart.ts.
 */
import { PlayheadError } from '../../protocol/errors.ts'

/** Milliseconds. */
export interface Latency {
  readonly p50: number
  readonly p95: number
  readonly p99: number
  readonly max: number
}

/** `seconds`: how long the work took by the clock of the tool that did it. */
export interface Figure {
  readonly records: number
  readonly seconds?: number
  readonly recordsPerSecond?: number
  readonly latencyMs?: Latency
}

/** What of a figure is compared. */
export type Metric = 'recordsPerSecond' | 'p50' | 'p99'

export interface Side {
  readonly figures: readonly number[]
  readonly median: number
  /** (largest − smallest) ÷ median. */
  readonly spread: number
}

export function throughput(records: number, seconds: number): Figure {
  if (!(records > 0 && seconds > 0))
    throw failed(`found ${records} records in ${seconds} s, wanted more than none of both`)
  return { records, seconds, recordsPerSecond: records / seconds }
}

export function valueOf(figure: Figure, metric: Metric): number {
  const value = metric === 'recordsPerSecond' ? figure.recordsPerSecond : figure.latencyMs?.[metric]
  if (value === undefined || !Number.isFinite(value) || value <= 0)
    throw failed(`found ${metric} ${String(value)}, wanted a number above 0`)
  return value
}

export function sideOf(figures: readonly number[]): Side {
  const median = medianOf(figures)
  return { figures, median, spread: (Math.max(...figures) - Math.min(...figures)) / median }
}

/** How many times better ours is: more records, or fewer milliseconds. */
export function ratioOf(metric: Metric, ours: Side, theirs: Side): number {
  return metric === 'recordsPerSecond' ? ours.median / theirs.median : theirs.median / ours.median
}

function medianOf(values: readonly number[]): number {
  if (values.length === 0) throw failed('found no figure, wanted at least one')
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

function failed(text: string): PlayheadError {
  return new PlayheadError('unavailable', `measurement: ${text}; run it again`)
}
