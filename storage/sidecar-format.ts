/**
 * The bytes of a sidecar `<20-digit base offset>.idx`: what a sealed segment would otherwise have to be read for. Little-endian.
 *
 * File          | header 16 | section … section | footer 160 |
 * Header        0          8         12      16
 *               | PLAYSIDE | version | zeros |
 * Section       0      2       4        8     12           16
 *               | kind | flags | length | crc | header crc | bytes …    crc: of the `length` bytes; header crc: of section bytes 0..11.
 *     A reader passes over kinds it does not know.
 * Footer        0          8         12          16         32            40            48        56        64
 *               | PLAYFOOT | version | partition | topic id | base offset | next offset | batches | records | streams |
 *               72                  80                   88                  96              104          112
 *               | max event time ms | first append time  | last append time  | segment bytes | body bytes | leader epoch |
 *               116                120                  124             128    156   160
 *               | segment checksum | previous checksum | body checksum | compaction u16, zeros | crc |
 *     max event time: f64, -Infinity when there is no batch. Body: all bytes before the footer. Segment checksum: of the whole segment file.
 *     crc: of footer bytes 0..155; it is "the footer's checksum", and the next sidecar's previous checksum (0 in a log's first one).
 *
 * Postings      0      1       4        8                 12    16
 *               | kind | zeros | blocks | directory bytes | crc | directory | block … block
 *     crc: of bytes 0..11 and the directory.
 *     directory: for each block  | u32 position after the directory | u32 bytes | u32 crc | u16 name bytes | its first name |
 *     block: for each stream     | varint name bytes | name | varint first version | varint events | varint packed bytes | packed offsets |
 *     Streams stand in the order of their UTF-8 bytes. kind: 0 = by stream; 1 tag, 2 type, 3 event id are reserved.
 *
 * Derived: rebuilt from the segment. Neighbours: sidecar-writer.ts and sidecar.ts.
 */
import assert from 'node:assert/strict'
import { readU64LE, writeU64LE } from '../protocol/bytes.ts'
import { crc32c } from '../protocol/crc32c.ts'

export const sidecarFormatVersion = 1
export const SIDECAR_HEADER_BYTES = 16
export const SECTION_HEADER_BYTES = 16
export const FOOTER_BYTES = 160
export const POSTINGS_HEADER_BYTES = 16
/** Where the crc of a postings header stands, behind the bytes it covers. */
export const POSTINGS_HEADER_CRC = 12
/** Of a directory entry, before the name. */
export const DIRECTORY_ENTRY_BYTES = 14

/** Kinds of sections; a number is never used again. */
export const SectionKind = { offsets: 1, times: 2, postings: 3, producers: 4 } as const
export type SectionKind = (typeof SectionKind)[keyof typeof SectionKind]

/** What postings are sorted by. */
export const PostingsKind = { stream: 0, tag: 1, type: 2, eventId: 3 } as const

const HEADER_MAGIC = Buffer.from('PLAYSIDE', 'latin1')
const FOOTER_MAGIC = Buffer.from('PLAYFOOT', 'latin1')
const SECTION_HEADER_CRC = 12
assert(SECTION_HEADER_CRC + 4 === SECTION_HEADER_BYTES)
const FOOTER_CRC = 156
assert(FOOTER_CRC + 4 === FOOTER_BYTES)

/** What a footer says of its segment. */
export interface SegmentSummary {
  readonly topicId: Buffer
  readonly partition: number
  readonly baseOffset: number
  /** The base offset of the segment after it. */
  readonly nextOffset: number
  /** Of the last batch. */
  readonly leaderEpoch: number
  readonly batches: number
  readonly records: number
  /** Largest event time; -Infinity when there is no batch. */
  readonly maxTimestamp: number
  readonly firstAppendTimeMs: number
  readonly lastAppendTimeMs: number
  /** The size of the sealed file. */
  readonly segmentBytes: number
  /** CRC-32C of the whole segment file. */
  readonly segmentChecksum: number
  /** `checksum` of the footer of the segment before it; 0 when it is the log's first. */
  readonly previousChecksum: number
  /** As in the segment's header: a sidecar of the segment as it was before says nothing about it. */
  readonly compaction: number
}

export interface Footer extends SegmentSummary {
  readonly streams: number
  /** Bytes of the sidecar before the footer, and their CRC-32C. */
  readonly bodyBytes: number
  readonly bodyChecksum: number
  /** Of the footer itself: the link of the chain. */
  readonly checksum: number
}

