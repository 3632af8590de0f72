/**
 * LogStore: every log of this broker. Opens the data directory with what is in it, runs the schedule that saves derived state, and closes all in
 * order. Invariant: one LogStore per data directory.
 * Neighbours: broker.ts opens it; TopicStore has the topics; Partition uses its logs.
 */
import { PlayheadError } from '../protocol/errors.ts'
import { FrameMemory } from '../protocol/frame-memory.ts'
import { MiB } from '../protocol/limits.ts'
import type { Clock, Timer } from '../platform/clock.ts'
import type { FileSystem } from '../platform/file-system.ts'
import type { Random } from '../platform/random.ts'
import { ByteBudget } from './byte-budget.ts'
import type { CheckpointStore } from './checkpoint-store.ts'
import { Cleaner } from './cleaner.ts'
import { CommitFigures } from './counted-buckets.ts'
import { DataDirectory } from './data-directory.ts'
import { DecompressionMemory } from './decompression-memory.ts'
import { LmdbCheckpointStore } from './lmdb-checkpoint-store.ts'
import { aloneCleaning, heldCleaning } from './log-cleaning.ts'
import { inParallel } from './in-parallel.ts'
import type { IncomingLog } from './incoming-log.ts'
import { FirstPassage } from './first-passage.ts'
import { Haste } from './haste.ts'
import { IndexMemory } from './index-memory.ts'
import type { Log } from './log.ts'
import { RecoveryProgress } from './recovery-progress.ts'
import { ScanWindows } from './scan-slices.ts'
import { SegmentPool } from './segment-pool.ts'
import type { Report, StorageContext } from './storage-context.ts'
import type { StorageSettings } from './storage-settings.ts'
import { TailCacheBudget } from './tail-cache.ts'
import type { Topic, TopicFacts } from './topic.ts'
import { recoveriesMax, TopicStore } from './topic-store.ts'
import type { NewTopic, TakenOver } from './topic-store.ts'

/** Memory that reads have lain in and that waits for the next ones. */
const keptReadBytesMax = 32 * MiB
/** The same of small batches: what the tail cache drops is soon taken again. */
const keptGroupBytesMax = 4 * MiB
/** Of the tail cache: what logs go on filling at most, so that most of what it counts is filled. */
const groupShare = 8

export interface LogStoreOptions {
  readonly directory: string
  readonly fileSystem: FileSystem
  readonly clock: Clock
  readonly random: Random
  /** Closed with the store. Default: LMDB in `<directory>/cache`. */
  readonly checkpointStore?: CheckpointStore
  readonly settings: StorageSettings
  readonly report: Report
  /** Leader epochs come from a cluster, and say nothing of this broker's runs. */
  readonly isReplicated?: boolean
  /** A write or sync failed: nothing more is acknowledged, and the process must end. */
  readonly onFatal: (error: Error) => void
}

/** How often logs are asked whether their derived state should be saved. */
const scheduleMs = 250

export class LogStore {
  readonly #context: StorageContext
  readonly #directory: DataDirectory
  readonly #topics: TopicStore
  #cleaner: Cleaner | undefined
  #timer: Timer | undefined
  #saving: Promise<void> | undefined
  #closed: Promise<void> | undefined

