/**
 * What a stream is after one table of postings, if it is known what it was before it: how StreamIndex goes over its tables. Neighbour: head-extension.ts
 * does the same where tables become heads.
 */
import { isGone, versionBefore } from './head-extension.ts'
import type { StreamHead } from './index-keys.ts'
import type { StreamPart } from './merged-streams.ts'
import type { RecentPostings } from './recent-postings.ts'

/** What a stream is, of its events below some offset. */
export interface StreamExtent {
  /** -1: there was never an event. */
  readonly lastVersion: number
  /** The first version that is still there for readers; lastVersion + 1 when there is none. */
  readonly firstVersion: number
  /** Of lastVersion; -1: it is not there. */
  readonly lastOffset: number
}

/** What of a log is there for readers of streams. */
export interface KeptEvents {
  /** Events below this offset are not there. */
  readonly logStartOffset: number
  /** Of those below this one only the newest of each stream is. */
  readonly compactedTo: number
}

/** Of a log from which nothing was removed. */
const allKept: KeptEvents = { logStartOffset: 0, compactedTo: 0 }
export const everything = (): KeptEvents => allKept

/** Of a stream that there never was. */
export const noHead: StreamHead = { lastVersion: -1, firstVersion: 0, lastOffset: -1 }

/** Number of a stream's events in `table` that a stored head with `lastOffset` covers already. */
export function covered(table: RecentPostings, slot: number, lastOffset: number): number {
  if (table.count(slot) === 0) return 0
  return table.firstOffset(slot) > lastOffset ? 0 : table.countBelow(slot, lastOffset + 1)
}

/** What the stream with this slot is after the events in `table`, if it was `known` before them and a stored head covers it to `lastOffset`. */
export function lastAfter(table: RecentPostings, slot: number, lastOffset: number, known: StreamHead): StreamHead {
  if (slot < 0) return known
  const declared = table.firstVersion(slot)
  if (table.count(slot) === 0) {
    const saysMore = table.newestOffset(slot) > lastOffset && declared > known.lastVersion
    return saysMore ? { firstVersion: declared, lastVersion: declared - 1, lastOffset } : known
  }
  const from = covered(table, slot, lastOffset)
  const events = table.count(slot) - from
  if (events === 0) return known
  const before = versionBefore(declared, from, known)
  return { firstVersion: isGone(known) ? before + 1 : known.firstVersion, lastVersion: before + events, lastOffset }
}

/** The version of the first event of `part`, if `head`, which does not cover it, is what is stored of its stream; -1 when no table begins with it. */
export function versionInTables(tables: readonly RecentPostings[], part: StreamPart, head: StreamHead): number {
  const { keys } = part.table
  const offset = part.table.firstOffset(part.slot)
  const hash = keys.hash(part.slot)
  let known = head
  for (const table of tables) {
    const slot = table === part.table ? part.slot : keys.slotIn(table.keys, part.slot, hash)
    if (slot < 0) continue
    known = lastAfter(table, slot, head.lastOffset, known)
    if (table.count(slot) === 0 || table.newestOffset(slot) < offset) continue
    return table.firstOffset(slot) === offset ? known.lastVersion + 1 - table.count(slot) : -1
  }
  return -1
}
