import assert from 'node:assert/strict'
import { test } from 'node:test'
import { apis } from '../../protocol/api.ts'
import { isPlayheadError } from '../../protocol/errors.ts'
import { errorOf } from '../../protocol/header-codec.ts'
import { MiB } from '../../protocol/limits.ts'
import { encodeRecordBatch, splitBatches } from '../../protocol/record-batch.ts'
import { connectFrameClient } from './frame-client.ts'
import { appendBatch, createTopic, eventBatch, fetchRequest, runBroker } from './running-broker.ts'

const none = '00000000-0000-0000-0000-000000000000'
const readStreamDefaults = {
  topic: 't',
  from: undefined,
  limit: 100,
  backwards: false,
  asOf: undefined,
  knownAt: undefined,
  maxBytes: MiB,
  after: undefined,
  consistency: undefined,
}

function batchOfKey(bytes: number): Buffer {
  return encodeRecordBatch([{ key: 'k'.repeat(bytes), value: 'v', timestamp: 1 }])
}

test('hello tells every api of the table and the limits', async () => {
  await using running = await runBroker({ inFlightRequestsMax: 77 })
  const { header } = await running.client.hello()
  assert.equal(header.apis.length, Object.keys(apis).length)
  assert.equal(header.inFlightRequestsMax, 77)
  assert.ok(header.dedupeBatches >= 1_024)
  assert.notEqual(header.clusterId, '')
})

test('topics: create, list, describe, alter, delete', async () => {
  await using running = await runBroker()
  const { client } = running
  const settings = [{ name: 'segment.bytes', value: String(2 * MiB) }]
  const request = { topic: 'b', partitions: 3, replicationFactor: 1, settings }
  const created = await client.request('createTopic', request)
  assert.equal(created.header.partitions, 3)
  await createTopic(client, 'a', 0)
  await assert.rejects(client.request('createTopic', request), { code: 'topicExists' })

  const listed = await client.request('listTopics', { internal: false })
  assert.deepEqual(
    listed.header.topics.map(({ topic, partitions }) => [topic, partitions]),
    [
      ['a', 1],
      ['b', 3],
    ],
  )
  const all = await client.request('listTopics', { internal: true })
  assert.deepEqual(
    all.header.topics.filter(({ internal }) => internal).map(({ topic }) => topic),
    ['__limited-streams', '__playheads'],
  )

  await client.request('alterTopic', { topic: 'b', settings: [{ name: 'max.message.bytes', value: '2048' }] })
  const { header } = await client.request('describeTopic', { topic: 'b' })
  assert.equal(header.topicId, created.header.topicId)
  assert.equal(header.partitions.length, 3)
  const described = new Map(header.settings.map(({ name, value, source }) => [name, `${value} ${source}`]))
  assert.equal(described.get('segment.bytes'), `${2 * MiB} topic`)
  assert.equal(described.get('max.message.bytes'), '2048 topic')
  await client.request('alterTopic', { topic: 'b', settings: [{ name: 'max.message.bytes', value: undefined }] })
  const again = await client.request('describeTopic', { topic: 'b' })
  assert.equal(again.header.settings.find(({ name }) => name === 'max.message.bytes')?.source, 'default')

  await client.request('deleteTopic', { topic: 'b' })
  await assert.rejects(client.request('describeTopic', { topic: 'b' }), { code: 'unknownTopic' })
  await assert.rejects(client.request('deleteTopic', { topic: 'b' }), { code: 'unknownTopic' })
  const { header: recreated } = await client.request('createTopic', request)
  assert.notEqual(recreated.topicId, created.header.topicId)
})

test('topics: bad names, partitions and settings are refused by name', async () => {
  await using running = await runBroker()
  const { client } = running
  const create = (change: object) =>
    client.request('createTopic', { topic: 't', partitions: 1, replicationFactor: 0, settings: [], ...change })
  for (const topic of ['', '.', '..', 'a/b', 'a..b', 'a\0b', 'ü', 'x'.repeat(250)]) {
    await assert.rejects(create({ topic }), { code: 'invalidTopicName' }, JSON.stringify(topic))
  }
  await assert.rejects(create({ topic: '__mine' }), { code: 'internalTopic' })
  await assert.rejects(create({ partitions: 100_000 }), { code: 'invalidPartitions' })
  await assert.rejects(create({ replicationFactor: 3 }), { code: 'invalidReplicationFactor' })
  await assert.rejects(create({ settings: [{ name: 'no.such', value: '1' }] }), { code: 'unknownSetting' })
  await assert.rejects(create({ settings: [{ name: 'segment.bytes', value: '1' }] }), { code: 'invalidSetting' })
  await create({})
  const alter = (name: string, value: string) =>
    client.request('alterTopic', { topic: 't', settings: [{ name, value }] })
  await assert.rejects(alter('no.such', '1'), { code: 'unknownSetting' })
  await assert.rejects(alter('max.message.bytes', 'many'), { code: 'invalidSetting' })
  await assert.rejects(client.request('deleteTopic', { topic: '__playheads' }), { code: 'internalTopic' })
})

