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
import { Admission } from './admission.ts'
import { Appender } from './appender.ts'
import { Checkpointer } from './checkpointer.ts'
import { Compaction } from './compaction.ts'
import type { Decompressed } from './decompression-memory.ts'
import { FollowerLane } from './follower-lane.ts'
import { IncomingAppend } from './incoming-append.ts'
import type { AppendGroup, Appended, BatchRules } from './incoming-append.ts'
import type { LeaderEpochs } from './leader-epochs.ts'
import { Leadership, refusalOf } from './leadership.ts'
import type { CommitPoint } from './leadership.ts'
import { LogReplica } from './log-replica.ts'
import { LogEnd } from './log-end.ts'
import type { Decision } from './log-end.ts'
import type { ProducerProgress } from './producer-state.ts'
import { LogFiles } from './log-files.ts'
import type { LogReader } from './log-reader.ts'
import { openLogReader } from './open-log-reader.ts'
import type { TimeClock } from './log-reader.ts'
import type { ReadRange, ReadResult } from './read-range.ts'
import { preparationOf } from './preparation.ts'
import { recoverLog } from './recovery.ts'
import { Retention } from './retention.ts'
import type { RecoveredLog } from './recovery.ts'
import { Sealing } from './sealing.ts'
import type { Segment } from './segment.ts'
import { SegmentChain } from './segment-chain.ts'
import { SharedFiles } from './shared-files.ts'
import type { LogIdentity, StorageContext } from './storage-context.ts'
import type { ReadStream, StreamPage } from './stream-reader.ts'
import type { StreamLimits } from './stream-limits.ts'
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
  /** -1 = there was never an event. */
  readonly lastVersion: number
  /** The first version still there; -1 = none. */
  readonly firstVersion: number
  /** -1 = it is not there. */
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
  readonly #followerLane: FollowerLane
  /** The log as one replica of several. */
  readonly replica: LogReplica
  readonly #reader: LogReader
  readonly #sealing: Sealing
  readonly #checkpointer: Checkpointer
  readonly #leadership: Leadership
  /** For whoever sends them elsewhere. */
  readonly files: LogFiles
  readonly #retention: Retention
  readonly #compaction: Compaction
  /** Why nothing is answered any more. */
  #closed: PlayheadError | undefined

  private constructor(options: LogOptions, recovered: RecoveredLog) {
    const { context, identity, settings } = options
    this.#context = context
    this.#identity = identity
    this.#settings = settings
    this.#recovered = recovered
    this.#tail = new TailCache(context.tailBudget, context.settings.tailCacheBytesPerLog)
    this.#appender = this.#openAppender()
    this.#leadership = new Leadership(() => context.leaderEpoch, diskOf(this.#appender))
    const { index, salt, producers, epochs } = recovered
    this.#sealing = new Sealing({ context, identity, salt, index })
    context.indexMemory.add(this.#sealing)
    this.#chain = new SegmentChain(
      {
        context,
        identity,
        salt,
        settings,
        appender: this.#appender,
        leaderEpoch: () => this.#leadership.epoch,
        onRoll: (full) => this.#rolled(full),
      },
      recovered.segments,
    )
    for (const { segment, producers: snapshot } of recovered.unsealed) {
      context.pool.keep(segment)
      this.#sealing.add({ segment, producers: snapshot, tables: undefined })
    }
    this.#reader = this.#openReader()
    this.#end = new LogEnd({
      context,
      identity,
      index,
      producers,
      chain: this.#chain,
      appender: this.#appender,
      offset: recovered.nextOffset,
      appendTimeMs: recovered.lastAppendTimeMs,
      lastEpoch: recovered.leaderEpoch,
      leaderEpoch: () => this.#leadership.epoch,
      onAppended: (batchBytes) => {
        this.#checkpointer.appended(batchBytes)
        this.onEndMoved()
      },
    })
    this.#admission = new Admission({
      waitingMax: context.settings.waitingAppendsMax,
      waitingBytesMax: context.settings.waitingAppendBytesMax,
      blocker: (append) => this.#blocker(append.group.batch.length),
      decide: (append) => this.#decide(append),
    })
    this.#followerLane = this.#openFollowerLane(epochs)
    this.replica = this.#openReplica(epochs)
    const [chain, appender, { replayedBytes }] = [this.#chain, this.#appender, recovered]
    this.#checkpointer = new Checkpointer({ context, identity, salt, index, producers, chain, appender, replayedBytes })
    this.files = this.#openFiles(epochs)
    ;[this.#retention, this.#compaction] = this.#openCleaning()
  }

  #openCleaning(): [Retention, Compaction] {
    const { facts, damage, index, limits, salt } = this.#recovered
    const [chain, sealing, endOffset] = [this.#chain, this.#sealing, () => this.#end.offset]
    const [context, identity, settings] = [this.#context, this.#identity, this.#settings]
    const [cleaning, saveIndex] = [() => this.replica.cleaning, () => this.#checkpointer.save()]
    const parts = { context, identity, settings, facts, chain, sealing, index, cleaning }
    return [new Retention({ ...parts, damage, endOffset }), new Compaction({ ...parts, salt, limits, saveIndex })]
  }

  #openFiles(epochs: LeaderEpochs): LogFiles {
    const [{ index, salt, facts }, context, identity] = [this.#recovered, this.#context, this.#identity]
    const [chain, sealing, { fileSystem }] = [this.#chain, this.#sealing, context]
    return new LogFiles({
      shared: new SharedFiles({ fileSystem, identity, salt, chain, sealing, facts, epochs }),
      source: { context, identity, index, salt },
      chain,
      pool: this.#context.pool,
      endOffset: () => this.#end.offset,
      refusal: () => this.#closed,
    })
  }

  #openReplica(epochs: LeaderEpochs): LogReplica {
    const [{ facts, salt }, leadership, lane] = [this.#recovered, this.#leadership, this.#followerLane]
    const [admission, appender, end, chain] = [this.#admission, this.#appender, this.#end, this.#chain]
    const startAt = (offset: number) => this.#retention.adoptStart(offset)
    const { cleaning } = this.#context
    return new LogReplica({ facts, leadership, epochs, lane, admission, appender, end, chain, salt, startAt, cleaning })
  }

  #openAppender(): Appender {
    const { salt, nextOffset: durableOffset, writtenFloor } = this.#recovered
    const onDurable = (runs: readonly CachedRun[]): void => this.#groupDurable(runs)
    return new Appender({ context: this.#context, salt, durableOffset, writtenFloor, onDurable })
  }

  #openFollowerLane(epochs: LeaderEpochs): FollowerLane {
    return new FollowerLane({
      decompression: this.#context.decompression,
      beginEpoch: (epoch, startOffset) => epochs.begin(epoch, startOffset),
      blocker: (batchBytes, beginsSegment) => this.#blocker(batchBytes, beginsSegment),
      take: (append) => this.#end.follow(append),
      roll: () => this.files.roll(),
    })
  }

  #openReader(): LogReader {
    return openLogReader({
      name: this.name,
      context: this.#context,
      recovered: this.#recovered,
      tail: this.#tail,
      sealing: this.#sealing,
      extent: () => {
        const { logStartOffset, durableOffset, logEndOffset } = this
        return { segments: this.#chain.segments.slice(), logStartOffset, durableOffset, logEndOffset }
      },
    })
  }

  /** Recovers the log from its directory; an empty one becomes a log at its first append. */
  static async open(options: LogOptions): Promise<Log> {
    const { context, identity } = options
    return new Log(options, await recoverLog(context, identity))
  }

  /** topic/partition */
  get name(): string {
    return `${this.#identity.topic}/${this.#identity.partition}`
  }

  get partition(): number {
    return this.#identity.partition
  }

  get logStartOffset(): number {
    return this.#recovered.facts.logStartOffset
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

  /** Empty until their owner fills them in. */
  get limits(): StreamLimits {
    return this.#recovered.limits
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
      ...this.#retention.stats,
      ...this.#compaction.stats,
      groups,
      syncs,
      writtenBytes,
      floorFrames,
      waitingAppends,
      indexMemoryBytes,
      unsavedBytes: this.#checkpointer.unsavedBytes,
      unsealedSegments: this.#sealing.count,
      producers,
    }
  }

  /** For the Cleaner. */
  get retention(): Retention {
    return this.#retention
  }

  /** For the Cleaner. */
  get compaction(): Compaction {
    return this.#compaction
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
    return await this.#leadership.outcomes(decisions)
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
      const refusal = this.#closed ?? this.#leadership.refusal
      if (refusal !== undefined) throw refusal
      const append = new IncomingAppend(group, rules)
      const decision = this.#admission.enter(append, preparationOf(append, this.#recovered.index))
      return decision instanceof Promise ? decision.catch(refused).finally(() => append.done()) : decision
    } catch (error) {
      return refused(error)
    }
  }

  #decide(append: IncomingAppend): Decision {
    if (this.#leadership.refusal !== undefined) throw this.#leadership.refusal // since it came in
    return this.#end.decide(append)
  }

  /** Whole batches; none when nothing lies between `offset` and the limit. Throws offsetOutOfRange, corruptBatch. */
  read(range: ReadRange): Promise<ReadResult> {
    return this.#reader.read(range)
  }

  /**
   * Gives up all records below `offset`: nobody reads them any more once this resolves, with the start of the log as it is then on disk. Their
   * space comes back segment by segment. Throws offsetOutOfRange when the log is not durable up to `offset`.
   */
  async deleteRecords(offset: number): Promise<number> {
    if (this.#closed !== undefined) throw this.#closed
    await this.#retention.deleteBelow(offset, this.durableOffset)
    if (this.#closed !== undefined && this.logStartOffset < offset) throw this.#closed
    return this.logStartOffset
  }

  /** Events of one stream. Throws invalidStream, corruptBatch. */
  readStream(request: ReadStream): Promise<StreamPage> {
    return this.#reader.readStream(request)
  }

  /** The records of a batch that was read, in memory that all logs share. Throws as DecompressionMemory.decompress does. */
  decompress(batch: Buffer): Promise<Decompressed> {
    return this.#context.decompression.decompress(batch, readersBytesMax)
  }

  /** Where the stream stands below `limitOffset`; one whose events are all gone still has its last version. */
  streamInfo(stream: string, limitOffset: number): StreamFacts {
    const { lastVersion, firstVersion, lastOffset } = this.#recovered.index.lastBelow(stream, limitOffset)
    return { lastVersion, firstVersion: lastOffset < 0 ? -1 : firstVersion, lastOffset }
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
    await this.#retention.stop()
    await this.#compaction.stop()
    await this.#reader.close(reason)
    await this.files.settled()
    await this.#admission.drained()
    await this.#followerLane.drained()
    await this.#chain.settled()
    await this.#appender.stop()
    await this.#sealing.stop()
  }

  async #closeFiles(): Promise<void> {
    for (const holder of [this.#recovered.index, this.#sealing]) this.#context.indexMemory.remove(holder)
    this.#tail.clear()
    for (const segment of this.#chain.segments) await this.#context.pool.close(segment)
  }

  #blocker(batchBytes: number, beginsSegment?: boolean): Promise<void> | undefined {
    if (this.#closed !== undefined) throw this.#closed
    if (this.#appender.failure !== undefined) throw this.#appender.failure
    return (
      this.#appenderPressure() ??
      this.#checkpointer.pressure() ??
      this.#chain.blocker(batchBytes, this.#end.offset, this.#context.clock.now(), beginsSegment)
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

/** What is on this log's own disk may be told. */
function diskOf(appender: Appender): CommitPoint {
  return {
    get offset() {
      return appender.durableOffset
    },
    reached: (offset) => appender.durable(offset),
  }
}

/** Told at once: it rests on nothing. What is no refusal is a bug. */
function refused(error: unknown): Decision {
  return { outcome: refusalOf(error), restsOn: 0, onLeader: false }
}
