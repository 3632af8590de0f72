/** Tally: which faults were survived how often, under how many operations, and what was found. Neighbours: whoever attacks fills it, test/results/ keeps it. */
import { writeRun } from '../results/test-run.ts'
import type { FaultCount } from '../results/test-run.ts'

interface Row {
  times: number
  operations: number
}

export class Tally {
  readonly findings: string[] = []
  readonly #rows = new Map<string, Row>()
  readonly #startedMs = Date.now()
  #seeds = 0

  /** `operations`: appends and reads of clients that the checker has judged. */
  survived(fault: string, operations: number, times = 1): void {
    const row = this.#rows.get(fault) ?? { times: 0, operations: 0 }
    row.times += times
    row.operations += operations
    this.#rows.set(fault, row)
  }

  /** One more seed was drawn from. */
  began(): void {
    this.#seeds++
  }

  times(fault: string): number {
    return this.#rows.get(fault)?.times ?? 0
  }

  found(finding: string): void {
    this.findings.push(finding)
    console.error(`FOUND ${finding}`)
  }

  text(): string {
    const rows = [...this.#rows].map(([fault, { times, operations }]) => `${fault} ${times} (${operations} operations)`)
    const seconds = ((Date.now() - this.#startedMs) / 1000).toFixed(1)
    return `${seconds} s, ${this.findings.length} findings: ${rows.join(', ')}`
  }

  /** For test/results/, what the table in docs/guarantees.md is made of. */
  async report(command: string, seed: number): Promise<void> {
    const faults = [...this.#rows].map(([fault, row]): FaultCount => ({ fault, ...row }))
    const operations = faults.reduce((sum, each) => sum + each.operations, 0)
    const startedAt = new Date(this.#startedMs).toISOString()
    const seeds = { first: seed, count: this.#seeds }
    await writeRun({ command, startedAt, seeds, operations, findings: this.findings.length, faults })
  }
}
