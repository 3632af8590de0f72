/**
 * RecordCursor: walks the records of one batch in order and makes nothing for them: place, offset and time are numbers of the cursor, the
 * rest stays bytes until it is asked for (RecordFields). Invariant: a record lies within its length and the batch, and its offset is larger
 * than the one before and within the batch. Neighbours: record-batch.ts makes whole records on it, client/replay-batch.ts lazy ones.
 */
import { baseOffset, baseTimestamp, isAppendTime, lastOffsetDelta, maxTimestamp, recordCount } from './batch-header.ts'
import { RECORD_BYTES_MIN, readBlob, readHeaders } from './record.ts'
import type { LogRecord, RecordHeader } from './record.ts'
import { VarintReader } from './varint.ts'

export class RecordCursor {
  /** To the batch's base offset. */
  offsetDelta = -1
  /** To the batch's base timestamp. */
  timestampDelta = 0
  /** Where the record's key, value and headers begin, and where they end. */
  fieldsAt = 0
  end = 0
  readonly #reader: VarintReader
  readonly #batchEnd: number
  readonly #offsetDeltaMax: number
  #left: number

  /** `batch`: its header; `records`: what stands behind it, decompressed. */
  constructor(batch: Buffer, records: Buffer) {
    this.#reader = new VarintReader(records, 0, records.length)
    this.#batchEnd = records.length
    this.#offsetDeltaMax = lastOffsetDelta(batch)
    this.#left = recordCount(batch)
  }

  /** Moves to the next record; false when there is none. Throws invalidBatch. */
  next(): boolean {
    const reader = this.#reader
    reader.at = this.end
    reader.end = this.#batchEnd
    if (this.#left === 0) {
      if (reader.at !== reader.end) throw reader.invalid('more bytes', 'the end of the last record')
      return false
    }
    this.#left--
    const bodyBytes = reader.length(0)
    const end = reader.at + bodyBytes
    if (bodyBytes < RECORD_BYTES_MIN - 1)
      throw reader.invalid(`a record of ${bodyBytes} bytes`, `at least ${RECORD_BYTES_MIN - 1}`)
    reader.end = end
    reader.at++ // attributes: unused by the format
    this.timestampDelta = reader.next()
    const offsetDelta = reader.next()
    if (offsetDelta <= this.offsetDelta || offsetDelta > this.#offsetDeltaMax) {
      throw reader.invalid(
        `offset delta ${offsetDelta} after ${this.offsetDelta}`,
        `a larger one up to ${this.#offsetDeltaMax}`,
      )
    }
    this.offsetDelta = offsetDelta
    this.fieldsAt = reader.at
    this.end = end
    return true
  }
}

/** What the records of one batch share, and how their fields are read. `at` and `end`: `fieldsAt` and `end` of a cursor over the same bytes. */
export class RecordFields {
  readonly baseOffset: number
  readonly #baseTimestamp: number
  /** For batches whose timestamps the broker set: the timestamp of all records. */
  readonly #appendTime: number | undefined
  readonly #reader: VarintReader

  constructor(batch: Buffer, records: Buffer) {
    this.baseOffset = baseOffset(batch)
    this.#baseTimestamp = baseTimestamp(batch)
    this.#appendTime = isAppendTime(batch) ? maxTimestamp(batch) : undefined
    this.#reader = new VarintReader(records, 0, records.length)
  }

  /** ms since the epoch. */
  timestamp(timestampDelta: number): number {
    return this.#appendTime ?? this.#baseTimestamp + timestampDelta
  }

  /** A slice of the batch's memory. Throws invalidBatch, as the others do. */
  key(at: number, end: number): Buffer | null {
    return readBlob(this.#at(at, end))
  }

  /** A slice of the batch's memory. */
  value(at: number, end: number): Buffer | null {
    const reader = this.#at(at, end)
    reader.skip(-1)
    return readBlob(reader)
  }

  headers(at: number, end: number): RecordHeader[] {
    const reader = this.#at(at, end)
    reader.skip(-1)
    reader.skip(-1)
    return readHeaders(reader)
  }

  /** All of it. */
  record(at: number, end: number, offsetDelta: number, timestampDelta: number): LogRecord {
    const reader = this.#at(at, end)
    return {
      offset: this.baseOffset + offsetDelta,
      timestamp: this.timestamp(timestampDelta),
      key: readBlob(reader),
      value: readBlob(reader),
      headers: readHeaders(reader),
    }
  }

  #at(at: number, end: number): VarintReader {
    this.#reader.at = at
    this.#reader.end = end
    return this.#reader
  }
}
