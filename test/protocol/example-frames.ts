/**
 * One request and one reply of every api, and an error: what test/golden/frames-v0.json holds as bytes and docs/protocol.md shows.
 */
import { apis } from '../../protocol/api.ts'
import type { ApiName, ReplyOf, RequestOf } from '../../protocol/api.ts'
import type { DescribedBroker, DescribedPartition } from '../../protocol/topic.ts'
import { failure } from '../../protocol/append.ts'
import { PlayheadError } from '../../protocol/errors.ts'
import { FLAG_ERROR, encodeFrame } from '../../protocol/frame.ts'
import { encodeHeader, failureOf } from '../../protocol/header-codec.ts'
import type { Field } from '../../protocol/header-schema.ts'
import { encodeEvent } from '../../protocol/event.ts'
import { encodeRecordBatch, encodeSparseBatch, stampBatch, RecordBatch } from '../../protocol/record-batch.ts'

export interface ExampleFrame {
  /** E.g. `append request`. */
  readonly name: string
  readonly api: ApiName
  readonly field: Field<unknown>
  readonly header: unknown
  readonly body: Buffer
  readonly bytes: Buffer
}

const topicId = '0190b7f2-5c1e-7c3a-9b41-2f6d1a0e8c55'
const timestampMs = 1_306_886_400_000 // 2011-06-01T00:00:00Z
const after = { topicId, partition: 0, endOffset: 8 }

/** One event as a producer sends it. */
export const exampleBatch = encodeRecordBatch(
  [
    encodeEvent(
      'customer-17850',
      { type: 'ItemAdded', data: { sku: '85123A', quantity: 6 } },
      { id: Buffer.from('01304893e4007a3bbc21aa55f00d1234', 'hex'), timestampMs },
    ),
  ],
  { producerId: 8_114_222_333_444, producerEpoch: 0, baseSequence: 41 },
)

/** The same as the broker stores and serves it. */
export const storedBatch = Buffer.from(exampleBatch)
stampBatch(storedBatch, 0, 7, 3)
const sparseBatch = encodeSparseBatch([...new RecordBatch(storedBatch)])

const grant = { operation: 'read', pattern: 'stream:carts/customer-*' } as const

let correlation = 0
function frames<A extends ApiName>(
  api: A,
  request: RequestOf<A>,
  reply: ReplyOf<A>,
  bodies: { readonly request?: Buffer; readonly reply?: Buffer } = {},
): ExampleFrame[] {
  const row = apis[api]
  correlation++
  const kinds = [
    { kind: 'request', field: row.request as Field<unknown>, header: request, body: bodies.request ?? Buffer.alloc(0) },
    { kind: 'reply', field: row.reply as Field<unknown>, header: reply, body: bodies.reply ?? Buffer.alloc(0) },
  ]
  return kinds.map(({ kind, field, header, body }) => {
    const prefix = { version: 0, api: row.number, flags: 0, correlation }
    return {
      name: `${api} ${kind}`,
      api,
      field,
      header,
      body,
      bytes: Buffer.concat(encodeFrame(prefix, encodeHeader(field, header), [body])),
    }
  })
}

const refusal = new PlayheadError('wrongExpectedVersion', 'carts/customer-17850: expected 3, found 4', {}, [
  { stream: 'customer-17850', expected: 3, found: 4 },
])
const unknownTopic = new PlayheadError(
  'unknownTopic',
  'topic: found no "cart", wanted one that exists; create it with playhead topic create cart',
  { topic: 'cart' },
)

function errorFrame(): ExampleFrame {
  const header = failureOf(unknownTopic)
  const prefix = { version: 0, api: apis.describeTopic.number, flags: FLAG_ERROR, correlation: 4 }
  const bytes = Buffer.concat(encodeFrame(prefix, encodeHeader(failure, header), []))
  return {
    name: 'describeTopic error',
    api: 'describeTopic',
    field: failure,
    header,
    body: Buffer.alloc(0),
    bytes,
  }
}

const describedPartition: DescribedPartition = {
  partition: 0,
  leaderEpoch: 3,
  logStartOffset: 0,
  highWatermark: 8,
  logEndOffset: 8,
  durableOffset: 8,
  sizeBytes: 1128,
  segments: 1,
  damage: [],
  leader: undefined,
  replicas: undefined,
  inSync: undefined,
  isUnsettled: undefined,
}

