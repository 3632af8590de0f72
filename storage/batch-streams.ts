/** The streams of a batch's records, from its keys: for appends on their way in, and for batches read again by sealing and recovery. */
import {
  BATCH_HEADER_BYTES,
  baseOffset,
  batchBytes,
  codec,
  lastOffsetDelta,
  recordCount,
  walkKeys,
} from '../protocol/record-batch.ts'
import { decompressRecords } from '../protocol/compression.ts'
import { streamOfKey } from '../protocol/names.ts'

/** Calls `visit` for each record with a key of the valid batch at `at`; waits only if it is compressed. */
export function eachStream(
  bytes: Buffer,
  at: number,
  decompressedBytesMax: number,
  visit: (stream: string, offset: number) => void,
): Promise<void> | undefined {
  const base = baseOffset(bytes, at)
  const count = recordCount(bytes, at)
  const lastDelta = lastOffsetDelta(bytes, at)
  const walk = (records: Buffer) =>
    walkKeys(
      records,
      count,
      (delta, keyStart, keyEnd) => {
        if (keyStart >= 0) visit(streamOfKey(records, keyStart, keyEnd), base + delta)
      },
      lastDelta,
    )
  if (codec(bytes, at) !== 'none') return decompressRecords(bytes, at, decompressedBytesMax).then(walk)
  walk(bytes.subarray(at + BATCH_HEADER_BYTES, at + batchBytes(bytes, at)))
  return undefined
}
