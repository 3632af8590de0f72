/** Tally: which faults were survived how often, under how many operations, and what was found. Written as JSON lines for the table of faults. */
import { appendFileSync } from 'node:fs'

interface Row {
  times: number
  operations: number
}

export class Tally {
  readonly findings: string[] = []
  readonly #rows = new Map<string, Row>()
  readonly #startedMs = Date.now()

  /** `operations`: appends and reads of clients that the checker has judged. */
  survived(fault: string, operations: number, times = 1): void {
    const row = this.#rows.get(fault) ?? { times: 0, operations: 0 }
    row.times += times
    row.operations += operations
    this.#rows.set(fault, row)
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

  /** One line for each fault: {"fault","times","operations"}. Nothing is written for a run that found something. */
  report(path: string | undefined): void {
    if (path === undefined || this.findings.length > 0) return
    for (const [fault, row] of this.#rows) appendFileSync(path, `${JSON.stringify({ fault, ...row })}\n`)
  }
}
