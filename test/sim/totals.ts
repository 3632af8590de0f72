/** Totals: what many seeds have been through, for people and, as JSON, for the table of faults in docs/guarantees.md. */
import { noCounts } from './simulation.ts'
import type { SimulationCounts, SimulationResult } from './simulation.ts'

export class Totals {
  seeds = 0
  wrong = 0
  readonly #startedMs = Date.now()
  readonly #sums = { ...noCounts }
  readonly #faults: Record<string, number> = {}

  add(result: SimulationResult): void {
    this.seeds++
    if (result.anomalies.length + result.findings.length > 0) this.wrong++
    for (const name of Object.keys(noCounts) as (keyof SimulationCounts)[]) this.#sums[name] += result[name]
    for (const [kind, times] of Object.entries(result.faults)) this.#faults[kind] = (this.#faults[kind] ?? 0) + times
  }

  text(): string {
    const { simulatedMs, ...counts } = this.#sums
    const sums = Object.entries({ ...counts, simulatedSeconds: simulatedMs / 1000, ...this.#faults })
    const texts = sums.map(([name, sum]) => `${name} ${Math.round(sum)}`)
    return `${this.seeds} seeds, ${this.wrong} wrong, ${this.#seconds.toFixed(1)} s: ${texts.join(', ')}`
  }

  /** How often a fault struck. */
  times(fault: string): number {
    return this.#faults[fault] ?? 0
  }

  /** Everything as one value, in plain numbers. */
  report() {
    const { simulatedMs, ...counts } = this.#sums
    return {
      seeds: this.seeds,
      wrong: this.wrong,
      seconds: Math.round(this.#seconds * 10) / 10,
      simulatedHours: Math.round((simulatedMs / 3_600_000) * 1000) / 1000,
      ...counts,
      faults: this.#faults,
    }
  }

  get #seconds(): number {
    return (Date.now() - this.#startedMs) / 1000
  }
}
