/**
 * The header of a record batch: Kafka's RecordBatch v2, byte for byte, big-endian.
 *
 *   0           8              12            16      17    21           23                 27
 *   | i64       | i32          | i32         | i8    | u32 | i16        | i32              |
 *   | base      | batch length | leader      | magic | CRC | attributes | last offset      |
 *   | offset    | (total - 12) | epoch       | = 2   |     |            | delta            |
 *   27           35            43            51               53              57              61
 *   | i64        | i64         | i64         | i16            | i32           | i32           | records …
 *   | base       | max         | producer id | producer epoch | base sequence | record count  |
 *   | timestamp  | timestamp   | -1 = none   | -1 = none      | -1 = none     |               |
 *
 * The CRC-32C covers bytes 21 to the end, so that a broker stamps base offset and leader epoch without touching it.
 * Attributes: bits 0–2 codec, 3 the timestamp is the append time, 4 transactional, 5 control, 6 delete horizon.
 * A batch is valid when magic is 2, the length is right, the codec known, the counts possible, all numbers safe, and the CRC holds.
 * Durable: everything; nothing here is derived. Accessors take the batch's place `at` in larger bytes; see record-batch.ts for records.
 */
import assert from 'node:assert/strict'
import { readI64BE, writeI64BE } from './bytes.ts'
import { crc32c } from './crc32c.ts'
import { PlayheadError } from './errors.ts'
import { recordsPerBatchMax } from './limits.ts'
import { RECORD_BYTES_MIN } from './record.ts'
import { timestampMax } from './time.ts'

const BASE_OFFSET = 0
const BATCH_LENGTH = 8
const LEADER_EPOCH = 12
const MAGIC = 16
const CRC = 17
const ATTRIBUTES = 21
/** Where the bytes begin that a batch's checksum covers. */
export const BATCH_CHECKED_FROM = ATTRIBUTES
const LAST_OFFSET_DELTA = 23
const BASE_TIMESTAMP = 27
const MAX_TIMESTAMP = 35
const PRODUCER_ID = 43
const PRODUCER_EPOCH = 51
const BASE_SEQUENCE = 53
const RECORD_COUNT = 57
export const BATCH_HEADER_BYTES = 61
/** Base offset and length field: what the batch length leaves out. */
export const BATCH_LENGTH_END = 12
assert(RECORD_COUNT + 4 === BATCH_HEADER_BYTES)
assert(BATCH_LENGTH + 4 === BATCH_LENGTH_END)

const MAGIC_V2 = 2
const CODEC_BITS = 0b111
const APPEND_TIME_BIT = 0b1000
const CONTROL_BIT = 0b10_0000
/** All bits that have a meaning; a producer may set none but the codec's. */
const KNOWN_BITS = 0b111_1111

export type Codec = 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd'
/** By number; 5, 6 and 7 are no codec. */
const codecs: readonly Codec[] = ['none', 'gzip', 'snappy', 'lz4', 'zstd']
/** Codecs that can be read and written here. */
export type Compression = 'none' | 'gzip' | 'zstd'

/** Size of the whole batch, header included. Only this and the accessors' plain reads; check the batch before trusting any. */
export function batchBytes(bytes: Buffer, at = 0): number {
  return bytes.readInt32BE(at + BATCH_LENGTH) + BATCH_LENGTH_END
}

export function baseOffset(bytes: Buffer, at = 0): number {
  return readI64BE(bytes, at + BASE_OFFSET)
}

export function leaderEpoch(bytes: Buffer, at = 0): number {
  return bytes.readInt32BE(at + LEADER_EPOCH)
}

export function attributes(bytes: Buffer, at = 0): number {
  return bytes.readInt16BE(at + ATTRIBUTES)
}

/** Throws invalidBatch for a number that is no codec. */
export function codec(bytes: Buffer, at = 0): Codec {
  const number = bytes[at + ATTRIBUTES + 1]! & CODEC_BITS
  const name = codecs[number]
  if (name === undefined) throw invalid(`codec ${number}`, '0 to 4')
  return name
}

/** The timestamp of every record is the batch's max timestamp, which a broker set at append. Not written here, but read. */
export function isAppendTime(bytes: Buffer, at = 0): boolean {
  return (bytes[at + ATTRIBUTES + 1]! & APPEND_TIME_BIT) !== 0
}

/** A batch of the log's own marks, not of anybody's records. Not written here, but read. */
export function isControl(bytes: Buffer, at = 0): boolean {
  return (bytes[at + ATTRIBUTES + 1]! & CONTROL_BIT) !== 0
}

