/**
 * Admin: create, list, describe, alter, trim and delete topics. These requests change things and carry no sequence, so an attempt whose answer
 * was lost is not repeated: it fails with `unavailable`, details.outcome `unknown`, and describeTopic tells what became of it.
 */
import type { PlayheadPosition } from '../protocol/playhead.ts'
import type { ListedTopic } from '../protocol/topic.ts'
import type { Cluster } from './cluster.ts'
import { TopicRoutes } from './topic-routes.ts'
import type { TopicDescription, WaitOptions } from './topic-routes.ts'

export interface CreateTopicOptions extends WaitOptions {
  /** Default 1: one order, one boundary of atomic appends. Cannot change once the topic holds streams. */
  readonly partitions?: number
  /** Default 1. */
  readonly replicationFactor?: number
  /** Topic settings under Kafka's names, e.g. `{ 'segment.bytes': 67108864 }`. */
  readonly settings?: Readonly<Record<string, string | number | boolean>>
}

export interface CreatedTopic {
  readonly topicId: string
  readonly partitions: number
}

/** Reached as `playhead.admin`. */
export class Admin {
  readonly #cluster: Cluster

  /** @internal */
  constructor(cluster: Cluster) {
    this.#cluster = cluster
  }

  /**
   * Creates a topic; it can be used as soon as this resolves.
   *
   * @throws PlayheadError `topicExists`, `invalidTopicName`, `invalidPartitions`, `tooManyPartitions`, `invalidReplicationFactor`,
   * `unknownSetting`, `invalidSetting`, `unavailable`
   * @example
   * await playhead.admin.createTopic('carts', { partitions: 4, settings: { 'partition.by': 'prefix:-' } })
   */
  async createTopic(topic: string, options: CreateTopicOptions = {}): Promise<CreatedTopic> {
    const { partitions = 0, replicationFactor = 0, settings = {}, ...wait } = options
    const request = {
      topic,
      partitions,
      replicationFactor,
      settings: Object.entries(settings).map(([name, value]) => ({ name, value: String(value) })),
    }
    const { header } = await this.#cluster.call('createTopic', request, { policy: 'changes', ...wait })
    return header
  }

  /** All topics, by name; with `internal`, those that the broker keeps for itself too. @throws PlayheadError `unavailable` */
  async listTopics(options: WaitOptions & { readonly internal?: boolean } = {}): Promise<ListedTopic[]> {
    const { internal = false, ...wait } = options
    const { header } = await this.#cluster.call('listTopics', { internal }, { policy: 'reads', ...wait })
    return header.topics
  }

  /** Settings, partitions and offsets of a topic. @throws PlayheadError `unknownTopic`, `unavailable` */
  async describeTopic(topic: string, options: WaitOptions = {}): Promise<TopicDescription> {
    return (await new TopicRoutes(this.#cluster, topic).describe(options)).description
  }

  /**
   * Changes settings; null sets one back to its default.
   *
   * @throws PlayheadError `unknownTopic`, `unknownSetting`, `invalidSetting`, `internalTopic`, `unavailable`
   */
  async alterTopic(
    topic: string,
    settings: Readonly<Record<string, string | number | boolean | null>>,
    options: WaitOptions = {},
  ): Promise<void> {
    const list = Object.entries(settings).map(([name, value]) => ({
      name,
      value: value === null ? undefined : String(value),
    }))
    await this.#cluster.call('alterTopic', { topic, settings: list }, { policy: 'changes', ...options })
  }

  /**
   * Gives up the records of each partition named below its offset, for ever; versions of what stays do not change. Resolves with where each
   * partition begins now. `topic.positions(place)` has the offsets of a place.
   *
   * @throws PlayheadError `unknownTopic`, `unknownPartition`, `offsetOutOfRange`, `internalTopic`, `diskFull`, `unavailable`
   * @example
   * await playhead.admin.deleteRecords('carts', await carts.positions('2011-01-01', { clock: 'append' }))
   */
  async deleteRecords(
    topic: string,
    before: readonly PlayheadPosition[],
    options: WaitOptions = {},
  ): Promise<{ readonly partition: number; readonly logStartOffset: number }[]> {
    const starts: { partition: number; logStartOffset: number }[] = []
    for (const { partition, offset: beforeOffset } of before) {
      const request = { topic, partition, beforeOffset }
      // Whoever asks twice gets what he has got: it is sent again when its answer is lost.
      const { header } = await this.#cluster.call('deleteRecords', request, { policy: 'reads', ...options })
      starts.push({ partition, logStartOffset: header.logStartOffset })
    }
    return starts
  }

  /** Deletes a topic with all its events, for ever. @throws PlayheadError `unknownTopic`, `internalTopic`, `unavailable` */
  async deleteTopic(topic: string, options: WaitOptions = {}): Promise<void> {
    await this.#cluster.call('deleteTopic', { topic }, { policy: 'changes', ...options })
  }
}
