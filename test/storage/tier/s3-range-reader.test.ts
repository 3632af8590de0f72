/** Reads of parts of objects over plain HTTP: the signature is Amazon's, and what is not the range asked for is not taken for it. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import { createServer as createPlainServer } from 'node:net'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { systemClock } from '../../../platform/clock.ts'
import type { Clock } from '../../../platform/clock.ts'
import { S3RangeReader } from '../../../storage/tier/s3-range-reader.ts'
import type { S3Signer } from '../../../storage/tier/s3-range-reader.ts'
import { makeAuthority, makeCertificate } from '../../certificates.ts'
import { TemporaryDirectory } from '../../temporary-directory.ts'

const signer: S3Signer = {
  credentials: { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY' },
  region: 'us-east-1',
  nowMs: Date.UTC(2013, 4, 24),
}

test('range reader: signs as in the example of Amazon’s documentation', () => {
  const reader = new S3RangeReader(systemClock, 'http://127.0.0.1', 'bucket', () => Promise.resolve(signer))
  const headers = reader.headers(signer, 'examplebucket.s3.amazonaws.com', '/test.txt', 'bytes=0-9')
  assert.match(
    headers['authorization'] ?? '',
    /Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41$/,
  )
  const withToken = reader.headers(
    { ...signer, credentials: { ...signer.credentials, sessionToken: 'token' } },
    'there',
    '/x',
    'bytes=0-9',
  )
  assert.match(
    withToken['authorization'] ?? '',
    /SignedHeaders=host;range;x-amz-content-sha256;x-amz-date;x-amz-security-token,/,
  )
  assert.equal(withToken['x-amz-security-token'], 'token')
  reader.close()
})

/** A server that answers each request as `answer` says, and a reader of it. */
class AskedServer implements AsyncDisposable {
  answer: (response: ServerResponse) => void = () => {}
  /** Paths and ranges, in order. */
  readonly asked: string[] = []
  connections = 0
  signer: S3Signer = signer
  /** What the reader's clock says. */
  nowMs = 0
  readonly #server: Server
  readonly reader: S3RangeReader

  private constructor(server: Server, port: number) {
    this.#server = server
    const clock: Clock = { ...systemClock, monotonicMs: () => this.nowMs }
    this.reader = new S3RangeReader(clock, `http://127.0.0.1:${port}/`, 'b', () => Promise.resolve(this.signer))
    server.on('connection', () => this.connections++)
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      this.asked.push(`${request.url} ${request.headers.range}`)
      this.answer(response)
    })
  }

  static async start(): Promise<AskedServer> {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    const port = address !== null && typeof address === 'object' ? address.port : 0
    return new AskedServer(server, port)
  }

  answerWith(status: number, contentRange: string, body: string | Buffer): void {
    const headers = {
      'content-length': Buffer.byteLength(body),
      ...(contentRange !== '' && { 'content-range': contentRange }),
    }
    this.answer = (response) => response.writeHead(status, headers).end(body)
  }

  closeConnections(): void {
    this.#server.closeAllConnections()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.reader.close()
    this.closeConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }
}

test('range reader: only a whole answer of the range asked for counts', async () => {
  await using server = await AskedServer.start()
  const { reader } = server
  const target = Buffer.alloc(8)
  const read = (status: number, contentRange: string, body: string) => {
    server.answerWith(status, contentRange, body)
    return reader.read("a/what's (new)", 4, target, 1000)
  }
  assert.equal(await read(206, 'bytes 4-11/100', 'abcdefgh'), 8)
  assert.equal(target.toString(), 'abcdefgh')
  assert.equal(server.asked.at(-1), '/b/a/what%27s%20%28new%29 bytes=4-11')
  assert.equal(await read(206, 'bytes 4-6/7', 'xyz'), 3, 'the end of the object')
  assert.equal(target.toString(), 'xyzdefgh')
  assert.equal(await read(206, 'bytes 5-12/100', '........'), undefined, 'another range')
  assert.equal(await read(206, 'bytes 4-11/100', '...'), undefined, 'less than it says')
  assert.equal(await read(206, 'bytes 4-12/100', '.........'), undefined, 'more than was asked for')
  assert.equal(await read(206, '', '........'), undefined, 'no range')
  assert.equal(await read(200, '', 'all of the object'), undefined)
  assert.equal(await read(403, '', '<Error>RequestTimeTooSkewed</Error>'), undefined)
  assert.equal(await read(404, '', ''), undefined)
  assert.equal(target.toString(), 'xyzdefgh', 'what does not count is put nowhere')
  assert.equal(server.connections, 1, 'which is used again after each of them')
  assert.equal(await read(403, '', 'x'.repeat(100_000)), undefined, 'a refusal too long to be read')
  assert.equal(await read(206, 'bytes 4-11/100', 'ABCDEFGH'), 8)
  assert.equal(target.toString(), 'ABCDEFGH')
})

