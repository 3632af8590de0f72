import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import * as schemas from '../../../broker/http/schemas.ts'
import { runBroker } from '../running-broker.ts'
import { send, sendRaw } from './http-client.ts'

function assertShape(schema: TSchema, body: unknown): void {
  const compiled = Compile(schema)
  assert.ok(compiled.Check(body), `${JSON.stringify(compiled.Errors(body))} in ${JSON.stringify(body)?.slice(0, 300)}`)
}

test('topics: created, listed, described, altered and deleted; refusals have the codes of the binary protocol', async () => {
  await using running = await runBroker()
  const created = await send(running, 'POST', '/api/topics', { topic: 'carts', partitions: 2 })
  assert.equal(created.status, 201)
  assertShape(schemas.topicCreated, created.body)
  const listed = await send(running, 'GET', '/api/topics')
  assertShape(schemas.listTopicsAnswer, listed.body)
  assert.deepEqual(
    listed.body.topics.map(({ topic }: { topic: string }) => topic),
    ['carts'],
  )
  assert.equal((await send(running, 'GET', '/api/topics?internal=true')).body.topics.length, 3)
  const altered = await send(running, 'PATCH', '/api/topics/carts', { settings: { 'max.message.bytes': '2000000' } })
  assert.deepEqual([altered.status, altered.body], [204, undefined])
  const described = await send(running, 'GET', '/api/topics/carts')
  assertShape(schemas.topicDescribed, described.body)
  const setting = described.body.settings.find(({ name }: { name: string }) => name === 'max.message.bytes')
  assert.deepEqual([setting.value, setting.source, described.body.partitions.length], ['2000000', 'topic', 2])
  const refusals: [string, string, unknown, number, string][] = [
    ['POST', '/api/topics', { topic: 'carts' }, 409, 'topicExists'],
    ['POST', '/api/topics', { topic: '../x' }, 400, 'invalidTopicName'],
    ['POST', '/api/topics', { topic: '__x' }, 403, 'internalTopic'],
    ['POST', '/api/topics', { topic: 'x', partition: 3 }, 400, 'invalidArgument'],
    ['POST', '/api/topics', { topic: 'x', partitions: '3' }, 400, 'invalidArgument'],
    ['PATCH', '/api/topics/carts', { settings: { nonsense: '1' } }, 400, 'unknownSetting'],
    ['DELETE', '/api/topics/missing', undefined, 404, 'unknownTopic'],
    ['GET', '/api/topics?internal=yes', undefined, 400, 'invalidArgument'],
  ]
  for (const [method, path, body, status, code] of refusals) {
    const refused = await send(running, method, path, body)
    assert.deepEqual([refused.status, refused.body.code], [status, code], `${method} ${path}`)
    assertShape(schemas.problem, refused.body)
  }
  assert.equal((await send(running, 'DELETE', '/api/topics/carts')).status, 204)
  assert.deepEqual((await send(running, 'GET', '/api/topics')).body.topics, [])
})

