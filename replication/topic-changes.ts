/**
 * Topics as metadata: made, altered, deleted by whichever broker is asked. A topic of many partitions does not fit in one transaction: it is
 * `creating` until all of them are there and `deleting` until none is, and whoever finds it so (the controller, if its maker died) goes on.
 * Invariants: a name has one topic; a partition is placed once; a topic is used only while it is `ready`.
 * Neighbours: placement.ts says where replicas go, storage/topic-settings.ts what may be set.
 */
import { sleep } from '../platform/clock.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { partitionsMax } from '../protocol/limits.ts'
import { checkTopicName } from '../protocol/names.ts'
import { formatUuid, uuidV7 } from '../protocol/uuid.ts'
import { changedSettings, checkSettingChange, checkTopicSettings } from '../storage/topic-settings.ts'
import { readClusterState } from './cluster-state.ts'
import type { ClusterState, SeenTopic } from './cluster-state.ts'
import { newPartitionState } from './isr-change.ts'
import { isRegistered } from './isr-transaction.ts'
import { metadataKeys } from './metadata-keys.ts'
import { writeRecord } from './metadata-records.ts'
import type { TopicRecord } from './metadata-records.ts'
import type { Compare, Transaction, TransactionResult } from './metadata-store.ts'
import { newNonce } from './partition-change.ts'
import type { ChangeFoundation } from './partition-change.ts'
import { placementBrokers, placePartition } from './placement.ts'
import type { PlacementBroker } from './placement.ts'
import { isrMinOf } from './topic-facts.ts'

export interface NewClusterTopic {
  readonly name: string
  readonly partitions: number
  readonly replicationFactor: number
  readonly settings: Readonly<Record<string, string>>
  readonly internal?: boolean
}

/** Of each, new partitions and compares of sessions, below the limit of a transaction. */
const partitionsPerTransaction = 60
const triesMax = 20
const pauseMs = 100

/**
 * Answers the topic's id once all of its partitions have their replicas. Throws invalidTopicName, invalidPartitions, invalidReplicationFactor,
 * unknownSetting, invalidSetting, topicExists, unavailable, and what `admit` does, which sees the cluster before anything is changed.
 */
export async function createTopic(
  foundation: ChangeFoundation,
  topic: NewClusterTopic,
  admit: (state: ClusterState) => void = () => undefined,
): Promise<string> {
  const { name, partitions, replicationFactor, settings, internal = false } = topic
  const state = await readClusterState(foundation.store)
  checkNewTopic(state, topic)
  admit(state)
  const topicId = formatUuid(uuidV7(foundation.random.bytes(10), Math.max(0, foundation.clock.now())))
  const record: TopicRecord = { name, partitions, replicationFactor, internal, settings, state: 'creating' }
  const changes = [
    { kind: 'put', key: metadataKeys.name(name), value: writeRecord({ topicId }) },
    { kind: 'put', key: metadataKeys.topic(topicId), value: writeRecord(record) },
  ] as const
  const compares = [{ key: metadataKeys.name(name), modRevision: 0 }]
  const result = await transactKnown(foundation, { compares, changes })
  if (result === 'refused') {
    // The id is ours alone: that it is there tells that an attempt has happened whose answer was lost.
    const { entry } = await foundation.store.get(metadataKeys.topic(topicId))
    if (entry === undefined) throw topicExists(name)
  }
  await completeTopic(foundation, topicId)
  return topicId
}

/** Places what partitions a topic lacks, then calls it ready. Nothing happens when it is ready, or no topic any more. */
export async function completeTopic(foundation: ChangeFoundation, topicId: string): Promise<void> {
  for (let tries = 0; tries < triesMax; tries++) {
    if (tries > 0) await sleep(foundation.clock, pauseMs)
    const state = await readClusterState(foundation.store)
    const topic = state.topics.get(topicId)
    if (topic?.record.state !== 'creating') return
    if (await placeMissing(foundation, state, topic)) tries = -1
  }
  throw stillChanging(`topic ${topicId}`)
}

