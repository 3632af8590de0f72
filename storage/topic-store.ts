/**
 * TopicStore: the topics of a data directory: found at the start, made, changed and deleted. One change of a topic at a time.
 * Invariants: a topic exists while its topic.json does, and is seen here only once that is on disk; two topics never have one name, nor does
 * a topic have the name of one that could not be removed from the disk.
 * Neighbours: LogStore owns it; topic.ts draws topic.json; Log is what a topic consists of.
 */
import { PlayheadError } from '../protocol/errors.ts'
import { partitionsMax } from '../protocol/limits.ts'
import { checkTopicName } from '../protocol/names.ts'
import { afterPrefix } from './checkpoint-store.ts'
import { refusalOf } from './disk-space.ts'
import { logPrefix } from './index-keys.ts'
import { inParallel } from './in-parallel.ts'
import type { IncomingLog } from './incoming-log.ts'
import { finishTakeOver, incomingLogOf, settleTakeOver, takeOver, undoTakeOver } from './log-takeover.ts'
import { Log } from './log.ts'
import { PartitionLimit } from './partition-limit.ts'
import type { LogIdentity, StorageContext } from './storage-context.ts'
import { deletedSuffix, newTopicId, readTopicFile, Topic, topicIdBytes, writeTopicFile } from './topic.ts'
import type { TopicFacts } from './topic.ts'
import { changedSettings, checkSettingChange, checkTopicSettings } from './topic-settings.ts'
import type { TopicSettingTexts } from './topic-settings.ts'
import { truncateLog } from './truncation.ts'

export interface NewTopic {
  readonly name: string
  readonly partitions: number
  readonly replicationFactor: number
  readonly settings: TopicSettingTexts
  readonly internal?: boolean
}

/** The log that has the place now. */
export interface TakenOver {
  readonly log: Log
  /** Why it is the one from before. */
  readonly failure: PlayheadError | undefined
}

/** What it takes to remove a topic from the disk. */
interface TopicPlace {
  readonly directory: string
  readonly id: string
  readonly name: string
}

/** Logs recovered side by side. */
export const recoveriesMax = 8

export interface TopicStoreOptions {
  readonly context: StorageContext
  /** Where the topics are: a directory for each. */
  readonly directory: string
  /** The save of derived state that is under way, if any: it may be looking at a log that is to go. */
  readonly saving: () => Promise<void> | undefined
}

export class TopicStore {
  readonly #context: StorageContext
  readonly #directory: string
  readonly #saving: TopicStoreOptions['saving']
  readonly #topics = new Map<string, Topic>()
  readonly #partitionLimit: PartitionLimit
  /** Names of topics on their way in or out. */
  readonly #changing = new Set<string>()
  /** Topics that were to go and whose directory could not be renamed: the next start would find them, so their names stay taken. */
  readonly #undeleted = new Map<string, TopicPlace>()
  /** Changes under way, which closing waits for. */
  readonly #changes = new Set<Promise<unknown>>()
  #closed = false

  constructor({ context, directory, saving }: TopicStoreOptions) {
    this.#context = context
    this.#directory = directory
    this.#saving = saving
    this.#partitionLimit = new PartitionLimit(context.settings.partitionsTotalMax)
  }

