/**
 * ClusterState: what the metadata keys say, by kind, as far as it was read. Takes entries in any order and keeps the newest of each; knows no
 * store. A record that cannot be read leaves the one before it in place and is named.
 * Invariant: it never decides anything: every change compares the revisions it stands on with those in the store.
 * Neighbours: ClusterImage keeps one up to date, controller-plan.ts and placement.ts look at it.
 */
import { PlayheadError } from '../protocol/errors.ts'
import type { SeenPartition } from './isr-transaction.ts'
import { brokerOfKey, metadataKeys, partitionOfKey } from './metadata-keys.ts'
import type { PartitionName } from './metadata-keys.ts'
import {
  readBroker,
  readController,
  readDraining,
  readFenced,
  readPartition,
  readThrottle,
  readTopic,
  readTopicName,
} from './metadata-records.ts'
import type { BrokerRecord, DrainingRecord, TopicRecord } from './metadata-records.ts'
import type { MetadataEntry, MetadataStore } from './metadata-store.ts'

export interface SeenBroker {
  readonly record: BrokerRecord
  readonly brokerEpoch: number
}

export interface SeenTopic {
  readonly topicId: string
  readonly record: TopicRecord
  readonly modRevision: number
}

/** A record of any kind, at the revision it was read. */
interface Seen<T> {
  readonly record: T
  readonly modRevision: number
}

export class ClusterState {
  /** By topic id. */
  readonly topics = new Map<string, SeenTopic>()
  /** By topic id, then by number. */
  readonly partitions = new Map<string, Map<number, SeenPartition>>()
  /** Every broker that ever registered. */
  readonly brokers = new Map<number, SeenBroker>()
  /** Those that are there. */
  readonly sessions = new Map<number, SeenBroker>()
  /** The last epoch of each that is in no in-sync set. */
  readonly fenced = new Map<number, Seen<{ readonly brokerEpoch: number }>>()
  readonly draining = new Map<number, Seen<DrainingRecord>>()
  controller: { readonly broker: number; readonly controllerEpoch: number } | undefined
  throttleBytesPerSecond: number | undefined
  readonly #entries = new Map<string, MetadataEntry>()
  readonly #topicIds = new Map<string, string>()
  readonly #onDamage: (error: PlayheadError) => void

  constructor(onDamage: (error: PlayheadError) => void) {
    this.#onDamage = onDamage
  }

  /** Keys that are known. */
  get size(): number {
    return this.#entries.size
  }