  private constructor(context: StorageContext, directory: DataDirectory) {
    this.#context = context
    this.#directory = directory
    this.#topics = new TopicStore({
      context,
      directory: `${directory.directory}/topics`,
      saving: () => this.#saving,
    })
  }

  /** Throws dataDirectoryInUse, dataDirectoryNotWritable, unsupportedFormat or damagedData. */
  static async open(options: LogStoreOptions): Promise<LogStore> {
    try {
      return await LogStore.#open(options)
    } catch (error) {
      if (!(error instanceof CondemnedCache)) throw error
      return await LogStore.#open(options) // opening the cache again has it wiped
    }
  }

  static async #open(options: LogStoreOptions): Promise<LogStore> {
    const directory = await DataDirectory.open(options)
    let checkpointStore: CheckpointStore | undefined
    try {
      checkpointStore = options.checkpointStore ?? (await openCache(options))
      const store = new LogStore(contextOf(options, checkpointStore, directory), directory)
      await store.#openAll(options.isReplicated === true).catch((error: unknown) => store.#giveUp(error))
      store.#schedule()
      store.#cleaner = new Cleaner({ context: store.#context, logs: () => store.#topics.logs() })
      return store
    } catch (error) {
      await checkpointStore?.close()
      await directory.abandon()
      throw checkpointStore instanceof LmdbCheckpointStore && checkpointStore.isCondemned ? new CondemnedCache() : error
    }
  }

  get clusterId(): string {
    return this.#directory.facts.clusterId
  }

  get brokerId(): number {
    return this.#directory.facts.brokerId
  }

  get dataDirectoryId(): string {
    return this.#directory.facts.dataDirectoryId
  }

  /** Of this run: one more than that of the run before. */
  get epoch(): number {
    return this.#directory.facts.epoch
  }

  get stats() {
    let partitions = 0
    let logBytes = 0
    for (const log of this.#topics.logs()) {
      partitions++
      logBytes += log.sizeBytes
    }
    const { pool, tailBudget, checkpointStore } = this.#context
    return {
      topics: this.#topics.size,
      partitions,
      logBytes,
      openSegments: pool.openCount,
      tailCacheBytes: tailBudget.usedBytes,
      cache: { ...checkpointStore.stats },
      commits: this.#context.commits,
    }
  }

  /** Throws unknownTopic, unknownPartition. */
  log(topic: string, partition: number): Log {
    return this.topic(topic).log(partition)
  }

  /** In order of their names. */
  topics(): Topic[] {
    return this.#topics.topics()
  }

  /** Throws unknownTopic. */
  topic(name: string): Topic {
    return this.#topics.topic(name)
  }

  /** Throws invalidTopicName, topicExists, invalidPartitions, tooManyPartitions, invalidReplicationFactor, unknownSetting, invalidSetting, diskFull. */
  createTopic(topic: NewTopic): Promise<Topic> {
    return this.#topics.create(topic)
  }

  /** A topic that the cluster has agreed on, id and all. Throws topicExists, diskFull. */
  adoptTopic(facts: TopicFacts): Promise<Topic> {
    return this.#topics.adopt(facts)
  }

  /** Sets settings; null sets one back to its default. Throws unknownTopic, unknownSetting, invalidSetting. */
  alterTopic(name: string, changes: Readonly<Record<string, string | null>>): Promise<Topic> {
    return this.#topics.alter(name, changes)
  }

  /** Throws unknownTopic. Its logs answer unknownTopic from now on. If the disk refuses, the name stays taken, and deleting it again tries again. */
  deleteTopic(name: string): Promise<void> {
    return this.#topics.delete(name)
  }

  /** Cuts the end off a follower's log; answers the log that takes its place. As TopicStore.truncateLog. */
  truncateLog(topic: string, partition: number, offset: number): Promise<Log> {
    return this.#topics.truncateLog(topic, partition, offset)
  }

  /** Where the files of a leader's log gather before they take the place of the log here. As TopicStore.incomingLog. */
  incomingLog(topic: string, partition: number): IncomingLog {
    return this.#topics.incomingLog(topic, partition)
  }

  /** The files that have gathered take the place of the log; answers the log that has it then. As TopicStore.takeOverLog. */
  takeOverLog(topic: string, partition: number): Promise<TakenOver> {
    return this.#topics.takeOverLog(topic, partition)
  }

  /** Finishes what is under way, makes everything durable, saves derived state, marks the stop as clean and frees the directory. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed ??= this.#close()
    await this.#closed
  }

  async #close(): Promise<void> {
    this.#timer?.cancel()
    await this.#cleaner?.close()
    await this.#topics.close()
    await this.#saving
    const results = await inParallel([...this.#topics.logs()], recoveriesMax, (log) => log.close())
    // What follows says only that the stop was clean: without it, on a full disk say, the next start looks at more, and nothing is lost.
    const unsaid = (error: unknown): void =>
      this.#context.report('warn', `stop not recorded as clean, the next start checks more: ${String(error)}`)
    await this.#context.checkpointStore.close().catch(unsaid)
    const failed = results.find((result) => result.status === 'rejected')
    if (failed === undefined) return this.#directory.closeClean().catch(unsaid)
    await this.#directory.abandon()
    throw failed.reason
  }

  /** Lets go of the logs that did open. */
  async #giveUp(error: unknown): Promise<never> {
    const reason = new PlayheadError('stopping', 'broker: found it unable to start, wanted it running')
    for (const log of this.#topics.logs()) await log.abandon(reason)
    throw error
  }

  async #openAll(isReplicated: boolean): Promise<void> {
    await this.#topics.open()
    this.#context.progress.end()
    this.#context.scanWindows.end()
    if (isReplicated) return
    let epoch = -1
    for (const log of this.#topics.logs()) epoch = Math.max(epoch, log.recoveredEpoch)
    if (epoch >= this.epoch) {
      const message = `broker.json: found epoch ${this.epoch} and a log with epoch ${epoch}; this run takes ${epoch + 1}`
      this.#context.report('warn', message)
    }
    await this.#directory.raiseEpochAbove(epoch)
  }

  /** Saves derived state where it is due, one log after the other, so that the cache has one writer at a time. */
  #schedule(): void {
    this.#timer = this.#context.clock.after(scheduleMs, () => {
      this.#saving = this.#saveDue().finally(() => {
        this.#saving = undefined
        if (this.#closed === undefined) this.#schedule()
      })
    })
  }

  async #saveDue(): Promise<void> {
    const { indexMemory } = this.#context
    indexMemory.look()
    for (const log of [...this.#topics.logs()].toSorted(
      (a, b) => b.checkpointer.indexBytes - a.checkpointer.indexBytes,
    )) {
      if (this.#closed !== undefined) return
      if (!log.checkpointer.due && !indexMemory.full) continue
      await log.checkpointer.save()
      indexMemory.look()
    }
  }
}