test('append: several groups, each with its own verdict (written, refused, written)', async () => {
  await using running = await runBroker()
  const { client } = running
  const topicId = await createTopic(client, 't')
  const batches = [eventBatch(['a', 'b']), eventBatch(['a']), eventBatch(['a', 'a'])]
  const expected = [
    [{ stream: 'a', version: -1 }],
    [
      { stream: 'a', version: 7 },
      { stream: 'b', version: 0 },
    ],
    [{ stream: 'a', version: 0 }],
  ]
  const groups = batches.map((batch, index) => ({
    batchBytes: batch.length,
    expected: expected[index] ?? [],
    wantVersions: true,
  }))
  const { header } = await client.request('append', { topic: 't', partition: 0, acks: 'all', groups }, batches)
  assert.equal(header.topicId, topicId)
  assert.equal(header.endOffset, 4)
  const [first, second, third] = header.groups
  assert.deepEqual(first?.versions, [0, 0])
  assert.deepEqual([third?.baseOffset, third?.versions], [2, [1, 2]])
  assert.ok(second?.failure)
  const refusal = errorOf(second.failure)
  assert.equal(refusal.code, 'wrongExpectedVersion')
  assert.deepEqual(refusal.conflicts, [{ stream: 'a', expected: 7, found: 0 }])
})

test('append: what cannot be written is refused by name, and nothing of it is there', async () => {
  await using running = await runBroker()
  const { client } = running
  await createTopic(client, 't', 4)
  const good = eventBatch(['a'])
  const crc = Buffer.from(good)
  crc[good.length - 1]! ^= 1
  const count = Buffer.from(good)
  count.writeInt32BE(2, 57)
  const verdict = async (batch: Buffer, partition = 0, version?: number) => {
    const groups = [
      {
        batchBytes: batch.length,
        expected: version === undefined ? [] : [{ stream: 'a', version }],
        wantVersions: true,
      },
    ]
    const { header } = await client.request('append', { topic: 't', partition, acks: 'all', groups }, [batch])
    return header.groups[0]?.failure && errorOf(header.groups[0].failure).code
  }
  const wrong = (await Promise.all([0, 1, 2, 3].map((partition) => verdict(good, partition)))).filter(Boolean)
  assert.deepEqual(wrong, ['wrongPartition', 'wrongPartition', 'wrongPartition'])
  assert.equal(await verdict(crc), 'invalidBatch')
  assert.equal(await verdict(count), 'invalidBatch')
  assert.equal(await verdict(Buffer.alloc(0)), 'invalidBatch')
  assert.equal(await verdict(good.subarray(0, 40)), 'invalidBatch')
  assert.equal(await verdict(Buffer.concat([good, good])), 'invalidBatch')
  assert.equal(await verdict(good, 0, -2), 'invalidExpectedVersion')
  assert.equal(await verdict(batchOfKey(0)), 'invalidStream')
  assert.equal(await verdict(batchOfKey(1_025)), 'invalidStream')
  assert.equal(
    await verdict(encodeRecordBatch([{ key: null, value: Buffer.alloc(2 * MiB), timestamp: 1 }])),
    'batchTooLarge',
  )

  const groups = [{ batchBytes: good.length, expected: [], wantVersions: false }]
  const append = (change: object) =>
    client.request('append', { topic: 't', partition: 0, acks: 'all' as const, groups, ...change }, [good])
  await assert.rejects(append({ topic: 'missing' }), { code: 'unknownTopic' })
  await assert.rejects(append({ partition: 4 }), { code: 'unknownPartition' })
  for (const topic of ['__playheads', '__limited-streams'])
    await assert.rejects(append({ topic }), { code: 'internalTopic' })
  await assert.rejects(append({ groups: [] }), { code: 'invalidBatch' })
  await assert.rejects(append({ groups: [{ ...groups[0], batchBytes: good.length - 1 }] }), { code: 'invalidBatch' })
  const described = await client.request('describeTopic', { topic: 't' })
  assert.equal(
    described.header.partitions.reduce((sum, { logEndOffset }) => sum + logEndOffset, 0),
    1,
  )
})

