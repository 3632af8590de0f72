/**
 * EventPage: committed events of one partition from an offset on, as many as fit: what replay pages and followers of a topic read.
 * Invariant: one batch is decompressed at a time, in memory that all logs share; nothing of the batches is held when it is answered.
 */
import { decodeEvent } from '../../protocol/event.ts'
import type { StreamEvent } from '../../protocol/event.ts'
import { RecordBatch, baseOffset, nextOffset } from '../../protocol/record-batch.ts'
import { RecordCursor, RecordFields } from '../../protocol/record-cursor.ts'
import type { Partition } from '../../replication/partition.ts'

export interface PageRequest {
  readonly offset: number
  /** Events before this offset only. */
  readonly limitOffset?: number
  readonly eventsMax: number
  /** Of the batches read; one always fits. */
  readonly bytesMax: number
}

export interface EventPage {
  readonly events: StreamEvent[]
  /** Where the next page begins. */
  readonly nextOffset: number
  readonly highWatermark: number
}

/** Throws offsetOutOfRange, corruptBatch. */
export async function readEventPage(partition: Partition, request: PageRequest): Promise<EventPage> {
  const { batches, piece, nextOffset: end, highWatermark } = await partition.read(request.offset, request.bytesMax)
  const events: StreamEvent[] = []
  let at = request.offset
  try {
    for (const batch of batches) {
      at = await takeEvents(partition, batch, { ...request, offset: at }, events)
      if (at < nextOffset(batch)) return { events, nextOffset: at, highWatermark }
    }
    return { events, nextOffset: Math.max(at, Math.min(end, request.limitOffset ?? end)), highWatermark }
  } finally {
    piece?.letGo()
  }
}

/** Adds the batch's events from `offset` on; answers the offset that was not looked at any more. */
async function takeEvents(
  partition: Partition,
  batch: Buffer,
  { offset, limitOffset = Infinity, eventsMax }: PageRequest,
  events: StreamEvent[],
): Promise<number> {
  if (baseOffset(batch) >= limitOffset) return limitOffset
  if (new RecordBatch(batch).isControl) return nextOffset(batch)
  const { records, letGo } = await partition.log.decompress(batch)
  try {
    const cursor = new RecordCursor(batch, records)
    const fields = new RecordFields(batch, records)
    while (cursor.next()) {
      const at = fields.baseOffset + cursor.offsetDelta
      if (at < offset) continue
      if (at >= limitOffset || events.length >= eventsMax) return at
      const record = fields.record(cursor.fieldsAt, cursor.end, cursor.offsetDelta, cursor.timestampDelta)
      events.push(decodeEvent(record, partition.partition, null))
    }
    return nextOffset(batch)
  } finally {
    letGo()
  }
}
