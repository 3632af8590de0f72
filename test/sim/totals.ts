/** Totals: what many seeds have been through, for people and for the record. */
import type { SimulationResult } from './simulation.ts'

export class Totals {
  seeds = 0
  wrong = 0
  readonly #startedMs = Date.now()
  readonly #sums = { appends: 0, acknowledged: 0, refused: 0, reads: 0, starts: 0, events: 0, simulatedSeconds: 0 }
  readonly #faults: Record<string, number> = {}

  add(result: SimulationResult): void {
    this.seeds++
    if (result.anomalies.length + result.findings.length > 0) this.wrong++
    const { appends, acknowledged, refused, reads, starts, events, simulatedMs } = result
    const sums = { appends, acknowledged, refused, reads, starts, events, simulatedSeconds: simulatedMs / 1000 }
    for (const [name, value] of Object.entries(sums)) this.#sums[name as keyof typeof sums] += value
    for (const [kind, times] of Object.entries(result.faults)) this.#faults[kind] = (this.#faults[kind] ?? 0) + times
  }

  text(): string {
    const seconds = (Date.now() - this.#startedMs) / 1000
    const sums = Object.entries({ ...this.#sums, ...this.#faults }).map(([name, sum]) => `${name} ${Math.round(sum)}`)
    return `${this.seeds} seeds, ${this.wrong} wrong, ${seconds.toFixed(1)} s: ${sums.join(', ')}`
  }
}
