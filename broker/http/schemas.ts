/**
 * Schemas: what HTTP requests and answers look like. The one source of validation (routes), of types (Static) and of the OpenAPI document
 * (api-document.ts). Answers are written as they are; test/broker/http-api.test.ts holds them against these.
 */
import type { Static, TProperties } from 'typebox'
import { eventsPerPostMax, eventsPerReadMax, partitionsMax, streamsPerListMax } from '../../protocol/limits.ts'
import { Type } from './schema.ts'

const exact = { additionalProperties: false }
/** A query or body takes what it names, and nothing else: a misspelt condition must never become no condition. */
const strict = <P extends TProperties>(properties: P) => Type.Object(properties, exact)

const count = Type.Integer({ minimum: 0 })
const offset = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })
const version = Type.Integer({ minimum: -1, maximum: Number.MAX_SAFE_INTEGER, description: '-1 = no event' })
const time = Type.String({
  description: 'ISO-8601 (UTC where no zone is given), or seconds or milliseconds since the epoch',
})

const consistency = Type.Union([Type.Literal('committed'), Type.Literal('linearizable')], {
  description: '`linearizable`: sees every append that was acknowledged before the request; default `committed`',
})

export const topicPath = Type.Object({ topic: Type.String() })
export const streamPath = Type.Object({ topic: Type.String(), stream: Type.String() })
export const partitionPath = Type.Object({ topic: Type.String(), partition: Type.Integer({ minimum: 0 }) })

export const newEvent = Type.Object(
  {
    type: Type.String({ description: '1 to 256 bytes' }),
    data: Type.Optional(Type.Unknown({ description: 'anything JSON can hold, nested at most 1,000 deep' })),
    id: Type.Optional(Type.String({ description: 'a UUID; one that the stream has already is not appended again' })),
    tags: Type.Optional(Type.Array(Type.String(), { description: 'at most 16, each 1 to 256 bytes' })),
    contentType: Type.Optional(
      Type.String({ description: 'default application/json; anything else takes data as text' }),
    ),
    metadata: Type.Optional(Type.Record(Type.String(), Type.String())),
    timestamp: Type.Optional(
      Type.Union([Type.String(), Type.Number()], { description: 'when it happened; default now' }),
    ),
  },
  { ...exact, title: 'NewEvent' },
)
export type NewEvent = Static<typeof newEvent>

/** CloudEvents 1.0, structured mode: the named attributes, data, and any extension as a text, a number or a boolean. */
export const cloudEvent = Type.Object(
  {
    specversion: Type.Literal('1.0'),
    id: Type.String({ minLength: 1 }),
    source: Type.String({ minLength: 1 }),
    type: Type.String({ minLength: 1 }),
    subject: Type.Optional(Type.String()),
    time: Type.Optional(Type.String()),
    datacontenttype: Type.Optional(Type.String()),
    dataschema: Type.Optional(Type.String()),
    data: Type.Optional(Type.Unknown()),
    data_base64: Type.Optional(Type.String()),
  },
  {
    additionalProperties: Type.Union([Type.String(), Type.Number(), Type.Boolean(), Type.Null()]),
    title: 'CloudEvent',
  },
)
export type CloudEvent = Static<typeof cloudEvent> & Readonly<Record<string, unknown>>

const many = { minItems: 1, maxItems: eventsPerPostMax }
/** One event, or several that are appended together or not at all. */
export const oneOrMoreEvents = Type.Union([newEvent, Type.Array(newEvent, many)])
export type OneOrMoreEvents = Static<typeof oneOrMoreEvents>
export const cloudEvents = Type.Array(cloudEvent, many)

export const appendQuery = strict({
  expectedVersion: Type.Optional(
    Type.String({ description: 'the version of the last event of the stream, `none`, or `any` (the default)' }),
  ),
})
export const appendHeaders = Type.Object({
  'idempotency-key': Type.Optional(
    Type.String({ description: '1 to 256 characters: the same request sent again with the same key appends nothing' }),
  ),
})
export const appended = Type.Object(
  {
    partition: count,
    offset,
    version: Type.Optional(count),
    versions: Type.Optional(Type.Array(count)),
  },
  { title: 'Appended', description: '`version` for one event, `versions` for an array' },
)
export type Appended = Static<typeof appended>

