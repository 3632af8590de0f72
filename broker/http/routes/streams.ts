/**
 * /api/topics/{topic}/streams/{stream}: append events to a stream, read them. The same calls, and so the same rules, as the native
 * protocol's append and readStream.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { PlayheadError } from '../../../protocol/errors.ts'
import { decodeEvent, encodeEvent } from '../../../protocol/event.ts'
import type { EventInput } from '../../../protocol/event.ts'
import { eventsPerPostMax, eventsPerReadMax } from '../../../protocol/limits.ts'
import { encodeRecordBatch } from '../../../protocol/record-batch.ts'
import { streamResource } from '../../../protocol/rights.ts'
import type { Operation } from '../../../protocol/rights.ts'
import { parseTime } from '../../../protocol/time.ts'
import { uuidV7 } from '../../../protocol/uuid.ts'
import { refuseInternalTopic } from '../../handlers/append.ts'
import type { Services } from '../../request.ts'
import type { Session } from '../../security/session.ts'

interface StreamPath {
  topic: string
  stream: string
}

type Query = Readonly<Record<string, string | string[] | undefined>>

const path = '/api/topics/:topic/streams/:stream'
const limitDefault = 1_000

const eventSchema = {
  type: 'object',
  required: ['type'],
  additionalProperties: false,
  properties: {
    type: { type: 'string' },
    data: {},
    id: { type: 'string' },
    tags: { type: 'array', items: { type: 'string' } },
    contentType: { type: 'string' },
    metadata: { type: 'object', additionalProperties: { type: 'string' } },
    timestamp: { type: ['string', 'number'] },
  },
}
const bodySchema = {
  if: { type: 'array' },
  // eslint-disable-next-line unicorn/no-thenable -- a keyword of JSON Schema
  then: { type: 'array', items: eventSchema, minItems: 1, maxItems: eventsPerPostMax },
  else: eventSchema,
}

export function streamRoutes(server: FastifyInstance, services: Services): void {
  server.post<{ Params: StreamPath; Querystring: Query; Body: EventInput | EventInput[] }>(
    path,
    { schema: { body: bodySchema }, config: { rights: rightsTo('append') } },
    async (request, reply) => {
      const query = queryOf(request.query, ['expectedVersion'])
      const result = await appendEvents(services, request.params, request.body, query.expectedVersion)
      return reply.code(201).send(result)
    },
  )
  server.get<{ Params: StreamPath; Querystring: Query }>(
    path,
    { config: { rights: rightsTo('read') } },
    async (request) =>
      readEvents(services, request.params, queryOf(request.query, ['from', 'limit', 'backwards', 'asOf', 'knownAt'])),
  )
}

function rightsTo(operation: Operation) {
  return (session: Session, { params }: FastifyRequest): void => {
    const { topic, stream } = params as StreamPath
    session.require(operation, streamResource(topic, stream))
  }
}

async function appendEvents(
  services: Services,
  { topic, stream }: StreamPath,
  body: EventInput | EventInput[],
  expectedVersion: string | undefined,
) {
  refuseInternalTopic(topic)
  const partition = services.partitions.ofStream(topic, stream)
  const nowMs = services.clock.now()
  const events = Array.isArray(body) ? body : [body]
  const records = events.map((event) =>
    encodeEvent(stream, event, { id: uuidV7(services.random.bytes(10), nowMs), timestampMs: nowMs }),
  )
  const version = expectedVersionOf(expectedVersion)
  const { baseOffset, versions } = await partition.append({
    batch: encodeRecordBatch(records),
    expected: version === undefined ? [] : [{ stream, version }],
    wantVersions: true,
    acks: 'all',
  })
  const place = { partition: partition.partition, offset: baseOffset }
  return Array.isArray(body) ? { ...place, versions } : { ...place, version: versions[0] }
}

async function readEvents(
  services: Services,
  { topic, stream }: StreamPath,
  query: Record<string, string | undefined>,
) {
  const partition = services.partitions.ofStream(topic, stream)
  const read = await partition.readStream({
    stream,
    from: integerOf('from', query.from, 0, Number.MAX_SAFE_INTEGER),
    limit: integerOf('limit', query.limit, 1, eventsPerReadMax) ?? limitDefault,
    backwards: booleanOf('backwards', query.backwards),
    asOf: query.asOf === undefined ? undefined : parseTime(query.asOf),
    knownAt: query.knownAt === undefined ? undefined : parseTime(query.knownAt),
    maxBytes: services.config.fetchBytesMax,
  })
  // The log answers in offset order in both directions; a reader who goes backwards wants the last event first.
  const events = read.records.map((record, index) =>
    decodeEvent(record, partition.partition, read.versions[index] ?? null),
  )
  if (query.backwards !== undefined && booleanOf('backwards', query.backwards)) events.reverse()
  return {
    events,
    lastVersion: read.lastVersion,
    ...(read.nextVersion !== undefined && { nextVersion: read.nextVersion }),
  }
}

/** Names are checked: a misspelt condition must not become no condition. */
function queryOf(query: Query, known: readonly string[]): Record<string, string | undefined> {
  const values: Record<string, string | undefined> = {}
  for (const [name, value] of Object.entries(query)) {
    if (!known.includes(name)) throw invalid(`found ${JSON.stringify(name)}, wanted one of ${known.join(', ')}`)
    if (typeof value !== 'string') throw invalid(`${name}: found it several times, wanted it once`)
    values[name] = value
  }
  return values
}

function expectedVersionOf(text: string | undefined): number | undefined {
  if (text === undefined || text === 'any') return undefined
  if (text === 'none') return -1
  if (/^\d{1,16}$/.test(text) && Number.isSafeInteger(Number(text))) return Number(text)
  throw new PlayheadError(
    'invalidExpectedVersion',
    `expectedVersion: found ${JSON.stringify(text)}, wanted an integer from 0, none or any`,
  )
}

function integerOf(name: string, text: string | undefined, min: number, max: number): number | undefined {
  if (text === undefined) return undefined
  if (/^\d{1,16}$/.test(text) && Number(text) >= min && Number(text) <= max) return Number(text)
  throw invalid(`${name}: found ${JSON.stringify(text)}, wanted an integer from ${min} to ${max}`)
}

function booleanOf(name: string, text: string | undefined): boolean {
  if (text === undefined || text === 'false') return false
  if (text === 'true' || text === '') return true
  throw invalid(`${name}: found ${JSON.stringify(text)}, wanted true or false`)
}

function invalid(what: string): PlayheadError {
  return new PlayheadError('invalidArgument', `query: ${what}`)
}
