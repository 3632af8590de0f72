/**
 * Recovery checkpoint: how far a log had got at some moment and what is derived from its active segment up to there, kept in the
 * checkpoint store so that a restart reads the tail and not the history. Derived, but one thing more: everything below its `nextOffset`
 * was durable when it was written, so a log that ends before it has lost something.
 *
 * Keys, after the log's prefix: 'c' facts (JSON), 'd' offset index, 'e' time index of the active segment, 'f' producer snapshot.
 * Neighbours: Checkpointer writes it with the stream index in one transaction, recovery.ts reads it.
 */
import type { CheckpointPut, CheckpointStore } from './checkpoint-store.ts'
import { OffsetIndex } from './offset-index.ts'
import type { SegmentIndexes } from './segment.ts'
import { TimeIndex } from './time-index.ts'

const FACTS = 'c'
const OFFSETS = 'd'
const TIMES = 'e'
const PRODUCERS = 'f'

export interface CheckpointFacts {
  /** Of the log, in hex: a checkpoint of another log is none. */
  readonly salt: string
  readonly segmentBaseOffset: number
  /** The end of the last batch in that segment. A frame without a batch behind it is not counted: it may not have reached the disk. */
  readonly position: number
  readonly nextOffset: number
  readonly leaderEpoch: number
  /** The last batch before `position`: -1 when the segment has none. Its frame must still be there for the checkpoint to hold. */
  readonly lastBatchPosition: number
  readonly batchCount: number
  readonly recordCount: number
  /** null = no batch yet. */
  readonly maxTimestamp: number | null
  readonly firstAppendTimeMs: number
  readonly lastAppendTimeMs: number
}

export interface RecoveryCheckpoint {
  readonly facts: CheckpointFacts
  readonly indexes: SegmentIndexes
  readonly producers: Buffer
}

export function checkpointPuts(prefix: Buffer, checkpoint: RecoveryCheckpoint): CheckpointPut[] {
  const { facts, indexes, producers } = checkpoint
  return [
    { key: keyOf(prefix, FACTS), value: Buffer.from(JSON.stringify(facts)) },
    { key: keyOf(prefix, OFFSETS), value: indexes.offsets.encode() },
    { key: keyOf(prefix, TIMES), value: indexes.times.encode() },
    { key: keyOf(prefix, PRODUCERS), value: producers },
  ]
}

/** Undefined when there is none, or not all of it. */
export function readCheckpoint(store: CheckpointStore, prefix: Buffer): RecoveryCheckpoint | undefined {
  const facts = store.get(keyOf(prefix, FACTS))
  const offsets = OffsetIndex.decode(store.get(keyOf(prefix, OFFSETS)) ?? nothing)
  const times = TimeIndex.decode(store.get(keyOf(prefix, TIMES)) ?? nothing)
  const producers = store.get(keyOf(prefix, PRODUCERS))
  if (facts === undefined || offsets === undefined || times === undefined || producers === undefined) return undefined
  if (offsets.count !== times.count) return undefined
  // Behind a checksum and written by us: what is there is what was put.
  return { facts: JSON.parse(facts.toString('utf8')) as CheckpointFacts, indexes: { offsets, times }, producers }
}

/** There is none any more; resolves when that is on disk. */
export async function dropCheckpoint(store: CheckpointStore, prefix: Buffer): Promise<void> {
  const kinds = [FACTS, OFFSETS, TIMES, PRODUCERS]
  await store.write(kinds.map((kind) => ({ key: keyOf(prefix, kind), value: null })))
}

const nothing = Buffer.alloc(0)

function keyOf(prefix: Buffer, kind: string): Buffer {
  return Buffer.concat([prefix, Buffer.from(kind)])
}
