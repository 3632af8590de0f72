/**
 * The bytes of a segment file `<20-digit base offset>.log`: a header, then frames, each around one record batch, then zeros up to the
 * end of the space allocated so far (none once the segment is sealed). All integers are little-endian.
 *
 * Header, 64 bytes
 *    0          8         10           12           16         32            40     48             52          60    64
 *    | PLAYHEAD | version | compaction | partition  | topic id | base offset | salt | leader epoch | tombstone | crc |
 *    crc: CRC-32C of bytes 0..59. The salt is 8 random bytes, the same in every segment of a log.
 *    compaction: how often the segment was rewritten without what was superseded; 0 = never, and then the version is 1, else 2.
 *    tombstone: append time of the oldest record without a value in a rewritten segment; 0 = it has none.
 *
 * Frame, 32 bytes, then the batch
 *    0     4             8      16               24               32
 *    | crc | batch bytes | salt | append time ms | durable offset | record batch …
 *    crc: CRC-32C of frame bytes 4..31 and batch bytes 0..20 (the part of a batch that its own CRC leaves out).
 *    batch bytes: 0 = no batch; such a frame only says what is durable (an idle log writes one).
 *    durable offset ("floor"): every record below it was durable before this frame was written.
 *
 * A batch is valid if the frame's CRC and the batch's own hold, the salt is the log's, its base offset is the one after the batch before
 * it, and its leader epoch is not lower than that of the batch before it. The first frame that is not valid ends the log, unless a later
 * valid frame has a floor beyond it: then it is corruption (recovery.ts). The log is a primary fact; nothing else here is needed to read it.
 * In a rewritten segment a base offset may also lie further on, and the last frame has no batch and the offset where the next segment begins.
 * Neighbours: segment-scan.ts reads frames in order, read-plan.ts finds one, appender.ts writes them.
 */
import assert from 'node:assert/strict'
import { readU64LE, writeU64LE } from '../protocol/bytes.ts'
import { crc32c, crc32cTypeScript } from '../protocol/crc32c.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { BATCH_CHECKED_FROM } from '../protocol/record-batch.ts'

export const SEGMENT_HEADER_BYTES = 64
export const FRAME_BYTES = 32
export const SALT_BYTES = 8
/** Of a segment that was rewritten; others have 1. */
export const segmentFormatVersion = 2
/** Where the salt stands in a frame: recovery looks for it to find frames after damage. */
export const FRAME_SALT = 8

const MAGIC = Buffer.from('PLAYHEAD', 'latin1')
const VERSION = 8,
  COMPACTION = 10,
  PARTITION = 12,
  TOPIC_ID = 16,
  BASE_OFFSET = 32,
  SALT = 40,
  EPOCH = 48,
  TOMBSTONE = 52,
  HEADER_CRC = 60
assert(HEADER_CRC + 4 === SEGMENT_HEADER_BYTES)

const BATCH_BYTES = 4,
  APPEND_TIME = 16,
  FLOOR = 24
assert(FLOOR + 8 === FRAME_BYTES)
/** The bytes of a batch that the frame's checksum covers. */
const COVERED_BATCH_BYTES = BATCH_CHECKED_FROM
/** A record batch is at least its own header. */
const BATCH_BYTES_MIN = 61

export interface SegmentHeader {
  readonly topicId: Buffer
  readonly partition: number
  readonly baseOffset: number
  readonly salt: Buffer
  readonly leaderEpoch: number
  /** How often it was rewritten. */
  readonly compaction: number
  /** Append time of its oldest record without a value, if it was rewritten; 0 = none. */
  readonly tombstoneMs: number
}

/** Without `compaction`: of a segment as it was appended. */
export function encodeSegmentHeader(
  header: Omit<SegmentHeader, 'compaction' | 'tombstoneMs'> & Partial<SegmentHeader>,
): Buffer {
  const { compaction = 0, tombstoneMs = 0 } = header
  assert(header.topicId.length === 16 && header.salt.length === SALT_BYTES)
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES)
  MAGIC.copy(bytes)
  bytes.writeUInt16LE(compaction === 0 ? 1 : segmentFormatVersion, VERSION)
  bytes.writeUInt16LE(compaction, COMPACTION)
  bytes.writeUInt32LE(header.partition, PARTITION)
  header.topicId.copy(bytes, TOPIC_ID)
  writeU64LE(bytes, BASE_OFFSET, header.baseOffset)
  header.salt.copy(bytes, SALT)
  bytes.writeUInt32LE(header.leaderEpoch, EPOCH)
  writeU64LE(bytes, TOMBSTONE, tombstoneMs)
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, HEADER_CRC)), HEADER_CRC)
  return bytes
}

