/**
 * SegmentTables: the tables with all events of one segment, kept for its sidecar. Invariant: an index was given exactly these events of the segment,
 * also after they were forgotten; then the segment is read for them.
 * Neighbours: StreamIndex fills one while the segment is written, Sealing takes it over, IndexMemory has it forgotten where memory is short.
 */
import type { RecentPostings } from './recent-postings.ts'

/** Of small tables, one for each save, each costs more than its events. A segment with so many has had minutes to fill, and is soon read. */
const tablesMax = 64

export class SegmentTables {
  #tables: RecentPostings[] | undefined = []

  /** Undefined: forgotten. */
  get all(): readonly RecentPostings[] | undefined {
    return this.#tables
  }

  /** Of the tables that nobody else keeps: those that are saved. */
  get keptBytes(): number {
    let sum = 0
    for (const table of this.#tables ?? []) if (table.isSaved) sum += table.memoryBytes
    return sum
  }

  get memoryBytes(): number {
    let sum = 0
    for (const table of this.#tables ?? []) sum += table.memoryBytes
    return sum
  }

  add(table: RecentPostings): void {
    this.#tables?.push(table)
    if (this.#tables !== undefined && this.#tables.length > tablesMax) this.forget()
  }

  forget(): void {
    this.#tables = undefined
  }
}
