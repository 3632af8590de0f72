/**
 * Record: one entry of a record batch, as Kafka lays it out. All numbers are zig-zag varints (varint.ts); -1 as a length = null.
 *
 *   | length | attributes 0 | timestamp delta | offset delta | key length | key … | value length | value … | header count | headers … |
 *                                                                                    header: | name length | name … | value length | value … |
 *
 * `length` counts everything after itself. Deltas are to the batch's base timestamp and base offset.
 * Decoding is total: any bytes give records or invalidBatch. Neighbours: record-batch.ts reads, record-batch-builder.ts writes.
 */
import { VARINT_BYTES_MAX, VarintReader, varintBytes, writeVarint } from './varint.ts'

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

/** What a record to be written holds; an absent key is null. Text is written as UTF-8. */
export interface RecordContent {
  readonly key?: string | Buffer | null
  readonly value: string | Buffer | null
  readonly headers?: readonly RecordInputHeader[] | undefined
}

/** A record to be written. */
export interface RecordInput extends RecordContent {
  readonly key: string | Buffer | null
  /** ms since the epoch. */
  readonly timestamp: number
}

/** The shortest record: a byte for each of its seven fields. */
export const RECORD_BYTES_MIN = 7

/** Bytes of a key or a value; -1 = null. Found once per record, as of text it costs as much as writing it. */
export function blobBytes(blob: string | Buffer | null | undefined): number {
  if (blob === null || blob === undefined) return -1
  return typeof blob === 'string' ? textBytes(blob) : blob.length
}

/** Room that a record may need at most whose packed bytes are so many. */
export function packedRoomBytes(packedBytes: number): number {
  return RECORD_FIELDS_ROOM + packedBytes
}

/** Room that a record may need at most, `keyBytes` and `valueBytes` being those of its blobs. */
export function recordRoomBytes(record: RecordContent, keyBytes: number, valueBytes: number): number {
  const room = RECORD_FIELDS_ROOM + Math.max(keyBytes, 0) + Math.max(valueBytes, 0)
  return record.headers === undefined ? room : room + headersRoomBytes(record.headers)
}

/**
 * Writes a record at `at`, where there is room (see recordRoomBytes); answers the position after it. In one pass: the body goes behind as
 * many bytes as its length will probably take, and moves in the rare case that it takes others.
 */
export function writeRecord(
  bytes: Buffer,
  at: number,
  record: RecordContent,
  keyBytes: number,
  valueBytes: number,
  timestampDelta: number,
  offsetDelta: number,
): number {
  const { headers } = record
  const guess = keyBytes + valueBytes + (headers === undefined ? 8 : 8 + headers.length * HEADER_BYTES_USUAL)
  const bodyAt = at + (guess < 0x40 ? 1 : guess < 0x2000 ? 2 : varintBytes(guess))
  let end = bodyAt
  bytes[end++] = 0
  end = writeVarint(bytes, end, timestampDelta)
  end = writeVarint(bytes, end, offsetDelta)
  end = writeBlob(bytes, end, record.key, keyBytes)
  end = writeBlob(bytes, end, record.value, valueBytes)
  if (headers === undefined) bytes[end++] = 0
  else end = writeHeaders(bytes, end, headers)
  const bodyBytes = end - bodyAt
  const lengthBytes = varintBytes(bodyBytes)
  if (at + lengthBytes !== bodyAt) {
    bytes.copyWithin(at + lengthBytes, bodyAt, end)
    end = at + lengthBytes + bodyBytes
  }
  writeVarint(bytes, at, bodyBytes)
  return end
}

function headersRoomBytes(headers: readonly RecordInputHeader[]): number {
  let room = VARINT_BYTES_MAX
  for (let index = 0; index < headers.length; index++) {
    const { key, value } = headers[index]!
    room += 2 * VARINT_BYTES_MAX + key.length * UTF8_BYTES_MAX
    if (value !== null) room += typeof value === 'string' ? value.length * UTF8_BYTES_MAX : value.length
  }
  return room
}

function writeHeaders(bytes: Buffer, at: number, headers: readonly RecordInputHeader[]): number {
  at = writeVarint(bytes, at, headers.length)
  for (let index = 0; index < headers.length; index++) {
    const { key, value } = headers[index]!
    at = writeHeaderText(bytes, at, key)
    at = typeof value === 'string' ? writeHeaderText(bytes, at, value) : writeBlob(bytes, at, value, blobBytes(value))
  }
  return at
}

/**
 * A record with what follows its deltas as it stands in its batch. Key, value and headers are decoded when they are asked for, and throw invalidBatch then:
 * whoever sends the record on does not ask.
 */