export const streamEvent = Type.Object(
  {
    stream: Type.Union([Type.String(), Type.Null()]),
    version: Type.Union([count, Type.Null()]),
    offset,
    partition: count,
    timestamp: Type.String(),
    type: Type.Union([Type.String(), Type.Null()]),
    id: Type.Union([Type.String(), Type.Null()]),
    tags: Type.Array(Type.String()),
    data: Type.Unknown(),
    dataBase64: Type.Optional(Type.String({ description: 'content that is not JSON' })),
    contentType: Type.Optional(Type.String()),
    metadata: Type.Record(Type.String(), Type.String()),
  },
  { title: 'Event', additionalProperties: false },
)

export const readQuery = strict({
  from: Type.Optional(
    Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description: 'first version to answer' }),
  ),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: eventsPerReadMax, description: 'default 1,000' })),
  backwards: Type.Optional(Type.Boolean({ description: 'the last event first' })),
  asOf: Type.Optional(time),
  knownAt: Type.Optional(time),
  consistency: Type.Optional(consistency),
})
export type ReadQuery = Static<typeof readQuery>
export const readAnswer = Type.Object(
  {
    events: Type.Array(streamEvent),
    lastVersion: version,
    nextVersion: Type.Optional(count),
  },
  { title: 'StreamPage' },
)

export const replayQuery = strict({
  from: Type.Optional(Type.String({ description: '`start` (the default), `end`, an offset, or a time' })),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: eventsPerReadMax, description: 'default 1,000' })),
  consistency: Type.Optional(consistency),
})
export const replayAnswer = Type.Object(
  {
    events: Type.Array(streamEvent),
    nextOffset: offset,
    logStartOffset: offset,
    highWatermark: offset,
  },
  { title: 'ReplayPage', description: 'versions are null; `nextOffset` is where the next page begins' },
)

export const listStreamsQuery = strict({
  prefix: Type.Optional(Type.String()),
  after: Type.Optional(Type.String({ description: 'names after this one' })),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: streamsPerListMax, description: 'default 100' })),
})
export const listStreamsAnswer = Type.Object(
  {
    streams: Type.Array(Type.Object({ stream: Type.String(), partition: count, lastVersion: version })),
    more: Type.Boolean(),
  },
  { title: 'StreamNames' },
)

const settingTexts = Type.Record(Type.String(), Type.String())
export const newTopic = strict({
  topic: Type.String(),
  partitions: Type.Optional(Type.Integer({ minimum: 1, maximum: partitionsMax })),
  replicationFactor: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
  settings: Type.Optional(settingTexts),
})
export const topicCreated = Type.Object({ topic: Type.String(), topicId: Type.String(), partitions: count })
export const topicChanges = strict({
  settings: Type.Record(Type.String(), Type.Union([Type.String(), Type.Null()]), { description: 'null = the default' }),
})
export const listTopicsQuery = strict({ internal: Type.Optional(Type.Boolean()) })
export const listTopicsAnswer = Type.Object({
  topics: Type.Array(
    Type.Object({ topic: Type.String(), topicId: Type.String(), partitions: count, internal: Type.Boolean() }),
  ),
})
export const topicDescribed = Type.Object(
  {
    topic: Type.String(),
    topicId: Type.String(),
    internal: Type.Boolean(),
    settings: Type.Array(Type.Object({ name: Type.String(), value: Type.String(), source: Type.String() })),
    partitions: Type.Array(
      Type.Object({
        partition: count,
        leaderEpoch: count,
        logStartOffset: offset,
        highWatermark: offset,
        logEndOffset: offset,
        durableOffset: offset,
        sizeBytes: count,
        segments: count,
        damage: Type.Array(Type.String()),
      }),
    ),
  },
  { title: 'Topic' },
)