test('range reader: long bodies that come in parts, several side by side over connections that are kept', async () => {
  await using server = await AskedServer.start()
  const object = Buffer.from(Uint8Array.from({ length: 3_000_000 }, (_, at) => (at * 31 + (at >> 8)) & 0xff))
  server.answer = (response) => {
    const [from = 0, to = 0] =
      /bytes=(\d+)-(\d+)/
        .exec(response.req.headers.range ?? '')
        ?.slice(1)
        .map(Number) ?? []
    const headers = { 'content-length': to + 1 - from, 'content-range': `bytes ${from}-${to}/${object.length}` }
    response.writeHead(206, headers).write(object.subarray(from, from + 5))
    setImmediate(() => response.end(object.subarray(from + 5, to + 1)))
  }
  for (let round = 0; round < 3; round++) {
    const parts = [0, 1, 2, 3].map((place) => ({ position: place * 700_001, target: Buffer.alloc(700_001) }))
    const reads = parts.map(({ position, target }) => server.reader.read('a', position, target, 10_000))
    assert.deepEqual(await Promise.all(reads), [700_001, 700_001, 700_001, 700_001])
    for (const { position, target } of parts)
      assert.ok(target.equals(object.subarray(position, position + target.length)), `round ${round}, ${position}`)
  }
  assert.equal(server.connections, 4)
})

test('range reader: a body that ends early, no answer in time: a failure, and nothing is put into the memory afterwards', async () => {
  await using server = await AskedServer.start()
  const { reader } = server
  const target = Buffer.alloc(8)
  const range = { 'content-length': 8, 'content-range': 'bytes 0-7/8' }
  server.answer = (response) => response.socket?.destroy()
  await assert.rejects(reader.read('a', 0, target, 1000), /closed|ECONNRESET/)
  server.answer = (response) => response.writeHead(206, range).write('abc', () => response.socket?.destroy())
  await assert.rejects(reader.read('a', 0, target, 1000), /closed|ECONNRESET/)
  server.answer = () => {}
  await assert.rejects(reader.read('a', 0, target, 50), /found no answer after 50 ms/)
  let late: ServerResponse | undefined
  server.answer = (response) => (late = response.writeHead(206, range)).write('abc')
  await assert.rejects(reader.read('a', 0, target, 100), /found no answer after 100 ms/)
  target.fill('.')
  late?.end('defgh')
  server.answerWith(206, 'bytes 0-7/8', '12345678')
  const other = Buffer.alloc(8)
  assert.equal(await reader.read('a', 0, other, 1000), 8)
  assert.equal(target.toString(), '........')
  assert.equal(other.toString(), '12345678')
})

test('range reader: a service that has closed a kept connection meanwhile is asked over a new one', async () => {
  await using server = await AskedServer.start()
  const target = Buffer.alloc(3)
  server.answerWith(206, 'bytes 0-2/3', 'abc')
  assert.equal(await server.reader.read('a', 0, target, 1000), 3)
  server.answer = (response) => {
    server.answerWith(206, 'bytes 0-2/3', 'def')
    response.socket?.destroy() // as if it had closed it in the moment that it was asked
  }
  assert.equal(await server.reader.read('a', 0, target, 1000), 3)
  assert.equal(target.toString(), 'def')
  assert.equal(server.asked.length, 3)
  assert.equal(server.connections, 2)
})

test('range reader: a service that answers in chunks is left to the other client, for a minute without a request', async () => {
  await using server = await AskedServer.start()
  server.answer = (response) => response.writeHead(206, { 'content-range': 'bytes 0-2/3' }).end('abc')
  assert.equal(await server.reader.read('a', 0, Buffer.alloc(3), 1000), undefined)
  assert.equal(await server.reader.read('a', 0, Buffer.alloc(3), 1000), undefined)
  server.nowMs += 59_000
  assert.equal(await server.reader.read('a', 0, Buffer.alloc(3), 1000), undefined)
  assert.equal(server.asked.length, 1)
  server.nowMs += 1000
  server.answerWith(206, 'bytes 0-2/3', 'abc')
  assert.equal(await server.reader.read('a', 0, Buffer.alloc(3), 1000), 3)
  assert.equal(await server.reader.read('a', 0, Buffer.alloc(3), 1000), 3)
})

