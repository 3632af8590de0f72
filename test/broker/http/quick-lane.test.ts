import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { plainRequest } from '../../../broker/http/plain-request.ts'
import { mutateBytes } from '../../hostile/byte-mutation.ts'
import { Dice } from '../../hostile/dice.ts'
import { runBroker } from '../running-broker.ts'
import { send, sendRaw } from './http-client.ts'

const body = '{"type":"ItemAdded","data":{"sku":"85123A"}}'
const request = (path = '/api/topics/t/streams/s', more = '', text = body) =>
  `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n${more}Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`
const statusOf = (answer: string) => Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1])
const jsonOf = (answer: string) =>
  JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4).replace(/^[0-9a-f]+\r\n|\r\n0\r\n\r\n$/g, '')) as Record<
    string,
    unknown
  >

test('quick lane: takes the plain request, and nothing that another parser could read differently', () => {
  const taken = plainRequest(Buffer.from(request('/api/topics/t/streams/a%2Fb?expectedVersion=7')), undefined)
  assert.deepEqual([taken?.topic, taken?.stream, taken?.expectedVersion, taken?.body], ['t', 'a/b', '7', body])
  const refused: Record<string, string> = {
    'a second request behind it': request() + request(),
    'half of the body': request().slice(0, -5),
    'a length that is too short': request().replace('Length: 44', 'Length: 43'),
    'a length with a sign': request().replace('Length: 44', 'Length: +44'),
    'a length with zeros': request().replace('Length: 44', 'Length: 044'),
    'two lengths': request(undefined, 'Content-Length: 44\r\n'),
    'chunks and a length': request(undefined, 'Transfer-Encoding: chunked\r\n'),
    'a name with a space behind it': request().replace('Host:', 'Host :'),
    'a folded header': request(undefined, 'Accept: */*\r\n b\r\n'),
    'lines that end in LF': request().replaceAll('\r\n', '\n'),
    'a CR in a value': request().replace('localhost', 'local\rhost'),
    'a NUL in a value': request().replace('localhost', 'local\0host'),
    'HTTP/1.0': request().replace('HTTP/1.1', 'HTTP/1.0'),
    'a header it does not know': request(undefined, 'X-Forwarded-For: 10.0.0.1\r\n'),
    credentials: request(undefined, 'Authorization: Bearer x\r\n'),
    'an end of the connection': request(undefined, 'Connection: close\r\n'),
    'an idempotency key': request(undefined, 'Idempotency-Key: x\r\n'),
    'a page of another site': request(undefined, 'Sec-Fetch-Site: cross-site\r\n'),
    'an absolute address': request().replace('POST /', 'POST http://localhost/'),
    'two parameters': request('/api/topics/t/streams/s?expectedVersion=1&expectedVersion=2'),
    'a bad escape': request('/api/topics/t/streams/%zz'),
    'escapes that are no UTF-8': request('/api/topics/t/streams/%C3%28'),
    'a fragment': request('/api/topics/t/streams/s#x'),
    'another route below': request('/api/topics/t/streams/s/follow'),
    'no host': request().replace('Host: localhost\r\n', ''),
    'another type': request().replace('application/json', 'text/plain'),
    __proto__: request(undefined, '', '{"type":"A","data":{"__proto__":{}}}'),
    'an escape that may hide it': request(undefined, '', '{"type":"A","data":{"__proto\\u005f_":{}}}'),
    'bytes that are no UTF-8': request(undefined, '', '{"type":"A","data":"\ufffd"}'),
  }
  for (const [what, text] of Object.entries(refused))
    assert.equal(plainRequest(Buffer.from(text, 'utf8'), undefined), undefined, what)
  assert.equal(
    plainRequest(Buffer.from(request()), taken?.headers)?.headers,
    taken?.headers,
    'the same headers are read once',
  )
})