function contextOf(
  { fileSystem, clock, random, settings, report, onFatal, isReplicated }: LogStoreOptions,
  checkpointStore: CheckpointStore,
  directory: DataDirectory,
): StorageContext {
  return {
    fileSystem,
    clock,
    random,
    settings,
    checkpointStore,
    pool: new SegmentPool(fileSystem, settings.openSegmentsMax),
    tailBudget: new TailCacheBudget(settings.tailCacheBytes),
    indexMemory: new IndexMemory(settings.indexMemoryBytes),
    haste: new Haste(clock),
    decompression: new DecompressionMemory(settings.decompressionBytesTotalMax),
    readAheadBudget: new ByteBudget(settings.readAheadBytes),
    readMemory: new FrameMemory(keptReadBytesMax),
    firstPassage: new FirstPassage(clock),
    groupMemory: new FrameMemory(keptGroupBytesMax),
    groupBudget: new ByteBudget(settings.tailCacheBytes / groupShare),
    progress: new RecoveryProgress(clock, report),
    scanWindows: new ScanWindows(),
    commits: new CommitFigures(),
    get leaderEpoch() {
      return directory.facts.epoch
    },
    report,
    onFatal,
    cleaning: isReplicated === true ? heldCleaning : aloneCleaning,
  }
}

/** The logs could not be opened, with a cache that was found not to be what was written. */
class CondemnedCache extends Error {}

async function openCache({ directory, fileSystem, report, onFatal }: LogStoreOptions): Promise<CheckpointStore> {
  return LmdbCheckpointStore.open({ directory: `${directory}/cache`, fileSystem, report, onFatal })
}
