/**
 * Cluster requests: how brokers and partitions stand, and what an operator changes: where replicas are, which broker shall be rid of them, and whose
 * log becomes the truth when all replicas that had everything are lost. Any broker answers; each adds what it alone knows: its own copies, and of the
 * partitions that it leads how far their followers have got.
 */
import { bool, int, later, list, oneOf, optional, struct, text } from './header-schema.ts'
import type { ValueOf } from './header-schema.ts'
import { brokersMax, replicasMax } from './limits.ts'
import { topicName } from './topic.ts'

const brokerIds = list(int(), replicasMax)

const clusterBroker = struct({
  broker: int(),
  /** Of its registration, the last one if it is not there. */
  brokerEpoch: int(),
  /** Whether it has a session now. */
  isThere: bool,
  /** Where clients reach it, or did. */
  host: text(1024),
  port: int(0, 65_535),
  rack: optional(text(4096)),
  release: text(64),
  /** What it is to lose: its leaderships for a restart, or its replicas for good. */
  draining: optional(oneOf('leaders', 'replicas')),
})
export type ClusterBroker = ValueOf<typeof clusterBroker>

const ownCopy = struct({
  /** The leader epoch of its last batch; -1 = it has none. */
  lastEpoch: int(-1),
  logStartOffset: int(),
  logEndOffset: int(),
  /** What is committed, as far as it has heard. */
  highWatermark: int(),
})
export type ReplicaCopy = ValueOf<typeof ownCopy>

const clusterFollower = struct({
  broker: int(),
  /** Everything below it is on the follower's disk, as it said last in this leader epoch. */
  durableOffset: int(),
})

const clusterPartition = struct({
  topic: topicName,
  topicId: text(36),
  internal: bool,
  partition: int(),
  /** Absent = nobody leads: it is offline. */
  leader: optional(int()),
  leaderEpoch: int(),
  /** The preferred leader first. */
  replicas: brokerIds,
  inSync: brokerIds,
  /** Have all that is committed although they are not in sync: fewer than `inSyncMin` are, so nothing is acknowledged. */
  eligible: brokerIds,
  /** Were the last to have all of it, and cannot prove that they do. */
  lastEligible: brokerIds,
  /** As many must be in sync for anything to be acknowledged. */
  inSyncMin: int(),
  /** Being moved to, and away from. */
  adding: brokerIds,
  removing: brokerIds,
  /** What the broker that answers has on its own disk; absent = it has no replica. */
  own: optional(ownCopy),
  /** From its leader only: the others that it has heard of. */
  followers: list(clusterFollower, replicasMax),
  /** Where its log starts, as the cluster has agreed; a replica may be on its way there. Absent = at 0. */
  agreedStartOffset: later(int()),
})
export type ClusterPartition = ValueOf<typeof clusterPartition>

export const clusterStatusRequest = struct({
  /** Only the partitions of this one. */
  topic: optional(topicName),
})
export const clusterStatusReply = struct({
  clusterId: text(64),
  /** Who answers. */
  broker: int(),
  /** Who repairs what others left; absent = nobody now. */
  controller: optional(int()),
  /** Since the broker that answers has read what the cluster agreed on. */
  ageMs: int(),
  /** Those that are there, and others that still have replicas. */
  brokers: list(clusterBroker, brokersMax),
  partitions: list(clusterPartition, 1_000_000),
  /** What each broker may copy to replicas that are being added to it; absent = no limit. */
  copyBytesPerSecondMax: later(int()),
})

export const reassignPartitionRequest = struct({
  topic: topicName,
  partition: int(),
  /** Where it shall be, the preferred leader first; absent = back to where it was before the move under way. */
  replicas: optional(brokerIds),
})
export const reassignPartitionReply = struct({ replicas: brokerIds, adding: brokerIds, removing: brokerIds })

export const drainBrokerRequest = struct({
  broker: int(),
  /** `leaders`: it gives up what it leads until it registers again. `replicas`: they move to other brokers. `nothing`: it is one like the others again. */
  what: oneOf('leaders', 'replicas', 'nothing'),
})
export const drainBrokerReply = struct({})

export const throttleCopyingRequest = struct({
  /** Of each broker, to all replicas that are being added to it; absent = no limit. */
  bytesPerSecond: optional(int()),
})
export const throttleCopyingReply = struct({})

export const recoverPartitionRequest = struct({
  topic: topicName,
  partition: int(),
  /** Whose log becomes the truth: committed events that it lacks are gone. */
  broker: int(),
})
export const recoverPartitionReply = struct({ leaderEpoch: int() })
