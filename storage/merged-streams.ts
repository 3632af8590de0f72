/**
 * MergedStreams: the streams of several tables of postings, one after the other in the order of their keys' bytes, each with the tables that have
 * events of it. Invariant: every stream comes once, and its parts in the order of the tables, which is that of their offsets.
 * Neighbours: IndexCapture and sidecar-writer.ts write streams in this order; key-sort.ts sorts.
 */
import type { Clock } from '../platform/clock.ts'
import { type RecentPostings, warmedMax } from './recent-postings.ts'

interface Line {
  readonly table: RecentPostings
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
  readonly #lines: Line[]

  private constructor(lines: Line[]) {
    this.#lines = lines
  }

  /** `tables` must not grow any more. Yields to the event loop while it sorts. */
  static async of(tables: readonly RecentPostings[], clock: Clock): Promise<MergedStreams> {
    const lines: Line[] = []
    for (const table of tables) {
      if (table.streams > 0) lines.push({ table, slots: await table.sortedSlots(clock), at: 0 })
    }
    return new MergedStreams(lines)
  }

  /** The next stream: what it has in each table, at least in one; undefined after the last one. */
  next(): StreamPart[] | undefined {
    const lines = this.#lines
    let parts: StreamPart[] | undefined
    for (let place = 0; place < lines.length; place++) {
      const { table, slots, at } = lines[place]!
      if (at === slots.length) continue
      if (at % warmedMax === 0) table.warmSlots(slots, at, Math.min(slots.length, at + warmedMax))
      const slot = slots[at]!
      const first = parts?.[0]
      const order = first === undefined ? -1 : table.keys.compare(slot, first.table.keys, first.slot, 0)
      if (order < 0) parts = [{ table, slot }]
      else if (order === 0) parts!.push({ table, slot })
    }
    if (parts === undefined) return undefined
    let part = 0
    for (const line of lines) {
      if (part === parts.length) break
      if (line.table !== parts[part]!.table) continue
      line.at++
      part++
    }
    return parts
  }
}
