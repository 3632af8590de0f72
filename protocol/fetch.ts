/** fetch: raw batches of one partition from an offset on; and listOffsets: which offset stands at a time. */
import { keptConsistency, wantedConsistency } from './consistency.ts'
import { bool, int, later, oneOf, optional, struct, text } from './header-schema.ts'
import { topicName } from './topic.ts'
import { token } from './token.ts'

export const fetchRequest = struct({
  topic: topicName,
  partition: int(),
  /** The first offset wanted. The reply starts with the batch that holds it: earlier records of that batch are the reader's to skip. */
  offset: int(),
  /** Wait until this much is there, or `waitMsMax` has passed. */
  minBytes: int(),
  /** Whole batches up to this; at least one batch, however large. */
  maxBytes: int(1),
  /** 0 = answer at once. */
  waitMsMax: int(0, 3_600_000),
  after: optional(token),
  /** A replica in sync may answer for its leader, with what it knows to be committed; absent = only the leader. */
  fromFollower: later(bool),
})
/** The body is whole record batches, one after the other. */
export const fetchReply = struct({
  topicId: text(36),
  /** The first offset there is. */
  logStartOffset: int(),
  /** Taken before the first batch was chosen: with topicId and partition, the token. */
  highWatermark: int(),
  /** Where to read on: the end of the last batch in the body; when it is empty the offset asked for, or one behind what compaction has removed. */
  nextOffset: int(),
})

export const listOffsetsRequest = struct({
  topic: topicName,
  partition: int(),
  /** The first offset, the high watermark, or a time. */
  at: oneOf('start', 'end', 'time'),
  /** For `time`: ms since the epoch. */
  timestamp: optional(int(-8.64e15, 8.64e15)),
  /** Which time: the event's own, or the broker's append time. */
  clock: oneOf('event', 'append'),
  /** `linearizable`: every append that was acknowledged before this request counts; absent = `committed`. */
  consistency: wantedConsistency,
})
export const listOffsetsReply = struct({
  /** The first offset at or after the time; the high watermark when there is none. */
  offset: int(),
  topicId: text(36),
  highWatermark: int(),
  /** True when that was asked for. Absent = it was not, or the broker cannot. */
  isLinearizable: keptConsistency,
})
