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
