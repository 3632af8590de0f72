/**
 * versionsInOrder: the versions of many streams' events, asked for in the order of the streams' names, for a sidecar: StreamIndex.versionAt at a fraction
 * of its cost. Neighbours: StreamIndex has the parts, Sealing asks, heads-in-order.ts reads what is stored.
 */
import { isGone } from './head-extension.ts'
import type { IndexState, StoredHead } from './index-keys.ts'
import { versionInTail } from './index-keys.ts'
import type { StreamPart } from './merged-streams.ts'
import type { RecentPostings } from './recent-postings.ts'
import { covered, noHead, versionInTables } from './stream-extent.ts'

export interface VersionSources {
  readonly state: () => IndexState
  /** What is not saved, in order. */
  readonly tables: () => readonly RecentPostings[]
  readonly headsInOrder: () => (part: StreamPart) => StoredHead | undefined
  readonly versionAt: (stream: string, offset: number) => number
  /** The parts asked for hold exactly what the index was given of their streams from their first event on to this offset; undefined: nobody knows. */
  readonly wholeTo: number | undefined
}

/** Answers the version of the first event of a stream's parts; -1 when it is not one of the stream's. */
export function versionsInOrder(sources: VersionSources): (parts: readonly StreamPart[]) => number {
  let [state, headOf] = [sources.state(), sources.headsInOrder()]
  return (parts) => {
    // What was saved meanwhile is in no table any more, and not in heads that were read before.
    if (state !== sources.state()) [state, headOf] = [sources.state(), sources.headsInOrder()]
    const first = parts[0]!
    const offset = first.table.firstOffset(first.slot)
    const head = state.hasStreams ? headOf(first) : undefined
    const version =
      head === undefined || offset > head.lastOffset
        ? versionInTables(sources.tables(), first, head ?? noHead)
        : versionInHead(head, parts, offset, sources.wholeTo)
    return version < 0 ? sources.versionAt(first.table.keys.stream(first.slot), offset) : version
  }
}

/** -1 when more is needed than the head. */
function versionInHead(
  head: StoredHead,
  parts: readonly StreamPart[],
  offset: number,
  wholeTo: number | undefined,
): number {
  const version = versionInTail(head, offset)
  if (version >= 0 || wholeTo === undefined || head.lastOffset >= wholeTo || isGone(head)) return version
  let events = 0
  for (const { table, slot } of parts) events += covered(table, slot, head.lastOffset)
  return head.lastVersion + 1 - events
}
