/**
 * Event <-> record: key = stream name, value = payload, headers `type`, `id` (16 raw bytes), `tag` (repeatable), `content-type` when it
 * is not application/json; every other header is the user's metadata. Decoding never fails: a record that was not written as an event
 * shows as one with what it has.
 */
import { PlayheadError, isPlayheadError } from './errors.ts'
import { isDeeperThan } from './json-depth.ts'
import {
  eventTypeBytesMax,
  jsonDepthMax,
  metadataNameBytesMax,
  metadataPerEventMax,
  tagBytesMax,
  tagsPerEventMax,
} from './limits.ts'
import { checkStream } from './names.ts'
import type { LogRecord, RecordInput, RecordInputHeader } from './record.ts'
import { formatTime, parseTime, timestampMax } from './time.ts'
import { UUID_BYTES, formatUuid, parseUuid } from './uuid.ts'

/** An event to be appended. */
export interface EventInput {
  /** What happened, e.g. `ItemAdded`; 1 to 256 bytes. */
  readonly type: string
  /** Anything JSON can hold; text or bytes where `contentType` is not JSON. Bytes alone are `application/octet-stream`. */
  readonly data?: unknown
  /** A UUID; default: a new UUIDv7. */
  readonly id?: string
  /** At most 16, each 1 to 256 bytes. */
  readonly tags?: readonly string[]
  /** Default `application/json`. */
  readonly contentType?: string
  /** At most 64 entries; names are 1 to 256 bytes, and not type, id, tag, content-type or v. */
  readonly metadata?: Readonly<Record<string, string>>
  /** When it happened: a Date, ms since the epoch, or a text for parseTime; default: now. */
  readonly timestamp?: Date | number | string
}

/** An event as it is read. */
export interface StreamEvent {
  /** null for a record without a key. */
  stream: string | null
  /** Its place in the stream, from 0; null where it was not asked for. */
  version: number | null
  offset: number
  partition: number
  /** When it happened: ISO-8601, UTC, milliseconds. */
  timestamp: string
  type: string | null
  id: string | null
  tags: string[]
  /** Of JSON content; null for other content, which is in dataBase64. */
  data: unknown
  /** Only for content that is not JSON. */
  dataBase64?: string
  /** Only where it is not application/json. */
  contentType?: string
  metadata: Record<string, string>
}

const JSON_TYPE = 'application/json'
const BYTES_TYPE = 'application/octet-stream'
/** Header names with a meaning of their own; `v` carries the version of a record that compaction keeps. */
const reservedNames: ReadonlySet<string> = new Set(['type', 'id', 'tag', 'content-type', 'v'])

/** The record of an event. Throws invalidEvent, or invalidStream. `defaults.id`: 16 bytes, used when the event names no id. */
export function encodeEvent(
  stream: string,
  input: EventInput,
  defaults: { readonly id: Buffer; readonly timestampMs: number },
): RecordInput {
  checkStream(stream)
  checkText('type', input.type, eventTypeBytesMax)
  const headers: RecordInputHeader[] = [
    { key: 'type', value: input.type },
    { key: 'id', value: input.id === undefined ? defaults.id : parseUuid(input.id) },
  ]
  if (input.tags !== undefined) addTags(headers, input.tags)
  const contentType = input.contentType ?? (input.data instanceof Uint8Array ? BYTES_TYPE : JSON_TYPE)
  if (contentType !== JSON_TYPE) {
    checkText('contentType', contentType, metadataNameBytesMax)
    headers.push({ key: 'content-type', value: contentType })
  }
  if (input.metadata !== undefined) addMetadata(headers, input.metadata)
  return {
    key: stream,
    value: isJson(contentType) ? jsonOf(input.data) : rawOf(input.data, contentType),
    headers,
    timestamp: input.timestamp === undefined ? defaults.timestampMs : timestampOf(input.timestamp),
  }
}

/** The event in a record; `version` as the caller knows it. */
export function decodeEvent(record: LogRecord, partition: number, version: number | null): StreamEvent {
  let type: string | null = null
  let id: string | null = null
  let contentType = JSON_TYPE
  const tags: string[] = []
  const metadata: [string, string][] = []
  for (const { key, value } of record.headers) {
    if (key === 'id') id = value?.length === UUID_BYTES ? formatUuid(value) : null
    else if (key === 'type') type = value?.toString() ?? null
    else if (key === 'tag') tags.push(value?.toString() ?? '')
    else if (key === 'content-type') contentType = value?.toString() ?? JSON_TYPE
    else if (key !== 'v') metadata.push([key, value?.toString() ?? ''])
  }
  const event: StreamEvent = {
    stream: record.key === null ? null : record.key.toString(),
    version,
    offset: record.offset,
    partition,
    timestamp: formatTime(record.timestamp),
    type,
    id,
    tags,
    data: null,
    metadata: Object.fromEntries(metadata),
  }
  if (record.value === null) return event
  if (!isJson(contentType) || !parseInto(event, record.value)) event.dataBase64 = record.value.toString('base64')
  if (contentType !== JSON_TYPE) event.contentType = contentType
  return event
}

