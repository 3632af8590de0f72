/**
 * The keys that brokers agree through, in one place:
 *
 *   /c/id                  what cluster this is; made once
 *   /c/broker/<broker>     who registered last under that id; its modRevision is that broker's epoch
 *   /c/session/<broker>    with a lease: the broker is there; its createRevision is the broker's epoch
 *   /c/fenced/<broker>     the last broker epoch that has been taken out of every in-sync set: a newer one may register
 *   /c/controller          with a lease: who repairs; its createRevision fences what an earlier one sends late
 *   /c/draining/<broker>   shall lose its leaderships, and its replicas if it is to leave for good
 *   /c/throttle            what copying to new replicas may cost
 *   /t/<topic id>          a topic: its name, settings, and how far its creation or deletion is
 *   /tn/<name>             the topic's id; there is one topic of a name
 *   /p/<topic id>/<n>      a partition's replicas, leader and in-sync set: isr-change.ts. Its modRevision is the partition's epoch
 *
 * Neighbours: metadata-records.ts draws the values; a store puts its own prefix before all of them.
 */
import assert from 'node:assert/strict'

const brokerKey =
  (prefix: string) =>
  (broker: number): string => {
    assert(Number.isSafeInteger(broker) && broker >= 0)
    return prefix + broker
  }

export const metadataKeys = {
  id: '/c/id',
  controller: '/c/controller',
  throttle: '/c/throttle',
  brokers: '/c/broker/',
  sessions: '/c/session/',
  fencings: '/c/fenced/',
  drainings: '/c/draining/',
  topics: '/t/',
  names: '/tn/',
  partitions: '/p/',
  broker: brokerKey('/c/broker/'),
  session: brokerKey('/c/session/'),
  fenced: brokerKey('/c/fenced/'),
  draining: brokerKey('/c/draining/'),
  topic: (topicId: string) => `/t/${topicId}`,
  name: (name: string) => `/tn/${name}`,
  partitionsOf: (topicId: string) => `/p/${topicId}/`,
  partition: (topicId: string, partition: number) => `/p/${topicId}/${partition}`,
} as const

export interface PartitionName {
  readonly topicId: string
  readonly partition: number
}

/** Of a key below `partitions`. */
export function partitionOfKey(key: string): PartitionName {
  const [, , topicId = '', partition = ''] = key.split('/')
  assert(/^\d+$/.test(partition), key)
  return { topicId, partition: Number(partition) }
}

/** Of a key below `brokers`, `sessions`, `fencings` or `drainings`. */
export function brokerOfKey(key: string): number {
  const broker = key.slice(key.lastIndexOf('/') + 1)
  assert(/^\d+$/.test(broker), key)
  return Number(broker)
}
