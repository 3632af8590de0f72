/**
 * LogCleaning: how far a log may lose records, and who moves its start. A broker by itself decides that alone. Of a replicated log every replica removes
 * and rewrites for itself, but only what is committed, and its start is agreed on by all of them before anybody acts upon it.
 * Neighbours: LogReplica has the one in force, replication sets it; Retention and Compaction go by it.
 */
export interface LogCleaning {
  /** Nothing at or behind it is removed: it may yet be cut off, and what it seems to replace would be missing. */
  readonly committedTo: number
  /** Nothing at or behind it is rewritten: a replica that has not got so far would count other versions. */
  readonly rewritableTo: number
  /** Moves the start to `offset` for all replicas; resolves with where it is then. Undefined: somebody else does. */
  readonly advanceStart: ((offset: number) => Promise<number>) | undefined
}

/** Of a log that others have, too, as long as nobody knows what they have. */
export const heldCleaning: LogCleaning = { committedTo: 0, rewritableTo: 0, advanceStart: undefined }

/** Of a log that nobody else has. */
export const aloneCleaning: LogCleaning = {
  committedTo: Infinity,
  rewritableTo: Infinity,
  advanceStart: (offset) => Promise.resolve(offset),
}