test('quick lane: what it takes of mutated requests Node reads the same way (4,000, seed printed)', async (t) => {
  const seed = Number(process.env['PLAYHEAD_SEED'] ?? Date.now() % 1_000_000)
  const dice = new Dice(seed)
  t.diagnostic(`seed ${seed}`)
  const taken: { text: Buffer; plain: NonNullable<ReturnType<typeof plainRequest>> }[] = []
  for (let turn = 0; turn < 4_000; turn++) {
    const text = mutateBytes(
      Buffer.from(request(`/api/topics/t/streams/a${turn % 7}`, turn % 2 === 0 ? 'Accept: */*\r\n' : '')),
      dice,
    )
    const plain = plainRequest(text, undefined)
    if (plain !== undefined) taken.push({ text, plain })
  }
  assert.ok(taken.length > 20, `${taken.length} taken`)
  const seen: { url: string; body: string }[] = []
  const server = createServer((message: IncomingMessage, response) => {
    let text = ''
    message
      .setEncoding('utf8')
      .on('data', (part: string) => (text += part))
      .on('end', () => {
        seen.push({ url: message.url ?? '', body: text })
        response.end('ok')
      })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  for (const { text, plain } of taken) {
    seen.length = 0
    const socket = connect(port, '127.0.0.1')
    socket.end(text)
    socket.resume()
    await once(socket, 'close')
    const [, topic, , stream = ''] = (seen[0]?.url.split('?')[0] ?? '').split('/').slice(2)
    assert.deepEqual(
      [seen.length, topic, decodeURIComponent(stream), seen[0]?.body],
      [1, plain.topic, plain.stream, plain.body],
      text.toString('latin1'),
    )
  }
  server.close()
})

test('quick lane: answers as fastify does, on one connection with it; a pipelined request and one in pieces are answered, in order', async () => {
  await using running = await runBroker()
  const { httpPort } = running.broker
  await send(running, 'POST', '/api/topics', { topic: 't' })
  const plain = await sendRaw(httpPort, [request()], '}')
  assert.deepEqual([statusOf(plain), jsonOf(plain)], [201, { partition: 0, offset: 0, version: 0 }])
  const other = await sendRaw(httpPort, [request(undefined, 'X-Other: 1\r\n')], '}')
  assert.deepEqual([statusOf(other), jsonOf(other)], [201, { partition: 0, offset: 1, version: 1 }])

  for (const more of ['', 'X-Other: 1\r\n']) {
    const conflict = await sendRaw(httpPort, [request('/api/topics/t/streams/s?expectedVersion=7', more)], 'found')
    assert.deepEqual(
      [statusOf(conflict), jsonOf(conflict)['code'], jsonOf(conflict)['conflicts']],
      [409, 'wrongExpectedVersion', [{ stream: 's', expected: 7, found: 1 }]],
    )
    const missing = await sendRaw(httpPort, [request('/api/topics/missing/streams/s', more)], 'retriable')
    assert.deepEqual([statusOf(missing), jsonOf(missing)['code']], [404, 'unknownTopic'])
    const invalid = await sendRaw(httpPort, [request(undefined, more, '{"type":""}')], 'retriable')
    assert.deepEqual([statusOf(invalid), jsonOf(invalid)['code']], [400, 'invalidEvent'])
  }

  const name = encodeURIComponent('grüße')
  for (const more of ['', 'X-Other: 1\r\n']) {
    const umlauts = await sendRaw(
      httpPort,
      [request(`/api/topics/t/streams/${name}?expectedVersion=7`, more)],
      'found":-1}]}',
    )
    const length = Number(/content-length: (\d+)/i.exec(umlauts)?.[1])
    assert.equal(
      Buffer.byteLength(umlauts.slice(umlauts.indexOf('\r\n\r\n') + 4)),
      length,
      'the length is that of the bytes',
    )
  }

  const three = await sendRaw(httpPort, [request() + request() + request()], '"version":4}')
  assert.deepEqual(
    [...three.matchAll(/"version":(\d)/g)].map(([, version]) => Number(version)),
    [2, 3, 4],
  )
  const whole = request()
  for (const at of [1, 20, 60, whole.length - 50, whole.length - 1]) {
    const answer = await sendRaw(httpPort, [whole.slice(0, at), whole.slice(at)], '}')
    assert.equal(statusOf(answer), 201, `cut at ${at}`)
  }
  const mixed = await sendRaw(
    httpPort,
    [request(), 'GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n', request()],
    '"version":11}',
  )
  assert.match(mixed, /"version":10\}[^]*"status":"ok"[^]*"version":11\}/)
})

test('quick lane: 200 appends while the broker stops: what was answered is there, connections end', async () => {
  await using running = await runBroker()
  const { httpPort, dataDirectory } = running.broker
  await send(running, 'POST', '/api/topics', { topic: 't' })
  const seen = { answered: 0 }
  const clients = Array.from({ length: 20 }, (_, index) => {
    const socket = connect(httpPort, '127.0.0.1')
    socket.on('data', (bytes) => {
      if (!String(bytes).startsWith('HTTP/1.1 201')) return
      seen.answered++
      socket.write(request(`/api/topics/t/streams/s${index}`))
    })
    socket.on('error', () => {})
    socket.write(request(`/api/topics/t/streams/s${index}`))
    return new Promise((resolve) => {
      socket.on('close', resolve)
    })
  })
  while (seen.answered < 200) await new Promise(setImmediate)
  await running.broker.stop()
  await Promise.all(clients)
  await using next = await runBroker({ data: dataDirectory })
  const { partitions } = (await send(next, 'GET', '/api/topics/t')).body
  assert.ok(partitions[0].highWatermark >= seen.answered, `${partitions[0].highWatermark} of ${seen.answered}`)
})

test('quick lane: a host that is not ours is refused there as elsewhere, and nothing is appended', {
  timeout: 30_000,
}, async () => {
  await using running = await runBroker()
  const { httpPort } = running.broker
  await send(running, 'POST', '/api/topics', { topic: 't' })
  const foreign = request().replace('Host: localhost', 'Host: evil.example')
  assert.equal(statusOf(await sendRaw(httpPort, [foreign], 'retriable')), 403)
  assert.equal((await send(running, 'GET', '/api/topics/t/streams/s')).body.lastVersion, -1)
})
