/** What a log keeps of a batch, read from its header. */
import {
  baseOffset,
  baseSequence,
  lastOffsetDelta,
  leaderEpoch,
  maxTimestamp,
  nextOffset,
  producerEpoch,
  producerId,
  recordCount,
} from '../protocol/record-batch.ts'
import type { ProducerBatch } from './producer-state.ts'
import type { BatchFacts } from './segment.ts'

export function batchFactsAt(bytes: Buffer, at: number): BatchFacts {
  return {
    baseOffset: baseOffset(bytes, at),
    nextOffset: nextOffset(bytes, at),
    recordCount: recordCount(bytes, at),
    leaderEpoch: leaderEpoch(bytes, at),
    maxTimestamp: maxTimestamp(bytes, at),
  }
}

export function producerBatchAt(bytes: Buffer, at: number): ProducerBatch {
  return {
    producerId: producerId(bytes, at),
    producerEpoch: producerEpoch(bytes, at),
    baseSequence: baseSequence(bytes, at),
    // As it was sent: compaction may have left fewer.
    recordCount: lastOffsetDelta(bytes, at) + 1,
  }
}
