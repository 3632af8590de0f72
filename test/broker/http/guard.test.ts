/** The guard of the HTTP side: routes that say nothing are not registered, hosts that are not ours, headers that are too large, paths that climb. */
import assert from 'node:assert/strict'
import { request } from 'node:http'
import { test } from 'node:test'
import Fastify from 'fastify'
import { guardRoutes } from '../../../broker/http/guard.ts'
import type { Services } from '../../../broker/request.ts'
import { runBroker } from '../running-broker.ts'
import { runSecured } from '../security/secured-broker.ts'

test('guard: a route that says neither what rights it takes nor that it is open is not registered', () => {
  const server = Fastify()
  guardRoutes(server, { security: { isOn: true } } as unknown as Services, (url) => url.startsWith('/files/'))
  server.get('/open', { config: { open: true } }, async () => '')
  server.get('/rights', { config: { rights: () => {} } }, async () => '')
  server.get('/files/x', async () => '')
  assert.throws(() => server.get('/forgotten', async () => ''), /bug: route GET \/forgotten says neither/)
})

/** The status of a request whose headers and path are sent as they are. */
function status(port: number, path: string, headers: Record<string, string>): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, path, headers, agent: false }, (response) => {
      response.resume()
      resolve(response.statusCode)
    })
    sent.once('error', reject)
    sent.end()
  })
}

test("guard: without security only this machine's own names are answered", async () => {
  await using running = await runBroker()
  const { httpPort } = running.broker
  for (const host of ['localhost', `localhost:${httpPort}`, '127.0.0.1', '[::1]:80', 'LOCALHOST'])
    assert.equal(await status(httpPort, '/readyz', { host }), 200, host)
  for (const host of ['evil.example', 'localhost.evil.example', '127.0.0.1.evil.example', '[::2]'])
    assert.equal(await status(httpPort, '/readyz', { host }), 403, host)
})

test('guard: headers that are too large, other schemes, and paths that climb get nowhere', async () => {
  await using secured = await runSecured()
  const { httpPort } = secured.broker
  const huge = { authorization: `Bearer ${'x'.repeat(20_000)}` }
  const refused = await status(httpPort, '/metrics', huge).catch((error: NodeJS.ErrnoException) => error.code)
  assert.ok(refused === 431 || refused === 'ECONNRESET', String(refused)) // it may be closed while it is still being sent
  for (const authorization of [
    'Basic YWRtaW46YWRtaW4=',
    'Bearer',
    `Bearer ${secured.adminToken} x`,
    secured.adminToken,
  ])
    assert.equal(await status(httpPort, '/metrics', { authorization }), 401, authorization)
  const authorization = `Bearer ${secured.adminToken}`
  for (const path of [
    '/../etc/passwd',
    '/api/topics/..%2f..%2fetc/streams/passwd',
    '/%2e%2e/admin.token',
    '//admin.token',
  ])
    assert.ok([400, 404].includes((await status(httpPort, path, { authorization })) ?? 0), path)
  assert.equal(await status(httpPort, '/metrics', { authorization }), 200)
})

test('guard: with security on the routes of the HTTP interface take what the native protocol takes', async () => {
  await using secured = await runSecured({ clusterPassword: 'opensesame' })
  await secured.admin.admin.createTopic('carts')
  await secured.admin.admin.createTopic('orders')
  const event = { type: 'Happened', data: {} }
  for (const topic of ['carts', 'orders']) await secured.admin.topic(topic).stream('a-1').append(event)
  await secured.user('alice', [{ operation: 'read', pattern: 'stream:carts/a-*' }])
  const { token } = await secured.admin.access.createToken({ principal: 'user:alice' })
  const statusOf = async (path: string, init: RequestInit = {}, by: string | undefined = token) => {
    const leave = new AbortController()
    const response = await secured.http(path, by, { ...init, signal: leave.signal })
    leave.abort() // what is followed has no end
    return response.status
  }
  const json = { headers: { 'content-type': 'application/json' } }
  const asked: readonly (readonly [status: number, path: string, init?: RequestInit])[] = [
    [200, '/api/topics'],
    [403, '/api/topics', { ...json, method: 'POST', body: JSON.stringify({ topic: 'mine' }) }],
    [200, '/api/topics/carts'],
    [403, '/api/topics/orders'],
    [403, '/api/topics/carts', { ...json, method: 'PATCH', body: JSON.stringify({ settings: {} }) }],
    [403, '/api/topics/carts', { method: 'DELETE' }],
    [200, '/api/topics/carts/playheads'],
    [403, '/api/topics/orders/playheads'],
    [200, '/api/topics/carts/streams?prefix=a-'],
    [403, '/api/topics/carts/streams'],
    [403, '/api/topics/carts/streams?prefix=a-&prefix=b-'],
    [200, '/api/topics/carts/streams/a-1'],
    [403, '/api/topics/orders/streams/a-1'],
    [403, '/api/topics/carts/streams/a-1', { ...json, method: 'POST', body: JSON.stringify(event) }],
    [200, '/api/topics/carts/streams/a-1/follow'],
    [403, '/api/topics/carts/streams/b-1/follow'],
    [403, '/api/topics/carts/follow'],
    [403, '/api/topics/carts/partitions/0/events'],
    [403, '/api/topics/__access/partitions/0/events'],
    [403, '/api/status'],
    [403, '/api/settings'],
    [200, '/api/openapi.json'],
    [200, '/'],
  ]
  for (const [wanted, path, init = {}] of asked) {
    const what = `${init.method ?? 'GET'} ${path}`
    assert.equal(await statusOf(path, init), wanted, what)
    const isOpen = path === '/' || path === '/api/openapi.json'
    assert.equal((await secured.http(path, undefined, init)).status, isOpen ? 200 : 401, `${what}, by nobody`)
  }
  const settings = await (await secured.http('/api/settings', secured.adminToken)).text()
  assert.ok(settings.includes('clusterPassword') && !settings.includes('opensesame'))
})

test('guard: who follows and loses the right to it is sent nothing any more', { timeout: 30_000 }, async () => {
  await using secured = await runSecured()
  await secured.admin.admin.createTopic('carts')
  const stream = secured.admin.topic('carts').stream('a-1')
  await stream.append({ type: 'Happened', data: { number: 0 } })
  const grant = { operation: 'read', pattern: 'stream:carts/a-*' } as const
  await secured.user('alice', [grant])
  const { token } = await secured.admin.access.createToken({ principal: 'user:alice' })
  const response = await secured.http('/api/topics/carts/streams/a-1/follow?from=start', token)
  assert.equal(response.status, 200)
  let text = ''
  const read = (async () => {
    for await (const piece of response.body!.pipeThrough(new TextDecoderStream())) text += piece
  })()
  for (let number = 1; !text.includes('"number":0'); number++) {
    assert.ok(number < 1_000, text)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  await secured.admin.access.revoke('user:alice', [grant])
  await read.catch(() => undefined) // it ends
  await stream.append({ type: 'Happened', data: { number: 1 } })
  assert.ok(!text.includes('"number":1'), text)
})
