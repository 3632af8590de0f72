/**
 * /api/topics/{topic}/streams…: append events to a stream, read them, list streams by prefix. The same calls, and so the same rules, as the
 * native protocol's append, readStream and listStreams.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { PlayheadError } from '../../../protocol/errors.ts'
import { decodeEvent, encodeEvent } from '../../../protocol/event.ts'
import type { EventInput, StreamEvent } from '../../../protocol/event.ts'
import type { RequestOf } from '../../../protocol/api.ts'
import { encodeRecordBatch } from '../../../protocol/record-batch.ts'
import { streamResource } from '../../../protocol/rights.ts'
import type { Operation } from '../../../protocol/rights.ts'
import type { Appended as AppendedGroup } from '../../../storage/log.ts'
import { refuseInternalTopic } from '../../handlers/append.ts'
import { sees } from '../../handlers/fetch.ts'
import { listStreams } from '../../handlers/stream.ts'
import type { Services } from '../../request.ts'
import { AppendOnce } from '../append-once.ts'
import type { OnceResult } from '../append-once.ts'
import { cloudEventType, cloudEventsType, cloudOfEvent, derivedId, eventOfCloud } from '../cloud-events.ts'
import { EventIds } from '../event-ids.ts'
import { expectedVersionOf } from '../expected-version.ts'
import { asNative } from '../guard.ts'
import type { RouteRights } from '../guard.ts'
import { nativeCall } from '../native-call.ts'
import { optionalTime } from '../read-start.ts'
import type { HttpRoutes } from '../http-routes.ts'
import * as schemas from '../schemas.ts'
import type { Appended, CloudEvent, OneOrMoreEvents, ReadQuery } from '../schemas.ts'

interface StreamPath {
  readonly topic: string
  readonly stream: string
}

const path = '/api/topics/:topic/streams/:stream'
const readLimitDefault = 1_000
const listLimitDefault = 100
const keyCharactersMax = 256

export function streamRoutes(server: HttpRoutes, services: Services): void {
  const once = new AppendOnce()
  const ids = new EventIds(services)
  server.post(path, { schema: appendSchema, config: { rights: rightsTo('append') } }, async (request, reply) => {
    const { params, query } = request
    const isCloud = isCloudEvents(request.mediaType)
    const body = request.body as OneOrMoreEvents | CloudEvent | CloudEvent[]
    const isArray = Array.isArray(body)
    const given = isArray ? body : [body]
    const events = isCloud ? (given as CloudEvent[]).map(eventOfCloud) : (given as EventInput[])
    const order = { ...params, events, expectedVersion: expectedVersionOf(query.expectedVersion) }
    request.body = undefined
    return appendEvents({ services, once, ids, order, key: idempotencyKey(request), isArray, reply })
  })
  server.get(
    path,
    { schema: readSchema, config: { rights: rightsTo('read') } },
    async ({ params, query, headers }, reply) => {
      const page = await readEvents(services, params, query)
      return headers.accept?.startsWith(cloudEventsType) === true ? sendAsCloud(reply, params, page) : page
    },
  )
  const listRights = asNative('listStreams', (request): RequestOf<'listStreams'> => {
    const { topic } = request.params as StreamPath
    const { prefix } = request.query as { readonly prefix?: unknown }
    // Not checked yet: whatever is no text is refused by the schema, and asks for all streams until then.
    const text = typeof prefix === 'string' ? prefix : ''
    return { topic, prefix: text, afterStream: undefined, limit: 1, partitions: undefined }
  })
  const listOptions = { schema: listSchema, config: { rights: listRights } }
  server.get('/api/topics/:topic/streams', listOptions, async (request) => {
    const { prefix = '', after, limit = listLimitDefault } = request.query
    const list = { topic: request.params.topic, prefix, afterStream: after, limit, partitions: undefined }
    return (await listStreams(list, nativeCall(services, request))).header
  })
}

function rightsTo(operation: Operation): RouteRights {
  return (session, { params }) => {
    const { topic, stream } = params as StreamPath
    session.require(operation, streamResource(topic, stream))
  }
}

const appendSchema = {
  summary: 'Append one event, or several that are appended together or not at all',
  params: schemas.streamPath,
  querystring: schemas.appendQuery,
  headers: schemas.appendHeaders,
  body: {
    content: {
      'application/json': { schema: schemas.oneOrMoreEvents },
      [cloudEventType]: { schema: schemas.cloudEvent },
      [cloudEventsType]: { schema: schemas.cloudEvents },
    },
  },
  response: { 200: schemas.appended, 201: schemas.appended, '4xx': schemas.problem },
}
const readSchema = {
  summary: 'Read the events of a stream: forwards, backwards, as of a moment',
  params: schemas.streamPath,
  querystring: schemas.readQuery,
  response: { 200: schemas.readAnswer, '4xx': schemas.problem },
}
const listSchema = {
  summary: 'List streams by prefix, in the order of their bytes',
  params: schemas.topicPath,
  querystring: schemas.listStreamsQuery,
  response: { 200: schemas.listStreamsAnswer, '4xx': schemas.problem },
}

interface AppendCall {
  readonly services: Services
  readonly once: AppendOnce
  readonly ids: EventIds
  readonly order: StreamPath & { readonly events: readonly EventInput[]; readonly expectedVersion: number | undefined }
  readonly key: string | undefined
  readonly isArray: boolean
  readonly reply: FastifyReply
}

/** Not an async function: one would keep the events, a hundred times as large as their batch while they are objects, until the batch is durable. */
function appendEvents({ services, once, ids, order, key, isArray, reply }: AppendCall): Promise<Appended> {
  const { topic, stream, events, expectedVersion } = order
  refuseInternalTopic(topic)
  const partition = services.partitions.ofStream(topic, stream)
  let isRepeatable = key !== undefined
  const records = events.map((event, index) => {
    if (event.id !== undefined) isRepeatable = true
    const named = key === undefined || event.id !== undefined ? event : { ...event, id: derivedId(`${key}\n${index}`) }
    return encodeEvent(stream, named, ids.next())
  })
  if (isRepeatable) return answerOnce(once.append({ partition, stream, records, expectedVersion }), isArray, reply)
  const appended = partition.append({
    batch: encodeRecordBatch(records),
    expected: expectedVersion === undefined ? [] : [{ stream, version: expectedVersion }],
    wantVersions: true,
    acks: 'all',
  })
  return answer(appended, partition.partition, isArray, reply)
}

