/** ReadRange and ReadResult: what a read of whole batches asks a log for, and what it gets. Neighbours: LogReader and ReadAhead. */
import type { FramePiece } from '../protocol/frame-memory.ts'

export interface ReadRange {
  readonly offset: number
  /** Whole batches up to this many bytes, at least one. */
  readonly maxBytes: number
  /** Records at and after this offset are not there for this reader. */
  readonly limitOffset: number
  /** For replicas, who write the batches down with the times at which they were appended. */
  readonly wantsTimes?: boolean
}

export interface ReadResult {
  readonly batches: Buffer[]
  /** Where to read on. */
  readonly nextOffset: number
  /** The append time of each batch, if they were asked for. */
  readonly appendTimes?: readonly number[] | undefined
  /** What the batches lie in, held for the caller; who does not let go leaves it to the collector. */
  readonly piece?: FramePiece | undefined
}
