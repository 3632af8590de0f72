/**
 * PartitionFetcher: reads one partition onwards, one reply ahead of its consumer. Invariant: at most one fetch runs and at most one
 * reply waits here, so memory is bounded by `fetchBytes` (or one batch, if that is larger). Called by Replay; calls Cluster.
 */
import { splitBatches } from '../protocol/record-batch.ts'
import { KiB } from '../protocol/limits.ts'
import type { RecordBatch } from '../protocol/record-batch.ts'
import type { TopicState } from './topic-state.ts'

/**
 * Records asked for at a time, as far as the last reply tells how large they are. Each becomes some small objects while it is consumed: a reply of more
 * outlives two collections of them, is old then, and only collections of the whole heap free its memory (docs/decisions/0053).
 */
const recordsPerFetch = 12_000
/** For fewer bytes a fetch costs the broker more than it brings. */
const bytesPerFetchMin = 512 * KiB
/** Of the largest batch: others may be somewhat larger. */
const batchSlack = 1 / 8
const fetchTolerance = 0.2

export interface FetcherOptions {
  readonly partition: number
  readonly fromOffset: number
  /** Exclusive; infinite to follow. */
  readonly untilOffset: number
  /** At most; fewer where records are small. */
  readonly fetchBytes: number
  /** How long the broker may hold a fetch at the end of the log, ms. */
  readonly waitMs: number
  readonly timeoutMs: number
  readonly signal: AbortSignal
  /** A reply with batches, the end, or a failure is there to be taken. */
  readonly onReady: (fetcher: PartitionFetcher) => void
}

export class PartitionFetcher {
  readonly partition: number
  /** The high watermark of the latest reply; -1 = none yet. */
  highWatermark = -1
  readonly #state: TopicState
  readonly #options: FetcherOptions
  #offset: number
  #fetchBytes: number
  #isAtEnd = false
  #batches: RecordBatch[] = []
  #failure: { error: unknown } | undefined

  constructor(state: TopicState, options: FetcherOptions) {
    this.#state = state
    this.#options = options
    this.partition = options.partition
    this.#offset = options.fromOffset
    this.#fetchBytes = options.fetchBytes
  }

  /** True when everything up to `untilOffset`, or up to the end if the log ends before it, has been fetched. */
  get isDone(): boolean {
    return this.#isAtEnd || this.#offset >= this.#options.untilOffset
  }

  /** Begins the next fetch; `onReady` follows. */
  fetch(): void {
    void this.#run().then(() => this.#options.onReady(this))
  }

  /** The batches of the reply that is ready. Throws what the fetch failed with. */
  take(): RecordBatch[] {
    if (this.#failure !== undefined) throw this.#failure.error
    const batches = this.#batches
    this.#batches = []
    return batches
  }

  async #run(): Promise<void> {
    const { signal } = this.#options
    try {
      while (this.#batches.length === 0 && !this.isDone) {
        signal.throwIfAborted()
        await this.#fetchOnce()
      }
    } catch (error) {
      this.#failure = { error }
    }
  }

  async #fetchOnce(): Promise<void> {
    const { partition, waitMs, timeoutMs, signal } = this.#options
    const reply = await this.#state.read(partition, undefined, async (after) => {
      const request = {
        topic: this.#state.name,
        partition,
        offset: this.#offset,
        minBytes: 1,
        maxBytes: this.#fetchBytes,
        waitMsMax: waitMs,
        after,
        fromFollower: undefined,
      }
      const options = { policy: 'reads', purpose: 'fetches', waitMs, timeoutMs, signal } as const
      const near = await this.#state.routes.near?.fetch(request, options)
      return near ?? (await this.#state.call(partition, 'fetch', request, options))
    })
    const { topicId, highWatermark, nextOffset } = reply.header
    this.highWatermark = Math.max(this.highWatermark, highWatermark) // a follower may be behind
    this.#state.observe({ topicId, partition, endOffset: highWatermark })
    this.#batches = splitBatches(reply.body)
    this.#fetchBytes = this.#nextFetchBytes(reply.body.length)
    // Not waiting, and nothing there: the log ends before `untilOffset`, or what stood there has been compacted away.
    this.#isAtEnd = waitMs === 0 && this.#batches.length === 0 && nextOffset <= this.#offset
    this.#offset = nextOffset
  }

  /**
   * Whole batches, if those to come are much like these: a broker reads, and checks, the one that does not fit any more as well. The same as before unless
   * records have become quite another size: what the broker has read ahead is for a fetch like the last.
   */
  #nextFetchBytes(bodyBytes: number): number {
    let [records, largest] = [0, 0]
    for (const { recordCount, bytes } of this.#batches) {
      records += recordCount
      largest = Math.max(largest, bytes.length)
    }
    if (records === 0) return this.#fetchBytes
    const wanted = Math.max(bytesPerFetchMin, (bodyBytes / records) * recordsPerFetch)
    const batches = Math.max(1, Math.round(wanted / largest)) + batchSlack
    const bytes = Math.min(this.#options.fetchBytes, Math.ceil(batches * largest))
    const change = bytes / this.#fetchBytes
    return change > 1 - fetchTolerance && change < 1 + fetchTolerance ? this.#fetchBytes : bytes
  }
}
