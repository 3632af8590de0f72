/**
 * Time search: which offset stands at a time. Append times ascend along the log, so halving finds them; event times are in no order, so the
 * largest one so far is what is halved, and the answer is the first record at or after the time.
 * Neighbours: TimeIndex says where in a segment to begin, SegmentReader reads the batches from there.
 */
import { decompressedBytesMax } from '../protocol/limits.ts'
import { maxTimestamp } from '../protocol/record-batch.ts'
import { RecordCursor, RecordFields } from '../protocol/record-cursor.ts'
import type { DecompressionMemory } from './decompression-memory.ts'
import type { Segment } from './segment.ts'
import type { FoundBatch, SegmentReader } from './segment-reader.ts'

export interface TimeSearch {
  readonly timestampMs: number
  readonly clock: 'event' | 'append'
  /** Nothing before it is an answer. */
  readonly fromOffset: number
  readonly limitOffset: number
  readonly decompression: DecompressionMemory
}

/** The first offset at or after the time, below `limitOffset`; `limitOffset` when there is none. What is damaged is passed over. */
export async function findOffsetForTime(
  reader: SegmentReader,
  segments: readonly Segment[],
  search: TimeSearch,
): Promise<number> {
  const { timestampMs, clock, fromOffset, limitOffset } = search
  for (const [place, segment] of segments.entries()) {
    if (segment.baseOffset >= limitOffset) break
    if (segment.nextOffset <= fromOffset) continue
    if ((clock === 'append' ? segment.lastAppendTimeMs : segment.maxTimestamp) < timestampMs) continue
    const segmentLimit = Math.min(limitOffset, segments[place + 1]?.baseOffset ?? Infinity)
    const found = await findInSegment(reader, segment, { ...search, limitOffset: segmentLimit })
    if (found !== undefined) return found
  }
  return limitOffset
}

async function findInSegment(reader: SegmentReader, segment: Segment, search: TimeSearch): Promise<number | undefined> {
  const { timestampMs, clock, fromOffset, limitOffset } = search
  const wanted = (batch: FoundBatch) =>
    (clock === 'append' ? batch.appendTimeMs : maxTimestamp(batch.batch)) >= timestampMs
  for (let from = Math.max(segment.baseOffset, fromOffset); ; ) {
    const batch = await reader.find(segment, { from, timestampMs, clock, limitOffset }, wanted)
    if (batch === undefined) return undefined
    if (clock === 'append') return Math.max(batch.baseOffset, fromOffset)
    const offset = await offsetInBatch(batch.batch, search)
    if (offset !== undefined) return offset
    from = batch.nextOffset // its header promised a later event than it has
  }
}

async function offsetInBatch(
  batch: Buffer,
  { timestampMs, fromOffset, decompression }: TimeSearch,
): Promise<number | undefined> {
  const { records, letGo } = await decompression.decompress(batch, decompressedBytesMax)
  try {
    const cursor = new RecordCursor(batch, records)
    const fields = new RecordFields(batch, records)
    while (cursor.next()) {
      const offset = fields.baseOffset + cursor.offsetDelta
      if (offset >= fromOffset && fields.timestamp(cursor.timestampDelta) >= timestampMs) return offset
    }
    return undefined
  } finally {
    letGo()
  }
}