test('append: a retry of a producer is answered with the original, and its state can be asked for', async () => {
  await using running = await runBroker()
  const { client } = running
  await createTopic(client, 't')
  const record = { key: 'a', value: 'v', timestamp: 1 }
  const producer = { producerId: 5, producerEpoch: 0 }
  const batch = (baseSequence: number) => encodeRecordBatch([record, record], { ...producer, baseSequence })
  const state = () => client.request('producerState', { topic: 't', partition: 0, producerId: 5 })
  assert.equal((await state()).header.known, false)
  await appendBatch(client, 't', batch(0))
  await appendBatch(client, 't', batch(2))
  const retry = (await appendBatch(client, 't', batch(0))).header.groups[0]
  assert.deepEqual([retry?.duplicate, retry?.baseOffset, retry?.versions], [true, 0, [0, 1]])
  assert.deepEqual((await state()).header, { known: true, producerEpoch: 0, lastSequence: 3, lastOffset: 3 })
})

test('fetch: whole batches from the one that holds the offset, up to maxBytes but at least one', async () => {
  await using running = await runBroker()
  const { client } = running
  const topicId = await createTopic(client, 't')
  for (let round = 0; round < 3; round++) await appendBatch(client, 't', eventBatch(['a', 'b']))
  const all = await client.request('fetch', fetchRequest('t', 0))
  assert.deepEqual(all.header, { topicId, logStartOffset: 0, highWatermark: 6, nextOffset: 6 })
  assert.deepEqual(
    splitBatches(all.body).map(({ baseOffset }) => baseOffset),
    [0, 2, 4],
  )
  const one = await client.request('fetch', fetchRequest('t', 3, { maxBytes: 1 }))
  assert.deepEqual([one.header.nextOffset, splitBatches(one.body)[0]?.baseOffset], [4, 2])
  const end = await client.request('fetch', fetchRequest('t', 6))
  assert.deepEqual([end.header.nextOffset, end.body.length], [6, 0])
  await assert.rejects(client.request('fetch', fetchRequest('t', 7)), (error) => {
    assert.ok(isPlayheadError(error, 'offsetOutOfRange'))
    assert.deepEqual(error.details, { offset: 7, logStartOffset: 0, logEndOffset: 6 })
    return true
  })
  await assert.rejects(client.request('fetch', fetchRequest('missing', 0)), { code: 'unknownTopic' })
  await assert.rejects(client.request('fetch', { ...fetchRequest('t', 0), partition: 1 }), { code: 'unknownPartition' })
})

test('fetch: waits for minBytes over several appends, or for its time (2 batches of at least 2)', async () => {
  await using running = await runBroker()
  const { client } = running
  await createTopic(client, 't')
  const batch = eventBatch(['a'])
  const wanted = client.request('fetch', fetchRequest('t', 0, { minBytes: batch.length + 1, waitMsMax: 300_000 }))
  const timed = client.request('fetch', fetchRequest('t', 0, { minBytes: batch.length * 10, waitMsMax: 50 }))
  await appendBatch(client, 't', eventBatch(['a']))
  assert.equal((await timed).header.nextOffset, 1)
  await appendBatch(client, 't', eventBatch(['a']))
  assert.deepEqual(
    splitBatches((await wanted).body).map(({ baseOffset }) => baseOffset),
    [0, 1],
  )
})

test('fetch: parked when its topic is deleted, it is told so', async () => {
  await using running = await runBroker()
  const { client } = running
  await createTopic(client, 't')
  const parked = client.request('fetch', fetchRequest('t', 0, { waitMsMax: 300_000 }))
  const told = assert.rejects(parked, { code: 'unknownTopic' })
  await client.request('deleteTopic', { topic: 't' })
  await told
})

