/**
 * StreamLimits: how much of single streams of one log is kept, beside what the topic's settings say. In memory; whoever owns them (LimitedStreams of
 * the broker) keeps them and fills them in at the start. Invariant: what a limit hides is hidden at once; what is hidden may be removed by compaction at
 * any time.
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

export class StreamLimits {
  readonly #limits = new Map<string, StreamLimit>()
  /** Counts changes. */
  changes = 0

  get size(): number {
    return this.#limits.size
  }

  get(stream: string): StreamLimit {
    return this.#limits.get(stream) ?? noLimit
  }

  set(stream: string, limit: StreamLimit): void {
    this.changes++
    if (limit.maxCount === 0 && limit.maxAgeMs === 0 && limit.truncateBefore === 0) this.#limits.delete(stream)
    else this.#limits.set(stream, limit)
  }

  streams(): IterableIterator<string> {
    return this.#limits.keys()
  }

  /** The first version that is kept of a stream that has got to `lastVersion`, its age apart. */
  firstVersion(stream: string, lastVersion: number): number {
    const { maxCount, truncateBefore } = this.get(stream)
    const byCount = maxCount === 0 ? 0 : lastVersion + 1 - maxCount
    return Math.min(lastVersion + 1, Math.max(truncateBefore, byCount))
  }
}
