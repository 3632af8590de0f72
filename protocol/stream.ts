/** Stream requests: read one stream's events, ask where it stands, list streams by prefix. */
import { keptConsistency, wantedConsistency } from './consistency.ts'
import { bool, int, later, list, optional, struct, text } from './header-schema.ts'
import type { ValueOf } from './header-schema.ts'
import { eventsPerReadMax, partitionsMax, streamsPerListMax } from './limits.ts'
import { token } from './token.ts'
import { topicName } from './topic.ts'

const time = int(-8.64e15, 8.64e15)
const streamName = text(4096) // longer than a valid one, so that a bad one is refused as invalidStream

export const readStreamRequest = struct({
  topic: topicName,
  stream: streamName,
  /** First version to answer; absent = the stream's first (forwards) or last (backwards). */
  from: optional(int()),
  /** Events wanted, 1 … ; the broker may answer fewer and say where to go on. */
  limit: int(1, eventsPerReadMax),
  /** From the last version, or `from`, towards the first. */
  backwards: bool,
  /** Only events whose own time is ≤ this; versions keep their numbers, so gaps are possible. */
  asOf: optional(time),
  /** Only the prefix of the stream that the broker had appended by this time. */
  knownAt: optional(time),
  /** Of the body; at least one event, however large. */
  maxBytes: int(1),
  after: optional(token),
  /** `linearizable`: every append that was acknowledged before this request is seen; absent = `committed`. */
  consistency: wantedConsistency,
})
/**
 * The body is one uncompressed record batch with sparse offset deltas (more only where its offsets span more than 2^31), in offset order
 * also when reading backwards; empty when there is nothing. `versions` are those of its records, in the same order.
 */
export const readStreamReply = struct({
  topicId: text(36),
  partition: int(),
  /** With topicId and partition, the token: the high watermark taken before the first event was chosen. */
  highWatermark: int(),
  /** The stream's last committed version (of the prefix known at `knownAt`, if given); -1 = no event. */
  lastVersion: int(-1),
  versions: list(int(), eventsPerReadMax),
  /** Where the next request goes on, in the same direction; absent = the end was reached. */
  nextVersion: optional(int()),
  /** True when that was asked for. Absent = it was not, or the broker cannot. */
  isLinearizable: keptConsistency,
})

export const streamInfoRequest = struct({
  topic: topicName,
  stream: streamName,
  after: optional(token),
  /** As of readStream. */
  consistency: wantedConsistency,
})
export const streamInfoReply = struct({
  topicId: text(36),
  partition: int(),
  highWatermark: int(),
  /** -1 = no event. */
  lastVersion: int(-1),
  /** The first version that is still readable; -1 = none. */
  firstVersion: int(-1),
  /** Of its last event; -1 = none. */
  lastOffset: int(-1),
  /** As of readStream. */
  isLinearizable: keptConsistency,
})

const limitFields = {
  /** Newest events kept. 0 = all. */
  maxCount: int(),
  /** How long an event is kept, from its append, ms. 0 = for ever. */
  maxAgeMs: int(),
  /** The first version kept. 0 = all. */
  truncateBefore: int(),
}
export const limitStreamRequest = struct({
  topic: topicName,
  stream: streamName,
  /** Newest events to keep; 0 = all; absent = as it was. */
  maxCount: optional(int()),
  /** How long to keep an event, from its append, ms; 0 = for ever; absent = as it was. */
  maxAgeMs: optional(int()),
  /** First version to keep, at most the next one; lower than it was changes nothing. */
  truncateBefore: optional(int()),
  /** Every event there is goes. */
  deletes: bool,
})
/** What is in force. */
export const limitStreamReply = struct(limitFields)
export const streamLimitRequest = struct({ topic: topicName, stream: streamName })
export const streamLimitReply = struct(limitFields)

const listedStream = struct({ stream: text(1024), partition: int(), lastVersion: int() })
export type ListedStream = ValueOf<typeof listedStream>
export const listStreamsRequest = struct({
  topic: topicName,
  prefix: text(1024),
  /** Names after this one, in UTF-8 byte order; absent = from the first. */
  afterStream: optional(text(1024)),
  /** Names wanted. */
  limit: int(1, streamsPerListMax),
  /** Only streams of these, all of which the broker must lead; absent = of all. */
  partitions: later(list(int(), partitionsMax)),
})
export const listStreamsReply = struct({
  streams: list(listedStream, streamsPerListMax),
  /** There are names after the last of these: ask again with it in `afterStream`. */
  more: bool,
})
