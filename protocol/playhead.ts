/** Named playheads: where a named reader of a topic stands, per partition. */
import { bool, int, list, optional, struct, text } from './header-schema.ts'
import type { ValueOf } from './header-schema.ts'
import { partitionsMax } from './limits.ts'
import { topicName } from './topic.ts'

const playheadName = text(1024)
const position = struct({
  partition: int(),
  /** The next one to read. */
  offset: int(),
})
export type PlayheadPosition = ValueOf<typeof position>

export const commitPlayheadRequest = struct({
  topic: topicName,
  name: playheadName,
  /** Partitions not named keep their offset. The offset is the next one to read. */
  positions: list(position, partitionsMax),
  /** The `version` a reader saw; the commit is refused (playheadMoved) if it has changed since. Absent = unconditional. */
  expectedVersion: optional(int(-1)),
})
export const commitPlayheadReply = struct({
  /** Of the playhead after this commit. */
  version: int(),
})

export const readPlayheadRequest = struct({ topic: topicName, name: playheadName })
export const readPlayheadReply = struct({
  /** False = never committed. */
  known: bool,
  /** Counts the commits of this playhead from 0; -1 = never committed. */
  version: int(-1),
  positions: list(position, partitionsMax),
  committedAtMs: int(),
})

export const listPlayheadsRequest = struct({ topic: topicName })
export const listPlayheadsReply = struct({
  playheads: list(
    struct({ name: playheadName, positions: list(position, partitionsMax), committedAtMs: int() }),
    1_000_000,
  ),
})
