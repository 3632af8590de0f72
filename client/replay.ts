/**
 * Replay: a topic's records from a place onwards, partitions interleaved, each in order. Every partition is read one reply ahead; what is
 * ready first is yielded first. Neighbours: replay-range.ts says from where to where, PartitionFetcher reads, ReplayBatch is yielded.
 */
import { PartitionFetcher } from './partition-fetcher.ts'
import { ReplayBatch } from './replay-batch.ts'
import { resolveRange } from './replay-range.ts'
import type { PartitionRange, RangeOptions } from './replay-range.ts'
import type { TopicState } from './topic-state.ts'
import { KiB, MiB } from '../protocol/limits.ts'
import type { PlayheadPosition } from '../protocol/playhead.ts'

/** All replies that wait to be consumed, together; shared out among the partitions. */
const bufferBytesDefault = 16 * MiB
const fetchBytesMin = 64 * KiB
const fetchBytesMax = 2 * MiB
/** Partitions read at the same time; the others take turns, so that a topic of many partitions does not fill the connection. */
const fetchersMax = 64
const waitMsFew = 5_000
const waitMsMany = 100

export interface ReplayOptions extends RangeOptions {
  /** Yield only events of these types. */
  readonly types?: readonly string[]
  /** Memory for replies read ahead, bytes; default 16 MiB. */
  readonly bufferBytes?: number
}

/**
 * An async iterable of batches. Iterate it once; leaving the loop, or the signal, ends its requests.
 *
 * @throws PlayheadError while iterating: `unknownTopic`, `unknownPartition`, `offsetOutOfRange`, `corruptBatch` (`details.nextOffset` is
 * where what follows is still readable), `invalidArgument`, `unavailable`; or the signal's reason
 * @example
 * for await (const batch of carts.replay({ from: 'start' })) for (const record of batch) count(record.event())
 */
export class Replay implements AsyncIterable<ReplayBatch> {
  readonly #state: TopicState
  readonly #options: ReplayOptions
  #ranges: Promise<PartitionRange[]> | undefined
  readonly #positions = new Map<number, number>()
  #ready: PartitionFetcher[] = []
  #wake: (() => void) | undefined

  /** @internal Use `topic.replay(options)`. */
  constructor(state: TopicState, options: ReplayOptions) {
    this.#state = state
    this.#options = options
  }

  /** From where to where each partition is read; resolved once. `untilOffset` is infinite for a replay that follows. */
  ranges(): Promise<readonly PartitionRange[]> {
    return this.#resolved()
  }

  /** Where the reader stands: per partition the offset after the last batch yielded, or where it began. Ordered by partition. */
  get positions(): PlayheadPosition[] {
    return Array.from(this.#positions, ([partition, offset]) => ({ partition, offset })).toSorted(
      (a, b) => a.partition - b.partition,
    )
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<ReplayBatch, void, undefined> {
    const { signal, types } = this.#options
    signal?.throwIfAborted()
    const ranges = await this.#resolved()
    const ending = new AbortController()
    const onAbort = () => {
      ending.abort(signal?.reason)
      this.#wake?.()
    }
    signal?.addEventListener('abort', onAbort, { once: true })
    const wanted = types === undefined ? undefined : new Set(types)
    try {
      const waiting = this.#fetchers(ranges, ending.signal)
      for (const fetcher of waiting.splice(0, fetchersMax)) fetcher.fetch()
      let open = ranges.length
      while (open > 0) {
        const fetcher = await this.#nextReady(signal)
        const batches = fetcher.take()
        // The next fetch runs while this reply is consumed: of this partition, or of one that has waited for its turn.
        if (fetcher.isDone) open--
        else waiting.push(fetcher)
        const next = waiting.shift()
        if (next !== undefined) {
          next.fetch()
          // A turn of the event loop, or the request would leave only after all of this reply has been consumed.
          await this.#state.cluster.clock.yield()
        }
        const range = ranges.find(({ partition }) => partition === fetcher.partition)!
        for (const batch of batches) {
          signal?.throwIfAborted()
          if (batch.baseOffset >= range.untilOffset) break
          const yielded = new ReplayBatch(fetcher.partition, batch, { ...range, types: wanted })
          this.#positions.set(fetcher.partition, yielded.nextOffset)
          yield yielded
        }
      }
    } finally {
      signal?.removeEventListener('abort', onAbort)
      ending.abort(new Error('the replay has ended'))
    }
  }

  #resolved(): Promise<PartitionRange[]> {
    if (this.#ranges !== undefined) return this.#ranges
    this.#ranges = resolveRange(this.#state, this.#options).then((ranges) => {
      for (const { partition, fromOffset } of ranges) this.#positions.set(partition, fromOffset)
      return ranges
    })
    return this.#ranges
  }

  #fetchers(ranges: readonly PartitionRange[], signal: AbortSignal): PartitionFetcher[] {
    const { bufferBytes = bufferBytesDefault, timeoutMs = this.#state.cluster.timeoutMs, follow } = this.#options
    const share = Math.floor(bufferBytes / Math.min(fetchersMax, Math.max(1, ranges.length)))
    const waitMs = follow !== true ? 0 : ranges.length <= fetchersMax ? waitMsFew : waitMsMany
    return ranges.map(
      (range) =>
        new PartitionFetcher(this.#state, {
          ...range,
          fetchBytes: Math.min(fetchBytesMax, Math.max(fetchBytesMin, share)),
          waitMs,
          timeoutMs,
          signal,
          onReady: (fetcher) => {
            this.#ready.push(fetcher)
            this.#wake?.()
          },
        }),
    )
  }

  async #nextReady(signal: AbortSignal | undefined): Promise<PartitionFetcher> {
    while (this.#ready.length === 0) {
      signal?.throwIfAborted()
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    signal?.throwIfAborted()
    return this.#ready.shift()!
  }
}