/** From one look at the cluster; every transaction says what of it must hold still. False when one was refused, or not answered. */
async function placeMissing(foundation: ChangeFoundation, state: ClusterState, topic: SeenTopic): Promise<boolean> {
  const there = state.partitions.get(topic.topicId)
  const all = Array.from({ length: topic.record.partitions }, (_, partition) => partition)
  const missing = all.filter((partition) => there?.has(partition) !== true)
  const brokers = placementBrokers(state)
  while (missing.length > 0) {
    const some = missing.splice(0, partitionsPerTransaction)
    const { outcome } = await foundation.store.transact(newPartitions(foundation, state, topic, brokers, some))
    if (outcome !== 'done') return false
  }
  return (await foundation.store.transact(becomesReady(topic))).outcome === 'done'
}

/** null sets a setting back to its default. Throws unknownTopic, unknownSetting, invalidSetting, unavailable. */
export async function alterTopic(
  foundation: ChangeFoundation,
  name: string,
  changes: Readonly<Record<string, string | null>>,
): Promise<void> {
  for (const [setting, value] of Object.entries(changes)) checkSettingChange(setting, value)
  for (let tries = 0; tries < triesMax; tries++) {
    if (tries > 0) await sleep(foundation.clock, pauseMs)
    const { topicId, record, modRevision } = existing(await readClusterState(foundation.store), name)
    const settings = changedSettings(record.settings, changes)
    const key = metadataKeys.topic(topicId)
    const value = writeRecord({ ...record, settings })
    const { outcome } = await foundation.store.transact({
      compares: [{ key, modRevision }],
      changes: [{ kind: 'put', key, value }],
    })
    if (outcome === 'done') return
  }
  throw stillChanging(`topic ${name}`)
}

/** Its name is free from the first step on. Throws unknownTopic, unavailable. */
export async function deleteTopic(foundation: ChangeFoundation, name: string): Promise<void> {
  let topicId: string | undefined
  for (let tries = 0; tries < triesMax; tries++) {
    if (tries > 0) await sleep(foundation.clock, pauseMs)
    const state = await readClusterState(foundation.store)
    // An attempt whose answer was lost may have happened.
    if (topicId !== undefined && state.topics.get(topicId)?.record.state !== 'ready')
      return clearTopic(foundation, topicId)
    const topic = existing(state, name)
    topicId = topic.topicId
    const key = metadataKeys.topic(topicId)
    const { outcome } = await foundation.store.transact({
      compares: [{ key, modRevision: topic.modRevision }],
      changes: [
        { kind: 'delete', key: metadataKeys.name(name) },
        { kind: 'put', key, value: writeRecord({ ...topic.record, state: 'deleting' }) },
      ],
    })
    if (outcome === 'done') return clearTopic(foundation, topicId)
  }
  throw stillChanging(`topic ${name}`)
}

/** Removes what is left of a topic that is being deleted. */
export async function clearTopic({ store, clock }: ChangeFoundation, topicId: string): Promise<void> {
  const key = metadataKeys.topic(topicId)
  for (let tries = 0; tries < triesMax; tries++) {
    if (tries > 0) await sleep(clock, pauseMs)
    const { entries } = await store.range(metadataKeys.partitionsOf(topicId))
    const { entry } = await store.get(key)
    if (entry === undefined) return
    const keys = entries.slice(0, partitionsPerTransaction).map((partition) => partition.key)
    const { outcome } = await store.transact({
      compares: [{ key, modRevision: entry.modRevision }],
      changes: (keys.length > 0 ? keys : [key]).map((gone) => ({ kind: 'delete', key: gone })),
    })
    if (outcome === 'done') tries = -1
  }
  throw stillChanging(`topic ${topicId}`)
}