function clusterFrame(name: string, brokers: DescribedBroker[] | undefined): ExampleFrame {
  const leader = { broker: 2, host: 'broker-2.example', port: 7420, rack: undefined }
  const partition = { ...describedPartition, leader, replicas: [1, 2, 3], inSync: [2, 3] }
  const field = apis.describeTopic.reply as Field<unknown>
  const header = { topic: 'carts', topicId, internal: false, settings: [], partitions: [partition], brokers }
  const prefix = { version: 0, api: apis.describeTopic.number, flags: 0, correlation: 4 }
  const bytes = Buffer.concat(encodeFrame(prefix, encodeHeader(field, header), []))
  return { name, api: 'describeTopic', field, header, body: Buffer.alloc(0), bytes }
}

const fetched = {
  topic: 'carts',
  partition: 0,
  offset: 7,
  minBytes: 1,
  maxBytes: 1_048_576,
  waitMsMax: 500,
  after,
}
const streamStands = { topicId, partition: 0, highWatermark: 8, lastVersion: 4, firstVersion: 0, lastOffset: 7 }

export const exampleFrames: readonly ExampleFrame[] = [
  ...frames(
    'hello',
    { client: 'playhead-cli/0.1.0', minVersion: 0, maxVersion: 0, credentials: undefined },
    {
      version: 0,
      clusterId: '0190b7f2-5c1e-7000-8000-000000000001',
      brokerId: 0,
      frameBytesMax: 71_303_168,
      inFlightRequestsMax: 1024,
      inFlightBytesMax: 67_108_864,
      dedupeBatches: 1024,
      apis: [
        { api: 0, minVersion: 0, maxVersion: 0 },
        { api: 10, minVersion: 0, maxVersion: 0 },
      ],
      authentication: undefined,
    },
  ),
  ...frames(
    'createTopic',
    {
      topic: 'carts',
      partitions: 1,
      replicationFactor: 1,
      settings: [{ name: 'max.message.bytes', value: '2097152' }],
    },
    { topicId, partitions: 1 },
  ),
  ...frames(
    'listTopics',
    { internal: false },
    { topics: [{ topic: 'carts', topicId, partitions: 1, internal: false }] },
  ),
  ...frames(
    'describeTopic',
    { topic: 'carts' },
    {
      topic: 'carts',
      topicId,
      internal: false,
      settings: [{ name: 'max.message.bytes', value: '2097152', source: 'topic' }],
      partitions: [describedPartition],
      brokers: undefined,
    },
  ),
  ...frames('alterTopic', { topic: 'carts', settings: [{ name: 'max.message.bytes', value: undefined }] }, {}),
  ...frames('deleteTopic', { topic: 'carts' }, {}),
  ...frames(
    'append',
    {
      topic: 'carts',
      partition: 0,
      acks: 'all',
      groups: [
        { batchBytes: exampleBatch.length, expected: [{ stream: 'customer-17850', version: 3 }], wantVersions: true },
        { batchBytes: exampleBatch.length, expected: [], wantVersions: false },
      ],
    },
    {
      topicId,
      endOffset: 8,
      groups: [
        { failure: failureOf(refusal), baseOffset: 0, appendTimeMs: 0, duplicate: false, versions: [] },
        { failure: undefined, baseOffset: 7, appendTimeMs: 1_306_886_400_250, duplicate: false, versions: [] },
      ],
    },
    { request: Buffer.concat([exampleBatch, exampleBatch]) },
  ),
  ...frames(
    'producerState',
    { topic: 'carts', partition: 0, producerId: 8_114_222_333_444 },
    { known: true, producerEpoch: 0, lastSequence: 41, lastOffset: 7 },
  ),
  ...frames(
    'fetch',
    { ...fetched, fromFollower: undefined },
    { topicId, logStartOffset: 0, highWatermark: 8, nextOffset: 8 },
    { reply: storedBatch },
  ),
  ...frames(
    'listOffsets',
    { topic: 'carts', partition: 0, at: 'time', timestamp: timestampMs, clock: 'event', consistency: undefined },
    { offset: 7, topicId, highWatermark: 8, isLinearizable: undefined },
  ),
  ...frames(
    'readStream',
    {
      topic: 'carts',
      stream: 'customer-17850',
      from: 4,
      limit: 100,
      backwards: false,
      asOf: undefined,
      knownAt: undefined,
      maxBytes: 1_048_576,
      after: undefined,
      consistency: undefined,
    },
    {
      topicId,
      partition: 0,
      highWatermark: 8,
      lastVersion: 4,
      versions: [4],
      nextVersion: undefined,
      isLinearizable: undefined,
    },
    { reply: sparseBatch },
  ),
  ...frames(
    'streamInfo',
    { topic: 'carts', stream: 'customer-17850', after: undefined, consistency: undefined },
    { ...streamStands, isLinearizable: undefined },
  ),
  ...frames(
    'listStreams',
    { topic: 'carts', prefix: 'customer-', afterStream: undefined, limit: 1, partitions: undefined },
    { streams: [{ stream: 'customer-17850', partition: 0, lastVersion: 4 }], more: true },
  ),
  ...frames(
    'commitPlayhead',
    { topic: 'carts', name: 'billing', positions: [{ partition: 0, offset: 8 }], expectedVersion: 0 },
    { version: 1 },
  ),
  ...frames(
    'readPlayhead',
    { topic: 'carts', name: 'billing' },
    { known: true, version: 1, positions: [{ partition: 0, offset: 8 }], committedAtMs: 1_306_886_400_300 },
  ),
  ...frames(
    'listPlayheads',
    { topic: 'carts' },
    { playheads: [{ name: 'billing', positions: [{ partition: 0, offset: 8 }], committedAtMs: 1_306_886_400_300 }] },
  ),
  ...frames(
    'status',
    {},
    {
      release: '0.1.0',
      clusterId: '0190b7f2-5c1e-7000-8000-000000000001',
      brokerId: 0,
      dataDirectory: '/var/lib/playhead',
      uptimeMs: 60_000,
      cpuMs: 850,
      rssBytes: 90_000_000,
      connections: 1,
      topics: 1,
      partitions: 1,
      logBytes: 1128,
      problems: [],
    },
  ),
  errorFrame(),
  clusterFrame('describeTopic reply of a cluster', undefined),
  clusterFrame('describeTopic reply of a cluster with its brokers', [
    { broker: 2, host: 'broker-2.example', port: 7420, rack: undefined },
    { broker: 3, host: undefined, port: undefined, rack: undefined },
  ]),
  ...frames(
    'replicaFetch',
    {
      topicId,
      partition: 0,
      leaderEpoch: 3,
      broker: 2,
      brokerEpoch: 41,
      durableOffset: 7,
      offset: 7,
      lastEpoch: 3,
      maxBytes: 4_194_304,
      waitMsMax: 500,
      confirmed: undefined,
      highWatermark: undefined,
    },
    {
      diverging: undefined,
      highWatermark: 7,
      logStartOffset: 0,
      appendTimes: [1_306_886_400_123],
      confirm: undefined,
      filesNeeded: undefined,
      salt: undefined,
      segmentStarts: undefined,
    },
    { reply: storedBatch },
  ),
  ...frames(
    'replicaProgress',
    { topicId, partition: 0, leaderEpoch: 3, broker: 2, brokerEpoch: 41, durableOffset: 8 },
    { highWatermark: 8 },
  ),
  ...frames('deleteRecords', { topic: 'carts', partition: 0, beforeOffset: 5 }, { logStartOffset: 5 }),
  ...frames(
    'limitStream',
    { topic: 'carts', stream: 'customer-17850', maxCount: 100, maxAgeMs: undefined, truncateBefore: 5, deletes: false },
    { maxCount: 100, maxAgeMs: 0, truncateBefore: 5 },
  ),
  ...frames(
    'streamLimit',
    { topic: 'carts', stream: 'customer-17850' },
    { maxCount: 100, maxAgeMs: 0, truncateBefore: 5 },
  ),
  ...frames(
    'authenticate',
    { mechanism: 'SCRAM-SHA-256', message: 'n,,n=billing,r=rOprNGfwEbeRWgbNEkqO' },
    {
      message: 'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=65536',
      done: false,
      principal: '',
    },
  ),
  ...frames('whoAmI', {}, { principal: 'user:billing', security: true, grants: [grant] }),
  ...frames(
    'putUser',
    {
      user: 'billing',
      replace: false,
      salt: 'W22ZaJ0SNY7soEsUEjb6gQ==',
      iterations: 65_536,
      storedKey: 'WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=',
      serverKey: 'wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=',
    },
    {},
  ),
  ...frames('deleteUser', { user: 'billing' }, {}),
  ...frames(
    'createToken',
    { principal: 'user:billing', description: 'nightly report', scope: [grant], lifetimeMs: 86_400_000 },
    {
      tokenId: 'Yk3pQ0aZx2Lw',
      token: 'ph_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8',
      expiresAtMs: 1_306_972_800_000,
    },
  ),
  ...frames('revokeToken', { tokenId: 'Yk3pQ0aZx2Lw' }, {}),
  ...frames('changeGrants', { principal: 'user:billing', add: [grant], remove: [] }, {}),
  ...frames(
    'setQuota',
    {
      principal: 'user:billing',
      quota: { requestsPerSecond: 1000, inBytesPerSecond: 0, outBytesPerSecond: 10_000_000, connections: 8 },
    },
    {},
  ),
  ...frames(
    'listAccess',
    {},
    {
      users: [{ user: 'billing', changedAtMs: timestampMs }],
      tokens: [],
      grants: [{ principal: 'user:billing', grants: [grant] }],
      quotas: [],
    },
  ),
  ...frames(
    'clusterStatus',
    { topic: 'carts' },
    {
      clusterId: topicId,
      broker: 1,
      controller: 2,
      ageMs: 150,
      brokers: [
        {
          broker: 1,
          brokerEpoch: 41,
          isThere: true,
          host: 'broker-1.example',
          port: 7420,
          rack: 'a',
          release: '0.1.0',
          draining: undefined,
        },
        {
          broker: 3,
          brokerEpoch: 17,
          isThere: false,
          host: 'broker-3.example',
          port: 7420,
          rack: undefined,
          release: '0.1.0',
          draining: 'replicas',
        },
      ],
      partitions: [
        {
          topic: 'carts',
          topicId,
          internal: false,
          partition: 0,
          leader: 1,
          leaderEpoch: 3,
          replicas: [1, 2, 3],
          inSync: [1, 2],
          eligible: [],
          lastEligible: [],
          inSyncMin: 2,
          adding: [2],
          removing: [3],
          own: { lastEpoch: 3, logStartOffset: 0, logEndOffset: 8, highWatermark: 7 },
          followers: [{ broker: 2, durableOffset: 7 }],
          agreedStartOffset: undefined,
        },
      ],
      copyBytesPerSecondMax: undefined,
    },
  ),
  ...frames(
    'reassignPartition',
    { topic: 'carts', partition: 0, replicas: [1, 2] },
    { replicas: [1, 2, 3], adding: [2], removing: [3] },
  ),
  ...frames('drainBroker', { broker: 3, what: 'replicas' }, {}),
  ...frames('recoverPartition', { topic: 'carts', partition: 0, broker: 2 }, { leaderEpoch: 4 }),
  ...frames('throttleCopying', { bytesPerSecond: 50_000_000 }, {}),
  ...frames(
    'streamInfo',
    { topic: 'carts', stream: 'customer-17850', after: undefined, consistency: 'linearizable' },
    { ...streamStands, isLinearizable: true },
  ).map((frame) => ({ ...frame, name: `${frame.name}, linearizable` })),
  ...frames(
    'fetch',
    { ...fetched, fromFollower: true },
    { topicId, logStartOffset: 0, highWatermark: 8, nextOffset: 8 },
    { reply: storedBatch },
  ).map((frame) => ({ ...frame, name: `${frame.name}, from a follower` })),
  clusterFrame('describeTopic reply of a cluster with racks', [
    { broker: 2, host: 'broker-2.example', port: 7420, rack: 'a' },
    { broker: 3, host: 'broker-3.example', port: 7420, rack: undefined },
  ]),
  ...frames(
    'replicaSnapshot',
    { topicId, partition: 0, leaderEpoch: 3, broker: 2, brokerEpoch: 41, durableOffset: 8 },
    {
      logStartOffset: 70,
      compactedTo: 64,
      rewrittenTo: 64,
      salt: '0011223344556677',
      baseOffset: 64,
      segments: [{ baseOffset: 64, nextOffset: 128, sizeBytes: 1_048_576, compaction: 0, checksum: 2_309_737_967 }],
      leaderEpoch: 3,
      epochs: [{ epoch: 3, startOffset: 0 }],
      heads: [64],
    },
  ),
  ...frames(
    'replicaFile',
    {
      topicId,
      partition: 0,
      leaderEpoch: 3,
      broker: 2,
      brokerEpoch: 41,
      durableOffset: 8,
      kind: 'segment',
      offset: 64,
      position: 0,
      maxBytes: 1_048_576,
    },
    {},
    { reply: storedBatch },
  ),
]
