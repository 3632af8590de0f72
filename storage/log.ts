/**
 * Log: one partition's records on this broker. Both paths pass here: an append is decided in one synchronous step (LogEnd), and told when what
 * it rests on is durable; reads plan synchronously and then fetch bytes.
 * Invariants: logStartOffset <= durableOffset <= logEndOffset; what an append was decided on is everything appended before it, durable or not;
 * nobody is answered, yes or no, before what the answer rests on is durable.
 * Neighbours: Partition (replication) calls it; it asks Admission, SegmentChain, Appender, StreamIndex, ProducerState, LogReader, Sealing,
 * Checkpointer.
 */
import { PlayheadError } from '../protocol/errors.ts'
import { decompressedBytesMax as readersBytesMax } from '../protocol/limits.ts'
import { codec } from '../protocol/record-batch.ts'
import { Admission } from './admission.ts'
import { Appender } from './appender.ts'
import { Checkpointer } from './checkpointer.ts'
import { describeRange } from './damage.ts'
import type { Decompressed } from './decompression-memory.ts'
import { IncomingAppend } from './incoming-append.ts'
import type { AppendGroup, Appended, BatchRules } from './incoming-append.ts'
import { LogEnd } from './log-end.ts'
import type { Decision } from './log-end.ts'
import type { ProducerProgress } from './producer-state.ts'
import { LogReader } from './log-reader.ts'
import type { TimeClock } from './log-reader.ts'
import type { ReadRange, ReadResult } from './read-range.ts'
import { recoverLog } from './recovery.ts'
import type { RecoveredLog } from './recovery.ts'
import { Sealing } from './sealing.ts'
import type { Segment } from './segment.ts'
import { SegmentChain } from './segment-chain.ts'
import { SegmentReader } from './segment-reader.ts'
import type { LogIdentity, StorageContext } from './storage-context.ts'
import { StreamReader } from './stream-reader.ts'
import type { ReadStream, StreamPage } from './stream-reader.ts'
import { TailCache } from './tail-cache.ts'
import type { CachedRun } from './tail-cache.ts'
import type { TopicSettings } from './topic-settings.ts'

export type { AppendGroup, Appended } from './incoming-append.ts'
export type { ReadRange, ReadResult } from './read-range.ts'
export type { ReadStream, StreamPage } from './stream-reader.ts'

export interface LogOptions {
  readonly context: StorageContext
  readonly identity: LogIdentity
  /** As of now; they may change while the log is open. */
  readonly settings: () => TopicSettings
}

export interface StreamFacts {
  /** -1 = no event. */
  readonly lastVersion: number
  /** The first version still there; -1 = none. */
  readonly firstVersion: number
  readonly lastOffset: number
}

export class Log {
  /** Set by the owner: an append took effect. */
  onEndMoved: () => void = () => undefined
  /** Set by the owner: more is durable. */
  onDurableMoved: () => void = () => undefined
  readonly #context: StorageContext
  readonly #identity: LogIdentity
  readonly #settings: () => TopicSettings
  readonly #recovered: RecoveredLog
  readonly #tail: TailCache
  readonly #appender: Appender
  readonly #chain: SegmentChain
  readonly #end: LogEnd
  readonly #admission: Admission
  readonly #reader: LogReader
  readonly #sealing: Sealing
  readonly #checkpointer: Checkpointer
  /** Why nothing is answered any more. */
  #closed: PlayheadError | undefined