export function encodeSidecarHeader(): Buffer {
  const bytes = Buffer.alloc(SIDECAR_HEADER_BYTES)
  HEADER_MAGIC.copy(bytes)
  bytes.writeUInt32LE(sidecarFormatVersion, 8)
  return bytes
}

export function isSidecarHeader(bytes: Buffer): boolean {
  return bytes.subarray(0, SIDECAR_HEADER_BYTES).equals(encodeSidecarHeader())
}

export function encodeSectionHeader(kind: SectionKind, length: number, crc: number): Buffer {
  assert(length <= 0xffff_ffff, `a section of ${length} bytes`)
  const bytes = Buffer.alloc(SECTION_HEADER_BYTES)
  bytes.writeUInt16LE(kind, 0)
  bytes.writeUInt32LE(length, 4)
  bytes.writeUInt32LE(crc, 8)
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, SECTION_HEADER_CRC)), SECTION_HEADER_CRC)
  return bytes
}

export interface SectionHeader {
  readonly kind: number
  readonly length: number
  readonly crc: number
}

/** Undefined when the bytes are not a section header. */
export function decodeSectionHeader(bytes: Buffer): SectionHeader | undefined {
  if (bytes.readUInt32LE(SECTION_HEADER_CRC) !== crc32c(bytes.subarray(0, SECTION_HEADER_CRC))) return undefined
  return { kind: bytes.readUInt16LE(0), length: bytes.readUInt32LE(4), crc: bytes.readUInt32LE(8) }
}

export function encodeFooter(footer: Omit<Footer, 'checksum'>): Buffer {
  assert(footer.topicId.length === 16)
  const bytes = Buffer.alloc(FOOTER_BYTES)
  FOOTER_MAGIC.copy(bytes)
  bytes.writeUInt32LE(sidecarFormatVersion, 8)
  bytes.writeUInt32LE(footer.partition, 12)
  footer.topicId.copy(bytes, 16)
  writeU64LE(bytes, 32, footer.baseOffset)
  writeU64LE(bytes, 40, footer.nextOffset)
  writeU64LE(bytes, 48, footer.batches)
  writeU64LE(bytes, 56, footer.records)
  writeU64LE(bytes, 64, footer.streams)
  bytes.writeDoubleLE(footer.maxTimestamp, 72)
  writeU64LE(bytes, 80, footer.firstAppendTimeMs)
  writeU64LE(bytes, 88, footer.lastAppendTimeMs)
  writeU64LE(bytes, 96, footer.segmentBytes)
  writeU64LE(bytes, 104, footer.bodyBytes)
  bytes.writeUInt32LE(footer.leaderEpoch, 112)
  bytes.writeUInt32LE(footer.segmentChecksum, 116)
  bytes.writeUInt32LE(footer.previousChecksum, 120)
  bytes.writeUInt32LE(footer.bodyChecksum, 124)
  bytes.writeUInt16LE(footer.compaction, 128)
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, FOOTER_CRC)), FOOTER_CRC)
  return bytes
}

/** Undefined when the bytes are not a sound footer of this version. */
export function decodeFooter(bytes: Buffer): Footer | undefined {
  if (bytes.length !== FOOTER_BYTES || !bytes.subarray(0, 8).equals(FOOTER_MAGIC)) return undefined
  const checksum = bytes.readUInt32LE(FOOTER_CRC)
  if (checksum !== crc32c(bytes.subarray(0, FOOTER_CRC)) || bytes.readUInt32LE(8) !== sidecarFormatVersion)
    return undefined
  return {
    partition: bytes.readUInt32LE(12),
    topicId: Buffer.from(bytes.subarray(16, 32)),
    baseOffset: readU64LE(bytes, 32),
    nextOffset: readU64LE(bytes, 40),
    batches: readU64LE(bytes, 48),
    records: readU64LE(bytes, 56),
    streams: readU64LE(bytes, 64),
    maxTimestamp: bytes.readDoubleLE(72),
    firstAppendTimeMs: readU64LE(bytes, 80),
    lastAppendTimeMs: readU64LE(bytes, 88),
    segmentBytes: readU64LE(bytes, 96),
    bodyBytes: readU64LE(bytes, 104),
    leaderEpoch: bytes.readUInt32LE(112),
    segmentChecksum: bytes.readUInt32LE(116),
    previousChecksum: bytes.readUInt32LE(120),
    bodyChecksum: bytes.readUInt32LE(124),
    compaction: bytes.readUInt16LE(128),
    checksum,
  }
}