export class PackedRecord implements LogRecord {
  readonly offset: number
  readonly timestamp: number
  /** From the key's length to the end of the record. */
  readonly packed: Buffer
  #content: Pick<LogRecord, 'key' | 'value' | 'headers'> | undefined

  constructor(offset: number, timestamp: number, packed: Buffer) {
    this.offset = offset
    this.timestamp = timestamp
    this.packed = packed
  }

  get key(): Buffer | null {
    return this.#unpacked().key
  }

  get value(): Buffer | null {
    return this.#unpacked().value
  }

  get headers(): RecordHeader[] {
    return this.#unpacked().headers
  }

  #unpacked() {
    if (this.#content !== undefined) return this.#content
    const reader = new VarintReader(this.packed, 0, this.packed.length)
    this.#content = { key: readBlob(reader), value: readBlob(reader), headers: readHeaders(reader) }
    return this.#content
  }
}

/** As writeRecord. */
export function writePacked(
  bytes: Buffer,
  at: number,
  packed: Buffer,
  timestampDelta: number,
  offsetDelta: number,
): number {
  at = writeVarint(bytes, at, 1 + varintBytes(timestampDelta) + varintBytes(offsetDelta) + packed.length)
  bytes[at++] = 0
  at = writeVarint(bytes, at, timestampDelta)
  at = writeVarint(bytes, at, offsetDelta)
  return at + packed.copy(bytes, at)
}

/** The headers of the record that ends where the reader does, which moves there. Throws invalidBatch. */
export function readHeaders(reader: VarintReader): RecordHeader[] {
  const { bytes, end } = reader
  const headerCount = reader.next()
  if (headerCount < 0 || headerCount > (end - reader.at) / 2)
    throw reader.invalid(`${headerCount} headers`, 'no more than fit')
  const headers: RecordHeader[] = []
  for (let index = 0; index < headerCount; index++) {
    const nameBytes = reader.skip(0)
    const name = headerName(bytes, reader.at - nameBytes, reader.at)
    headers.push({ key: name, value: readBlob(reader) })
  }
  if (reader.at !== end) throw reader.invalid(`${end - reader.at} bytes too many`, 'the end of the record')
  return headers
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

/** A key or a value at the reader's place, as a slice. Throws invalidBatch. */
export function readBlob(reader: VarintReader): Buffer | null {
  const length = reader.skip(-1)
  return length < 0 ? null : reader.bytes.subarray(reader.at - length, reader.at)
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

function writeBlob(bytes: Buffer, at: number, blob: string | Buffer | null | undefined, length: number): number {
  at = writeVarint(bytes, at, length)
  if (length <= 0) return at
  if (typeof blob === 'string') writeText(bytes, at, blob, length)
  else if (length > SHORT_BLOB) bytes.set(blob!, at)
  else for (let index = 0; index < length; index++) bytes[at + index] = blob![index]!
  return at + length
}

function writeText(bytes: Buffer, at: number, text: string, length: number): void {
  // As many bytes as characters: ASCII, which the runtime writes three times as fast as Latin-1 than as UTF-8.
  if (length !== text.length) bytes.write(text, at, length, 'utf8')
  else if (length > SHORT_TEXT) bytes.write(text, at, length, 'latin1')
  else for (let index = 0; index < length; index++) bytes[at + index] = text.charCodeAt(index)
}

/** Text that is nearly always a few ASCII characters: written while it is looked at. */
function writeHeaderText(bytes: Buffer, at: number, text: string): number {
  const { length } = text
  if (length > SHORT_TEXT) return writeBlob(bytes, at, text, textBytes(text))
  let seen = 0
  for (let index = 0; index < length; index++) {
    const code = text.charCodeAt(index)
    seen |= code
    bytes[at + 1 + index] = code
  }
  if (seen > 0x7f) return writeBlob(bytes, at, text, textBytes(text))
  bytes[at] = length << 1
  return at + 1 + length
}

/** Up to here a loop beats a call into the runtime: over ASCII text, and over bytes. The length of either takes one byte. */
const SHORT_TEXT = 16
const SHORT_BLOB = 32
const UTF8_BYTES_MAX = 3
/** Length, attributes, two deltas, two lengths, and a count of headers. */
const RECORD_FIELDS_ROOM = 7 * VARINT_BYTES_MAX
const HEADER_BYTES_USUAL = 20

/** Bytes of the text as UTF-8. */
function textBytes(text: string): number {
  if (text.length > SHORT_TEXT) return Buffer.byteLength(text)
  for (let index = 0; index < text.length; index++) if (text.charCodeAt(index) > 0x7f) return Buffer.byteLength(text)
  return text.length
}