function existing(state: ClusterState, name: string): SeenTopic {
  const topic = state.topicOf(name)
  if (topic?.record.state === 'ready') return topic
  throw new PlayheadError(
    'unknownTopic',
    `topic ${name}: found ${topic === undefined ? 'no topic of that name' : 'one that is still being created'}, wanted an existing one; playhead topic list shows them`,
    { topic: name },
  )
}

function checkNewTopic(state: ClusterState, { name, partitions, replicationFactor, settings }: NewClusterTopic): void {
  checkTopicName(name)
  checkTopicSettings(settings)
  if (!Number.isInteger(partitions) || partitions < 1 || partitions > partitionsMax) {
    const message = `${name}: found ${partitions} partitions, wanted 1 to ${partitionsMax}`
    throw new PlayheadError('invalidPartitions', message, { partitions })
  }
  const places = placementBrokers(state).length
  if (!Number.isInteger(replicationFactor) || replicationFactor < 1 || replicationFactor > places) {
    const message = `${name}: found replication factor ${replicationFactor}, wanted 1 to ${places}, the brokers that are there and shall stay; start more of them, or choose a lower one`
    throw new PlayheadError('invalidReplicationFactor', message, { replicationFactor, brokers: places })
  }
  if (state.topicOf(name) !== undefined) throw topicExists(name)
}

function newPartitions(
  { random }: ChangeFoundation,
  state: ClusterState,
  { topicId, record, modRevision }: SeenTopic,
  brokers: readonly PlacementBroker[],
  partitions: readonly number[],
): Transaction {
  const { replicationFactor, settings } = record
  if (brokers.length < replicationFactor) {
    const message = `${record.name}: found ${brokers.length} brokers for ${replicationFactor} replicas, wanted as many; it goes on when they are there`
    throw new PlayheadError('notEnoughReplicas', message, { brokers: brokers.length, replicationFactor })
  }
  const compares = new Map<string, Compare>()
  compares.set(metadataKeys.topic(topicId), { key: metadataKeys.topic(topicId), modRevision })
  const changes = []
  for (const partition of partitions) {
    const replicas = placePartition(brokers, replicationFactor)
    const isrMin = isrMinOf(settings, replicationFactor)
    const fresh = newPartitionState({ replicas, isrMin, nonce: newNonce(random) })
    const key = metadataKeys.partition(topicId, partition)
    compares.set(key, { key, modRevision: 0 })
    changes.push({ kind: 'put', key, value: writeRecord(fresh) } as const)
    // Who starts in sync must be there: nobody would take out a broker that was fenced before the partition was made.
    for (const broker of replicas) {
      const session = isRegistered({ broker, brokerEpoch: state.sessions.get(broker)!.brokerEpoch })
      compares.set(session.key, session)
    }
  }
  return { compares: [...compares.values()], changes }
}

function becomesReady({ topicId, record, modRevision }: SeenTopic): Transaction {
  const key = metadataKeys.topic(topicId)
  return {
    compares: [{ key, modRevision }],
    changes: [{ kind: 'put', key, value: writeRecord({ ...record, state: 'ready' }) }],
  }
}

/** Sends a transaction that may be sent again until it is answered. */
async function transactKnown(
  { store, clock }: ChangeFoundation,
  transaction: Transaction,
): Promise<'done' | 'refused'> {
  for (let tries = 0; tries < triesMax; tries++) {
    if (tries > 0) await sleep(clock, pauseMs)
    const { outcome }: TransactionResult = await store.transact(transaction)
    if (outcome !== 'unknown') return outcome
  }
  throw stillChanging('metadata store')
}

function topicExists(name: string): PlayheadError {
  const message = `${name}: found a topic of this name, wanted a new one; choose another name`
  return new PlayheadError('topicExists', message, { topic: name })
}

function stillChanging(what: string): PlayheadError {
  return new PlayheadError(
    'unavailable',
    `${what}: found no certain answer after ${triesMax} tries, wanted one; look whether it happened, then try again`,
  )
}