export const playheadsAnswer = Type.Object({
  playheads: Type.Array(
    Type.Object({
      name: Type.String(),
      committedAt: Type.String(),
      positions: Type.Array(Type.Object({ partition: count, offset, lag: count })),
    }),
  ),
})

export const statusAnswer = Type.Object(
  {
    release: Type.String(),
    clusterId: Type.String(),
    brokerId: Type.Integer(),
    dataDirectory: Type.String(),
    uptimeMs: count,
    cpuMs: count,
    rssBytes: count,
    connections: count,
    topics: count,
    partitions: count,
    logBytes: count,
    problems: Type.Array(Type.String()),
    counters: Type.Record(Type.String(), Type.Number(), {
      description:
        'since the start, over all partitions: appendedRecords, appendedBytes, syncs, readBytes, followers …',
    }),
  },
  { title: 'Status' },
)

const grants = Type.Array(
  Type.Object({
    operation: Type.String({ description: 'read, append, create or admin' }),
    pattern: Type.String({ description: 'cluster, topic:NAME, stream:TOPIC/NAME or playhead:TOPIC/NAME' }),
  }),
)
export const whoAmIAnswer = Type.Object(
  {
    principal: Type.String({ description: '`anonymous` while security is off' }),
    security: Type.Boolean({ description: 'whether rights are checked at all' }),
    mayEverything: Type.Boolean(),
    grants,
    groups: Type.Array(Type.String(), { description: 'whose grants it has too' }),
    tokenId: Type.Optional(Type.String({ description: 'of the token that the request came with' })),
    scope: Type.Optional(grants),
    expiresAt: Type.Optional(Type.String({ description: 'when it has to say again who it is; absent = never' })),
  },
  { title: 'WhoAmI' },
)

export const listPrincipalsQuery = strict({
  after: Type.Optional(Type.String({ description: 'names after this one' })),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000, description: 'default 100' })),
})
const tokenFacts = Type.Object({
  tokenId: Type.String(),
  description: Type.String(),
  scope: grants,
  createdAt: Type.String(),
  expiresAt: Type.Optional(Type.String({ description: 'absent = never' })),
  lastUsedAt: Type.Optional(Type.String({ description: 'at this broker, since it was started' })),
})
export const listPrincipalsAnswer = Type.Object(
  {
    principals: Type.Array(
      Type.Object({
        principal: Type.String({ description: 'user:NAME, certificate:NAME, oidc:SUBJECT …' }),
        changedAt: Type.Optional(Type.String({ description: 'of a user: when it was made, or its password changed' })),
        grants,
        tokens: Type.Array(tokenFacts, { description: 'the newest ones' }),
        tokenCount: count,
        quota: Type.Optional(Type.Record(Type.String(), Type.Number())),
      }),
    ),
    more: Type.Boolean(),
  },
  { title: 'Principals' },
)

export const settingsAnswer = Type.Object({
  settings: Type.Array(
    Type.Object({
      name: Type.String(),
      value: Type.Union([Type.String(), Type.Number()]),
      default: Type.Union([Type.String(), Type.Number()]),
      unit: Type.String(),
      doc: Type.String(),
    }),
  ),
})

export const followTopicQuery = strict({
  from: Type.Optional(
    Type.String({ description: '`end` (the default), `start`, or the id of an event followed before' }),
  ),
  partition: Type.Optional(Type.Integer({ minimum: 0, description: 'default: all' })),
})
export const followStreamQuery = strict({
  from: Type.Optional(Type.String({ description: '`end` (the default), `start`, or the first version wanted' })),
})

export const problem = Type.Object(
  {
    type: Type.String(),
    title: Type.String(),
    status: Type.Integer(),
    code: Type.String({ description: 'a name of the error table, as in the binary protocol' }),
    detail: Type.String(),
    retriable: Type.Boolean(),
    details: Type.Optional(Type.Record(Type.String(), Type.Union([Type.String(), Type.Number()]))),
    conflicts: Type.Optional(
      Type.Array(Type.Object({ stream: Type.String(), expected: Type.Integer(), found: Type.Integer() })),
    ),
  },
  { title: 'Problem' },
)
export type Problem = Static<typeof problem>
