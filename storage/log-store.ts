/**
 * LogStore: every log of this broker. Opens the data directory, recovers the topics in it, creates, alters and deletes topics, and runs the
 * schedule that saves derived state.
 * Invariants: one LogStore per data directory; a topic exists while its topic.json does, and is seen here only once that is on disk;
 * two topics never have one name.
 * Neighbours: broker.ts opens it; Partition uses its logs.
 */
import { PlayheadError } from '../protocol/errors.ts'
import { FrameMemory } from '../protocol/frame-memory.ts'
import { MiB, partitionsMax } from '../protocol/limits.ts'
import { checkTopicName } from '../protocol/names.ts'
import type { Clock, Timer } from '../platform/clock.ts'
import type { FileSystem } from '../platform/file-system.ts'
import type { Random } from '../platform/random.ts'
import { afterPrefix } from './checkpoint-store.ts'
import type { CheckpointStore } from './checkpoint-store.ts'
import { DataDirectory } from './data-directory.ts'
import { DecompressionMemory } from './decompression-memory.ts'
import { logPrefix } from './index-keys.ts'
import { LmdbCheckpointStore } from './lmdb-checkpoint-store.ts'
import { refusalOf } from './disk-space.ts'
import { ReadAheadBudget } from './read-ahead.ts'
import { IndexMemory } from './index-memory.ts'
import { Log } from './log.ts'
import { SegmentPool } from './segment-pool.ts'
import type { Report, StorageContext } from './storage-context.ts'
import type { StorageSettings } from './storage-settings.ts'
import { TailCacheBudget } from './tail-cache.ts'
import { deletedSuffix, newTopicId, readTopicFile, Topic, topicIdBytes, writeTopicFile } from './topic.ts'
import type { TopicFacts } from './topic.ts'
import { checkSettingChange, checkTopicSettings } from './topic-settings.ts'
import type { TopicSettingTexts } from './topic-settings.ts'

/** Memory that reads have lain in and that waits for the next ones. */
const keptReadBytesMax = 32 * MiB

export interface LogStoreOptions {
  readonly directory: string
  readonly fileSystem: FileSystem
  readonly clock: Clock
  readonly random: Random
  /** Closed with the store. Default: LMDB in `<directory>/cache`. */
  readonly checkpointStore?: CheckpointStore
  readonly settings: StorageSettings
  readonly report: Report
  /** A write or sync failed: nothing more is acknowledged, and the process must end. */
  readonly onFatal: (error: Error) => void
}

export interface NewTopic {
  readonly name: string
  readonly partitions: number
  readonly replicationFactor: number
  readonly settings: TopicSettingTexts
  readonly internal?: boolean
}

/** What it takes to remove a topic from the disk. */
interface TopicPlace {
  readonly directory: string
  readonly id: string
  readonly name: string
}

/** How often logs are asked whether their derived state should be saved. */
const scheduleMs = 250
/** Logs recovered side by side. */
const recoveriesMax = 8

export class LogStore {
  readonly #context: StorageContext
  readonly #directory: DataDirectory
  readonly #topics = new Map<string, Topic>()
  /** Names of topics on their way in or out. */
  readonly #changing = new Set<string>()
  /** Topics that were to go and whose directory could not be renamed: the next start would find them, so their names stay taken. */
  readonly #undeleted = new Map<string, TopicPlace>()
  /** Changes under way, which closing waits for. */
  readonly #changes = new Set<Promise<unknown>>()
  #timer: Timer | undefined
  #saving: Promise<void> | undefined
  #closed: Promise<void> | undefined

