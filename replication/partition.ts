/**
 * Partition: one partition that this broker leads. Says who may write (leader epoch), what is safe (high watermark) and who waits
 * for it. Invariant: nothing at or past the high watermark is answered to a reader. On a single broker the high watermark is the log's
 * durable offset. Called by broker/, calls Log.
 */
import type { Clock } from '../platform/clock.ts'
import { PlayheadError } from '../protocol/errors.ts'
import type { FramePiece } from '../protocol/frame-memory.ts'
import type { Token } from '../protocol/token.ts'
import type { AppendGroup, Appended, Log, ReadStream, StreamPage } from '../storage/log.ts'
import { OffsetWaiters } from './offset-waiters.ts'

export interface PartitionOptions {
  readonly topic: string
  readonly topicId: string
  readonly partition: number
  readonly leaderEpoch: number
  readonly log: Log
  readonly clock: Clock
  /** Requests that may wait for the high watermark at one time. */
  readonly waitersMax: number
}

export interface PartitionRead {
  readonly batches: readonly Buffer[]
  readonly nextOffset: number
  /** What the batches lie in, held for the caller; who does not let go leaves it to the collector. */
  readonly piece?: FramePiece | undefined
  /** Taken before the first batch was chosen. */
  readonly highWatermark: number
}

export class Partition {
  readonly topic: string
  readonly topicId: string
  readonly partition: number
  readonly leaderEpoch: number
  readonly #log: Log
  readonly #waiters: OffsetWaiters

  constructor(options: PartitionOptions) {
    this.topic = options.topic
    this.topicId = options.topicId
    this.partition = options.partition
    this.leaderEpoch = options.leaderEpoch
    this.#log = options.log
    this.#waiters = new OffsetWaiters(options.clock, options.waitersMax)
    this.#log.onDurableMoved = () => this.#waiters.release(this.highWatermark)
  }

  /** Offsets below it are committed. */
  get highWatermark(): number {
    return this.#log.durableOffset
  }

  get log(): Log {
    return this.#log
  }

  /** Requests that wait for the high watermark. */
  get waiting(): number {
    return this.#waiters.count
  }

  /** Hands the group to the log at once: groups take effect in the order of these calls. Resolves as its `acks` says. */
  append(group: AppendGroup): Promise<Appended> {
    return this.#log.append(group)
  }

  /** The same for groups that have nothing to do with one another, with one wait for all: what became of each, or why it was refused. */
  appendEach(groups: readonly AppendGroup[]): Promise<(Appended | PlayheadError)[]> {
    return this.#log.appendEach(groups)
  }

  /** Whole committed batches from the one that holds `offset`; none when there are none yet. */
  async read(offset: number, maxBytes: number): Promise<PartitionRead> {
    const highWatermark = this.highWatermark
    const read = await this.#log.read({ offset, maxBytes, limitOffset: highWatermark })
    return { ...read, highWatermark }
  }

  /** Committed events of one stream, with the high watermark taken before the first was chosen. */
  async readStream(request: Omit<ReadStream, 'limitOffset'>): Promise<StreamPage & { highWatermark: number }> {
    const highWatermark = this.highWatermark
    const read = await this.#log.readStream({ ...request, limitOffset: highWatermark })
    return { ...read, highWatermark }
  }

  /** Gives up all records below `offset`; resolves with the start of the log, which is on disk then. Throws offsetOutOfRange beyond the high watermark. */
  deleteRecords(offset: number): Promise<number> {
    const { highWatermark } = this
    if (offset <= highWatermark) return this.#log.deleteRecords(offset)
    const message = `${this.topic}/${this.partition}: found offset ${offset}, wanted at most the high watermark ${highWatermark}`
    return Promise.reject(new PlayheadError('offsetOutOfRange', message, { offset, highWatermark }))
  }

  /** Resolves with true once the high watermark is `offset` or more; with false after `waitMs` or when the signal aborts. */
  waitForHighWatermark(offset: number, waitMs: number, signal?: AbortSignal): Promise<boolean> {
    if (this.highWatermark >= offset) return Promise.resolve(true)
    return this.#waiters.wait(offset, waitMs, signal)
  }

  /**
   * Read your writes: resolves once all that the token has seen is committed. Throws tokenMismatch when the token is of another
   * topic (of that name, before it was deleted), timedOut when it takes longer than `waitMsMax`, stopping when
   * the signal aborts.
   */
  async reach(token: Token, waitMsMax: number, signal?: AbortSignal): Promise<void> {
    if (token.topicId !== this.topicId) {
      throw new PlayheadError(
        'tokenMismatch',
        `token for ${this.topic}: found topic id ${token.topicId}, wanted ${this.topicId}; the topic was created anew: drop the token`,
      )
    }
    if (await this.waitForHighWatermark(token.endOffset, waitMsMax, signal)) return
    if (signal?.aborted) {
      throw new PlayheadError(
        'stopping',
        `${this.topic}/${this.partition}: found the broker stopping, wanted it running; try again`,
      )
    }
    throw new PlayheadError(
      'timedOut',
      `${this.topic}/${this.partition}: found high watermark ${this.highWatermark} after ${waitMsMax} ms, wanted ${token.endOffset} as the token says; try again`,
      { highWatermark: this.highWatermark, endOffset: token.endOffset, waitMs: waitMsMax },
    )
  }

  /** The topic is gone: whoever waits here is told so. */
  close(error: Error): void {
    this.#waiters.close(error)
  }
}
