/**
 * Checkpointer: saves what is derived from one log (stream index, producers, the active segment's sparse indexes) to the checkpoint store,
 * every few seconds or megabytes. Invariants: everything is captured in one synchronous step, at one offset, and written only once all below
 * that offset is durable; never two saves of a log at a time; a save that fails costs nothing but the next restart's time, and the next waits
 * longer each time.
 * Neighbours: LogStore runs the schedule, Log tells what was appended and asks for `pressure`, recovery.ts reads the result.
 */
import { PlayheadError } from '../protocol/errors.ts'
import { KiB } from '../protocol/limits.ts'
import { sleep } from '../platform/clock.ts'
import type { Appender } from './appender.ts'
import { logPrefix } from './index-keys.ts'
import type { ProducerState } from './producer-state.ts'
import { checkpointPuts } from './recovery-checkpoint.ts'
import type { CheckpointFacts } from './recovery-checkpoint.ts'
import type { Segment } from './segment.ts'
import type { SegmentChain } from './segment-chain.ts'
import type { LogIdentity, StorageContext } from './storage-context.ts'
import type { StreamIndex } from './stream-index.ts'

/** What a save is cheap with, and how much sooner it comes then. */
const cheapIndexBytesMax = 256 * KiB
const cheapProducersMax = 64
const cheapShare = 4
/** Between two looks of an append that waits for memory. */
const pressurePauseMs = 10

export interface CheckpointerOptions {
  readonly context: StorageContext
  readonly identity: LogIdentity
  readonly salt: Buffer
  readonly index: StreamIndex
  readonly producers: ProducerState
  readonly chain: SegmentChain
  readonly appender: Appender
  /** What recovery had to read again because no checkpoint had it. */
  readonly replayedBytes: number
}

export class Checkpointer {
  readonly stats = { saves: 0, failures: 0 }
  readonly #options: CheckpointerOptions
  #dirtyBytes = 0
  #lastSaveMs: number
  /** Of the wall clock and the monotonic one, at the same moment. */
  readonly #start: { readonly wallMs: number; readonly monotonicMs: number }
  #saving: Promise<void> | undefined
  #stopped = false
  /** Saves that failed since the last good one; the first of them is reported. */
  #failuresInRow = 0
  /**
   * No save of its own accord before this after one that took long: a save costs by the stream, so those of millions of streams are better few
   * and large. Appends go on meanwhile, and what they add is bounded by IndexMemory.
   */
  #restUntilMs = -Infinity
  /** No save before this after one that failed. */
  #retryAtMs = -Infinity

  constructor(options: CheckpointerOptions) {
    this.#options = options
    this.#dirtyBytes = options.replayedBytes
    const { clock } = options.context
    this.#start = { wallMs: clock.now(), monotonicMs: clock.monotonicMs() }
    this.#lastSaveMs = this.#start.monotonicMs
  }

  appended(bytes: number): void {
    this.#dirtyBytes += bytes
    this.#options.context.indexMemory.appended(bytes)
  }

