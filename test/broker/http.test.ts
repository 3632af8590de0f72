import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { test } from 'node:test'
import { createTopic, runBroker } from './running-broker.ts'
import type { RunningBroker } from './running-broker.ts'

/** What an answer may hold, all of it optional: a test says what it expects. */
interface Answer {
  code?: string
  conflicts?: unknown
  lastVersion?: number
  nextVersion?: number
  events?: {
    version: number
    timestamp: string
    tags: string[]
    data: unknown
    metadata: object
    stream: string
    id: string
  }[]
}

async function call(running: RunningBroker, method: string, path: string, body?: unknown) {
  const init: RequestInit = { method }
  if (body !== undefined) {
    init.headers = { 'content-type': 'application/json' }
    init.body = typeof body === 'string' ? body : JSON.stringify(body)
  }
  const response = await fetch(`http://127.0.0.1:${running.broker.httpPort}${path}`, init)
  return {
    status: response.status,
    type: response.headers.get('content-type'),
    body: (await response.json()) as Answer,
  }
}

const added = { type: 'ItemAdded', data: { sku: '85123A', quantity: 6 } }

test('POST appends one event or several, GET reads them with their versions', async () => {
  await using running = await runBroker()
  await createTopic(running.client, 'carts')
  const path = '/api/topics/carts/streams/customer-1'
  const one = await call(running, 'POST', path, added)
  assert.deepEqual([one.status, one.body], [201, { partition: 0, offset: 0, version: 0 }])
  const id = '01890a5d-ac96-774b-bcce-b302099a8057'
  const detailed = { ...added, id, tags: ['gift'], metadata: { by: 'web' }, timestamp: '2011-06-01T00:00:00Z' }
  const two = await call(running, 'POST', `${path}?expectedVersion=0`, [added, detailed])
  assert.deepEqual(two.body, { partition: 0, offset: 1, versions: [1, 2] })

  const all = await call(running, 'GET', path)
  assert.equal(all.status, 200)
  assert.equal(all.body.lastVersion, 2)
  assert.deepEqual(
    all.body.events?.map(({ version }) => version),
    [0, 1, 2],
  )
  const { timestamp, tags, data, metadata, stream, id: read } = all.body.events[2]!
  assert.deepEqual(
    { timestamp, tags, data, metadata, stream, id: read },
    {
      timestamp: '2011-06-01T00:00:00.000Z',
      tags: ['gift'],
      data: added.data,
      metadata: { by: 'web' },
      stream: 'customer-1',
      id,
    },
  )
  const back = await call(running, 'GET', `${path}?backwards=true&limit=2`)
  assert.deepEqual([back.body.events?.map(({ version }) => version), back.body.nextVersion], [[2, 1], 0])
  const asOf = await call(running, 'GET', `${path}?asOf=2012-01-01`)
  assert.deepEqual(
    asOf.body.events?.map(({ version }) => version),
    [2],
  )
  const none = await call(running, 'GET', '/api/topics/carts/streams/nobody')
  assert.deepEqual(none.body, { events: [], lastVersion: -1 })
})

test('stream names are decoded: slashes, percent signs, umlauts, 1,024 bytes', async () => {
  await using running = await runBroker()
  await createTopic(running.client, 't')
  for (const stream of ['a/b', '100%', 'grüße', ' ', '?', 'x'.repeat(1_024), 'ü'.repeat(512)]) {
    const path = `/api/topics/t/streams/${encodeURIComponent(stream)}`
    const appended = await call(running, 'POST', `${path}?expectedVersion=none`, added)
    assert.equal(appended.status, 201, stream)
    assert.equal((await call(running, 'GET', path)).body.events?.[0]?.stream, stream)
  }
})

test('a wrong expected version is 409 with every conflict', async () => {
  await using running = await runBroker()
  await createTopic(running.client, 't')
  const refused = await call(running, 'POST', '/api/topics/t/streams/s?expectedVersion=3', added)
  assert.deepEqual([refused.status, refused.type?.split(';')[0]], [409, 'application/problem+json'])
  assert.equal(refused.body.code, 'wrongExpectedVersion')
  assert.deepEqual(refused.body.conflicts, [{ stream: 's', expected: 3, found: -1 }])
  assert.equal((await call(running, 'POST', '/api/topics/t/streams/s?expectedVersion=none', added)).status, 201)
  assert.equal((await call(running, 'POST', '/api/topics/t/streams/s?expectedVersion=any', added)).status, 201)
})

