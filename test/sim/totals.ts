/** Totals: what many seeds have been through, for people and for the table of faults in docs/guarantees.md. */
import type { FaultCount } from '../results/test-run.ts'
import { noCounts } from './run-seed.ts'
import type { SimulationCounts, SimulationResult } from './run-seed.ts'

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

  /** Of a test run (test/results/test-run.ts) that began with this seed. */
  report(firstSeed: number) {
    const faults = Object.entries(this.#faults).map(([fault, times]): FaultCount => ({ fault, times, operations: 0 }))
    const { operations, simulatedMs } = this.#sums
    return {
      seeds: { first: firstSeed, count: this.seeds },
      operations,
      simulatedHours: Math.round(simulatedMs / 3_600) / 1000,
      findings: this.wrong,
      faults,
    }
  }

  get #seconds(): number {
    return (Date.now() - this.#startedMs) / 1000
  }
}
