/**
 * RecordBatchBuilder: records in, the bytes of a record batch out. One growing buffer per builder, used again for the next batch, or
 * handed over as the batch where BatchMemory has others; nothing is allocated per record. Invariant: what it builds passes checkBatch (encodeSparseBatch: checkAnyBatch).
 * Neighbours: record.ts lays out a record, batch-header.ts the header.
 */
import assert from 'node:assert/strict'
import { BATCH_HEADER_BYTES, sealBatch } from './batch-header.ts'
import type { Compression } from './batch-header.ts'
import { compressRecords } from './compression.ts'
import { PlayheadError } from './errors.ts'
import { blobBytes, PackedRecord, packedRoomBytes, recordRoomBytes, writePacked, writeRecord } from './record.ts'
import type { LogRecord, RecordContent, RecordInput } from './record.ts'
import type { BatchMemory } from './batch-memory.ts'
import { timestampMax } from './time.ts'

export interface BatchOptions {
  /** Default -1: no producer, no protection against duplicates. */
  readonly producerId?: number
  readonly producerEpoch?: number
  /** The sequence number of the first record. */
  readonly baseSequence?: number
  readonly compression?: Compression
}

const FIRST_BYTES = 16 * 1024
const SHARED_BYTES_MAX = 2 * 1024
const offsetDeltaMax = 0x7fff_ffff

export class RecordBatchBuilder {
  #bytes: Buffer = Buffer.allocUnsafeSlow(FIRST_BYTES)
  #end = BATCH_HEADER_BYTES
  #count = 0
  #baseOffset = 0
  #lastOffsetDelta = -1
  #baseTimestamp = 0
  #maxTimestamp = 0
  readonly #memory: BatchMemory | undefined

  /** `memory`: where large batches are handed over in, for whoever gives it back (see `build`). */
  constructor(memory?: BatchMemory) {
    this.#memory = memory
  }

  get recordCount(): number {
    return this.#count
  }

  /** Size of the batch if it were built now without compression. */
  get sizeBytes(): number {
    return this.#end
  }

  /** Adds a record after the others. Throws invalidEvent for a timestamp that is no time. */
  append(record: RecordInput): void {
    this.appendContent(record, record.timestamp)
  }