test('streams are listed by prefix, page by page; a partition is replayed page by page', async () => {
  await using running = await runBroker()
  await send(running, 'POST', '/api/topics', { topic: 't' })
  for (let index = 0; index < 25; index++) {
    const stream = `customer-${String(index).padStart(2, '0')}`
    await send(running, 'POST', `/api/topics/t/streams/${stream}`, [{ type: 'A', data: { index } }, { type: 'B' }])
  }
  const names: string[] = []
  for (let after: string | undefined; ; after = names.at(-1)) {
    const page = await send(
      running,
      'GET',
      `/api/topics/t/streams?prefix=customer-1&limit=4${after ? `&after=${after}` : ''}`,
    )
    assertShape(schemas.listStreamsAnswer, page.body)
    names.push(...page.body.streams.map(({ stream }: { stream: string }) => stream))
    if (!page.body.more) break
  }
  assert.deepEqual(
    names,
    Array.from({ length: 10 }, (_, index) => `customer-1${index}`),
  )

  const offsets: number[] = []
  for (let from = '0'; ; ) {
    const page = await send(running, 'GET', `/api/topics/t/partitions/0/events?from=${from}&limit=7`)
    assertShape(schemas.replayAnswer, page.body)
    offsets.push(...page.body.events.map(({ offset }: { offset: number }) => offset))
    if (page.body.events.length === 0) break
    from = String(page.body.nextOffset)
  }
  assert.deepEqual(
    offsets,
    Array.from({ length: 50 }, (_, index) => index),
  )
  assert.equal((await send(running, 'GET', '/api/topics/t/partitions/0/events?from=end')).body.events.length, 0)
  assert.equal(
    (await send(running, 'GET', '/api/topics/t/partitions/0/events?from=2011-01-01')).body.events[0].offset,
    0,
  )
  assert.equal((await send(running, 'GET', '/api/topics/t/partitions/0/events?from=51')).body.code, 'offsetOutOfRange')
  assert.equal((await send(running, 'GET', '/api/topics/t/partitions/1/events')).body.code, 'unknownPartition')
  assert.equal(
    (await send(running, 'GET', '/api/topics/t/partitions/0/events?from=yesterday')).body.code,
    'invalidArgument',
  )
})

test('an event whose id the stream has is not appended again, whatever comes in between; another event under that id is refused', async () => {
  await using running = await runBroker()
  await send(running, 'POST', '/api/topics', { topic: 't' })
  const path = '/api/topics/t/streams/s'
  const id = '01890a5d-ac96-774b-bcce-b302099a8057'
  const event = { type: 'Paid', data: { pence: 5 }, id }
  const first = await send(running, 'POST', `${path}?expectedVersion=none`, event)
  assert.deepEqual([first.status, first.body.version], [201, 0])
  await send(running, 'POST', path, { type: 'Other' })
  // The condition does not hold any more, and need not: it did when the event was appended.
  const again = await send(running, 'POST', `${path}?expectedVersion=none`, event)
  assert.deepEqual([again.status, again.body, again.headers.get('idempotent-replayed')], [200, first.body, 'true'])
  const other = await send(running, 'POST', path, { ...event, data: { pence: 6 } })
  assert.deepEqual([other.status, other.body.code], [409, 'idReused'])
  const partly = await send(running, 'POST', path, [event, { type: 'New' }])
  assert.equal(partly.body.code, 'idReused')
  // Another stream is another matter.
  assert.equal((await send(running, 'POST', '/api/topics/t/streams/other', event)).status, 201)
  assert.equal((await send(running, 'GET', path)).body.events.length, 2)
})

test('Idempotency-Key: 40 times the same request at once is one append (three events)', async () => {
  await using running = await runBroker()
  await send(running, 'POST', '/api/topics', { topic: 't' })
  const path = '/api/topics/t/streams/s'
  const events = [
    { type: 'A', data: 1 },
    { type: 'B', data: 2 },
    { type: 'C', data: 3 },
  ]
  const answers = await Promise.all(
    Array.from({ length: 40 }, () => send(running, 'POST', path, events, { 'idempotency-key': 'order-1' })),
  )
  assert.deepEqual(
    answers.map(({ status }) => status).toSorted((a, b) => a - b),
    [...Array<number>(39).fill(200), 201],
  )
  for (const { body } of answers) assert.deepEqual(body, { partition: 0, offset: 0, versions: [0, 1, 2] })
  assert.equal((await send(running, 'GET', path)).body.lastVersion, 2)
  const second = await send(running, 'POST', path, events, { 'idempotency-key': 'order-2' })
  assert.deepEqual(second.body.versions, [3, 4, 5])
  const wrong = await send(running, 'POST', `${path}?expectedVersion=1`, events, { 'idempotency-key': 'order-3' })
  assert.equal(wrong.body.code, 'wrongExpectedVersion')
})