  /** Of a topic that is not being deleted. */
  topicOf(name: string): SeenTopic | undefined {
    return this.topics.get(this.#topicIds.get(name) ?? '')
  }

  partition({ topicId, partition }: PartitionName): SeenPartition | undefined {
    return this.partitions.get(topicId)?.get(partition)
  }

  *allPartitions(): Generator<PartitionName & SeenPartition> {
    for (const [topicId, partitions] of this.partitions) {
      for (const [partition, seen] of partitions) yield { topicId, partition, ...seen }
    }
  }

  /** Brokers that are there, in order of their ids. */
  live(): number[] {
    return [...this.sessions.keys()].toSorted((left, right) => left - right)
  }

  /** Brokers that are not there and still to be taken out of in-sync sets, with the epoch that ended. */
  gone(): Map<number, number> {
    const gone = new Map<number, number>()
    for (const [broker, { brokerEpoch }] of this.brokers) {
      const isFenced = (this.fenced.get(broker)?.record.brokerEpoch ?? 0) >= brokerEpoch
      if (!this.sessions.has(broker) && !isFenced) gone.set(broker, brokerEpoch)
    }
    return gone
  }

  /** All that there is, as of one revision. Answers the keys that changed. */
  replace(entries: readonly MetadataEntry[], revision: number): string[] {
    const there = new Set(entries.map(({ key }) => key))
    const removed = [...this.#entries.keys()].filter((key) => !there.has(key) && this.remove(key, revision))
    return [...removed, ...entries.filter((entry) => this.apply(entry)).map(({ key }) => key)]
  }

  /** False when nothing new was learned. */
  apply(entry: MetadataEntry): boolean {
    const known = this.#entries.get(entry.key)
    if (known !== undefined && known.modRevision >= entry.modRevision) return false
    // Another making of it: what was said of the one before does not hold.
    if (known !== undefined && known.createRevision !== entry.createRevision) this.#take(known)
    try {
      this.#put(entry)
    } catch (error) {
      if (!(error instanceof PlayheadError)) throw error
      this.#onDamage(error)
    }
    this.#entries.set(entry.key, entry)
    return true
  }

  /** The key was not there at `revision`. False when it was not known, or is newer than that. */
  remove(key: string, revision: number): boolean {
    const known = this.#entries.get(key)
    if (known === undefined || known.modRevision > revision) return false
    this.#take(known)
    this.#entries.delete(key)
    return true
  }

  #put(entry: MetadataEntry): void {
    const { key, modRevision, createRevision } = entry
    const begins = (prefix: string) => key.startsWith(prefix)
    if (begins(metadataKeys.partitions)) {
      const { topicId, partition } = partitionOfKey(key)
      const seen = { state: readPartition(entry), modRevision }
      const partitions = this.partitions.get(topicId) ?? new Map<number, SeenPartition>()
      this.partitions.set(topicId, partitions.set(partition, seen))
    } else if (begins(metadataKeys.topics)) {
      const topicId = key.slice(metadataKeys.topics.length)
      this.topics.set(topicId, { topicId, record: readTopic(entry), modRevision })
    } else if (begins(metadataKeys.names)) {
      this.#topicIds.set(key.slice(metadataKeys.names.length), readTopicName(entry).topicId)
    } else if (begins(metadataKeys.brokers)) {
      this.brokers.set(brokerOfKey(key), { record: readBroker(entry), brokerEpoch: modRevision })
    } else if (begins(metadataKeys.sessions)) {
      this.sessions.set(brokerOfKey(key), { record: readBroker(entry), brokerEpoch: createRevision })
    } else if (begins(metadataKeys.fencings)) {
      this.fenced.set(brokerOfKey(key), { record: readFenced(entry), modRevision })
    } else if (begins(metadataKeys.drainings)) {
      this.draining.set(brokerOfKey(key), { record: readDraining(entry), modRevision })
    } else if (key === metadataKeys.controller) {
      this.controller = { broker: readController(entry).broker, controllerEpoch: createRevision }
    } else if (key === metadataKeys.throttle) {
      this.throttleBytesPerSecond = readThrottle(entry).bytesPerSecond
    }
  }

  #take({ key }: MetadataEntry): void {
    const begins = (prefix: string) => key.startsWith(prefix)
    if (begins(metadataKeys.partitions)) {
      const { topicId, partition } = partitionOfKey(key)
      const partitions = this.partitions.get(topicId)
      partitions?.delete(partition)
      if (partitions?.size === 0) this.partitions.delete(topicId)
    } else if (begins(metadataKeys.topics)) this.topics.delete(key.slice(metadataKeys.topics.length))
    else if (begins(metadataKeys.names)) this.#topicIds.delete(key.slice(metadataKeys.names.length))
    else if (begins(metadataKeys.brokers)) this.brokers.delete(brokerOfKey(key))
    else if (begins(metadataKeys.sessions)) this.sessions.delete(brokerOfKey(key))
    else if (begins(metadataKeys.fencings)) this.fenced.delete(brokerOfKey(key))
    else if (begins(metadataKeys.drainings)) this.draining.delete(brokerOfKey(key))
    else if (key === metadataKeys.controller) this.controller = undefined
    else if (key === metadataKeys.throttle) this.throttleBytesPerSecond = undefined
  }
}

/** All of the metadata, as of one revision. Throws damagedData when a record of it cannot be read. */
export async function readClusterState(store: Pick<MetadataStore, 'range'>): Promise<ClusterState> {
  const state = new ClusterState((error) => {
    throw error
  })
  const { entries, revision } = await store.range('/')
  state.replace(entries, revision)
  return state
}
