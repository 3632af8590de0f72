/**
 * RecordBatchBuilder: records in, the bytes of a record batch out. One growing buffer per builder, used again for the next batch;
 * nothing is allocated per record. Invariant: what it builds passes checkBatch (encodeSparseBatch: checkAnyBatch).
 * Neighbours: record.ts lays out a record, batch-header.ts the header.
 */
import assert from 'node:assert/strict'
import { BATCH_HEADER_BYTES, sealBatch } from './batch-header.ts'
import type { Compression } from './batch-header.ts'
import { compressRecords } from './compression.ts'
import { PlayheadError } from './errors.ts'
import { recordBodyBytes, writeRecord } from './record.ts'
import type { LogRecord, RecordInput } from './record.ts'
import { timestampMax } from './time.ts'
import { VARINT_BYTES_MAX } from './varint.ts'

export interface BatchOptions {
  /** Default -1: no producer, no protection against duplicates. */
  readonly producerId?: number
  readonly producerEpoch?: number
  /** The sequence number of the first record. */
  readonly baseSequence?: number
  readonly compression?: Compression
}

const FIRST_BYTES = 16 * 1024
const offsetDeltaMax = 0x7fff_ffff

export class RecordBatchBuilder {
  #bytes = Buffer.allocUnsafeSlow(FIRST_BYTES)
  #end = BATCH_HEADER_BYTES
  #count = 0
  #baseOffset = 0
  #lastOffsetDelta = -1
  #baseTimestamp = 0
  #maxTimestamp = 0

  get recordCount(): number {
    return this.#count
  }

  /** Size of the batch if it were built now without compression. */
  get sizeBytes(): number {
    return this.#end
  }

  /** Adds a record after the others. Throws invalidEvent for a timestamp that is no time. */
  append(record: RecordInput): void {
    if (this.#count === 0) this.#baseOffset = 0
    this.#append(record, this.#lastOffsetDelta + 1)
  }

  /** Adds a record that keeps its offset, which is larger than all before and less than 2^31 after the first. */
  appendAt(record: RecordInput, offset: number): void {
    if (this.#count === 0) this.#baseOffset = offset
    const offsetDelta = offset - this.#baseOffset
    assert(offsetDelta > this.#lastOffsetDelta && offsetDelta <= offsetDeltaMax)
    this.#append(record, offsetDelta)
  }

  /** The batch, in fresh memory of exactly its size; the builder is empty then. There must be a record. */
  build(options: BatchOptions = {}): Buffer {
    assert(this.#count > 0)
    const compression = options.compression ?? 'none'
    const records = compressRecords(this.#bytes.subarray(BATCH_HEADER_BYTES, this.#end), compression)
    const batch = Buffer.allocUnsafeSlow(BATCH_HEADER_BYTES + records.length)
    batch.set(records, BATCH_HEADER_BYTES)
    sealBatch(batch, {
      baseOffset: this.#baseOffset,
      compression,
      lastOffsetDelta: this.#lastOffsetDelta,
      baseTimestamp: this.#baseTimestamp,
      maxTimestamp: this.#maxTimestamp,
      producerId: options.producerId ?? -1,
      producerEpoch: options.producerEpoch ?? (options.producerId === undefined ? -1 : 0),
      baseSequence: options.baseSequence ?? -1,
      recordCount: this.#count,
    })
    this.clear()
    return batch
  }

  /** Forgets the records that were not built. */
  clear(): void {
    this.#end = BATCH_HEADER_BYTES
    this.#count = 0
    this.#lastOffsetDelta = -1
  }

  #append(record: RecordInput, offsetDelta: number): void {
    if (!Number.isInteger(record.timestamp) || Math.abs(record.timestamp) > timestampMax)
      throw invalidTimestamp(record.timestamp)
    if (this.#count === 0) {
      this.#baseTimestamp = record.timestamp
      this.#maxTimestamp = record.timestamp
    }
    const timestampDelta = record.timestamp - this.#baseTimestamp
    const bodyBytes = recordBodyBytes(record, timestampDelta, offsetDelta)
    this.#makeRoom(VARINT_BYTES_MAX + bodyBytes)
    this.#end = writeRecord(this.#bytes, this.#end, record, bodyBytes, timestampDelta, offsetDelta)
    this.#count++
    this.#lastOffsetDelta = offsetDelta
    if (record.timestamp > this.#maxTimestamp) this.#maxTimestamp = record.timestamp
  }

  #makeRoom(count: number): void {
    if (this.#end + count <= this.#bytes.length) return
    const larger = Buffer.allocUnsafeSlow(Math.max(this.#bytes.length * 2, this.#end + count))
    this.#bytes.copy(larger, 0, 0, this.#end)
    this.#bytes = larger
  }
}

/** One batch of these records, of which there is at least one. */
export function encodeRecordBatch(records: readonly RecordInput[], options: BatchOptions = {}): Buffer {
  const builder = new RecordBatchBuilder()
  for (const record of records) builder.append(record)
  return builder.build(options)
}

/**
 * Records cut out of their batches, in offset order, offsets kept: one batch with gaps between its offset deltas. Where the offsets
 * span more than a batch can (2^31), further batches follow in the same bytes. Empty bytes for no records. A foreign timestamp farther
 * from the epoch than timestampMax becomes that: one such record must not make its stream unreadable.
 */
export function encodeSparseBatch(records: readonly LogRecord[]): Buffer {
  const builder = new RecordBatchBuilder()
  const batches: Buffer[] = []
  let first = 0
  for (const record of records) {
    if (builder.recordCount > 0 && record.offset - first > offsetDeltaMax) batches.push(builder.build())
    if (builder.recordCount === 0) first = record.offset
    builder.appendAt(shown(record), record.offset)
  }
  if (builder.recordCount > 0) batches.push(builder.build())
  return batches.length === 1 ? batches[0]! : Buffer.concat(batches)
}

function shown(record: LogRecord): LogRecord {
  if (Math.abs(record.timestamp) <= timestampMax) return record
  return { ...record, timestamp: Math.sign(record.timestamp) * timestampMax }
}

function invalidTimestamp(timestamp: number): PlayheadError {
  return new PlayheadError('invalidEvent', `record timestamp: found ${timestamp}, wanted whole ms since the epoch`)
}