test('tokens: reached ones read on, those of another topic and those that never come are refused', async () => {
  await using running = await runBroker({ tokenWaitMsMax: 20 })
  const { client } = running
  const topicId = await createTopic(client, 't')
  await appendBatch(client, 't', eventBatch(['a']))
  const read = (after: { topicId: string; partition: number; endOffset: number }) =>
    client.request('fetch', fetchRequest('t', 0, { after }))
  assert.equal((await read({ topicId, partition: 0, endOffset: 1 })).header.nextOffset, 1)
  await assert.rejects(read({ topicId: none, partition: 0, endOffset: 1 }), { code: 'tokenMismatch' })
  await assert.rejects(read({ topicId, partition: 0, endOffset: 2 }), { code: 'timedOut' })
  await assert.rejects(read({ topicId, partition: 9, endOffset: 1 }), { code: 'unknownPartition' })
})

test('listOffsets: start, end, by event time, by append time', async () => {
  await using running = await runBroker()
  const { client } = running
  await createTopic(client, 't')
  for (const time of [1_000, 2_000, 3_000]) await appendBatch(client, 't', eventBatch(['a'], 'T', time))
  const offset = async (at: 'start' | 'end' | 'time', timestamp?: number, clock: 'event' | 'append' = 'event') =>
    (await client.request('listOffsets', { topic: 't', partition: 0, at, timestamp, clock, consistency: undefined }))
      .header.offset
  assert.equal(await offset('start'), 0)
  assert.equal(await offset('end'), 3)
  assert.equal(await offset('time', 1_500), 1)
  assert.equal(await offset('time', 9_000), 3)
  assert.equal(await offset('time', 9_000, 'append'), 0)
  await assert.rejects(offset('time'), { code: 'invalidArgument' })
})

test('readStream, streamInfo, listStreams over 4 partitions', async () => {
  await using running = await runBroker()
  const { client } = running
  await createTopic(client, 't', 4)
  const home = new Map<string, number>()
  for (const stream of ['customer-1', 'customer-2', 'order-1', 'customer-1', 'customer-1']) {
    const batch = eventBatch([stream])
    for (let partition = home.get(stream) ?? 0; partition < 4; partition++) {
      const groups = [{ batchBytes: batch.length, expected: [], wantVersions: true }]
      const { header } = await client.request('append', { topic: 't', partition, acks: 'all', groups }, [batch])
      if (header.groups[0]?.failure) continue
      home.set(stream, partition)
      break
    }
  }
  const forwards = await client.request('readStream', { ...readStreamDefaults, stream: 'customer-1' })
  assert.deepEqual(forwards.header.versions, [0, 1, 2])
  assert.equal(forwards.header.lastVersion, 2)
  assert.equal(forwards.header.partition, home.get('customer-1'))
  const records = splitBatches(forwards.body).flatMap((batch) => [...batch])
  assert.equal(records.length, 3)
  const back = await client.request('readStream', {
    ...readStreamDefaults,
    stream: 'customer-1',
    backwards: true,
    limit: 2,
  })
  assert.deepEqual([back.header.versions, back.header.nextVersion], [[1, 2], 0])
  const nobody = await client.request('readStream', { ...readStreamDefaults, stream: 'nobody' })
  assert.deepEqual([nobody.header.versions, nobody.header.lastVersion, nobody.body.length], [[], -1, 0])
  await assert.rejects(client.request('readStream', { ...readStreamDefaults, stream: '' }), { code: 'invalidStream' })
  await assert.rejects(client.request('readStream', { ...readStreamDefaults, stream: 'x'.repeat(1_025) }), {
    code: 'invalidStream',
  })

  const info = await client.request('streamInfo', {
    topic: 't',
    stream: 'customer-1',
    after: undefined,
    consistency: undefined,
  })
  assert.deepEqual([info.header.firstVersion, info.header.lastVersion], [0, 2])
  const list = (prefix: string, limit: number, afterStream?: string) =>
    client.request('listStreams', { topic: 't', prefix, afterStream, limit, partitions: undefined })
  const names = ({ header }: Awaited<ReturnType<typeof list>>) => header.streams.map(({ stream }) => stream)
  const firstPage = await list('customer-', 1)
  assert.deepEqual([names(firstPage), firstPage.header.more], [['customer-1'], true])
  const secondPage = await list('customer-', 1, 'customer-1')
  assert.deepEqual([names(secondPage), secondPage.header.more], [['customer-2'], false])
  assert.deepEqual(names(await list('', 100)), ['customer-1', 'customer-2', 'order-1'])
})