async function answerOnce(result: Promise<OnceResult>, isArray: boolean, reply: FastifyReply): Promise<Appended> {
  const { repeated, versions, ...place } = await result
  if (repeated) void reply.header('idempotent-replayed', 'true')
  void reply.code(repeated ? 200 : 201)
  return isArray ? { ...place, versions: [...versions] } : { ...place, version: versions[0] }
}

async function answer(
  appended: Promise<AppendedGroup>,
  partition: number,
  isArray: boolean,
  reply: FastifyReply,
): Promise<Appended> {
  const { baseOffset, versions } = await appended
  void reply.code(201)
  const place = { partition, offset: baseOffset }
  return isArray ? { ...place, versions: [...versions] } : { ...place, version: versions[0] }
}

function sendAsCloud(
  reply: FastifyReply,
  { topic, stream }: StreamPath,
  { events, nextVersion }: ReadPage,
): FastifyReply {
  const source = `/api/topics/${encodeURIComponent(topic)}/streams/${encodeURIComponent(stream)}`
  if (nextVersion !== undefined) void reply.header('playhead-next-version', nextVersion)
  return reply.type(cloudEventsType).send(events.map((event) => cloudOfEvent(event, source)))
}

interface ReadPage {
  readonly events: StreamEvent[]
  readonly lastVersion: number
  readonly nextVersion?: number
}

async function readEvents(services: Services, { topic, stream }: StreamPath, query: ReadQuery): Promise<ReadPage> {
  const partition = services.partitions.ofStream(topic, stream)
  const { from, limit = readLimitDefault, backwards = false, asOf, knownAt, consistency } = query
  await sees(partition, consistency)
  await services.limitedStreams.ready(partition)
  const read = await partition.readStream({
    stream,
    from,
    limit,
    backwards,
    asOf: optionalTime(asOf),
    knownAt: optionalTime(knownAt),
    maxBytes: services.config.fetchBytesMax,
  })
  // The log answers in offset order in both directions; a reader who goes backwards wants the last event first.
  const events = read.records.map((record, index) =>
    decodeEvent(record, partition.partition, read.versions[index] ?? null),
  )
  if (backwards) events.reverse()
  const { lastVersion, nextVersion } = read
  return { events, lastVersion, ...(nextVersion !== undefined && { nextVersion }) }
}

/** As the schema of the body was chosen: in lower case, without parameters. */
function isCloudEvents(mediaType: string | undefined): boolean {
  return mediaType === cloudEventType || mediaType === cloudEventsType
}

function idempotencyKey({ headers }: FastifyRequest): string | undefined {
  const key = headers['idempotency-key']
  if (key === undefined) return undefined
  if (typeof key === 'string' && key.length > 0 && key.length <= keyCharactersMax) return key
  const message = `header idempotency-key: found ${String(key).length} characters, wanted 1 to ${keyCharactersMax}`
  throw new PlayheadError('invalidArgument', message)
}
