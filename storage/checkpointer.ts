/**
 * Checkpointer: saves what is derived from one log (stream index, producers, the active segment's sparse indexes) to the checkpoint store,
 * every few seconds or megabytes. Invariants: everything is captured in one synchronous step, at one offset, and written only once all below
 * that offset is durable; never two saves of a log at a time; a save that fails costs nothing but the next restart's time.
 * Neighbours: LogStore runs the schedule, Log tells what was appended and asks for `pressure`, recovery.ts reads the result.
 */
import { PlayheadError } from '../protocol/errors.ts'
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
  #saving: Promise<void> | undefined
  #stopped = false
  /** Told once per row of failures. */
  #failing = false

  constructor(options: CheckpointerOptions) {
    this.#options = options
    this.#dirtyBytes = options.replayedBytes
    this.#lastSaveMs = options.context.clock.monotonicMs()
  }

  appended(bytes: number): void {
    this.#dirtyBytes += bytes
  }

  /** Whether there is enough to save, or it has waited long enough. */
  get due(): boolean {
    if (this.#stopped || this.#dirtyBytes === 0 || this.#saving !== undefined) return false
    const { settings, clock } = this.#options.context
    if (this.#dirtyBytes >= settings.checkpointBytes) return true
    return clock.monotonicMs() - this.#lastSaveMs >= settings.checkpointIntervalMs
  }

  /** What the index holds that is not saved. */
  get indexBytes(): number {
    return this.#options.index.dirtyBytes
  }

  /** What an append must wait for so that the index stays within its memory; undefined = nothing. Throws overloaded when it cannot be written. */
  pressure(): Promise<void> | undefined {
    const { indexMemory } = this.#options.context
    if (!indexMemory.overflows) return undefined
    if (this.#failing && this.#saving === undefined) {
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
}
