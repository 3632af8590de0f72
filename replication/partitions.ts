/**
 * Partitions: every partition of this broker, by topic. Created and removed with their topics; the only place where a topic's name is
 * looked up. Invariant: a topic is found here only while its logs are open. Called by broker/, calls LogStore.
 */
import type { Clock } from '../platform/clock.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { partitionOf } from '../protocol/murmur2.ts'
import { checkStream } from '../protocol/names.ts'
import type { IncomingLog } from '../storage/incoming-log.ts'
import type { LogStore } from '../storage/log-store.ts'
import type { NewTopic } from '../storage/topic-store.ts'
import { Turns } from '../storage/turns.ts'
import { changedSettings } from '../storage/topic-settings.ts'
import type { TopicSettingTexts } from '../storage/topic-settings.ts'
import type { Topic, TopicFacts } from '../storage/topic.ts'
import { Partition } from './partition.ts'

/** Logs that are opened behind a takeover, side by side. */
const takeoversMax = 4

interface TopicPartitions {
  readonly topic: Topic
  readonly partitions: readonly Partition[]
}

export interface PartitionsOptions {
  readonly store: LogStore
  readonly clock: Clock
  readonly waitersMax: number
  /** This broker is one of a cluster: it leads what it is told to lead, and nothing else. */
  readonly isReplicated?: boolean
  /** Who decides which topics there are, if that is not this broker: each resolves when it can be seen here. */
  readonly authority?: TopicAuthority | undefined
  /** Of topics that users make or change: throws for settings that do not go together here. */
  readonly checkSettings?: ((settings: TopicSettingTexts) => void) | undefined
}

export interface TopicAuthority {
  /** Whether this broker has all topics that its cluster had when it joined. */
  readonly isKnown: boolean
  /** Answers the topic's id. */
  create(topic: NewTopic): Promise<string>
  alter(name: string, changes: Readonly<Record<string, string | null>>): Promise<void>
  delete(name: string): Promise<void>
}

export interface CreatedTopic {
  readonly id: string
  readonly partitions: number
}

export class Partitions {
  readonly #store: LogStore
  readonly #options: PartitionsOptions
  readonly #topics = new Map<string, TopicPartitions>()
  readonly #namesById = new Map<string, string>()
  readonly #takeovers = new Turns(takeoversMax)

  constructor(options: PartitionsOptions) {
    this.#store = options.store
    this.#options = options
    for (const { name } of options.store.topics()) this.#add(options.store.topic(name))
  }

  topics(): Topic[] {
    return [...this.#topics.values()].map(({ topic }) => topic)
  }

  /** Throws unknownTopic, or unavailable while this broker joins its cluster. */
  topic(name: string): TopicPartitions {
    const found = this.#topics.get(name)
    if (found) return found
    throw this.#unknown(name)
  }

  #unknown(name: string): PlayheadError {
    return this.#options.authority?.isKnown === false ? notKnownYet(name) : unknownTopic(name)
  }

  has(name: string): boolean {
    return this.#topics.has(name)
  }

  /** For clients. Throws unknownTopic, unknownPartition, or notLeader when another broker leads it. */
  get(name: string, partition: number): Partition {
    const found = this.#at(this.topic(name), partition)
    found.checkLeads()
    return found
  }

  /** For clients that take a follower's word. Throws unknownTopic, unknownPartition. */
  anyReplica(name: string, partition: number): Partition {
    return this.#at(this.topic(name), partition)
  }