  /** Whether there is enough to save, or it has waited long enough. */
  get due(): boolean {
    if (this.#stopped || this.#dirtyBytes === 0 || this.#saving !== undefined) return false
    const { settings, clock } = this.#options.context
    if (clock.monotonicMs() < Math.max(this.#retryAtMs, this.#restUntilMs)) return false
    if (this.#dirtyBytes >= (this.#isCheap ? settings.checkpointBytes / cheapShare : settings.checkpointBytes))
      return true
    return clock.monotonicMs() - this.#lastSaveMs >= settings.checkpointIntervalMs
  }

  /** Few streams and producers have changed: a save costs next to nothing, and the next restart reads less. */
  get #isCheap(): boolean {
    const { index, producers } = this.#options
    return index.dirtyBytes < cheapIndexBytesMax && producers.count <= cheapProducersMax
  }

  /** Of the log, what no save has: a restart reads it again. */
  get unsavedBytes(): number {
    return this.#dirtyBytes
  }

  /** What the index holds that is not saved. */
  get indexBytes(): number {
    return this.#options.index.dirtyBytes
  }

  /** What an append must wait for so that the index stays within its memory; undefined = nothing. Throws overloaded when it cannot be written. */
  pressure(): Promise<void> | undefined {
    const { indexMemory } = this.#options.context
    if (!indexMemory.overflows) return undefined
    if (this.#failuresInRow > 0 && this.#saving === undefined) {
      void this.save()
      throw new PlayheadError(
        'overloaded',
        `${this.#options.identity.topic}/${this.#options.identity.partition}: found the stream index unable to be saved, wanted room in the cache directory; free space`,
      )
    }
    return this.#relieve()
  }

  /** Never without a pause: the memory may be another log's, and its saving needs turns of the event loop. */
  async #relieve(): Promise<void> {
    const { clock, indexMemory } = this.#options.context
    await this.save()
    await sleep(clock, pressurePauseMs)
    indexMemory.look()
  }

  /** Never rejects: what could not be saved is rebuilt from the log, and reported. Nothing happens for a while after a failure. */
  save(): Promise<void> {
    if (this.#saving === undefined && this.#options.context.clock.monotonicMs() < this.#retryAtMs)
      return Promise.resolve()
    return this.#saveNow()
  }

  #saveNow(): Promise<void> {
    this.#saving ??= this.#save().finally(() => (this.#saving = undefined))
    return this.#saving
  }

  /** Saves a last time. */
  async close(): Promise<void> {
    await this.#saving
    if (this.#dirtyBytes > 0) await this.#saveNow()
    // That was only what an earlier failure had left.
    if (this.#dirtyBytes > 0 && this.#failuresInRow === 0) await this.#saveNow()
    this.#stopped = true
  }

  /** Ends without saving. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#saving
  }

  async #save(): Promise<void> {
    const { context, index, producers, appender } = this.#options
    if (this.#stopped || index.capturing || appender.failure !== undefined) return
    producers.expire(this.#expiryTime())
    const { clock } = context
    const startMs = clock.monotonicMs()
    const { capture, puts, coveredBytes } = this.#capture()
    try {
      await appender.durable(capture.nextOffset)
    } catch {
      return capture.abandon() // the log has failed, and the process ends
    }
    try {
      await capture.write(puts)
      this.#dirtyBytes -= coveredBytes
      if (coveredBytes > 0) this.#lastSaveMs = context.clock.monotonicMs()
      this.#failuresInRow = 0
      this.#retryAtMs = -Infinity
      this.#restUntilMs = 2 * clock.monotonicMs() - startMs
      this.stats.saves++
    } catch (error) {
      this.#failed(error)
    }
  }

  /** Wall time, but no further than this run has lasted: a clock set to tomorrow must not make every producer a day old. */
  #expiryTime(): number {
    const { clock } = this.#options.context
    return Math.min(clock.now(), this.#start.wallMs + clock.monotonicMs() - this.#start.monotonicMs)
  }

  /** Everything, at the end of the log; after a failure only what that left behind, as a trial. */
  #capture() {
    const { identity, index, chain, appender } = this.#options
    const { active } = chain
    // Without an active segment nothing has been appended yet: the log ends where it is durable, and the index alone is saved.
    const nextOffset = active?.nextOffset ?? appender.durableOffset
    const left = this.#failuresInRow > 0 ? index.captureLeft(nextOffset) : undefined
    if (left !== undefined) return { capture: left, puts: [], coveredBytes: 0 }
    const capture = index.capture(nextOffset)
    const puts = active === undefined ? [] : this.#puts(active, logPrefix(identity.topicId, identity.partition))
    return { capture, puts, coveredBytes: this.#dirtyBytes }
  }

  #failed(error: unknown): void {
    const { context, identity } = this.#options
    const { saveRetryMsMin, saveRetryMsMax } = context.settings
    const waitMs = Math.min(saveRetryMsMax, saveRetryMsMin * 2 ** this.#failuresInRow)
    this.#retryAtMs = context.clock.monotonicMs() + waitMs
    this.stats.failures++
    this.#failuresInRow++
    if (this.#failuresInRow > 1) return
    context.report('warn', `${identity.topic}/${identity.partition}: derived state was not saved: ${String(error)}`)
  }

  #puts(active: Segment, prefix: Buffer) {
    const { salt, producers } = this.#options
    const { indexes } = active
    if (indexes === undefined) throw new Error(`${active.path} has no indexes`)
    const facts: CheckpointFacts = {
      salt: salt.toString('hex'),
      segmentBaseOffset: active.baseOffset,
      position: active.batchesEnd,
      nextOffset: active.nextOffset,
      leaderEpoch: active.leaderEpoch,
      lastBatchPosition: active.lastBatchPosition,
      batchCount: active.batchCount,
      recordCount: active.recordCount,
      maxTimestamp: active.batchCount === 0 ? null : active.maxTimestamp,
      firstAppendTimeMs: active.firstAppendTimeMs,
      lastAppendTimeMs: active.lastAppendTimeMs,
    }
    return checkpointPuts(prefix, { facts, indexes, producers: producers.snapshot() })
  }
}