/** The event as one line of JSON, without the line end. Fields are always in this order; what is absent is null. */
export function eventLine(event: StreamEvent): string {
  const { stream, version, offset, partition, timestamp, type, id, tags, data, dataBase64, contentType, metadata } =
    event
  const head = { stream, version, offset, partition, timestamp, type, id, tags }
  return JSON.stringify(
    dataBase64 === undefined
      ? { ...head, data, metadata }
      : { ...head, dataBase64, contentType: contentType ?? JSON_TYPE, metadata },
  )
}

function addTags(headers: RecordInputHeader[], tags: readonly string[]): void {
  if (tags.length > tagsPerEventMax) throw invalid('tags', `${tags.length}`, `at most ${tagsPerEventMax}`)
  for (const tag of tags) {
    checkText('tag', tag, tagBytesMax)
    headers.push({ key: 'tag', value: tag })
  }
}

function addMetadata(headers: RecordInputHeader[], metadata: Readonly<Record<string, string>>): void {
  const entries = Object.entries(metadata)
  if (entries.length > metadataPerEventMax)
    throw invalid('metadata', `${entries.length} entries`, `at most ${metadataPerEventMax}`)
  for (const [key, value] of entries) {
    checkText('metadata name', key, metadataNameBytesMax)
    if (reservedNames.has(key)) throw invalid('metadata name', `"${key}"`, "another one: this name is the event's own")
    if (typeof value !== 'string') throw invalid(`metadata "${key}"`, describe(value), 'text')
    headers.push({ key, value })
  }
}

function checkText(thing: string, text: unknown, bytesMax: number): void {
  if (typeof text !== 'string') throw invalid(thing, describe(text), 'text')
  const bytes = Buffer.byteLength(text)
  if (bytes === 0 || bytes > bytesMax) throw invalid(thing, `${bytes} bytes`, `1 to ${bytesMax}`)
}

/** `application/json`, anything `+json`, with or without parameters. */
function isJson(contentType: string): boolean {
  if (contentType === JSON_TYPE) return true
  if (contentType === BYTES_TYPE) return false
  const essence = contentType.split(';', 1)[0]!.trim().toLowerCase()
  return essence === JSON_TYPE || essence.endsWith('+json')
}

function jsonOf(data: unknown): string | Buffer {
  if (data instanceof Uint8Array) {
    const bytes = bufferOf(data)
    try {
      JSON.parse(bytes.toString())
    } catch {
      throw invalid('data', 'bytes that are not JSON', 'JSON, as the content type says')
    }
    return checkDepth(bytes)
  }
  if (data === undefined) return 'null'
  let text: string | undefined
  try {
    text = JSON.stringify(data)
  } catch (error) {
    throw invalid('data', error instanceof Error ? error.message : String(error), 'what JSON can hold')
  }
  if (text === undefined) throw invalid('data', describe(data), 'what JSON can hold')
  return text.length <= 2 * jsonDepthMax ? text : checkDepth(Buffer.from(text))
}

function checkDepth(json: Buffer): Buffer {
  if (!isDeeperThan(json, jsonDepthMax)) return json
  throw invalid('data', `JSON nested more than ${jsonDepthMax} deep`, 'at most that')
}

function rawOf(data: unknown, contentType: string): string | Buffer {
  if (typeof data === 'string') return data
  if (data instanceof Uint8Array) return bufferOf(data)
  throw invalid('data', describe(data), `text or bytes for content type ${contentType}`)
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function timestampOf(timestamp: Date | number | string): number {
  const ms = typeof timestamp === 'string' ? textTime(timestamp) : Math.trunc(Number(timestamp))
  if (Math.abs(ms) <= timestampMax) return ms
  throw invalid('timestamp', JSON.stringify(timestamp), 'a date, ms since the epoch, or ISO-8601 text')
}

function textTime(timestamp: string): number {
  try {
    return parseTime(timestamp)
  } catch (error) {
    if (isPlayheadError(error)) return Number.NaN
    throw error
  }
}

/** False for what is no JSON, and for what is too deep for those who get it to write it out again. */
function parseInto(event: StreamEvent, value: Buffer): boolean {
  try {
    if (isDeeperThan(value, jsonDepthMax)) return false
    event.data = JSON.parse(value.toString())
    return true
  } catch {
    return false
  }
}

function describe(value: unknown): string {
  return value === null ? 'null' : typeof value
}

function invalid(thing: string, found: string, wanted: string): PlayheadError {
  return new PlayheadError('invalidEvent', `event ${thing}: found ${found}, wanted ${wanted}`)
}
