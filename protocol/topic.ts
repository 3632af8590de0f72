/** Topic requests: create, list, describe, alter, delete, delete records. Settings travel as text under Kafka's names. */
import { bool, int, later, list, oneOf, optional, struct, text } from './header-schema.ts'
import type { ValueOf } from './header-schema.ts'
import { brokersMax, partitionsMax, replicasMax } from './limits.ts'

const name = text(1024) // longer than a valid name, so that a bad one is refused as invalidTopicName and not as a bad header
const setting = struct({
  /** Kafka's name, e.g. `max.message.bytes`. */
  name: text(256),
  value: text(4096),
})

export const createTopicRequest = struct({
  topic: name,
  /** 0 = the default, one. */
  partitions: int(0, 1_000_000),
  /** 0 = the default, one. */
  replicationFactor: int(0, 1000),
  settings: list(setting, 256),
})
export const createTopicReply = struct({ topicId: text(36), partitions: int() })

const listedTopic = struct({ topic: name, topicId: text(36), partitions: int(), internal: bool })
export type ListedTopic = ValueOf<typeof listedTopic>
export const listTopicsRequest = struct({
  /** Also the topics that the broker keeps for itself. */
  internal: bool,
})
export const listTopicsReply = struct({ topics: list(listedTopic, 1_000_000) })

const reachedBroker = struct({
  broker: int(),
  /** Where clients reach it; absent = not known now. */
  host: optional(text(1024)),
  port: optional(int(1, 65_535)),
  /** Where it stands; absent = it was not told. */
  rack: later(text(1024)),
})
export type DescribedBroker = ValueOf<typeof reachedBroker>

const describedPartition = struct({
  partition: int(),
  leaderEpoch: int(),
  /** The first offset there is. */
  logStartOffset: int(),
  /** Offsets below it are committed. */
  highWatermark: int(),
  /** The next offset to be assigned. */
  logEndOffset: int(),
  /** Offsets below it are on the leader's disk. */
  durableOffset: int(),
  sizeBytes: int(),
  /** Segment files. */
  segments: int(),
  /** Names of what is damaged in it; empty when all is well. */
  damage: list(text(4096), 1000),
  /** Who leads; absent = nobody is known to, or the broker that answers is by itself. What else is said here is its own, unless it leads. */
  leader: later(reachedBroker),
  /** Ids of the brokers that have it, the preferred leader first; absent = the broker that answers is by itself. */
  replicas: later(list(int(), replicasMax)),
  /** Those of them that have all that is committed. */
  inSync: later(list(int(), replicasMax)),
  /** It leads and does not know all that is committed yet: there may be more than its high watermark says. */
  isUnsettled: later(bool),
})
export type DescribedPartition = ValueOf<typeof describedPartition>

const describedSetting = struct({
  name: text(256),
  /** As it is in force. */
  value: text(4096),
  /** Where it comes from. */
  source: oneOf('default', 'topic'),
})

export const describeTopicRequest = struct({ topic: name })
export const describeTopicReply = struct({
  topic: name,
  topicId: text(36),
  internal: bool,
  settings: list(describedSetting, 256),
  partitions: list(describedPartition, partitionsMax),
  /** The brokers of the cluster that are there now; absent = the broker that answers is by itself. */
  brokers: later(list(reachedBroker, brokersMax)),
})

export const alterTopicRequest = struct({
  topic: name,
  /** A missing value sets the setting back to its default. */
  settings: list(struct({ name: text(256), value: optional(text(4096)) }), 256),
})
export const alterTopicReply = struct({})

export const deleteTopicRequest = struct({ topic: name })
export const deleteTopicReply = struct({})

export const deleteRecordsRequest = struct({
  topic: name,
  partition: int(),
  /** Every record below it is given up; at most the high watermark. One below the start of the log changes nothing. */
  beforeOffset: int(),
})
export const deleteRecordsReply = struct({
  /** The first offset there is now, on disk. */
  logStartOffset: int(),
})

/** Which topic and partition an offset or a name belongs to, as most requests name it. */
export const topicName = name