  /** The same for a record that does not say its own time; `timestamp`: ms since the epoch. */
  appendContent(record: RecordContent, timestamp: number): void {
    if (this.#count === 0) this.#baseOffset = 0
    this.#append(record, timestamp, this.#lastOffsetDelta + 1)
  }

  /** Adds a record that keeps its offset, which is larger than all before and less than 2^31 after the first. */
  appendAt(record: RecordInput, offset: number): void {
    this.#append(record, record.timestamp, this.#offsetDeltaOf(offset))
  }

  /** The same for a record that is not decoded. */
  appendPackedAt({ timestamp, packed }: PackedRecord, offset: number): void {
    const offsetDelta = this.#offsetDeltaOf(offset)
    const timestampDelta = this.#timestampDeltaOf(timestamp)
    this.#haveRoom(packedRoomBytes(packed.length))
    this.#end = writePacked(this.#bytes, this.#end, packed, timestampDelta, offsetDelta)
    this.#added(timestamp, offsetDelta)
  }

  /**
   * The batch; the builder is empty then. There must be a record. It has memory of its own: fresh, or a slab of the builder's BatchMemory,
   * which may be given back once nobody looks at the batch any more.
   */
  build(options: BatchOptions = {}): Buffer {
    assert(this.#count > 0)
    const compression = options.compression ?? 'none'
    const batch = this.#batchBytes(compression)
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

  /** The batch's bytes with the records in place and the header still to be written. */
  #batchBytes(compression: Compression): Buffer {
    const memory = this.#memory
    if (compression === 'none' && memory !== undefined && memory.isWorthGiving(this.#bytes, this.#end)) {
      const batch = this.#bytes.subarray(0, this.#end)
      this.#bytes = memory.take()
      return batch
    }
    const records = this.#bytes.subarray(BATCH_HEADER_BYTES, this.#end)
    const packed = compression === 'none' ? records : compressRecords(records, compression)
    const size = BATCH_HEADER_BYTES + packed.length
    // A batch of an event or two shares memory with its neighbours: memory of its own costs more than all else about it. Not where
    // memory is given back: BatchMemory must never take what is shared for a slab.
    const batch =
      memory === undefined && size < SHARED_BYTES_MAX ? Buffer.allocUnsafe(size) : Buffer.allocUnsafeSlow(size)
    batch.set(packed, BATCH_HEADER_BYTES)
    return batch
  }

  #offsetDeltaOf(offset: number): number {
    if (this.#count === 0) this.#baseOffset = offset
    const offsetDelta = offset - this.#baseOffset
    assert(offsetDelta > this.#lastOffsetDelta && offsetDelta <= offsetDeltaMax)
    return offsetDelta
  }

  #timestampDeltaOf(timestamp: number): number {
    checkTimestamp(timestamp)
    if (this.#count === 0) {
      this.#baseTimestamp = timestamp
      this.#maxTimestamp = timestamp
    }
    return timestamp - this.#baseTimestamp
  }

  #append(record: RecordContent, timestamp: number, offsetDelta: number): void {
    const timestampDelta = this.#timestampDeltaOf(timestamp)
    const keyBytes = blobBytes(record.key)
    const valueBytes = blobBytes(record.value)
    this.#haveRoom(recordRoomBytes(record, keyBytes, valueBytes))
    this.#end = writeRecord(this.#bytes, this.#end, record, keyBytes, valueBytes, timestampDelta, offsetDelta)
    this.#added(timestamp, offsetDelta)
  }

  #haveRoom(room: number): void {
    if (this.#end + room > this.#bytes.length) this.#makeRoom(room)
  }

  #added(timestamp: number, offsetDelta: number): void {
    this.#count++
    this.#lastOffsetDelta = offsetDelta
    if (timestamp > this.#maxTimestamp) this.#maxTimestamp = timestamp
  }

  #makeRoom(count: number): void {
    const memory = this.#memory
    const wanted = this.#end + count
    const larger =
      memory !== undefined && wanted <= memory.slabBytes
        ? memory.take()
        : Buffer.allocUnsafeSlow(Math.max(this.#bytes.length * 2, wanted))
    this.#bytes.copy(larger, 0, 0, this.#end)
    this.#bytes = larger
  }
}

/** One batch of these records, of which there is at least one. */
export function encodeRecordBatch(records: readonly RecordInput[], options: BatchOptions = {}): Buffer {
  const builder = takeBuilder()
  for (const record of records) builder.append(record)
  return givingBack(builder, builder.build(options))
}

/** Between two small batches: a builder's memory costs more than encoding an event. */
let idleBuilder: RecordBatchBuilder | undefined

/** An empty one. If a record throws, it is not given back, and the next batch begins with a new one. */
function takeBuilder(): RecordBatchBuilder {
  const builder = idleBuilder ?? new RecordBatchBuilder()
  idleBuilder = undefined
  return builder
}

/** `built`: what it made, which it answers. A builder of much has taken much memory. */
function givingBack(builder: RecordBatchBuilder, built: Buffer): Buffer {
  if (built.length <= FIRST_BYTES) idleBuilder = builder
  return built
}

/**
 * Records cut out of their batches, in offset order, offsets kept: one batch with gaps between its offset deltas. Where the offsets
 * span more than a batch can (2^31), further batches follow in the same bytes. Empty bytes for no records. A foreign timestamp farther
 * from the epoch than timestampMax becomes that: one such record must not make its stream unreadable.
 */
export function encodeSparseBatch(records: readonly LogRecord[]): Buffer {
  const builder = takeBuilder()
  const batches: Buffer[] = []
  let first = 0
  for (const record of records) {
    if (builder.recordCount > 0 && record.offset - first > offsetDeltaMax) batches.push(builder.build())
    if (builder.recordCount === 0) first = record.offset
    const { offset, timestamp } = record
    const isShown = Math.abs(timestamp) <= timestampMax
    if (record instanceof PackedRecord && isShown) builder.appendPackedAt(record, offset)
    else builder.appendAt(isShown ? record : shown(record), offset)
  }
  if (builder.recordCount > 0) batches.push(builder.build())
  return givingBack(builder, batches.length === 1 ? batches[0]! : Buffer.concat(batches))
}

function shown({ key, value, headers, timestamp }: LogRecord): RecordInput {
  return { key, value, headers, timestamp: Math.sign(timestamp) * timestampMax }
}

/** Throws invalidEvent unless it is whole ms since the epoch, as far from it as Dates go. */
export function checkTimestamp(timestamp: number): void {
  if (Number.isInteger(timestamp) && Math.abs(timestamp) <= timestampMax) return
  throw new PlayheadError('invalidEvent', `record timestamp: found ${timestamp}, wanted whole ms since the epoch`)
}
