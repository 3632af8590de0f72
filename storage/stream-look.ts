/**
 * StreamLook: one stream as the index has it at this moment: where its versions are, and which of them are there for readers. To be asked
 * in the turn it was made in only: a moment later tables may have become heads.
 * Neighbours: StreamIndex makes it, StoredPostings reads what was written.
 */
import type { StoredHead } from './index-keys.ts'
import type { RecentPostings } from './recent-postings.ts'
import type { StoredPostings } from './stored-postings.ts'
import type { KeptEvents, StreamExtent } from './stream-extent.ts'
import type { StreamLimits } from './stream-limits.ts'

export interface Lookup {
  readonly fromVersion: number
  readonly count: number
  /** Events at or past this offset are not there. */
  readonly limitOffset: number
  /** `backwards`: the `count` versions that end with fromVersion (or the last one, if that is less). */
  readonly direction: 'forwards' | 'backwards'
}

/** Offsets ascend, whatever the direction; offsets[i] is that of version firstVersion + i. */
export interface FoundVersions {
  readonly firstVersion: number
  readonly offsets: number[]
}

/** The events of a stream in one table: those from place `from` on, the first of them has version `firstVersion`. */
export interface TablePart {
  readonly table: RecentPostings
  readonly slot: number
  readonly from: number
  readonly firstVersion: number
}

/** A stream, whole: the stored part and the parts in tables, one after the other without gap. */
export interface StreamParts {
  readonly stream: string
  readonly head: StoredHead | undefined
  readonly firstVersion: number
  readonly lastVersion: number
  readonly tables: readonly TablePart[]
}

export class StreamLook {
  readonly #parts: StreamParts
  readonly #stored: StoredPostings
  readonly #kept: () => KeptEvents
  readonly #limits: StreamLimits | undefined

  constructor(parts: StreamParts, stored: StoredPostings, kept: () => KeptEvents, limits: StreamLimits | undefined) {
    this.#parts = parts
    this.#stored = stored
    this.#kept = kept
    this.#limits = limits
  }

  /** What the stream is, of its events below `limitOffset`. */
  lastBelow(limitOffset: number): StreamExtent {
    const { firstVersion, lastVersion } = this.versionsBelow(limitOffset)
    const lastOffset = lastVersion < firstVersion ? -1 : this.#offsets(lastVersion, lastVersion + 1)[0]!
    return { lastVersion, firstVersion, lastOffset }
  }

  /** The same without the offset. */
  versionsBelow(limitOffset: number): Omit<StreamExtent, 'lastOffset'> {
    const lastVersion = this.versionFrom(limitOffset) - 1
    return { lastVersion, firstVersion: Math.min(this.#firstKept(), lastVersion + 1) }
  }

  /** Where the asked-for versions are; fewer than `count` at either end of the stream. */
  lookup({ fromVersion, count, limitOffset, direction }: Lookup): FoundVersions {
    const end = this.versionFrom(limitOffset)
    const firstKept = this.#firstKept()
    let first = Math.max(fromVersion, firstKept)
    let to = Math.min(end, first + count)
    if (direction === 'backwards') {
      to = Math.min(fromVersion + 1, end)
      first = Math.max(firstKept, to - count)
    }
    return { firstVersion: first, offsets: first < to ? this.#offsets(first, to) : [] }
  }

  /** The version of the event at exactly `offset`; -1 when that offset is not one of its events. */
  versionAt(offset: number): number {
    const version = this.versionFrom(offset)
    if (version > this.#parts.lastVersion) return -1
    return this.#offsets(version, version + 1)[0] === offset ? version : -1
  }

  /** The first version at or past `offset`, there or not; the one after the last when there is none. */
  versionFrom(offset: number): number {
    const { stream, head, firstVersion, tables } = this.#parts
    for (const { table, slot, from, firstVersion: version } of tables.toReversed()) {
      const below = table.countBelow(slot, offset)
      if (below > from) return version + below - from
    }
    return head === undefined ? firstVersion : this.#stored.floorVersion(stream, head, offset)
  }

  /** The first version that is there for readers; the one after the last when there is none. */
  #firstKept(): number {
    const { logStartOffset, compactedTo } = this.#kept()
    const { stream, firstVersion, lastVersion } = this.#parts
    let first = firstVersion
    if (logStartOffset > 0) first = Math.max(first, this.versionFrom(logStartOffset))
    if (compactedTo > logStartOffset) first = Math.max(first, this.versionFrom(compactedTo) - 1)
    const limits = this.#limits
    if (limits === undefined || limits.size === 0) return first
    const { committedOffset } = limits
    // What is not committed may never have been: it pushes nothing out.
    const isCounted = committedOffset !== undefined && limits.get(stream).maxCount > 0
    const countedTo = isCounted ? this.versionFrom(committedOffset()) - 1 : lastVersion
    return Math.max(first, limits.firstVersion(stream, lastVersion, countedTo))
  }

  /** Offsets of versions [from, to), which must exist. */
  #offsets(from: number, to: number): number[] {
    const { stream, head, tables } = this.#parts
    const offsets: number[] = []
    const storedEnd = head === undefined ? 0 : head.lastVersion + 1
    if (head !== undefined && from < storedEnd) this.#stored.read(stream, head, from, Math.min(to, storedEnd), offsets)
    for (const part of tables) {
      const shift = part.from - part.firstVersion
      const end = Math.min(part.table.count(part.slot), to + shift)
      const first = Math.max(part.from, from + shift)
      if (first < end) part.table.read(part.slot, first, end, offsets)
    }
    return offsets
  }
}