test('Idempotency-Key: a request of more events than are looked at is known again (2,500)', async () => {
  await using running = await runBroker()
  await send(running, 'POST', '/api/topics', { topic: 't' })
  const path = '/api/topics/t/streams/s'
  const events = Array.from({ length: 2_500 }, (_, data) => ({ type: 'A', data }))
  const first = await send(running, 'POST', path, events, { 'idempotency-key': 'import-1' })
  await send(running, 'POST', path, { type: 'Between' })
  const again = await send(running, 'POST', path, events, { 'idempotency-key': 'import-1' })
  assert.deepEqual([first.status, again.status, again.body], [201, 200, first.body])
  const fewer = await send(running, 'POST', path, events.slice(1), { 'idempotency-key': 'import-1' })
  assert.equal(fewer.body.code, 'idReused')
})

test('an event sent before a restart is known after it', async () => {
  const id = '01890a5d-ac96-774b-bcce-b302099a8058'
  await using running = await runBroker()
  await send(running, 'POST', '/api/topics', { topic: 't' })
  const first = await send(running, 'POST', '/api/topics/t/streams/s', { type: 'A', id })
  const { dataDirectory } = running.broker
  await running.broker.stop()
  await using next = await runBroker({ data: dataDirectory })
  const again = await send(next, 'POST', '/api/topics/t/streams/s', { type: 'A', id })
  assert.deepEqual([again.status, again.body], [200, first.body])
})

test('CloudEvents: structured and batch mode go in, and come out as they were', async () => {
  await using running = await runBroker()
  await send(running, 'POST', '/api/topics', { topic: 't' })
  const path = '/api/topics/t/streams/s'
  const one = {
    specversion: '1.0',
    id: 'a-1',
    source: '/shop',
    type: 'shop.paid',
    time: '2011-06-01T00:00:00Z',
    subject: 'order-7',
    traceparent: '00-1',
    data: { pence: 5 },
  }
  const structured = { 'content-type': 'application/cloudevents+json; charset=utf-8' }
  const first = await send(running, 'POST', path, one, structured)
  assert.deepEqual([first.status, first.body.version], [201, 0])
  assert.deepEqual((await send(running, 'POST', path, one, structured)).status, 200)
  const two = { ...one, id: 'a-2', datacontenttype: 'image/png', data: undefined, data_base64: 'AAEC' }
  const text = { ...one, id: '01890a5d-ac96-774b-bcce-b302099a8057', datacontenttype: 'text/plain', data: 'words' }
  const batch = await send(running, 'POST', path, [two, text], { 'content-type': 'application/cloudevents-batch+json' })
  assert.deepEqual(batch.body.versions, [1, 2])
  const read = await send(running, 'GET', path)
  assertShape(schemas.readAnswer, read.body)
  const [event] = read.body.events
  assert.deepEqual(
    [event.type, event.timestamp, event.data, event.metadata['ce-source']],
    ['shop.paid', '2011-06-01T00:00:00.000Z', { pence: 5 }, '/shop'],
  )
  const back = await send(running, 'GET', path, undefined, { accept: 'application/cloudevents-batch+json' })
  assert.equal(back.headers.get('content-type')?.split(';')[0], 'application/cloudevents-batch+json')
  const normal = { ...one, time: '2011-06-01T00:00:00.000Z', datacontenttype: 'application/json' }
  assert.deepEqual(back.body[0], normal)
  assert.deepEqual(
    [back.body[1].data_base64, back.body[1].datacontenttype, back.body[1].id],
    ['AAEC', 'image/png', 'a-2'],
  )
  assert.equal(back.body[2].id, text.id)
  for (const wrong of [
    { ...one, specversion: '0.3' },
    { ...one, id: '' },
    { ...one, source: undefined },
    { ...one, Upper: 'x' },
    { ...one, deep: {} },
    { ...one, data_base64: 'AAEC' },
    { ...two, data_base64: '*' },
  ]) {
    const refused = await send(running, 'POST', path, wrong, structured)
    assert.deepEqual([refused.status, refused.body.code], [400, 'invalidEvent'], JSON.stringify(wrong))
  }
})

