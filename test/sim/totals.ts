/** Totals: what many seeds have been through, for people and, as JSON, for the table of faults in docs/guarantees.md. */
import type { SimulationResult } from './simulation.ts'

export class Totals {
  seeds = 0
  wrong = 0
  readonly #startedMs = Date.now()
  readonly #sums = {
    operations: 0,
    appends: 0,
    acknowledged: 0,
    refused: 0,
    reads: 0,
    starts: 0,
    events: 0,
    simulatedSeconds: 0,
  }
  readonly #faults: Record<string, number> = {}

  add(result: SimulationResult): void {
    this.seeds++
    if (result.anomalies.length + result.findings.length > 0) this.wrong++
    const { operations, appends, acknowledged, refused, reads, starts, events, simulatedMs } = result
    const simulatedSeconds = simulatedMs / 1000
    const sums = { operations, appends, acknowledged, refused, reads, starts, events, simulatedSeconds }
    for (const [name, value] of Object.entries(sums)) this.#sums[name as keyof typeof sums] += value
    for (const [kind, times] of Object.entries(result.faults)) this.#faults[kind] = (this.#faults[kind] ?? 0) + times
  }

  text(): string {
    const sums = Object.entries({ ...this.#sums, ...this.#faults }).map(([name, sum]) => `${name} ${Math.round(sum)}`)
    return `${this.seeds} seeds, ${this.wrong} wrong, ${this.#seconds.toFixed(1)} s: ${sums.join(', ')}`
  }

  /** How often a fault struck. */
  times(fault: string): number {
    return this.#faults[fault] ?? 0
  }

  /** Everything as one value, in plain numbers. */
  report() {
    const { simulatedSeconds, ...sums } = this.#sums
    return {
      seeds: this.seeds,
      wrong: this.wrong,
      seconds: Math.round(this.#seconds * 10) / 10,
      simulatedHours: Math.round((simulatedSeconds / 3600) * 1000) / 1000,
      ...sums,
      faults: this.#faults,
    }
  }

  get #seconds(): number {
    return (Date.now() - this.#startedMs) / 1000
  }
}