  private constructor(context: StorageContext, directory: DataDirectory) {
    this.#context = context
    this.#directory = directory
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
    const { fileSystem, clock, random, settings, report, onFatal } = options
    const directory = await DataDirectory.open(options)
    let checkpointStore: CheckpointStore | undefined
    try {
      checkpointStore = options.checkpointStore ?? (await openCache(options))
      const pool = new SegmentPool(fileSystem, settings.openSegmentsMax)
      const tailBudget = new TailCacheBudget(settings.tailCacheBytes)
      const indexMemory = new IndexMemory(settings.indexMemoryBytes)
      const context = {
        fileSystem,
        clock,
        random,
        settings,
        checkpointStore,
        pool,
        tailBudget,
        indexMemory,
        decompression: new DecompressionMemory(settings.decompressionBytesTotalMax),
        readAheadBudget: new ReadAheadBudget(settings.readAheadBytes),
        readMemory: new FrameMemory(keptReadBytesMax),
        get leaderEpoch() {
          return directory.facts.epoch
        },
        report,
        onFatal,
      }
      const store = new LogStore(context, directory)
      await store.#openAll().catch((error: unknown) => store.#giveUp(error))
      store.#schedule()
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
    for (const { logs } of this.#topics.values()) {
      partitions += logs.length
      for (const log of logs) logBytes += log.sizeBytes
    }
    const { pool, tailBudget, checkpointStore } = this.#context
    return {
      topics: this.#topics.size,
      partitions,
      logBytes,
      openSegments: pool.openCount,
      tailCacheBytes: tailBudget.usedBytes,
      cache: { ...checkpointStore.stats },
    }
  }

  /** In order of their names. */
  topics(): Topic[] {
    return [...this.#topics.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** Throws unknownTopic. */
  topic(name: string): Topic {
    const topic = this.#topics.get(name)
    if (topic !== undefined) return topic
    throw new PlayheadError(
      'unknownTopic',
      `${name}: found no such topic, wanted an existing one; create it with: playhead topic create ${name}`,
      {
        topic: name,
      },
    )
  }

  /** Throws unknownTopic, unknownPartition. */
  log(topic: string, partition: number): Log {
    return this.topic(topic).log(partition)
  }

  /** Throws invalidTopicName, topicExists, invalidPartitions, invalidReplicationFactor, unknownSetting, invalidSetting, diskFull. */
  createTopic(topic: NewTopic): Promise<Topic> {
    return this.#change(topic.name, () => this.#create(topic))
  }

  /** Sets settings; null sets one back to its default. Throws unknownTopic, unknownSetting, invalidSetting. */
  alterTopic(name: string, changes: Readonly<Record<string, string | null>>): Promise<Topic> {
    return this.#change(name, () => this.#alter(this.topic(name), changes))
  }

  /** Throws unknownTopic. Its logs answer unknownTopic from now on. If the disk refuses, the name stays taken, and deleting it again tries again. */
  deleteTopic(name: string): Promise<void> {
    return this.#change(name, () => {
      const undeleted = this.#undeleted.get(name)
      return undeleted === undefined ? this.#delete(this.topic(name)) : this.#takeAway(undeleted)
    })
  }

  /** Finishes what is under way, makes everything durable, saves derived state, marks the stop as clean and frees the directory. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed ??= this.#close()
    await this.#closed
  }

  async #close(): Promise<void> {
    this.#timer?.cancel()
    await Promise.allSettled(this.#changes)
    await this.#saving
    const results = await inParallel([...this.#logs()], recoveriesMax, (log) => log.close())
    // What follows says only that the stop was clean: without it, on a full disk say, the next start looks at more, and nothing is lost.
    const unsaid = (error: unknown): void =>
      this.#context.report('warn', `stop not recorded as clean, the next start checks more: ${String(error)}`)
    await this.#context.checkpointStore.close().catch(unsaid)
    const failed = results.find((result) => result.status === 'rejected')
    if (failed === undefined) return this.#directory.closeClean().catch(unsaid)
    await this.#directory.abandon()
    throw failed.reason
  }

  *#logs(): Generator<Log> {
    for (const { logs } of this.#topics.values()) yield* logs
  }

  /** One change per topic at a time; a name that is changing is taken. */
  async #change<T>(name: string, change: () => Promise<T>): Promise<T> {
    if (this.#closed !== undefined)
      throw new PlayheadError('stopping', 'broker: found it stopping, wanted it running; try again later')
    if (this.#changing.has(name)) {
      throw new PlayheadError(
        'overloaded',
        `${name}: found another change of this topic under way, wanted none; try again`,
        { topic: name },
      )
    }
    this.#changing.add(name)
    const changing = Promise.resolve()
      .then(change)
      .finally(() => {
        this.#changing.delete(name)
        this.#changes.delete(changing)
      })
    this.#changes.add(changing)
    return changing
  }

  async #create({ name, partitions, replicationFactor, settings, internal = false }: NewTopic): Promise<Topic> {
    checkTopicName(name)
    checkTopicSettings(settings)
    if (!Number.isInteger(partitions) || partitions < 1 || partitions > partitionsMax) {
      throw new PlayheadError(
        'invalidPartitions',
        `${name}: found ${partitions} partitions, wanted 1 to ${partitionsMax}`,
        { partitions },
      )
    }
    if (replicationFactor !== 1) {
      const message = `${name}: found replication factor ${replicationFactor}, wanted 1 (replication is not built yet)`
      throw new PlayheadError('invalidReplicationFactor', message, { replicationFactor })
    }
    if (this.#topics.has(name)) {
      throw new PlayheadError(
        'topicExists',
        `${name}: found a topic of this name, wanted a new one; choose another name`,
        { topic: name },
      )
    }
    if (this.#undeleted.has(name)) {
      throw new PlayheadError(
        'topicExists',
        `${name}: found a topic of this name that could not be deleted from the disk, wanted a new one; delete it again first`,
        { topic: name },
      )
    }
    const facts: TopicFacts = { id: newTopicId(this.#context), name, partitions, replicationFactor, internal, settings }
    const directory = this.#topicDirectory(facts.id)
    await this.#writeNewTopic(directory, facts)
    const topic = await this.#openNewTopic(directory, facts)
    this.#topics.set(name, topic)
    return topic
  }

  async #writeNewTopic(directory: string, facts: TopicFacts): Promise<void> {
    const { fileSystem } = this.#context
    try {
      await fileSystem.makeDirectory(directory)
      await writeTopicFile(this.#context, directory, facts)
    } catch (error) {
      await fileSystem.removeDirectory(directory).catch(() => undefined) // else the next start removes it
      throw refusalOf(error, directory)
    }
  }

  /** A topic that cannot be opened is taken away again: its name stays free, also for the next start. */
  async #openNewTopic(directory: string, facts: TopicFacts): Promise<Topic> {
    try {
      return await this.#openTopic(directory, facts)
    } catch (error) {
      await this.#takeAway({ directory, id: facts.id, name: facts.name })
      throw refusalOf(error, directory)
    }
  }

  async #alter(topic: Topic, changes: Readonly<Record<string, string | null>>): Promise<Topic> {
    const settings: Record<string, string> = { ...topic.facts.settings }
    for (const [name, value] of Object.entries(changes)) {
      checkSettingChange(name, value)
      if (value === null) delete settings[name]
      else settings[name] = value
    }
    try {
      await writeTopicFile(this.#context, topic.directory, { ...topic.facts, settings })
    } catch (error) {
      throw refusalOf(error, topic.directory)
    }
    topic.replaceSettings(settings)
    return topic
  }

  /** Out of sight at once; gone for good once the directory has its new name; its bytes go after that. */
  async #delete(topic: Topic): Promise<void> {
    this.#topics.delete(topic.name)
    this.#undeleted.set(topic.name, topic)
    await this.#saving
    const reason = new PlayheadError('unknownTopic', `${topic.name}: found it deleted, wanted an existing topic`, {
      topic: topic.name,
    })
    for (const log of topic.logs) await log.abandon(reason)
    await this.#takeAway(topic)
  }

