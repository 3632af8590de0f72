/**
 * CloudEvents 1.0 (structured and batch mode) <-> events. The stream is the path's. A CloudEvent is told from others by its source and id: where the
 * id is no UUID, the event's id is made of both. Attributes without a place of their own are metadata under `ce-` and their name, and
 * become attributes again when the event is read as a CloudEvent.
 */
import { createHash } from 'node:crypto'
import { PlayheadError } from '../../protocol/errors.ts'
import type { EventInput, StreamEvent } from '../../protocol/event.ts'
import { UUID_BYTES, formatUuid } from '../../protocol/uuid.ts'
import type { CloudEvent } from './schemas.ts'

export const cloudEventType = 'application/cloudevents+json'
export const cloudEventsType = 'application/cloudevents-batch+json'

const attributePrefix = 'ce-'
const ownAttributes: ReadonlySet<string> = new Set([
  'specversion',
  'type',
  'time',
  'datacontenttype',
  'data',
  'data_base64',
])
const uuidText = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i
const attributeName = /^[a-z0-9]{1,64}$/
const base64Text = /^[A-Za-z0-9+/]*={0,2}$/

/** Throws invalidEvent. */
export function eventOfCloud(cloud: CloudEvent): EventInput {
  const metadata: Record<string, string> = {}
  for (const [name, value] of Object.entries(cloud)) {
    if (ownAttributes.has(name) || value === null) continue
    if (!attributeName.test(name))
      throw invalid(`attribute ${JSON.stringify(name.slice(0, 64))}`, 'lower-case letters and digits')
    if (name !== 'id' || !uuidText.test(cloud.id))
      metadata[`${attributePrefix}${name}`] = typeof value === 'string' ? value : JSON.stringify(value)
  }
  const id = uuidText.test(cloud.id) ? cloud.id : derivedId(`${cloud.source}\n${cloud.id}`)
  const { type, time, datacontenttype } = cloud
  return {
    type,
    id,
    metadata,
    data: dataOf(cloud),
    ...(time !== undefined && { timestamp: time }),
    ...contentTypeOf(cloud, datacontenttype),
  }
}

/** `source`: of events that were not CloudEvents when they came. */
export function cloudOfEvent(event: StreamEvent, source: string): CloudEvent {
  const attributes: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(event.metadata)) {
    const attribute = name.startsWith(attributePrefix) ? name.slice(attributePrefix.length) : ''
    if (attributeName.test(attribute) && !ownAttributes.has(attribute)) attributes[attribute] = value
  }
  return {
    specversion: '1.0',
    id: event.id ?? `${event.partition}-${event.offset}`,
    source,
    type: event.type ?? 'unknown',
    subject: event.stream ?? '',
    time: event.timestamp,
    datacontenttype: event.contentType ?? 'application/json',
    ...(event.dataBase64 === undefined ? { data: event.data } : { data_base64: event.dataBase64 }),
    ...attributes,
  }
}

/** A UUID (version 8: of our own making) that is always the same for the same text. */
export function derivedId(text: string): string {
  const id = createHash('sha256').update(text).digest().subarray(0, UUID_BYTES)
  id[6] = 0x80 | (id[6]! & 0x0f)
  id[8] = 0x80 | (id[8]! & 0x3f)
  return formatUuid(id)
}

function dataOf({ data, data_base64: base64 }: CloudEvent): unknown {
  if (base64 === undefined) return data
  if (data !== undefined) throw invalid('data and data_base64', 'one of them')
  if (base64.length % 4 !== 0 || !base64Text.test(base64)) throw invalid('data_base64', 'base64')
  return Buffer.from(base64, 'base64')
}

/** Data without a content type is JSON; text of another type is kept as it is, and so are bytes. */
function contentTypeOf({ data_base64: base64, data }: CloudEvent, type: string | undefined): { contentType?: string } {
  if (type === undefined) return base64 === undefined ? {} : { contentType: 'application/octet-stream' }
  if (base64 === undefined && typeof data !== 'string' && data !== undefined && !/json/i.test(type))
    throw invalid(
      `datacontenttype ${JSON.stringify(type.slice(0, 64))} with data that is no text`,
      'text, or data_base64',
    )
  return { contentType: type }
}

function invalid(found: string, wanted: string): PlayheadError {
  return new PlayheadError('invalidEvent', `CloudEvent: found ${found}, wanted ${wanted}; see docs/http.md`)
}
