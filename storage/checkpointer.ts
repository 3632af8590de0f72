/**
 * Checkpointer: saves what is derived from one log (stream index, producers, the active segment's sparse indexes) to the checkpoint store,
 * every few seconds or megabytes. Invariants: everything is captured in one synchronous step, at one offset, and written only once all below
 * that offset is durable; never two saves of a log at a time; a save that fails costs nothing but the next restart's time.
 * Neighbours: LogStore runs the schedule, Log tells what was appended and asks for `pressure`, recovery.ts reads the result.
 */
import { PlayheadError } from '../protocol/errors.ts'
import type { Appender } from './appender.ts'
import { logPrefix } from './index-keys.ts'
import type { ProducerState } from './producer-state.ts'
import { checkpointPuts } from './recovery-checkpoint.ts'
import type { CheckpointFacts } from './recovery-checkpoint.ts'
import type { Segment } from './segment.ts'
import type { SegmentChain } from './segment-chain.ts'
import type { LogIdentity, StorageContext } from './storage-context.ts'
import type { StreamIndex } from './stream-index.ts'

export interface CheckpointerOptions {
  readonly context: StorageContext
  readonly identity: LogIdentity
  readonly salt: Buffer
  readonly index: StreamIndex
  readonly producers: ProducerState
  readonly chain: SegmentChain
  readonly appender: Appender
}

/** Appends wait when an index that cannot be written has grown to this many times its share. */
const pressureFactor = 2

export class Checkpointer {
  readonly stats = { saves: 0, failures: 0 }
  readonly #options: CheckpointerOptions
  #dirtyBytes = 0
  #lastSaveMs: number
  #saving: Promise<void> | undefined
  #stopped = false
  /** Told once per row of failures. */
  #failing = false

  constructor(options: CheckpointerOptions) {
    this.#options = options
    this.#lastSaveMs = options.context.clock.monotonicMs()
  }

  appended(bytes: number): void {
    this.#dirtyBytes += bytes
  }

  /** Whether there is enough to save, or it has waited long enough. */
  get due(): boolean {
    if (this.#stopped || this.#dirtyBytes === 0 || this.#saving !== undefined) return false
    const { settings, clock } = this.#options.context
    if (this.#dirtyBytes >= settings.checkpointBytes || this.#indexIsLarge(1)) return true
    return clock.monotonicMs() - this.#lastSaveMs >= settings.checkpointIntervalMs
  }

  /** What an append must wait for so that the index stays within its memory; undefined = nothing. Throws overloaded when it cannot be written. */
  pressure(): Promise<void> | undefined {
    if (!this.#indexIsLarge(pressureFactor)) return undefined
    if (this.#failing && this.#saving === undefined) {
      void this.save()
      throw new PlayheadError(
        'overloaded',
        `${this.#options.identity.topic}/${this.#options.identity.partition}: found the stream index unable to be saved, wanted room in the cache directory; free space`,
      )
    }
    return this.save()
  }

  /** Never rejects: what could not be saved is rebuilt from the log, and reported. */
  save(): Promise<void> {
    this.#saving ??= this.#save().finally(() => (this.#saving = undefined))
    return this.#saving
  }

  /** Saves a last time. */
  async close(): Promise<void> {
    await this.#saving
    if (this.#dirtyBytes > 0) await this.save()
    this.#stopped = true
  }

  /** Ends without saving. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#saving
  }

  async #save(): Promise<void> {
    if (this.#stopped) return
    const { context, identity, index, producers, chain, appender } = this.#options
    const { active } = chain
    if (active === undefined || index.capturing) return
    const dirtyBytes = this.#dirtyBytes
    producers.expire(context.clock.now())
    const capture = index.capture(active.nextOffset)
    const puts = this.#puts(active, logPrefix(identity.topicId, identity.partition))
    try {
      await appender.durable(capture.nextOffset)
    } catch {
      return capture.abandon() // the log has failed, and the process ends
    }
    try {
      await capture.write(puts)
      this.#dirtyBytes -= dirtyBytes
      this.#lastSaveMs = context.clock.monotonicMs()
      this.#failing = false
      this.stats.saves++
    } catch (error) {
      this.stats.failures++
      if (!this.#failing)
        context.report('warn', `${identity.topic}/${identity.partition}: derived state was not saved: ${String(error)}`)
      this.#failing = true
    }
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

  #indexIsLarge(factor: number): boolean {
    const { index, context } = this.#options
    return index.dirtyBytes > context.settings.indexMemoryBytes * factor
  }
}