/** Undefined when the bytes are no header. Throws unsupportedFormat for a header of a newer version. */
export function decodeSegmentHeader(bytes: Buffer, path: string): SegmentHeader | undefined {
  if (bytes.length < SEGMENT_HEADER_BYTES || bytes.compare(MAGIC, 0, MAGIC.length, 0, MAGIC.length) !== 0)
    return undefined
  if (bytes.readUInt32LE(HEADER_CRC) !== crc32c(bytes.subarray(0, HEADER_CRC))) return undefined
  const version = bytes.readUInt16LE(VERSION)
  if (version > segmentFormatVersion) {
    throw new PlayheadError(
      'unsupportedFormat',
      `${path}: found segment format version ${version}, wanted at most ${segmentFormatVersion}; use the release that wrote it, or a newer one`,
      { file: path, format: version },
    )
  }
  return {
    topicId: Buffer.from(bytes.subarray(TOPIC_ID, TOPIC_ID + 16)),
    partition: bytes.readUInt32LE(PARTITION),
    baseOffset: readU64LE(bytes, BASE_OFFSET),
    salt: Buffer.from(bytes.subarray(SALT, SALT + SALT_BYTES)),
    leaderEpoch: bytes.readUInt32LE(EPOCH),
    compaction: bytes.readUInt16LE(COMPACTION),
    tombstoneMs: readU64LE(bytes, TOMBSTONE),
  }
}

/** Bytes needed at `target` to write a frame: the batch's first bytes follow it, since the checksum covers them. */
export const FRAME_SCRATCH_BYTES = FRAME_BYTES + COVERED_BATCH_BYTES

/**
 * Writes the frame at `at`. For a batch (`batchBytes` > 0) its first 21 bytes must already stand behind the frame's 32.
 */
export function writeFrame(
  target: Buffer,
  at: number,
  salt: Buffer,
  batchBytes: number,
  appendTimeMs: number,
  floor: number,
): void {
  target.writeUInt32LE(batchBytes, at + BATCH_BYTES)
  salt.copy(target, at + FRAME_SALT)
  writeU64LE(target, at + APPEND_TIME, appendTimeMs)
  writeU64LE(target, at + FLOOR, floor)
  target.writeUInt32LE(frameCrc(target, at, batchBytes), at)
}

export function frameBatchBytes(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at + BATCH_BYTES)
}

export function frameAppendTime(bytes: Buffer, at: number): number {
  return readU64LE(bytes, at + APPEND_TIME)
}

export function frameFloor(bytes: Buffer, at: number): number {
  return readU64LE(bytes, at + FLOOR)
}

export function frameCrcOf(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at)
}

/**
 * What is wrong with the frame at `at`, in words; undefined when it is sound. Looks at no more than `end`: a frame whose batch reaches
 * beyond it is judged by its own checksum only if its first 53 bytes are there.
 */
export function frameProblem(bytes: Buffer, at: number, end: number, salt: Buffer): string | undefined {
  if (end - at < FRAME_BYTES) return `${end - at} bytes where a frame has ${FRAME_BYTES}`
  for (let index = 0; index < SALT_BYTES; index++)
    if (bytes[at + FRAME_SALT + index] !== salt[index]) return 'no frame of this log'
  const batchBytes = frameBatchBytes(bytes, at)
  if (batchBytes !== 0 && batchBytes < BATCH_BYTES_MIN) return `a batch of ${batchBytes} bytes`
  if (batchBytes !== 0 && end - at < FRAME_SCRATCH_BYTES) return 'a batch cut off in its header'
  if (frameCrcOf(bytes, at) !== frameCrc(bytes, at, batchBytes)) return 'a frame checksum that does not hold'
  return undefined
}

/** Of so few bytes that the way into native code, and the view that it wants of them, would cost more. */
function frameCrc(bytes: Buffer, at: number, batchBytes: number): number {
  return crc32cTypeScript(bytes, 0, at + BATCH_BYTES, at + FRAME_BYTES + (batchBytes === 0 ? 0 : COVERED_BATCH_BYTES))
}

const segmentName = /^(\d{20})\.log$/

export function segmentFileName(baseOffset: number): string {
  return `${String(baseOffset).padStart(20, '0')}.log`
}

export function sidecarFileName(baseOffset: number): string {
  return `${String(baseOffset).padStart(20, '0')}.idx`
}

/** Undefined for any other file. */
export function baseOffsetOfFile(name: string): number | undefined {
  const digits = segmentName.exec(name)?.[1]
  const baseOffset = digits === undefined ? NaN : Number(digits)
  return Number.isSafeInteger(baseOffset) ? baseOffset : undefined
}