export function lastOffsetDelta(bytes: Buffer, at = 0): number {
  return bytes.readInt32BE(at + LAST_OFFSET_DELTA)
}

/** The offset after the batch's last. */
export function nextOffset(bytes: Buffer, at = 0): number {
  return baseOffset(bytes, at) + lastOffsetDelta(bytes, at) + 1
}

/** ms since the epoch. */
export function baseTimestamp(bytes: Buffer, at = 0): number {
  return readI64BE(bytes, at + BASE_TIMESTAMP)
}

/** ms since the epoch; the producer's claim. */
export function maxTimestamp(bytes: Buffer, at = 0): number {
  return readI64BE(bytes, at + MAX_TIMESTAMP)
}

/** -1 = none. */
export function producerId(bytes: Buffer, at = 0): number {
  return readI64BE(bytes, at + PRODUCER_ID)
}

/** -1 = none. */
export function producerEpoch(bytes: Buffer, at = 0): number {
  return bytes.readInt16BE(at + PRODUCER_EPOCH)
}

/** The sequence number of the first record; -1 = none. */
export function baseSequence(bytes: Buffer, at = 0): number {
  return bytes.readInt32BE(at + BASE_SEQUENCE)
}

/** The checksum that the batch says bytes BATCH_CHECKED_FROM … its end have. */
export function batchChecksum(bytes: Buffer, at = 0): number {
  return bytes.readUInt32BE(at + CRC)
}

export function recordCount(bytes: Buffer, at = 0): number {
  return bytes.readInt32BE(at + RECORD_COUNT)
}

/** Gives the batch its place in a log, in place; the CRC stays right. */
export function stampBatch(bytes: Buffer, at: number, offset: number, epoch: number): void {
  writeI64BE(bytes, at + BASE_OFFSET, offset)
  bytes.writeInt32BE(epoch, at + LEADER_EPOCH)
}

export interface BatchHeader {
  readonly baseOffset: number
  readonly compression: Compression
  readonly lastOffsetDelta: number
  readonly baseTimestamp: number
  readonly maxTimestamp: number
  readonly producerId: number
  readonly producerEpoch: number
  readonly baseSequence: number
  readonly recordCount: number
}

/** Writes header and CRC around the records that stand from byte 61 to the end. */
export function sealBatch(bytes: Buffer, header: BatchHeader): void {
  assert(bytes.length > BATCH_HEADER_BYTES && header.recordCount > 0)
  writeI64BE(bytes, BASE_OFFSET, header.baseOffset)
  bytes.writeInt32BE(bytes.length - BATCH_LENGTH_END, BATCH_LENGTH)
  bytes.writeInt32BE(-1, LEADER_EPOCH)
  bytes[MAGIC] = MAGIC_V2
  bytes.writeInt16BE(codecs.indexOf(header.compression), ATTRIBUTES)
  bytes.writeInt32BE(header.lastOffsetDelta, LAST_OFFSET_DELTA)
  writeI64BE(bytes, BASE_TIMESTAMP, header.baseTimestamp)
  writeI64BE(bytes, MAX_TIMESTAMP, header.maxTimestamp)
  writeI64BE(bytes, PRODUCER_ID, header.producerId)
  bytes.writeInt16BE(header.producerEpoch, PRODUCER_EPOCH)
  bytes.writeInt32BE(header.baseSequence, BASE_SEQUENCE)
  bytes.writeInt32BE(header.recordCount, RECORD_COUNT)
  bytes.writeUInt32BE(crc32c(bytes.subarray(ATTRIBUTES)), CRC)
}

/** Makes header and CRC right again around other records, fewer than there were, that stand from byte 61 to the end. */
export function refillBatch(bytes: Buffer, count: number, newMaxTimestamp: number): void {
  assert(bytes.length > BATCH_HEADER_BYTES && count > 0)
  bytes.writeInt32BE(bytes.length - BATCH_LENGTH_END, BATCH_LENGTH)
  writeI64BE(bytes, MAX_TIMESTAMP, newMaxTimestamp)
  bytes.writeInt32BE(count, RECORD_COUNT)
  bytes.writeUInt32BE(crc32c(bytes.subarray(ATTRIBUTES)), CRC)
}

/** A copy of the batch under another number of its producer. */
export function renumbered(
  batch: Buffer,
  numbering: Pick<BatchHeader, 'producerId' | 'producerEpoch' | 'baseSequence'>,
): Buffer {
  const bytes = Buffer.from(batch)
  writeI64BE(bytes, PRODUCER_ID, numbering.producerId)
  bytes.writeInt16BE(numbering.producerEpoch, PRODUCER_EPOCH)
  bytes.writeInt32BE(numbering.baseSequence, BASE_SEQUENCE)
  bytes.writeUInt32BE(crc32c(bytes.subarray(ATTRIBUTES)), CRC)
  return bytes
}