  get size(): number {
    return this.#topics.size
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

  *logs(): Generator<Log> {
    for (const { logs } of this.#topics.values()) yield* logs
  }

  /** Throws damagedData, and what opening a log throws; `logs` has those that did open. */
  async open(): Promise<void> {
    const { fileSystem } = this.#context
    const found: { directory: string; facts: TopicFacts }[] = []
    for (const name of await fileSystem.list(this.#directory)) {
      const directory = `${this.#directory}/${name}`
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
    this.#context.progress.begin(found.reduce((sum, { facts }) => sum + facts.partitions, 0))
    for (const { directory, facts } of found) {
      this.#partitionLimit.found(facts)
      const twin = this.#topics.get(facts.name)
      if (twin !== undefined)
        throw new PlayheadError('damagedData', `${directory}: found a second topic named ${facts.name}, wanted one`)
      this.#topics.set(facts.name, await this.#openTopic(directory, facts))
    }
  }

  /** Throws what createTopic of LogStore does. */
  create(topic: NewTopic): Promise<Topic> {
    return this.#change(topic.name, () => this.#create(topic))
  }

  /** Throws what adoptTopic of LogStore does. */
  adopt(facts: TopicFacts): Promise<Topic> {
    // However little is allowed here: what all have agreed on is not for this broker to refuse.
    return this.#change(facts.name, () => this.#make(facts, () => this.#partitionLimit.found(facts)))
  }

  /** Throws what alterTopic of LogStore does. */
  alter(name: string, changes: Readonly<Record<string, string | null>>): Promise<Topic> {
    return this.#change(name, () => this.#alter(this.topic(name), changes))
  }

  /** Throws what deleteTopic of LogStore does. */
  delete(name: string): Promise<void> {
    return this.#change(name, () => {
      const undeleted = this.#undeleted.get(name)
      return undeleted === undefined ? this.#delete(this.topic(name)) : this.#takeAway(undeleted)
    })
  }

  /**
   * Cuts the end off a log whose leader has something else there (truncation.ts), and opens it again: answers the log that takes its place. The old one
   * answers `stopping` from now on. Throws unknownTopic, unknownPartition, stopping, and what opening a log throws: then the partition has none.
   */
  truncateLog(name: string, partition: number, offset: number): Promise<Log> {
    const topic = this.topic(name)
    const truncating = this.#reopened(topic, partition, (identity) => truncateLog(this.#context, identity, offset))
    this.#changes.add(truncating)
    return truncating.finally(() => this.#changes.delete(truncating))
  }

  /** Where the files of a leader's log gather. Throws unknownTopic, unknownPartition. */
  incomingLog(name: string, partition: number): IncomingLog {
    const topic = this.topic(name)
    topic.log(partition)
    return incomingLogOf(this.#context, this.#identityOf(topic, partition))
  }

  /**
   * What has gathered takes the place of the log, and is opened; where that fails for a reason that is told, the old one has it again. The log of before answers `stopping`
   * from now on. Throws as truncateLog does.
   */
  takeOverLog(name: string, partition: number): Promise<TakenOver> {
    const taking = this.#takeOver(this.topic(name), partition)
    this.#changes.add(taking)
    return taking.finally(() => this.#changes.delete(taking))
  }

  async #takeOver(topic: Topic, partition: number): Promise<TakenOver> {
    const identity = this.#identityOf(topic, partition)
    try {
      const log = await this.#reopened(topic, partition, () => takeOver(this.#context, identity))
      await settleTakeOver(this.#context, identity)
      return { log, failure: undefined }
    } catch (error) {
      const failure = refusalOf(error, identity.directory)
      if (!(failure instanceof PlayheadError) || failure.code === 'stopping') throw error
      const log = await this.#reopened(topic, partition, () => undoTakeOver(this.#context, identity))
      return { log, failure }
    }
  }

  /** Refuses changes from now on, and waits for those under way. */
  async close(): Promise<void> {
    this.#closed = true
    await Promise.allSettled(this.#changes)
  }

  /** One change per topic at a time; a name that is changing is taken. */
  async #change<T>(name: string, change: () => Promise<T>): Promise<T> {
    if (this.#closed)
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
      const message = `${name}: found replication factor ${replicationFactor}, wanted 1: this broker is by itself; more replicas need brokers started with --cluster`
      throw new PlayheadError('invalidReplicationFactor', message, { replicationFactor })
    }
    const facts = { id: newTopicId(this.#context), name, partitions, replicationFactor, internal, settings }
    return await this.#make(facts, () => this.#partitionLimit.hold(facts))
  }

  /** On disk first, then seen. `count`: once its name is known to be free. */
  async #make(facts: TopicFacts, count: () => void): Promise<Topic> {
    const { name } = facts
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
    count()
    try {
      const directory = this.#topicDirectory(facts.id)
      await this.#writeNewTopic(directory, facts)
      const topic = await this.#openNewTopic(directory, facts)
      this.#topics.set(name, topic)
      return topic
    } catch (error) {
      this.#partitionLimit.letGo(name)
      throw error
    }
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
    for (const [name, value] of Object.entries(changes)) checkSettingChange(name, value)
    const settings = changedSettings(topic.facts.settings, changes)
    try {
      await writeTopicFile(this.#context, topic.directory, { ...topic.facts, settings })
    } catch (error) {
      throw refusalOf(error, topic.directory)
    }
    topic.replaceSettings(settings)
    return topic
  }

  /** Closes a log whose files are to be others, and opens it again. */
  async #reopened(topic: Topic, partition: number, change: (identity: LogIdentity) => Promise<void>): Promise<Log> {
    const log = topic.log(partition)
    await this.#saving()
    const message = `${log.name}: found it being brought in line with its leader, wanted it open; try again`
    await log.abandon(new PlayheadError('stopping', message))
    const identity = this.#identityOf(topic, partition)
    await change(identity)
    if (this.#closed || this.#topics.get(topic.name) !== topic)
      throw new PlayheadError('stopping', `${log.name}: found it going, wanted it open`)
    const reopened = await Log.open({ context: this.#context, identity, settings: () => topic.settings })
    topic.replaceLog(reopened)
    return reopened
  }

  #identityOf({ name, id, partitions, directory }: Topic, partition: number): LogIdentity {
    return { topic: name, topicId: topicIdBytes(id), partition, partitions, directory: `${directory}/${partition}` }
  }

  /** Out of sight at once; gone for good once the directory has its new name; its bytes go after that. */
  async #delete(topic: Topic): Promise<void> {
    this.#topics.delete(topic.name)
    this.#undeleted.set(topic.name, topic)
    await this.#saving()
    const reason = new PlayheadError('unknownTopic', `${topic.name}: found it deleted, wanted an existing topic`, {
      topic: topic.name,
    })
    for (const log of topic.logs) await log.abandon(reason)
    this.#partitionLimit.letGo(topic.name)
    await this.#takeAway(topic)
  }

  /** Its name is free once the disk has it so. */
  async #takeAway({ directory, id, name }: TopicPlace): Promise<void> {
    const { fileSystem, checkpointStore, report } = this.#context
    const away = `${directory}${deletedSuffix}`
    this.#undeleted.set(name, { directory, id, name })
    if (await fileSystem.exists(directory)) await fileSystem.rename(directory, away)
    await fileSystem.syncDirectory(this.#directory)
    this.#undeleted.delete(name)
    await fileSystem.removeDirectory(away).catch((error: unknown) => {
      report('warn', `${away}: not removed, the next start does it: ${String(error)}`)
    })
    const prefix = logPrefix(topicIdBytes(id), 0).subarray(0, 16)
    await checkpointStore.removeRange(prefix, afterPrefix(prefix)).catch((error: unknown) => {
      report('warn', `cache: what it had of the deleted topic ${name} stays there: ${String(error)}`)
    })
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
    const numbers = Array.from({ length: facts.partitions }, (_, partition) => partition)
    const logs: Log[] = []
    const topic = new Topic(directory, facts, logs)
    const results = await inParallel(numbers, recoveriesMax, async (partition) => {
      const identity = this.#identityOf(topic, partition)
      await finishTakeOver(this.#context.fileSystem, identity)
      logs[partition] = await Log.open({ context: this.#context, identity, settings: () => topic.settings })
      this.#context.progress.opened()
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

  #topicDirectory(id: string): string {
    return `${this.#directory}/${id}`
  }
}
