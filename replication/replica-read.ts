/**
 * What a follower asks its leader for, and what it is answered: batches, where its log has to be cut back, or that batches do not do.
 * Neighbours: Partition answers, the handlers send it.
 */
import type { RequestOf } from '../protocol/api.ts'
import type { FramePiece } from '../protocol/frame-memory.ts'
import type { EpochEnd } from '../storage/leader-epochs.ts'

export type ReplicaFetch = Omit<RequestOf<'replicaFetch'>, 'topicId' | 'partition'>
export type ReplicaProgress = Omit<RequestOf<'replicaProgress'>, 'topicId' | 'partition'>

export interface ReplicaFetchContext {
  /** Nobody waits any more. */
  readonly signal: AbortSignal
  readonly reserve: (bytes: number) => Promise<void> | undefined
}

export interface ReplicaRead {
  /** Where the leader's log has something else; then there are no batches. */
  readonly diverging: EpochEnd | undefined
  readonly batches: readonly Buffer[]
  readonly appendTimes: readonly number[]
  /** What the batches lie in, held for the caller. */
  readonly piece?: FramePiece | undefined
  readonly highWatermark: number
  /** For the follower to send back. */
  readonly confirm: number | undefined
  /** Batches do not bring it further: it is to take over files. */
  readonly filesNeeded?: boolean
}

/** Batches do not bring the follower any further. */
export function filesNeeded(highWatermark: number): ReplicaRead {
  return { diverging: undefined, batches: [], appendTimes: [], highWatermark, confirm: undefined, filesNeeded: true }
}