/**
 * Throws unless bytes `at` … `end` are exactly one valid batch such as a producer sends: invalidBatch, or unsupportedCompression for
 * snappy and lz4. The records themselves are not looked at (walkKeys does).
 */
export function checkBatch(bytes: Buffer, at: number, end: number): void {
  checkAnyBatch(bytes, at, end)
  const found = attributes(bytes, at)
  if ((found & ~CODEC_BITS) !== 0) throw invalid(`attributes 0x${(found & 0xffff).toString(16)}`, 'a codec alone')
  if (lastOffsetDelta(bytes, at) + 1 !== recordCount(bytes, at)) {
    throw invalid(
      `last offset delta ${lastOffsetDelta(bytes, at)} for ${recordCount(bytes, at)} records`,
      'one offset a record',
    )
  }
  if (recordCount(bytes, at) > recordsPerBatchMax) {
    throw invalid(`${recordCount(bytes, at)} records`, `at most ${recordsPerBatchMax}; send more batches`)
  }
  const name = codec(bytes, at)
  if (name === 'snappy' || name === 'lz4') throw unsupportedCompression(name)
}

/**
 * Throws invalidBatch unless bytes `at` … `end` are exactly one valid batch, also one with gaps between its offsets, of any codec,
 * or with the marks that only a broker sets.
 */
export function checkAnyBatch(bytes: Buffer, at: number, end: number): void {
  if (end - at <= BATCH_HEADER_BYTES) throw invalid(`${end - at} bytes`, `more than the header's ${BATCH_HEADER_BYTES}`)
  if (batchBytes(bytes, at) !== end - at)
    throw invalid(`a batch length of ${batchBytes(bytes, at)} bytes`, `${end - at}`)
  if (bytes[at + MAGIC] !== MAGIC_V2) throw invalid(`magic ${bytes[at + MAGIC]}`, `${MAGIC_V2}`)
  const crc = batchChecksum(bytes, at)
  const computed = crc32c(bytes.subarray(at + ATTRIBUTES, end))
  if (crc !== computed)
    throw invalid(`CRC ${hex(computed)}`, `${hex(crc)} as the batch says: damaged on its way, or while it was made`)
  if ((attributes(bytes, at) & ~KNOWN_BITS) !== 0)
    throw invalid(`attributes 0x${(attributes(bytes, at) & 0xffff).toString(16)}`, 'known ones')
  checkCounts(bytes, at, end)
  checkNumbers(bytes, at)
}

export function unsupportedCompression(name: Codec): PlayheadError {
  return new PlayheadError(
    'unsupportedCompression',
    `record batch: found codec ${name}, wanted none, gzip or zstd; choose another`,
  )
}

function checkCounts(bytes: Buffer, at: number, end: number): void {
  const count = recordCount(bytes, at)
  const delta = lastOffsetDelta(bytes, at)
  if (count < 1) throw invalid(`${count} records`, 'at least 1')
  if (delta < count - 1) throw invalid(`last offset delta ${delta} for ${count} records`, `at least ${count - 1}`)
  const room = end - at - BATCH_HEADER_BYTES
  if (codec(bytes, at) === 'none' && count * RECORD_BYTES_MIN > room)
    throw invalid(`${count} records in ${room} bytes`, 'as many as fit')
}

function checkNumbers(bytes: Buffer, at: number): void {
  for (const time of [baseTimestamp(bytes, at), maxTimestamp(bytes, at)]) {
    if (!(Math.abs(time) <= timestampMax)) throw invalid(`timestamp ${time}`, `ms within ${timestampMax} of 1970`)
  }
  const id = producerId(bytes, at)
  const epoch = producerEpoch(bytes, at)
  const sequence = baseSequence(bytes, at)
  if (id === -1) return
  if (id < 0 || !Number.isSafeInteger(id)) throw invalid(`producer id ${id}`, '0 to 2^53 - 1, or -1')
  if (epoch < 0 || (sequence < 0 && !isControl(bytes, at))) {
    throw invalid(`producer epoch ${epoch}, sequence ${sequence}`, 'both from 0, as there is a producer id')
  }
}

function invalid(found: string, wanted: string): PlayheadError {
  return new PlayheadError('invalidBatch', `record batch: found ${found}, wanted ${wanted}`)
}

function hex(crc: number): string {
  return `0x${crc.toString(16).padStart(8, '0')}`
}
