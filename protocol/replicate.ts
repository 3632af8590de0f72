/**
 * What a follower asks its leader. replicaFetch asks for batches and says how far the follower has got; replicaProgress says only that, while a fetch is
 * parked. Where batches do not do, replicaSnapshot asks which files there are, and replicaFile for what is in one. All name the leader epoch and the
 * follower's registration: what is of another is refused, and counts for nothing.
 */
import { sharedFilesMax } from './limits.ts'
import { bool, int, later, list, oneOf, optional, struct, text } from './header-schema.ts'

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
  /** Set when batches do not bring the follower's log any further, and the body is empty: it is to take over files. */
  filesNeeded: later(bool),
  /** Of the leader's segment files, in base64: a follower that has no file yet takes it over. Never told to clients. */
  salt: later(text(16)),
  /** Where segments begin at the leader, from the first batch of the body to behind the last: the follower cuts its own there, and nowhere else. */
  segmentStarts: later(list(int(), 1_000_000)),
})

export const replicaProgressRequest = struct(follower)
export const replicaProgressReply = struct({ highWatermark: int() })

export const replicaSnapshotRequest = struct(follower)
/** One moment of the leader's log: what it has sealed. */
export const replicaSnapshotReply = struct({
  /** The first offset there is for readers. */
  logStartOffset: int(),
  /** How far the log is compacted, as in the format of log.json. */
  compactedTo: int(),
  rewrittenTo: int(),
  /** In hexadecimal digits: what all segments of the log have in their headers. */
  salt: text(32),
  /** Where the first segment begins, sealed or not. */
  baseOffset: int(),
  /** Sealed segments in order, without gaps, from `baseOffset` on. */
  segments: list(
    struct({
      baseOffset: int(),
      nextOffset: int(),
      sizeBytes: int(),
      /** How often it was rewritten. */
      compaction: int(),
      /** CRC-32C of the file. */
      checksum: int(),
    }),
    sharedFilesMax,
  ),
  /** Of the last of them; -1 = there is none. */
  leaderEpoch: int(-1),
  /** The leader epochs in them, and where each begins. */
  epochs: list(struct({ epoch: int(), startOffset: int() }), sharedFilesMax),
  /** Where the files of last versions end. */
  heads: list(int(), sharedFilesMax),
})

export const replicaFileRequest = struct({
  ...follower,
  kind: oneOf('segment', 'sidecar', 'heads'),
  /** Of a segment and its sidecar the base offset, of heads the end. */
  offset: int(),
  position: int(),
  maxBytes: int(1),
})
/** The body is bytes of the file from `position` on, some of those that were asked for; none at its end. */
export const replicaFileReply = struct({})
