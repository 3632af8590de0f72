/**
 * How a partition's leader changes who is in sync: one transaction without the controller, fenced by the partition's revision, by the leader's
 * own session and by the session of everyone who is let in. What became of it when the answer was lost is told by a read, from its nonce.
 * Invariant: whoever sends it counts with the old and the new in-sync set together from before it is sent until its outcome is known.
 * Neighbours: isr-change.ts says what the new state is; Partition sends it.
 */
import type { PartitionState } from './isr-change.ts'
import { metadataKeys } from './metadata-keys.ts'
import type { PartitionName } from './metadata-keys.ts'
import { writeRecord } from './metadata-records.ts'
import type { Compare, Transaction } from './metadata-store.ts'

/** A state with the revision it was read at, or written by. */
export interface SeenPartition {
  readonly state: PartitionState
  readonly modRevision: number
}

export interface IsrChange extends PartitionName {
  readonly seen: SeenPartition
  /** Of `next`, with a nonce of its own. */
  readonly proposed: PartitionState
  readonly leader: BrokerEpoch
  /** Who joins `isr`, as they were when they fetched. */
  readonly added: readonly BrokerEpoch[]
}

/** One registration of one broker. */
export interface BrokerEpoch {
  readonly broker: number
  readonly brokerEpoch: number
}

export function isrTransaction({ topicId, partition, seen, proposed, leader, added }: IsrChange): Transaction {
  const key = metadataKeys.partition(topicId, partition)
  return {
    compares: [{ key, modRevision: seen.modRevision }, ...[leader, ...added].map(isRegistered)],
    changes: [{ kind: 'put', key, value: writeRecord(proposed) }],
  }
}

export function isRegistered({ broker, brokerEpoch }: BrokerEpoch): Compare {
  return { key: metadataKeys.session(broker), createRevision: brokerEpoch }
}

/**
 * What became of a change whose answer was lost, by what is read afterwards. `pending`: the partition is as it was, the change may still
 * happen: the old and the new in-sync set go on counting together. `overtaken`: it never will, and what was read counts, whether it had happened or not.
 */
export function outcomeOf(
  { seen, proposed }: Pick<IsrChange, 'seen' | 'proposed'>,
  now: SeenPartition | undefined,
): 'done' | 'overtaken' | 'pending' {
  if (now?.modRevision === seen.modRevision) return 'pending'
  return now?.state.nonce === proposed.nonce ? 'done' : 'overtaken'
}