test('CloudEvents: the type of content is told in any case of its letters', async () => {
  await using running = await runBroker()
  await send(running, 'POST', '/api/topics', { topic: 't' })
  const path = '/api/topics/t/streams/s'
  const one = { specversion: '1.0', id: 'a-1', source: '/shop', type: 'shop.paid', data: 'x' }
  const written = { 'content-type': 'Application/CloudEvents+JSON; charset=UTF-8' }
  assert.equal((await send(running, 'POST', path, one, written)).status, 201)
  const [event] = (await send(running, 'GET', path)).body.events
  assert.deepEqual([event.metadata['ce-id'], event.metadata['ce-source']], ['a-1', '/shop'])
})

test('a request without a body, or with one of another type, is refused, and the broker goes on', async () => {
  await using running = await runBroker()
  await send(running, 'POST', '/api/topics', { topic: 't' })
  const path = '/api/topics/t/streams/s'
  for (const [method, where] of [
    ['POST', path],
    ['POST', '/api/topics'],
    ['PATCH', '/api/topics/t'],
  ] as const) {
    const refused = await send(running, method, where)
    assert.deepEqual([refused.status, refused.body.code], [400, 'invalidArgument'], `${method} ${where}`)
    assert.match(refused.body.detail, /^body: found /)
  }
  const other = await send(running, 'POST', path, { type: 'A' }, { 'content-type': 'application/xml' })
  assert.deepEqual([other.status, other.body.code], [415, 'invalidArgument'])
  const text = `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 12\r\n\r\n{"type":"A"}`
  assert.match(await sendRaw(running.broker.httpPort, [text], '"retriable"'), /^HTTP\/1\.1 415 /)
  const { status, body } = await send(running, 'POST', path, { type: 'A' })
  assert.deepEqual([status, body.version], [201, 0])
})

test('status, settings and playheads have the shape their schemas say', async () => {
  await using running = await runBroker()
  await send(running, 'POST', '/api/topics', { topic: 't' })
  await send(running, 'POST', '/api/topics/t/streams/s', { type: 'A' })
  const status = await send(running, 'GET', '/api/status')
  assertShape(schemas.statusAnswer, status.body)
  assert.equal(status.body.counters.appendedRecords, 1)
  assertShape(schemas.settingsAnswer, (await send(running, 'GET', '/api/settings')).body)
  await running.client.request('commitPlayhead', {
    topic: 't',
    name: 'audit',
    positions: [{ partition: 0, offset: 0 }],
    expectedVersion: undefined,
  })
  const playheads = await send(running, 'GET', '/api/topics/t/playheads')
  assertShape(schemas.playheadsAnswer, playheads.body)
  assert.deepEqual(playheads.body.playheads[0].positions, [{ partition: 0, offset: 0, lag: 1 }])
})

test('the OpenAPI document names every route with its schemas', async () => {
  await using running = await runBroker()
  const { body } = await send(running, 'GET', '/api/openapi.json')
  assert.equal(body.openapi, '3.1.0')
  const append = body.paths['/api/topics/{topic}/streams/{stream}'].post
  assert.deepEqual(Object.keys(append.requestBody.content), [
    'application/json',
    'application/cloudevents+json',
    'application/cloudevents-batch+json',
  ])
  for (const path of [
    '/api/topics',
    '/api/topics/{topic}/streams',
    '/api/topics/{topic}/follow',
    '/api/topics/{topic}/partitions/{partition}/events',
    '/api/status',
  ])
    assert.ok(body.paths[path]?.get?.summary, path)
})

test('a page of another site may not write (Sec-Fetch-Site)', async () => {
  await using running = await runBroker()
  for (const site of ['cross-site', 'same-site']) {
    const refused = await send(running, 'POST', '/api/topics', { topic: 'x' }, { 'sec-fetch-site': site })
    assert.deepEqual([refused.status, refused.body.code], [400, 'invalidArgument'])
  }
  assert.equal(
    (await send(running, 'POST', '/api/topics', { topic: 'x' }, { 'sec-fetch-site': 'same-origin' })).status,
    201,
  )
})
