/**
 * Measurement: what one phase of a bench has come to so far: records, bytes, time, latencies. Invariant: constant memory, and adding is
 * a few additions, so that measuring is no part of what is measured. Filled by the benches, read by LiveLine and bench-report.ts.
 */
import { LatencyHistogram } from './latency-histogram.ts'

export class Measurement {
  readonly latency = new LatencyHistogram()
  #records = 0
  #bytes = 0
  #startedMs: number | undefined
  #endedMs = 0

  /** Starts the clock; answers its monotonic time, ms. */
  begin(): number {
    this.#startedMs = performance.now()
    this.#endedMs = this.#startedMs
    return this.#startedMs
  }

  /** Adds records that are done by `nowMs` (monotonic) and took `latencyMs` each. */
  add(records: number, bytes: number, nowMs: number, latencyMs: number): void {
    this.addUntimed(records, bytes, nowMs)
    this.latency.add(latencyMs, records)
  }

  /** The same for records whose latency is not known one by one. */
  addUntimed(records: number, bytes: number, nowMs: number): void {
    this.#records += records
    this.#bytes += bytes
    this.#endedMs = nowMs
  }

  get hasBegun(): boolean {
    return this.#startedMs !== undefined
  }

  get records(): number {
    return this.#records
  }

  /** Of values; keys, headers and frames come on top. */
  get bytes(): number {
    return this.#bytes
  }

  /** From the start to the last record that was done. */
  get seconds(): number {
    return this.#startedMs === undefined ? 0 : (this.#endedMs - this.#startedMs) / 1000
  }
}