test('listStreams: many asked for at once hold nobody up, and hold no more replies than allowed (50 of 10,000 names)', async () => {
  await using running = await runBroker({ replyBytesMax: 64 * 1024 })
  const { client } = running
  await createTopic(client, 't')
  const names = Array.from({ length: 10_000 }, (_, index) => `stream-${index}`)
  await appendBatch(client, 't', eventBatch(names))
  const request = { topic: 't', prefix: '', afterStream: undefined, limit: 10_000, partitions: undefined }
  using other = await connectFrameClient(running.broker.port)
  const order: string[] = []
  const lists = Array.from({ length: 50 }, async () => {
    const { header } = await client.request('listStreams', request)
    order.push('list')
    return header.streams.length
  })
  await client.request('status', {}) // answered although it was sent after them
  await other.request('listTopics', { internal: false }).then(() => order.push('other'))
  assert.ok(order.indexOf('other') < 10, `answered at place ${order.indexOf('other')}`)
  assert.deepEqual(new Set(await Promise.all(lists)), new Set([10_000]))
})

test('playheads: commit, read, rewind, list, and who has seen an old one is refused', async () => {
  await using running = await runBroker()
  const { client } = running
  await createTopic(client, 't', 2)
  await appendBatch(
    client,
    't',
    encodeRecordBatch([1, 2, 3].map((timestamp) => ({ key: null, value: 'v', timestamp }))),
  )
  const commit = (name: string, offset: number, expectedVersion?: number, partition = 0) =>
    client.request('commitPlayhead', { topic: 't', name, positions: [{ partition, offset }], expectedVersion })
  const read = async (name: string) => (await client.request('readPlayhead', { topic: 't', name })).header
  assert.equal((await read('mailer')).known, false)
  assert.equal((await commit('mailer', 2, -1)).header.version, 0)
  assert.equal((await commit('mailer', 0, undefined, 1)).header.version, 1)
  assert.deepEqual((await read('mailer')).positions, [
    { partition: 0, offset: 2 },
    { partition: 1, offset: 0 },
  ])
  await assert.rejects(commit('mailer', 3, 0), { code: 'playheadMoved', message: /expected version 0, found 1/ })
  assert.equal((await commit('mailer', 0, 1)).header.version, 2)
  await commit('indexer', 3)
  const { header } = await client.request('listPlayheads', { topic: 't' })
  assert.deepEqual(
    header.playheads.map(({ name, positions }) => [name, positions[0]?.offset]),
    [
      ['indexer', 3],
      ['mailer', 0],
    ],
  )
  await assert.rejects(commit('mailer', 4), { code: 'offsetOutOfRange' })
  await assert.rejects(commit('mailer', 0, undefined, 2), { code: 'unknownPartition' })
  await assert.rejects(commit('a/b', 0), { code: 'invalidPlayheadName' })
  await assert.rejects(client.request('readPlayhead', { topic: 'missing', name: 'x' }), { code: 'unknownTopic' })
})

test('playheads: of 16 commits that expect the same version one wins; 100 unconditional ones all count', async () => {
  await using running = await runBroker()
  const { client } = running
  await createTopic(client, 't')
  const request = { topic: 't', name: 'p', positions: [{ partition: 0, offset: 0 }] }
  const clients = await Promise.all(Array.from({ length: 4 }, () => connectFrameClient(running.broker.port)))
  const raced = await Promise.allSettled(
    Array.from({ length: 16 }, (_, index) =>
      clients[index % 4]!.request('commitPlayhead', { ...request, expectedVersion: -1 }),
    ),
  )
  assert.equal(raced.filter(({ status }) => status === 'fulfilled').length, 1)
  await Promise.all(
    Array.from({ length: 100 }, (_, index) =>
      clients[index % 4]!.request('commitPlayhead', { ...request, expectedVersion: undefined }),
    ),
  )
  assert.equal((await client.request('readPlayhead', { topic: 't', name: 'p' })).header.version, 100)
  for (const other of clients) other[Symbol.dispose]()
})

test('status: what the broker is and uses', async () => {
  await using running = await runBroker()
  const { client } = running
  await createTopic(client, 't', 2)
  const { header } = await client.request('status', {})
  assert.equal(header.dataDirectory, running.broker.dataDirectory)
  assert.deepEqual([header.topics, header.connections, header.problems], [1, 1, []])
  assert.ok(header.rssBytes > 0 && header.cpuMs > 0)
})
