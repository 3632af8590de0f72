/**
 * StreamLimits: how much of single streams of one log is kept, beside what the topic's settings say. In memory; whoever owns them (LimitedStreams of
 * the broker) keeps them and fills them in, or lets the log look at a table of his. Invariants: what a limit hides is hidden at once; what was hidden by
 * all the limits that were in force may be removed by compaction at any time, and nothing else is: where others change limits too, one that is known here
 * may have been lifted meanwhile, so that what came since is not its to remove.
 * Neighbours: StreamIndex and LogReader hide by them, Compaction removes by them.
 */
export interface StreamLimit {
  /** Events kept, the newest ones; 0 = no limit. */
  readonly maxCount: number
  /** How long an event is kept, from its append, ms; 0 = no limit. */
  readonly maxAgeMs: number
  /** Events with lower versions are not kept; 0 = no limit. */
  readonly truncateBefore: number
}

export const noLimit: StreamLimit = { maxCount: 0, maxAgeMs: 0, truncateBefore: 0 }

/** What the limits that are known here may be taken for those that are in force. */
export interface CertainExtent {
  /** Of a log that ended there, or further on. */
  readonly offset: number
  /** At that moment, ms since the epoch, or later. */
  readonly atMs: number
}

const always: CertainExtent = { offset: Number.MAX_SAFE_INTEGER, atMs: Infinity }
const never: CertainExtent = { offset: 0, atMs: -Infinity }

/** Of all tables, so that one never has the count of another. */
let changesOfAll = 0

class Table {
  readonly limits = new Map<string, StreamLimit>()
  changes = 0
}

export class StreamLimits {
  #table = new Table()
  #certain = always
  /** Where what is committed ends. Absent: with the log. */
  committedOffset: (() => number) | undefined

  /** Counts changes. */
  get changes(): number {
    return this.#table.changes
  }

  get size(): number {
    return this.#table.limits.size
  }

  get(stream: string): StreamLimit {
    return this.#table.limits.get(stream) ?? noLimit
  }

  set(stream: string, limit: StreamLimit): void {
    this.#table.changes = ++changesOfAll
    if (limit.maxCount === 0 && limit.maxAgeMs === 0 && limit.truncateBefore === 0) this.#table.limits.delete(stream)
    else this.#table.limits.set(stream, limit)
  }

  streams(): IterableIterator<string> {
    return this.#table.limits.keys()
  }

  entries(): IterableIterator<[string, StreamLimit]> {
    return this.#table.limits.entries()
  }

  /** For logs to share: others change them too. */
  static uncertain(): StreamLimits {
    const limits = new StreamLimits()
    limits.#certain = never
    return limits
  }

  /** The limits of `other` from now on, and all that becomes of them. Where others change them nothing is removed by them until `certify`. */
  share(other: StreamLimits): void {
    this.#table = other.#table
    this.#certain = other.#certain === always ? always : never
    this.committedOffset ??= other.committedOffset
  }

  shares(other: StreamLimits): boolean {
    return this.#table === other.#table
  }

  /** By no more than that may anything be removed. */
  get certain(): CertainExtent {
    return this.#certain
  }

  /** What is known here includes every limit that was in force when the log ended at `offset`, which was at `atMs`. */
  certify({ offset, atMs }: CertainExtent): void {
    const { offset: offsetBefore, atMs: atMsBefore } = this.#certain
    if (this.#certain !== always)
      this.#certain = { offset: Math.max(offset, offsetBefore), atMs: Math.max(atMs, atMsBefore) }
  }

  /** The first version that is kept of a stream that has got to `lastVersion`, its age apart. `countedTo`: no later event pushes another one out. */
  firstVersion(stream: string, lastVersion: number, countedTo = lastVersion): number {
    const { maxCount, truncateBefore } = this.get(stream)
    const byCount = maxCount === 0 ? 0 : countedTo + 1 - maxCount
    return Math.min(lastVersion + 1, Math.max(truncateBefore, byCount))
  }
}
