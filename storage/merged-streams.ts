/**
 * MergedStreams: the streams of several tables of postings, one after the other in the order of their keys' bytes, each with the tables that have
 * events of it. Invariant: every stream comes once, and its parts in the order of the tables, which is that of their offsets.
 * Neighbours: IndexCapture and sidecar-writer.ts write streams in this order; key-sort.ts sorts.
 */
import type { Yielding } from '../platform/clock.ts'
import { MergeHeap } from './merge-heap.ts'
import { type RecentPostings, warmedMax } from './recent-postings.ts'

interface Line {
  readonly table: RecentPostings
  /** Place of the table among all. */
  readonly order: number
  /** The slots of the table, in order. */
  readonly slots: Uint32Array
  at: number
}

/** The events of a stream in one table. */
export interface StreamPart {
  readonly table: RecentPostings
  readonly slot: number
}

export class MergedStreams {
  /** When segments are small or saves fail there are hundreds of tables. */
  readonly #lines: MergeHeap<Line>

  private constructor(lines: Line[]) {
    this.#lines = new MergeHeap(lines, comesBefore)
  }

  /** `tables` must not grow any more. Yields to the event loop while it sorts. */
  static async of(tables: readonly RecentPostings[], clock: Yielding): Promise<MergedStreams> {
    const lines: Line[] = []
    for (const [order, table] of tables.entries()) {
      if (table.streams === 0) continue
      const line = { table, order, slots: await table.sortedSlots(clock), at: 0 }
      warm(line)
      lines.push(line)
    }
    return new MergedStreams(lines)
  }

  /** The next stream: what it has in each table, at least in one; undefined after the last one. */
  next(): StreamPart[] | undefined {
    let line = this.#lines.first
    if (line === undefined) return undefined
    const first = this.#take(line)
    const parts = [first]
    for (line = this.#lines.first; line !== undefined; line = this.#lines.first) {
      if (line.table.keys.compare(line.slots[line.at]!, first.table.keys, first.slot, 0) !== 0) break
      parts.push(this.#take(line))
    }
    return parts
  }

  /** Takes the next stream of the first line. */
  #take(line: Line): StreamPart {
    const part = { table: line.table, slot: line.slots[line.at]! }
    line.at++
    if (line.at === line.slots.length) {
      this.#lines.drop()
      return part
    }
    if (line.at % warmedMax === 0) warm(line)
    this.#lines.moved()
    return part
  }
}

function comesBefore(line: Line, other: Line): boolean {
  const order = line.table.keys.compare(line.slots[line.at]!, other.table.keys, other.slots[other.at]!, 0)
  return order === 0 ? line.order < other.order : order < 0
}

function warm({ table, slots, at }: Line): void {
  table.warmSlots(slots, at, Math.min(slots.length, at + warmedMax))
}