test('bad requests are problem documents with their code', async () => {
  await using running = await runBroker({ httpBodyBytesMax: 4_096 })
  await createTopic(running.client, 't')
  const path = '/api/topics/t/streams/s'
  const cases: [string, string, unknown, number, string][] = [
    ['POST', '/api/topics/missing/streams/s', added, 404, 'unknownTopic'],
    ['GET', '/api/topics/missing/streams/s', undefined, 404, 'unknownTopic'],
    ['POST', '/api/topics/__playheads/streams/s', added, 403, 'internalTopic'],
    ['POST', `/api/topics/t/streams/${'x'.repeat(1_025)}`, added, 400, 'invalidStream'],
    ['POST', '/api/topics/t/streams/', added, 400, 'invalidStream'],
    ['POST', path, { data: 1 }, 400, 'invalidEvent'],
    ['POST', path, { type: '' }, 400, 'invalidEvent'],
    ['POST', path, { type: 7 }, 400, 'invalidEvent'],
    ['POST', path, [], 400, 'invalidEvent'],
    ['POST', path, [added, { type: 'A', tags: 'gift' }], 400, 'invalidEvent'],
    ['POST', path, { ...added, surprise: 1 }, 400, 'invalidEvent'],
    ['POST', path, { ...added, id: 'no uuid' }, 400, 'invalidEvent'],
    ['POST', path, { ...added, timestamp: 'yesterday' }, 400, 'invalidEvent'],
    ['POST', path, '{"type":', 400, 'invalidArgument'],
    ['POST', path, { type: 'A', data: 'x'.repeat(5_000) }, 413, 'batchTooLarge'],
    ['POST', `${path}?expectedVersion=-1`, added, 400, 'invalidExpectedVersion'],
    ['POST', `${path}?expectedVersion=1.5`, added, 400, 'invalidExpectedVersion'],
    ['POST', `${path}?expectedVersion=`, added, 400, 'invalidExpectedVersion'],
    ['POST', `${path}?expectedversion=1`, added, 400, 'invalidArgument'],
    ['POST', `${path}?expectedVersion=1&expectedVersion=2`, added, 400, 'invalidArgument'],
    ['GET', `${path}?limit=0`, undefined, 400, 'invalidArgument'],
    ['GET', `${path}?limit=10001`, undefined, 400, 'invalidArgument'],
    ['GET', `${path}?from=-1`, undefined, 400, 'invalidArgument'],
    ['GET', `${path}?backwards=maybe`, undefined, 400, 'invalidArgument'],
    ['GET', `${path}?asOf=yesterday`, undefined, 400, 'invalidArgument'],
    ['GET', '/api/nothing', undefined, 404, 'unknownApi'],
    ['GET', '/api/topics/t/streams/%zz', undefined, 400, 'invalidArgument'],
    ['GET', `/api/topics/t/streams/${'x'.repeat(5_000)}`, undefined, 414, 'invalidArgument'],
    ['DELETE', path, undefined, 404, 'unknownApi'],
  ]
  for (const [method, where, body, status, code] of cases) {
    const answer = await call(running, method, where, body)
    const what = `${method} ${where.slice(0, 60)} ${JSON.stringify(body)?.slice(0, 60)}`
    assert.deepEqual([answer.status, answer.body.code], [status, code], what)
    assert.equal(answer.type?.split(';')[0], 'application/problem+json', what)
  }
  assert.deepEqual((await call(running, 'GET', path)).body.events, [])
})

test('more events than one append takes are refused before any is looked at (10,001)', async () => {
  await using running = await runBroker()
  await createTopic(running.client, 't')
  const body = Array.from({ length: 10_001 }, (_, index) => (index === 0 ? { surprise: 1 } : { type: 'A' }))
  const answer = await call(running, 'POST', '/api/topics/t/streams/s', body)
  assert.deepEqual([answer.status, answer.body.code], [400, 'invalidEvent'])
  assert.match(JSON.stringify(answer.body), /at most 10000 items/)
})

test('a body that is no JSON by its type is refused', async () => {
  await using running = await runBroker()
  await createTopic(running.client, 't')
  const response = await fetch(`http://127.0.0.1:${running.broker.httpPort}/api/topics/t/streams/s`, {
    method: 'POST',
    body: 'hello',
  })
  assert.equal(response.status, 415)
  assert.equal(((await response.json()) as Answer).code, 'invalidArgument')
})

test('/healthz, /readyz and /metrics answer; metrics count what was done', async () => {
  await using running = await runBroker()
  await createTopic(running.client, 't')
  await call(running, 'POST', '/api/topics/t/streams/s', added)
  assert.deepEqual((await call(running, 'GET', '/healthz')).body, { status: 'ok' })
  const ready = await call(running, 'GET', '/readyz')
  assert.deepEqual([ready.status, ready.body], [200, { status: 'ready', problems: [] }])
  const response = await fetch(`http://127.0.0.1:${running.broker.httpPort}/metrics`)
  assert.match(response.headers.get('content-type') ?? '', /^text\/plain/)
  const text = await response.text()
  assert.match(text, /^playhead_requests_total\{api="createTopic"\} 1$/m)
  assert.match(text, /^playhead_partition_high_watermark\{topic="t",partition="0"\} 1$/m)
  assert.match(text, /^playhead_connections 1$/m)
  assert.match(text, /^playhead_log_appended_records_total 1$/m)
  assert.match(text, /^playhead_http_answers_total\{status="201"\} 1$/m)
  assert.match(text, /^playhead_cache_\w+_total \d/m)
})

test('bytes that are no HTTP do not harm the server', async () => {
  await using running = await runBroker()
  await new Promise<void>((resolve) => {
    const socket = connect(running.broker.httpPort, '127.0.0.1', () =>
      socket.end(Buffer.from([0, 1, 2, 255, 10, 13, 10, 13])),
    )
    socket
      .on('close', () => resolve())
      .on('error', () => {})
      .resume()
  })
  assert.equal((await call(running, 'GET', '/healthz')).status, 200)
})