  /** Its name is free once the disk has it so. */
  async #takeAway({ directory, id, name }: TopicPlace): Promise<void> {
    const { fileSystem, checkpointStore, report } = this.#context
    const away = `${directory}${deletedSuffix}`
    this.#undeleted.set(name, { directory, id, name })
    if (await fileSystem.exists(directory)) await fileSystem.rename(directory, away)
    await fileSystem.syncDirectory(this.#topicsDirectory)
    this.#undeleted.delete(name)
    await fileSystem.removeDirectory(away).catch((error: unknown) => {
      report('warn', `${away}: not removed, the next start does it: ${String(error)}`)
    })
    const prefix = logPrefix(topicIdBytes(id), 0).subarray(0, 16)
    await checkpointStore.removeRange(prefix, afterPrefix(prefix)).catch((error: unknown) => {
      report('warn', `cache: what it had of the deleted topic ${name} stays there: ${String(error)}`)
    })
  }

  /** Lets go of the logs that did open. */
  async #giveUp(error: unknown): Promise<never> {
    const reason = new PlayheadError('stopping', 'broker: found it unable to start, wanted it running')
    for (const log of this.#logs()) await log.abandon(reason)
    throw error
  }

  async #openAll(): Promise<void> {
    await this.#openTopics()
    let epoch = -1
    for (const log of this.#logs()) epoch = Math.max(epoch, log.recoveredEpoch)
    if (epoch >= this.epoch) {
      const message = `broker.json: found epoch ${this.epoch} and a log with epoch ${epoch}; this run takes ${epoch + 1}`
      this.#context.report('warn', message)
    }
    await this.#directory.raiseEpochAbove(epoch)
  }

