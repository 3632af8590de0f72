/**
 * RecordBatch: the unit written, fetched and kept, as a view over its bytes. Made from valid bytes (splitBatches checks them), it is
 * only decoded when somebody iterates over it. The door to everything about batches: header layout in batch-header.ts, writing in
 * record-batch-builder.ts, the keys alone in key-walk.ts.
 */
import {
  BATCH_HEADER_BYTES,
  BATCH_LENGTH_END,
  baseOffset,
  baseTimestamp,
  batchBytes,
  checkAnyBatch,
  codec,
  isControl,
  leaderEpoch,
  maxTimestamp,
  nextOffset,
  producerEpoch,
  producerId,
  baseSequence,
  recordCount,
} from './batch-header.ts'
import type { Codec } from './batch-header.ts'
import { decompressRecords, decompressRecordsSync } from './compression.ts'
import { PlayheadError } from './errors.ts'
import { decompressedBytesMax } from './limits.ts'
import { RecordCursor, RecordFields } from './record-cursor.ts'
import type { LogRecord } from './record.ts'

export {
  BATCH_CHECKED_FROM,
  BATCH_HEADER_BYTES,
  attributes,
  baseOffset,
  baseSequence,
  baseTimestamp,
  batchBytes,
  batchChecksum,
  checkAnyBatch,
  checkBatch,
  codec,
  isAppendTime,
  lastOffsetDelta,
  leaderEpoch,
  maxTimestamp,
  nextOffset,
  producerEpoch,
  producerId,
  recordCount,
  renumbered,
  stampBatch,
} from './batch-header.ts'
export type { Codec, Compression } from './batch-header.ts'
export { KeyCursor, walkKeys } from './key-walk.ts'
export { RecordBatchBuilder, checkTimestamp, encodeRecordBatch, encodeSparseBatch } from './record-batch-builder.ts'
export type { BatchOptions } from './record-batch-builder.ts'

export class RecordBatch {
  /** The whole batch, exactly. */
  readonly bytes: Buffer
  #records: Buffer | undefined

  /** `bytes`: one valid batch, exactly. */
  constructor(bytes: Buffer) {
    this.bytes = bytes
  }

  get baseOffset(): number {
    return baseOffset(this.bytes)
  }

  get lastOffset(): number {
    return nextOffset(this.bytes) - 1
  }

  get nextOffset(): number {
    return nextOffset(this.bytes)
  }

  get leaderEpoch(): number {
    return leaderEpoch(this.bytes)
  }

  get codec(): Codec {
    return codec(this.bytes)
  }

  get baseTimestamp(): number {
    return baseTimestamp(this.bytes)
  }

  get maxTimestamp(): number {
    return maxTimestamp(this.bytes)
  }

  get producerId(): number {
    return producerId(this.bytes)
  }

  get producerEpoch(): number {
    return producerEpoch(this.bytes)
  }

  get baseSequence(): number {
    return baseSequence(this.bytes)
  }

  get recordCount(): number {
    return recordCount(this.bytes)
  }

  get isControl(): boolean {
    return isControl(this.bytes)
  }

  /** Decompresses off the event loop, so that iterating need not. Throws as decompressRecords does. */
  async decompress(): Promise<void> {
    this.#records ??= await decompressRecords(this.bytes, 0, decompressedBytesMax)
  }

  /** What stands behind the header, decompressed. Throws as decompressRecordsSync does. */
  get records(): Buffer {
    return (this.#records ??= decompressRecordsSync(this.bytes, 0, decompressedBytesMax))
  }

  /** The records, decoded one by one. Throws invalidBatch; unsupportedCompression or batchTooLarge where they were compressed. */
  [Symbol.iterator](): Iterator<LogRecord> & Iterable<LogRecord> {
    return new RecordIterator(this.bytes, this.records)
  }
}

/** The batches that stand one after the other in `body`, each checked; they share its memory. Throws invalidBatch. */
export function splitBatches(body: Buffer): RecordBatch[] {
  const batches: RecordBatch[] = []
  for (let at = 0; at < body.length; ) {
    const left = body.length - at
    const size = left < BATCH_HEADER_BYTES ? 0 : batchBytes(body, at)
    if (size <= BATCH_LENGTH_END || size > left) {
      throw new PlayheadError('invalidBatch', `record batches: found ${left} bytes at byte ${at}, wanted a whole batch`)
    }
    checkAnyBatch(body, at, at + size)
    batches.push(new RecordBatch(body.subarray(at, at + size)))
    at += size
  }
  return batches
}

class RecordIterator implements Iterator<LogRecord>, Iterable<LogRecord> {
  readonly #cursor: RecordCursor
  readonly #fields: RecordFields

  constructor(batch: Buffer, records: Buffer) {
    this.#cursor = new RecordCursor(batch, records)
    this.#fields = new RecordFields(batch, records)
  }

  next(): IteratorResult<LogRecord, undefined> {
    const cursor = this.#cursor
    if (!cursor.next()) return { done: true, value: undefined }
    const { fieldsAt, end, offsetDelta, timestampDelta } = cursor
    const record = this.#fields.record(fieldsAt, end, offsetDelta, timestampDelta)
    return { done: false, value: record }
  }

  [Symbol.iterator](): this {
    return this
  }
}
