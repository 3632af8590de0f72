/**
 * Topics that a data directory had before it came into a cluster: written down in the metadata as they are, ids and all, each partition with this
 * broker as its one replica, in an epoch above every one in its log. Done again after an attempt that ended halfway it goes on where that stopped.
 * Called by ClusterNode when the directory has not been in the cluster before; more replicas are a reassignment later.
 */
import { isPlayheadError, PlayheadError } from '../protocol/errors.ts'
import type { LogStore } from '../storage/log-store.ts'
import type { Topic } from '../storage/topic.ts'
import { newPartitionState } from './isr-change.ts'
import { metadataKeys } from './metadata-keys.ts'
import { writeRecord } from './metadata-records.ts'
import type { Change, Compare } from './metadata-store.ts'
import { newNonce } from './partition-change.ts'
import type { ChangeFoundation } from './partition-change.ts'

export interface AdoptionOptions extends ChangeFoundation {
  readonly logs: LogStore
  readonly broker: number
  readonly report: (level: 'info' | 'warn', message: string) => void
}

const partitionsPerTransaction = 60
const triesMax = 20

type AdoptionFoundation = ChangeFoundation & { readonly broker: number }

/** Throws topicExists when the cluster has another topic of such a name, and unavailable. */
export async function adoptLocalTopics({ logs, broker, report, ...foundation }: AdoptionOptions): Promise<void> {
  for (const topic of logs.topics()) {
    if (!(await adoptTopic({ ...foundation, broker }, topic))) continue
    report('info', `${topic.name}: is a topic of the cluster now, with broker ${broker} as its one replica`)
  }
}

/** False for a topic that brokers keep for themselves, when the cluster has one. */
async function adoptTopic({ store, random, broker }: AdoptionFoundation, topic: Topic): Promise<boolean> {
  const { id, name, partitions, internal, settings } = topic.facts
  const record = { name, partitions, replicationFactor: 1, internal, settings }
  try {
    await put(store, `${name}: its name`, [[metadataKeys.name(name), writeRecord({ topicId: id })]])
  } catch (error) {
    if (internal && isPlayheadError(error, 'topicExists')) return false
    throw error
  }
  const states = topic.logs.map(({ partition, recoveredEpoch, logStartOffset }): [string, string] => {
    const existing = { leaderEpoch: Math.max(1, recoveredEpoch + 1), startOffset: logStartOffset }
    const state = newPartitionState({ replicas: [broker], isrMin: 1, nonce: newNonce(random), existing })
    return [metadataKeys.partition(id, partition), writeRecord(state)]
  })
  for (let from = 0; from < states.length; from += partitionsPerTransaction) {
    await put(store, `${name}: partitions`, states.slice(from, from + partitionsPerTransaction))
  }
  await put(store, `${name}: the topic`, [[metadataKeys.topic(id), writeRecord({ ...record, state: 'ready' })]])
  return true
}

/** Puts keys that are not there yet. Those that are there have been put by an attempt before, or are somebody else's. */
async function put(
  store: ChangeFoundation['store'],
  what: string,
  entries: readonly (readonly [string, string])[],
): Promise<void> {
  for (let tries = 0; tries < triesMax; tries++) {
    const there = await Promise.all(entries.map(async ([key]) => (await store.get(key)).entry))
    const missing = entries.filter((_, place) => there[place] === undefined)
    const [[key, value] = ['', '']] = entries
    if (missing.length === 0) {
      if (key.startsWith(metadataKeys.names) && there[0]?.value !== value) throw taken(key, there[0]?.value ?? '')
      return
    }
    const compares: Compare[] = missing.map(([each]) => ({ key: each, modRevision: 0 }))
    const changes: Change[] = missing.map(([each, text]) => ({ kind: 'put', key: each, value: text }))
    await store.transact({ compares, changes }) // whatever becomes of it, the next look tells
  }
  throw new PlayheadError(
    'unavailable',
    `${what}: found no certain answer from the metadata store, wanted one; try again`,
  )
}

function taken(key: string, found: string): PlayheadError {
  const name = key.slice(metadataKeys.names.length)
  return new PlayheadError(
    'topicExists',
    `${name}: found another topic of this name in the cluster (${found}), wanted none; begin the cluster with the broker that has data`,
    { topic: name },
  )
}