test('range reader: credentials and regions that fit into no header are left to the other client, and nothing is sent', async () => {
  await using server = await AskedServer.start()
  server.answerWith(206, 'bytes 0-2/3', 'abc')
  const { credentials } = signer
  for (const wrong of ['a\r\nx-evil: 1', 'a\nb', 'a\rb', 'a\n', 'a\0b', 'grün', 'a\u{1f511}'])
    for (const other of [
      { ...signer, credentials: { ...credentials, sessionToken: wrong } },
      { ...signer, credentials: { ...credentials, accessKeyId: wrong } },
      { ...signer, region: wrong },
    ]) {
      server.signer = other
      assert.equal(await server.reader.read('a', 0, Buffer.alloc(3), 1000), undefined, JSON.stringify(other))
    }
  assert.deepEqual(server.asked, [])
  server.signer = signer
  assert.equal(await server.reader.read('a', 0, Buffer.alloc(3), 1000), 3)
})

/** Of connections that keep this process alive, both sides of them. */
function livelyConnections(): number {
  return process.getActiveResourcesInfo().filter((each) => each === 'TCPSocketWrap').length
}

test('range reader: a kept connection keeps no process alive; one that is asked over does', async () => {
  await using server = await AskedServer.start()
  let asked = 0
  for (let round = 0; round < 2; round++) {
    server.answer = (response) => {
      asked = livelyConnections()
      response.writeHead(206, { 'content-length': 3, 'content-range': 'bytes 0-2/3' }).end('abc')
    }
    assert.equal(await server.reader.read('a', 0, Buffer.alloc(3), 1000), 3)
    assert.equal(livelyConnections(), asked - 1, `round ${round}`)
  }
  assert.equal(server.connections, 1)
})

test('range reader: a connection that was kept for long is not asked over', async () => {
  await using server = await AskedServer.start()
  server.answerWith(206, 'bytes 0-2/3', 'abc')
  for (let round = 0; round < 3; round++) {
    assert.equal(await server.reader.read('a', 0, Buffer.alloc(3), 1000), 3)
    server.nowMs += 15_001
  }
  assert.equal(server.connections, 3)
})

test('range reader: closed while it connects: what waits fails, the connection ends, and nobody connects again', async () => {
  const server = createPlainServer().listen(0, '127.0.0.1') // says nothing, so that no encryption is agreed upon
  await once(server, 'listening')
  const address = server.address()
  const port = address !== null && typeof address === 'object' ? address.port : 0
  let connections = 0
  server.on('connection', () => connections++)
  const reader = new S3RangeReader(systemClock, `https://127.0.0.1:${port}`, 'b', () => Promise.resolve(signer))
  const connected = once(server, 'connection') as Promise<[Socket]>
  const failed = assert.rejects(reader.read('a', 0, Buffer.alloc(3), 60_000), /closed by this side/)
  const [socket] = await connected
  const ended = once(
    socket.resume().on('error', () => {}),
    'close',
  )
  reader.close()
  await failed
  await ended
  await assert.rejects(reader.read('a', 0, Buffer.alloc(3), 60_000), /closed by this side/)
  assert.equal(connections, 1)
  server.close()
  await once(server, 'close')
})

test('range reader: nobody there, and closed while it waits: failures', async () => {
  await using server = await AskedServer.start()
  const nobody = new S3RangeReader(systemClock, 'http://127.0.0.1:1', 'b', () => Promise.resolve(signer))
  await assert.rejects(nobody.read('a', 0, Buffer.alloc(3), 1000), /ECONNREFUSED/)
  const waiting = server.reader.read('a', 0, Buffer.alloc(3), 10_000)
  server.answer = () => server.reader.close()
  await assert.rejects(waiting, /closed by this side/)
})

test('range reader: over TLS, from an authority that this process trusts; one that it does not is a failure', async () => {
  await using directory = await TemporaryDirectory.make()
  const authority = await makeAuthority(directory.path, 'authority')
  const pair = await makeCertificate(directory.path, authority, { name: 'store' })
  const body = Buffer.from(Uint8Array.from({ length: 1_000_000 }, (_, at) => (at * 13) & 0xff))
  const headers = { 'content-length': body.length, 'content-range': `bytes 0-${body.length - 1}/${body.length}` }
  const server = createSecureServer(
    { cert: await readFile(pair.certificate), key: await readFile(pair.key) },
    (_request, response) => response.writeHead(206, headers).end(body),
  ).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = address !== null && typeof address === 'object' ? address.port : 0
  const reader = new S3RangeReader(systemClock, `https://127.0.0.1:${port}`, 'b', () => Promise.resolve(signer))
  const trusted = getCACertificates()
  const target = Buffer.alloc(body.length)
  try {
    await assert.rejects(reader.read('a', 0, target, 1000), /certificate/)
    setDefaultCACertificates([...trusted, await readFile(authority.certificate, 'utf8')])
    for (let round = 0; round < 2; round++) {
      target.fill(0)
      assert.equal(await reader.read('a', 0, target, 10_000), body.length)
      assert.ok(target.equals(body))
    }
  } finally {
    setDefaultCACertificates(trusted)
    reader.close()
    server.closeAllConnections()
    server.close()
  }
})