  #at({ topic, partitions }: TopicPartitions, partition: number): Partition {
    const found = partitions[partition]
    if (found) return found
    throw new PlayheadError(
      'unknownPartition',
      `${topic.name}: found partition ${partition}, wanted 0 to ${partitions.length - 1}; playhead topic describe ${topic.name} shows them`,
      { partition, partitions: partitions.length },
    )
  }

  /** This broker's replica, whether or not it leads. Throws unknownTopic or unknownPartition. */
  replica(topicId: string, partition: number): Partition {
    const name = this.#namesById.get(topicId)
    if (name === undefined) throw this.#unknown(`with id ${topicId}`)
    return this.#at(this.topic(name), partition)
  }

  /** The partition that the stream lives in. Throws unknownTopic or invalidStream. */
  ofStream(name: string, stream: string): Partition {
    const { topic, partitions } = this.topic(name)
    checkStream(stream)
    return this.get(name, partitionOf(stream, partitions.length, topic.settings.partitionBy))
  }

  /** Every partition of every topic. */
  *all(): Generator<Partition> {
    for (const { partitions } of this.#topics.values()) yield* partitions
  }

  /** What the cluster has agreed on: a topic with its id. Throws as LogStore.adoptTopic does. */
  async adopt(facts: TopicFacts): Promise<void> {
    this.#add(await this.#store.adoptTopic(facts))
  }

  /** On this broker: the topic's settings are these. */
  async alterHere(name: string, settings: Readonly<Record<string, string>>): Promise<void> {
    const { topic } = this.topic(name)
    const changes: Record<string, string | null> = { ...settings }
    for (const setting of Object.keys(topic.facts.settings)) changes[setting] ??= null
    await this.#store.alterTopic(name, changes)
  }

  /** Cuts a follower's log back. */
  async truncate(partition: Partition, offset: number): Promise<void> {
    partition.replaceLog(await this.#store.truncateLog(partition.topic, partition.partition, offset))
  }

  /** Where the files of the leader's log gather. */
  incoming({ topic, partition }: Partition): IncomingLog {
    return this.#store.incomingLog(topic, partition)
  }

  /** Puts what has gathered in the place of a follower's log. Throws why that has its place still. */
  async takeOver(partition: Partition): Promise<void> {
    const { topic, partition: number } = partition
    // Each makes an index anew.
    const { log, failure } = await this.#takeovers.with(() => this.#store.takeOverLog(topic, number))
    partition.replaceLog(log)
    if (failure !== undefined) throw failure
  }

  /** Throws as LogStore.createTopic does: topicExists, invalidTopicName, invalidPartitions, unknownSetting … */
  async create(topic: NewTopic): Promise<CreatedTopic> {
    const { authority, checkSettings } = this.#options
    if (topic.internal !== true) checkSettings?.(topic.settings)
    if (authority !== undefined) return { id: await authority.create(topic), partitions: topic.partitions }
    const created = await this.#store.createTopic(topic)
    this.#add(created)
    return created
  }

  /** null sets a setting back to its default. Throws unknownTopic, unknownSetting, invalidSetting. */
  async alter(name: string, changes: Readonly<Record<string, string | null>>): Promise<void> {
    const { facts } = this.topic(name).topic
    const { authority, checkSettings } = this.#options
    if (!facts.internal) checkSettings?.(changedSettings(facts.settings, changes))
    if (authority !== undefined) await authority.alter(name, changes)
    else await this.#store.alterTopic(name, changes)
  }

  /** Gone for everybody: for the cluster, or from this broker. Throws as deleteHere does, and what the cluster refuses. */
  async delete(name: string): Promise<void> {
    const { authority } = this.#options
    if (authority !== undefined) await authority.delete(name)
    else await this.deleteHere(name)
  }

  /**
   * Gone for everybody who asks this broker from now on; whoever waits on it is told. Throws overloaded, stopping, and unknownTopic once it is gone for good: until
   * then the store knows of it, refuses while it is being deleted, and tries again what the disk has refused.
   */
  async deleteHere(name: string): Promise<void> {
    const entry = this.#topics.get(name)
    if (entry === undefined) return this.#store.deleteTopic(name)
    this.#topics.delete(name)
    try {
      await this.#store.deleteTopic(name)
    } finally {
      // Still in the store, the deletion was refused (another change is under way): all is as before.
      if (this.#store.topics().includes(entry.topic)) this.#topics.set(name, entry)
      else this.#namesById.delete(entry.topic.id)
      if (!this.#topics.has(name)) for (const partition of entry.partitions) partition.close(unknownTopic(name))
    }
  }

  #add(topic: Topic): void {
    const { clock, waitersMax } = this.#options
    const partitions = topic.logs.map(
      (log, partition) =>
        new Partition({
          topic: topic.name,
          topicId: topic.id,
          partition,
          leaderEpoch: this.#store.epoch,
          log,
          clock,
          waitersMax,
          isReplicated: this.#options.isReplicated ?? false,
        }),
    )
    this.#topics.set(topic.name, { topic, partitions })
    this.#namesById.set(topic.id, topic.name)
  }
}

/** By a broker that joins: others have it, or nobody has. */
function notKnownYet(name: string): PlayheadError {
  return new PlayheadError(
    'unavailable',
    `topic ${name}: found this broker still joining its cluster, wanted it to know all topics; ask another one, or again later`,
    { outcome: 'notApplied' },
  )
}

function unknownTopic(name: string): PlayheadError {
  return new PlayheadError(
    'unknownTopic',
    `topic ${name}: found no topic of that name, wanted an existing one; playhead topic create ${name} makes it`,
    { topic: name },
  )
}