  async #openTopics(): Promise<void> {
    const { fileSystem } = this.#context
    const found: { directory: string; facts: TopicFacts }[] = []
    for (const name of await fileSystem.list(this.#topicsDirectory)) {
      const directory = `${this.#topicsDirectory}/${name}`
      if (name.endsWith(deletedSuffix)) {
        await fileSystem.removeDirectory(directory)
        continue
      }
      const facts = await readTopicFile(fileSystem, directory)
      if (facts === undefined) {
        await this.#removeUnborn(directory)
        continue
      }
      await fileSystem.syncDirectory(directory) // the names of its partitions: see findSegmentFiles
      found.push({ directory, facts })
    }
    for (const { directory, facts } of found) {
      const twin = this.#topics.get(facts.name)
      if (twin !== undefined)
        throw new PlayheadError('damagedData', `${directory}: found a second topic named ${facts.name}, wanted one`)
      this.#topics.set(facts.name, await this.#openTopic(directory, facts))
    }
  }

  /** A topic whose creation never got to its topic.json has nothing in it. */
  async #removeUnborn(directory: string): Promise<void> {
    const { fileSystem } = this.#context
    const names = await fileSystem.list(directory)
    if (names.some((name) => /^\d+$/.test(name))) {
      throw new PlayheadError(
        'damagedData',
        `${directory}/topic.json: found no file beside partitions, wanted it; restore it from a copy`,
        {
          file: `${directory}/topic.json`,
        },
      )
    }
    await fileSystem.removeDirectory(directory)
  }

  async #openTopic(directory: string, facts: TopicFacts): Promise<Topic> {
    const topicId = topicIdBytes(facts.id)
    const numbers = Array.from({ length: facts.partitions }, (_, partition) => partition)
    const logs: Log[] = []
    const topic = new Topic(directory, facts, logs)
    const results = await inParallel(numbers, recoveriesMax, async (partition) => {
      const identity = {
        topic: facts.name,
        topicId,
        partition,
        partitions: facts.partitions,
        directory: `${directory}/${partition}`,
      }
      logs[partition] = await Log.open({ context: this.#context, identity, settings: () => topic.settings })
    })
    const failed = results.find((result) => result.status === 'rejected')
    if (failed === undefined) return topic
    const reason = new PlayheadError(
      'stopping',
      `${facts.name}: found one of its partitions unreadable, wanted all of them`,
    )
    for (const log of logs) await log?.abandon(reason) // a partition that failed left a hole
    throw failed.reason
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
    for (const log of [...this.#logs()].toSorted((a, b) => b.checkpointer.indexBytes - a.checkpointer.indexBytes)) {
      if (this.#closed !== undefined) return
      if (!log.checkpointer.due && !indexMemory.full) continue
      await log.checkpointer.save()
      indexMemory.look()
    }
  }

  get #topicsDirectory(): string {
    return `${this.#directory.directory}/topics`
  }

  #topicDirectory(id: string): string {
    return `${this.#topicsDirectory}/${id}`
  }
}

/** The logs could not be opened, with a cache that was found not to be what was written. */
class CondemnedCache extends Error {}

async function openCache({ directory, fileSystem, report, onFatal }: LogStoreOptions): Promise<CheckpointStore> {
  return LmdbCheckpointStore.open({ directory: `${directory}/cache`, fileSystem, report, onFatal })
}

/** Runs `work` on all items, at most `runningMax` at a time, and ends when all have ended. */
async function inParallel<T>(
  items: readonly T[],
  runningMax: number,
  work: (item: T) => Promise<void>,
): Promise<PromiseSettledResult<void>[]> {
  const results: PromiseSettledResult<void>[] = []
  let next = 0
  const worker = async () => {
    for (let item = items[next++]; item !== undefined; item = items[next++]) {
      results.push(...(await Promise.allSettled([work(item)])))
    }
  }
  await Promise.all(Array.from({ length: Math.min(runningMax, items.length) }, worker))
  return results
}