  private constructor(options: LogOptions, recovered: RecoveredLog) {
    const { context, identity, settings } = options
    this.#context = context
    this.#identity = identity
    this.#settings = settings
    this.#recovered = recovered
    context.indexMemory.add(recovered.index)
    this.#tail = new TailCache(context.tailBudget, context.settings.tailCacheBytesPerLog)
    this.#appender = new Appender({
      salt: recovered.salt,
      clock: context.clock,
      durableOffset: recovered.nextOffset,
      writtenFloor: recovered.writtenFloor,
      groupBytesMax: context.settings.groupBytesMax,
      idleFloorMs: context.settings.idleFloorMs,
      onDurable: (runs) => this.#groupDurable(runs),
      onFailure: (error) => context.onFatal(error),
    })
    const { index, salt } = recovered
    this.#sealing = new Sealing({ context, identity, salt, index })
    this.#chain = new SegmentChain(
      {
        context,
        identity,
        salt,
        settings,
        appender: this.#appender,
        onRoll: (full) => this.#rolled(full),
      },
      recovered.segments,
    )
    for (const { segment, producers: snapshot } of recovered.unsealed) {
      context.pool.keep(segment)
      this.#sealing.add({ segment, producers: snapshot, tables: undefined })
    }
    this.#reader = this.#openReader()
    const { producers } = recovered
    this.#end = new LogEnd({
      context,
      identity,
      index,
      producers,
      chain: this.#chain,
      appender: this.#appender,
      offset: recovered.nextOffset,
      appendTimeMs: recovered.lastAppendTimeMs,
      onAppended: (batchBytes) => {
        this.#checkpointer.appended(batchBytes)
        this.onEndMoved()
      },
    })
    this.#admission = new Admission({
      waitingMax: context.settings.waitingAppendsMax,
      waitingBytesMax: context.settings.waitingAppendBytesMax,
      blocker: (append) => this.#blocker(append),
      decide: (append) => this.#end.decide(append),
    })
    this.#checkpointer = new Checkpointer({
      context,
      identity,
      salt,
      index,
      producers,
      chain: this.#chain,
      appender: this.#appender,
      replayedBytes: recovered.replayedBytes,
    })
  }

  #openReader(): LogReader {
    const { pool, report, settings, decompression, readMemory: memory, clock, readAheadBudget } = this.#context
    const { salt, damage, index } = this.#recovered
    const tail = this.#tail
    const segments = new SegmentReader({
      pool,
      salt,
      damage,
      memory,
      loadIndexes: (segment, file) => this.#sealing.loadIndexes(segment, file),
      onDamage: (range) => report('warn', `${this.name}: ${describeRange(range)}`),
    })
    const streams = new StreamReader({ index, reader: segments, tail, settings, decompression })
    const extent = () => {
      const { logStartOffset, durableOffset, logEndOffset } = this
      return { segments: this.#chain.segments.slice(), logStartOffset, durableOffset, logEndOffset }
    }
    return new LogReader({
      name: this.name,
      tail,
      segments,
      memory,
      decompression,
      streams,
      extent,
      clock,
      readAheadBudget,
    })
  }

  /** Recovers the log from its directory; an empty one becomes a log at its first append. */
  static async open(options: LogOptions): Promise<Log> {
    return new Log(options, await recoverLog(options.context, options.identity))
  }

  /** topic/partition */
  get name(): string {
    return `${this.#identity.topic}/${this.#identity.partition}`
  }

  get partition(): number {
    return this.#identity.partition
  }

  get logStartOffset(): number {
    return this.#recovered.logStartOffset
  }

  get logEndOffset(): number {
    return this.#end.offset
  }

  get durableOffset(): number {
    return this.#appender.durableOffset
  }

  /** Of the newest batch found at recovery; -1 = there was none. */
  get recoveredEpoch(): number {
    return this.#recovered.leaderEpoch
  }

  get sizeBytes(): number {
    return this.#chain.sizeBytes
  }

  get segmentCount(): number {
    return this.#chain.segments.length
  }

  /** What is damaged, in words; empty when all is well. */
  get damage(): string[] {
    return this.#recovered.damage.describe()
  }

  get stats() {
    const { groups, syncs, writtenBytes, floorFrames } = this.#appender.stats
    const waitingAppends = this.#admission.waitingCount
    const indexMemoryBytes = this.#recovered.index.memoryBytes
    const producers = this.#recovered.producers.count
    return {
      ...this.#end.counts,
      ...this.#reader.stats,
      groups,
      syncs,
      writtenBytes,
      floorFrames,
      waitingAppends,
      indexMemoryBytes,
      producers,
    }
  }

  /** For LogStore's schedule: whether derived state should be saved, and the saving. */
  get checkpointer(): Checkpointer {
    return this.#checkpointer
  }

  /**
   * Appends one batch, all or nothing. Resolves when it is durable (`acks` none: when it has taken effect). Rejects with wrongExpectedVersion and every
   * failing condition, once what it names is durable; invalidBatch, batchTooLarge, unsupportedCompression, invalidStream, wrongPartition,
   * invalidExpectedVersion, invalidProducerEpoch, outOfOrderSequence, overloaded, diskFull, stopping, storageFailed.
   */
  async append(group: AppendGroup): Promise<Appended> {
    const [outcome] = await this.appendEach([group])
    if (outcome instanceof PlayheadError) throw outcome
    return outcome!
  }

  /**
   * Appends batches that have nothing to do with one another, in their order and each as `append` does, and waits once for all: what
   * became of each, or why it was refused.
   */
  async appendEach(groups: readonly AppendGroup[]): Promise<(Appended | PlayheadError)[]> {
    const decisions: (Decision | Promise<Decision>)[] = []
    const rules = this.#rules()
    for (const group of groups) decisions.push(this.#enter(group, rules))
    const decided: Decision[] = []
    let restsOn = 0
    for (const pending of decisions) {
      const decision = pending instanceof Promise ? await pending : pending
      decided.push(decision)
      restsOn = Math.max(restsOn, decision.restsOn)
    }
    let failure: PlayheadError | undefined
    if (restsOn > this.durableOffset) failure = await this.#appender.durable(restsOn).then(() => undefined, refusalOf)
    return decided.map((each) => (failure !== undefined && each.restsOn > this.durableOffset ? failure : each.outcome))
  }

  #rules(): BatchRules {
    const { batchBytesMax, partitionBy } = this.#settings()
    const { partition, partitions } = this.#identity
    const { decompression, settings } = this.#context
    const { decompressedBytesMax } = settings
    return { partition, partitions, partitionBy, batchBytesMax, decompressedBytesMax, decompression }
  }

  /** Takes the group in at once, or queues it. Never rejects with a refusal: that is an outcome too. */
  #enter(group: AppendGroup, rules: BatchRules): Decision | Promise<Decision> {
    try {
      if (this.#closed !== undefined) throw this.#closed
      const append = new IncomingAppend(group, rules)
      const decision = this.#admission.enter(append, this.#preparation(append))
      return decision instanceof Promise ? decision.catch(refused).finally(() => append.done()) : decision
    } catch (error) {
      return refused(error)
    }
  }

  /** Whole batches; none when nothing lies between `offset` and the limit. Throws offsetOutOfRange, corruptBatch. */
  read(range: ReadRange): Promise<ReadResult> {
    return this.#reader.read(range)
  }

  /** Events of one stream. Throws invalidStream, corruptBatch. */
  readStream(request: ReadStream): Promise<StreamPage> {
    return this.#reader.readStream(request)
  }

  /** The records of a batch that was read, in memory that all logs share. Throws as DecompressionMemory.decompress does. */
  decompress(batch: Buffer): Promise<Decompressed> {
    return this.#context.decompression.decompress(batch, readersBytesMax)
  }

  /** Where the stream stands below `limitOffset`. */
  streamInfo(stream: string, limitOffset: number): StreamFacts {
    const { lastVersion, firstVersion, lastOffset } = this.#recovered.index.lastBelow(stream, limitOffset)
    return { lastVersion, firstVersion: lastVersion < 0 ? -1 : firstVersion, lastOffset }
  }

  /** Streams with an event below `limitOffset`, in UTF-8 byte order. */
  listStreams(request: {
    prefix: string
    afterStream?: string | undefined
    limit: number
    limitOffset: number
  }): { stream: string; lastVersion: number }[] {
    return this.#recovered.index.list(request)
  }

  /** The first offset whose event time, or whose append time, is at or after `timestampMs`; `limitOffset` when there is none below it. */
  offsetForTime(timestampMs: number, clock: TimeClock, limitOffset: number): Promise<number> {
    return this.#reader.offsetForTime(timestampMs, clock, limitOffset)
  }

  /** How far a producer got here; undefined when it is not known. */
  producerState(id: number): ProducerProgress | undefined {
    return this.#recovered.producers.progress(id)
  }

  /** Resolves when everything below `offset` is durable. */
  durable(offset: number): Promise<void> {
    return this.#appender.durable(offset)
  }

  /**
   * Finishes what is under way, says on disk that all of it is durable, saves derived state and closes the files. Idempotent. Rejects with
   * storageFailed, when all is closed, if a write or sync has failed.
   */
  async close(): Promise<void> {
    if (this.#closed !== undefined) return
    await this.#stop(
      new PlayheadError('stopping', `${this.name}: found the broker stopping, wanted it running; send again later`),
    )
    await this.#appender.close()
    await this.#checkpointer.close()
    const { active } = this.#chain
    const { failure } = this.#appender
    if (active?.file !== undefined && failure === undefined) {
      await active.file.truncate(active.endPosition)
      await active.file.sync()
    }
    await this.#closeFiles()
    if (failure !== undefined) throw failure
  }

  /** Stops for good, because the topic goes or the broker does not come up: nothing more is written, nothing is saved. */
  async abandon(reason: PlayheadError): Promise<void> {
    if (this.#closed !== undefined) return
    await this.#stop(reason)
    await this.#checkpointer.stop()
    await this.#closeFiles()
  }

  async #stop(reason: PlayheadError): Promise<void> {
    this.#closed = reason
    await this.#reader.close(reason)
    await this.#admission.drained()
    await this.#chain.settled()
    await this.#appender.stop()
    await this.#sealing.stop()
  }

  async #closeFiles(): Promise<void> {
    this.#context.indexMemory.remove(this.#recovered.index)
    this.#tail.clear()
    for (const segment of this.#chain.segments) await this.#context.pool.close(segment)
  }

  /** Decompression, and a look at streams whose versions are asked for and not in memory; undefined when there is nothing to wait for. */
  #preparation(append: IncomingAppend): (() => Promise<void>) | undefined {
    const { batch, expected, wantVersions } = append.group
    const { keys, onlyStream } = append
    const { index } = this.#recovered
    // Of a single event whose stream has a condition enough is known with that.
    if (keys !== undefined && onlyStream !== undefined && index.hotVersion(keys) !== undefined) return undefined
    const compressed = codec(batch) !== 'none'
    const cold = expected.some(({ stream }) => index.isCold(stream))
    const coldVersions = wantVersions && onlyStream === undefined && keys !== undefined && index.anyCold(keys)
    if (!compressed && !cold && !coldVersions) return undefined
    return () => this.#prepare(append)
  }

  async #prepare(append: IncomingAppend): Promise<void> {
    await append.prepare()
    if (append.keys === undefined) return
    const { expected, wantVersions } = append.group
    const streams = new Set(expected.map(({ stream }) => stream))
    if (wantVersions) for (const stream of append.keys.streams()) streams.add(stream)
    await this.#recovered.index.prefetch([...streams])
  }

  #blocker(append: IncomingAppend): Promise<void> | undefined {
    if (this.#closed !== undefined) throw this.#closed
    if (this.#appender.failure !== undefined) throw this.#appender.failure
    return (
      this.#appenderPressure() ??
      this.#checkpointer.pressure() ??
      this.#chain.blocker(append.group.batch.length, this.#end.offset, this.#context.clock.now())
    )
  }

  /** What is taken in and not written yet is in memory, also when nobody waits for the disk (acks = none). */
  #appenderPressure(): Promise<void> | undefined {
    const { pendingBytes, durableOffset } = this.#appender
    if (pendingBytes <= this.#context.settings.pendingBytesMax) return undefined
    const written = this.#appender.durable(durableOffset + 1)
    written.catch(() => undefined) // whoever waits for it hears; an append that queues behind others asks again later
    return written
  }

  #rolled(full: Segment | undefined): void {
    const { index, producers } = this.#recovered
    const tables = index.nextSegment()
    if (full !== undefined) this.#sealing.add({ segment: full, producers: producers.snapshot(), tables })
  }

  #groupDurable(runs: readonly CachedRun[]): void {
    for (const run of runs) this.#tail.add(run)
    this.onDurableMoved()
  }
}

/** Told at once: it rests on nothing. What is no refusal is a bug. */
function refused(error: unknown): Decision {
  return { outcome: refusalOf(error), restsOn: 0 }
}

function refusalOf(error: unknown): PlayheadError {
  if (error instanceof PlayheadError) return error
  throw error
}
