/**
 * Record: one entry of a record batch, as Kafka lays it out. All numbers are zig-zag varints (varint.ts); -1 as a length = null.
 *
 *   | length | attributes 0 | timestamp delta | offset delta | key length | key … | value length | value … | header count | headers … |
 *                                                                                    header: | name length | name … | value length | value … |
 *
 * `length` counts everything after itself. Deltas are to the batch's base timestamp and base offset.
 * Decoding is total: any bytes give records or invalidBatch. Neighbours: record-batch.ts reads, record-batch-builder.ts writes.
 */
import type { VarintReader } from './varint.ts'
import { varintBytes, writeVarint } from './varint.ts'

export interface RecordHeader {
  key: string
  value: Buffer | null
}

/** A record as it stands in a log. Key, value and header values are slices of the batch's memory. */
export interface LogRecord {
  offset: number
  /** The user's time, ms since the epoch. */
  timestamp: number
  key: Buffer | null
  value: Buffer | null
  headers: RecordHeader[]
}

export interface RecordInputHeader {
  readonly key: string
  readonly value: string | Buffer | null
}

/** A record to be written. Text is written as UTF-8. */
export interface RecordInput {
  readonly key: string | Buffer | null
  readonly value: string | Buffer | null
  readonly headers?: readonly RecordInputHeader[]
  /** ms since the epoch. */
  readonly timestamp: number
}

/** The shortest record: a byte for each of its seven fields. */
export const RECORD_BYTES_MIN = 7

/** Bytes of a record after its length field. */
export function recordBodyBytes(record: RecordInput, timestampDelta: number, offsetDelta: number): number {
  let count =
    1 + varintBytes(timestampDelta) + varintBytes(offsetDelta) + blobBytes(record.key) + blobBytes(record.value)
  const headers = record.headers
  if (headers === undefined) return count + 1
  count += varintBytes(headers.length)
  for (let index = 0; index < headers.length; index++) {
    const header = headers[index]!
    count += blobBytes(header.key) + blobBytes(header.value)
  }
  return count
}

/** Writes a record of `bodyBytes` (see recordBodyBytes) at `at`, where there is room; answers the position after it. */
export function writeRecord(
  bytes: Buffer,
  at: number,
  record: RecordInput,
  bodyBytes: number,
  timestampDelta: number,
  offsetDelta: number,
): number {
  at = writeVarint(bytes, at, bodyBytes)
  bytes[at++] = 0
  at = writeVarint(bytes, at, timestampDelta)
  at = writeVarint(bytes, at, offsetDelta)
  at = writeBlob(bytes, at, record.key)
  at = writeBlob(bytes, at, record.value)
  const headers = record.headers
  if (headers === undefined) {
    bytes[at] = 0
    return at + 1
  }
  at = writeVarint(bytes, at, headers.length)
  for (let index = 0; index < headers.length; index++) {
    const header = headers[index]!
    at = writeBlob(bytes, at, header.key)
    at = writeBlob(bytes, at, header.value)
  }
  return at
}

/** The record at the reader's place, which moves behind it. Throws invalidBatch. */
export function readRecord(reader: VarintReader, baseOffset: number, baseTimestamp: number): LogRecord {
  const { bytes } = reader
  const batchEnd = reader.end
  const bodyBytes = reader.length(0)
  const end = reader.at + bodyBytes
  reader.end = end
  if (bodyBytes < RECORD_BYTES_MIN - 1)
    throw reader.invalid(`a record of ${bodyBytes} bytes`, `at least ${RECORD_BYTES_MIN - 1}`)
  reader.at++ // attributes: unused by the format
  const timestamp = baseTimestamp + reader.next()
  const offset = baseOffset + reader.next()
  const key = readBlob(reader, bytes)
  const value = readBlob(reader, bytes)
  const headerCount = reader.next()
  if (headerCount < 0 || headerCount > (end - reader.at) / 2)
    throw reader.invalid(`${headerCount} headers`, 'no more than fit')
  const headers: RecordHeader[] = []
  for (let index = 0; index < headerCount; index++) {
    const nameBytes = reader.skip(0)
    const name = headerName(bytes, reader.at - nameBytes, reader.at)
    headers.push({ key: name, value: readBlob(reader, bytes) })
  }
  if (reader.at !== end) throw reader.invalid(`${end - reader.at} bytes too many`, 'the end of the record')
  reader.end = batchEnd
  return { offset, timestamp, key, value, headers }
}

/** Moves the reader over `headerCount` headers without looking at them. */
export function skipHeaders(reader: VarintReader, headerCount: number): void {
  if (headerCount < 0 || headerCount > (reader.end - reader.at) / 2)
    throw reader.invalid(`${headerCount} headers`, 'no more than fit')
  for (let index = 0; index < headerCount; index++) {
    reader.skip(0)
    reader.skip(-1)
  }
}

function readBlob(reader: VarintReader, bytes: Buffer): Buffer | null {
  const length = reader.skip(-1)
  return length < 0 ? null : bytes.subarray(reader.at - length, reader.at)
}

/** Nearly all headers are these; comparing a few bytes is cheaper than making text. */
const knownNames = ['id', 'tag', 'type', 'content-type'].map((name) => ({ name, bytes: Buffer.from(name) }))

function headerName(bytes: Buffer, at: number, end: number): string {
  for (let index = 0; index < knownNames.length; index++) {
    const known = knownNames[index]!
    if (known.bytes.length === end - at && sameBytes(known.bytes, bytes, at)) return known.name
  }
  return bytes.toString('utf8', at, end)
}

function sameBytes(wanted: Buffer, bytes: Buffer, at: number): boolean {
  for (let index = 0; index < wanted.length; index++) if (wanted[index] !== bytes[at + index]) return false
  return true
}

function blobBytes(blob: string | Buffer | null): number {
  if (blob === null) return 1
  const length = typeof blob === 'string' ? textBytes(blob) : blob.length
  return varintBytes(length) + length
}

function writeBlob(bytes: Buffer, at: number, blob: string | Buffer | null): number {
  if (blob === null) {
    bytes[at] = 1 // -1
    return at + 1
  }
  if (typeof blob !== 'string') {
    const { length } = blob
    at = writeVarint(bytes, at, length)
    if (length > SHORT_BLOB) bytes.set(blob, at)
    else for (let index = 0; index < length; index++) bytes[at + index] = blob[index]!
    return at + length
  }
  const length = textBytes(blob)
  at = writeVarint(bytes, at, length)
  if (length === blob.length && length <= SHORT_TEXT) {
    for (let index = 0; index < length; index++) bytes[at + index] = blob.charCodeAt(index)
    return at + length
  }
  return at + bytes.write(blob, at, length, 'utf8')
}

/** Up to here a loop beats a call into the runtime: over ASCII text, and over bytes. */
const SHORT_TEXT = 16
const SHORT_BLOB = 32

/** Bytes of the text as UTF-8. */
function textBytes(text: string): number {
  if (text.length > SHORT_TEXT) return Buffer.byteLength(text)
  for (let index = 0; index < text.length; index++) if (text.charCodeAt(index) > 0x7f) return Buffer.byteLength(text)
  return text.length
}
