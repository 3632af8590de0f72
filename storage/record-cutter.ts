/**
 * Record cutter: single records out of a batch, without decoding the others. What is cut out is a copy, so that a few small records do not
 * hold a large batch in memory.
 */
import {
  BATCH_HEADER_BYTES,
  baseOffset,
  baseTimestamp,
  codec,
  isAppendTime,
  maxTimestamp,
  recordCount,
} from '../protocol/record-batch.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { decompressedBytesMax } from '../protocol/limits.ts'
import { PackedRecord } from '../protocol/record.ts'
import { VarintReader } from '../protocol/varint.ts'
import type { DecompressionMemory } from './decompression-memory.ts'

/**
 * The records of `batch` at `offsets` (ascending, all within it), in order: at once where it is not compressed. Throws invalidBatch when the batch does
 * not hold them; with `some` those that it does not hold are left out.
 */
export function cutRecords(
  batch: Buffer,
  offsets: readonly number[],
  decompression: DecompressionMemory,
  wanted: 'all' | 'some' = 'all',
): PackedRecord[] | Promise<PackedRecord[]> {
  if (codec(batch) === 'none') return cutPlain(batch, offsets, wanted)
  return cutCompressed(batch, offsets, decompression, wanted)
}

/** The same of a batch that is not compressed. */
export function cutPlain(batch: Buffer, offsets: readonly number[], wanted: 'all' | 'some' = 'all'): PackedRecord[] {
  return cutFrom(batch, new VarintReader(batch, BATCH_HEADER_BYTES, batch.length), offsets, wanted)
}

async function cutCompressed(
  batch: Buffer,
  offsets: readonly number[],
  decompression: DecompressionMemory,
  wanted: 'all' | 'some',
): Promise<PackedRecord[]> {
  const { records, letGo } = await decompression.decompress(batch, decompressedBytesMax)
  try {
    return cutFrom(batch, new VarintReader(records, 0, records.length), offsets, wanted)
  } finally {
    letGo()
  }
}

/** `reader`: at the first record. */
function cutFrom(
  batch: Buffer,
  reader: VarintReader,
  offsets: readonly number[],
  wanted: 'all' | 'some',
): PackedRecord[] {
  const cut: PackedRecord[] = []
  let next = 0
  const base = baseOffset(batch)
  for (let left = recordCount(batch); left > 0 && next < offsets.length; left--) {
    const bodyBytes = reader.length(1)
    const end = reader.at + bodyBytes
    reader.at++ // attributes
    const timestampDelta = reader.next()
    const offset = base + reader.next()
    if (wanted === 'some') while ((offsets[next] ?? Infinity) < offset) next++
    if (offset === offsets[next]) {
      if (reader.at > end) throw reader.invalid(`a record of ${bodyBytes} bytes`, 'more')
      next++
      const timestamp = isAppendTime(batch) ? maxTimestamp(batch) : baseTimestamp(batch) + timestampDelta
      cut.push(new PackedRecord(offset, timestamp, copied(reader.bytes, reader.at, end)))
    }
    reader.at = end
  }
  if (cut.length === offsets.length || wanted === 'some') return cut
  throw new PlayheadError(
    'invalidBatch',
    `record batch at offset ${base}: found ${cut.length} of the records at offsets ${offsets.join(', ')}, wanted all of them`,
  )
}

function copied(bytes: Buffer, from: number, to: number): Buffer {
  const copy = Buffer.allocUnsafe(to - from)
  bytes.copy(copy, 0, from, to)
  return copy
}
