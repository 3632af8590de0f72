/**
 * replicaFetch and replicaProgress: what a follower asks its leader. A fetch asks for batches and says how far the follower has got; progress says
 * only that, while a fetch is parked. Both name the leader epoch and the follower's registration: what is of another is refused, and counts for nothing.
 */
import { int, later, list, optional, struct, text } from './header-schema.ts'

const follower = {
  topicId: text(36),
  partition: int(),
  /** In which the follower follows; fencedEpoch when the leader is in a later one, notLeader when it is not there yet. */
  leaderEpoch: int(),
  /** Who follows: its broker id, and the epoch of its registration. */
  broker: int(),
  brokerEpoch: int(),
  /** Everything below it is on the follower's disk. */
  durableOffset: int(),
}

export const replicaFetchRequest = struct({
  ...follower,
  /** The first offset wanted: where the follower's log ends. */
  offset: int(),
  /** The leader epoch of the follower's last batch; -1 = it has none. */
  lastEpoch: int(-1),
  /** Whole batches up to this; at least one batch, however large. */
  maxBytes: int(1),
  /** 0 = answer at once. */
  waitMsMax: int(0, 60_000),
  /** What the last reply of this leader had as confirm: the follower follows it still. */
  confirmed: later(int()),
  /** The high watermark that the follower knows, where somebody waits there for more: a higher one is told at once. */
  highWatermark: later(int()),
})
/** The body is whole record batches, one after the other. */
export const replicaFetchReply = struct({
  /** Set when the follower's log is not the beginning of the leader's; then the body is empty. */
  diverging: optional(
    struct({
      /** The largest epoch at or below `lastEpoch` that the leader has; -1 = none. */
      epoch: int(-1),
      /** Where that ends in the leader's log. */
      endOffset: int(),
    }),
  ),
  highWatermark: int(),
  /** The first offset there is at the leader. */
  logStartOffset: int(),
  /** The append time of each batch in the body. */
  appendTimes: list(int(), 1_000_000),
  /** To be sent back with the next fetch. */
  confirm: later(int()),
  /** Of the leader's segment files, in base64: a follower that has no file yet takes it over. Never told to clients. */
  salt: later(text(16)),
  /** Where segments begin at the leader, from the first batch of the body to behind the last: the follower cuts its own there, and nowhere else. */
  segmentStarts: later(list(int(), 1_000_000)),
})

export const replicaProgressRequest = struct(follower)
export const replicaProgressReply = struct({ highWatermark: int() })
