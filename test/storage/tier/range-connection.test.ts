/** One connection over which parts of objects are read, against servers that answer in all ways: whole answers in pieces, and what is none. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import { test } from 'node:test'
import { sleep, systemClock } from '../../../platform/clock.ts'
import { RangeConnection } from '../../../storage/tier/range-connection.ts'
import type { RangeAnswer } from '../../../storage/tier/range-connection.ts'

/** A server that answers each request with the next of these, in pieces; `end` = it ends its side. */
class ScriptedServer implements AsyncDisposable {
  readonly connection: RangeConnection
  readonly target = Buffer.alloc(3, '.')
  readonly #server: Server
  readonly #socket: Socket
  #pieces: readonly string[] = []

  private constructor(server: Server, socket: Socket, connection: RangeConnection) {
    this.#server = server
    this.#socket = socket
    this.connection = connection
    socket.setNoDelay(true)
    socket.on('error', () => {})
    socket.on('data', () => void this.send(this.#pieces))
  }

  static async start(): Promise<ScriptedServer> {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    const port = address !== null && typeof address === 'object' ? address.port : 0
    const accepted = once(server, 'connection') as Promise<[Socket]>
    const service = { host: '127.0.0.1', port, isSecure: false }
    const connection = await RangeConnection.open(service, new AbortController().signal)
    const [socket] = await accepted
    return new ScriptedServer(server, socket, connection)
  }

  /** Each piece is there before the next is sent. */
  async send(pieces: readonly string[]): Promise<void> {
    for (const piece of pieces) {
      if (piece === 'end') this.#socket.end()
      else this.#socket.write(piece, 'latin1')
      for (let turn = 0; turn < 5; turn++) await systemClock.yield()
    }
  }

  /** Bytes 4 to 6. */
  read(...pieces: string[]): Promise<RangeAnswer> {
    this.#pieces = pieces
    return this.connection.read('GET / HTTP/1.1\r\n\r\n', 4, this.target.fill('.'), new AbortController().signal)
  }

  async isEnded(): Promise<void> {
    while (this.connection.isOpen) await systemClock.yield()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.connection.close()
    this.#socket.destroy()
    this.#server.close()
    await once(this.#server, 'close')
  }
}

const head = 'HTTP/1.1 206 Partial Content\r\nContent-Length: 3\r\nContent-Range: bytes 4-6/100\r\n'

test('range connection: an answer in pieces, cut in the middle of its head and of its body', async () => {
  await using server = await ScriptedServer.start()
  assert.equal(
    await server.read(
      'HT',
      'TP/1.1 2',
      '06 Partial\r\nContent-Length: 3\r\nContent-Range: bytes 4-6/*\r',
      '\n\r',
      '\nab',
      'c',
    ),
    3,
  )
  assert.equal(server.target.toString(), 'abc')
  assert.equal(await server.read(head, '\r\n', 'd', 'ef'), 3)
  assert.equal(server.target.toString(), 'def')
  assert.equal(await server.read(`${head}\r\nghi`), 3)
  assert.equal(server.target.toString(), 'ghi')
  assert.ok(server.connection.isOpen)
})

for (const [what, answer] of [
  ['HTTP/1.1 with Connection: close', `${head}Connection: keep-alive\r\nconnection: Close\r\n\r\nabc`],
  ['HTTP/1.0', `${head.replace('/1.1', '/1.0')}\r\nabc`],
] as const)
  test(`range connection: the last answer of its connection (${what}) counts`, async () => {
    await using server = await ScriptedServer.start()
    assert.equal(await server.read(answer), 3)
    assert.equal(server.target.toString(), 'abc')
    assert.ok(!server.connection.isOpen)
  })

test('range connection: another range, a part of it, a refusal: not taken, and the connection goes on', async () => {
  await using server = await ScriptedServer.start()
  for (const answer of [
    `${head.replace('4-6', '5-7')}\r\nabc`,
    `${head.replace('4-6', '4-7')}\r\nabc`,
    `${head}Content-Range: bytes 7-9/100\r\n\r\nabc`,
    'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc',
    'HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n',
  ]) {
    assert.equal(await server.read(answer), 'other', answer)
    assert.equal(server.target.toString(), '...')
  }
  assert.equal(await server.read(`${head}\r\nabc`), 3)
})

for (const [what, header] of [
  ['two lengths', 'Content-Length: 4\r\n'],
  ['a length and chunks', 'Transfer-Encoding: chunked\r\n'],
] as const)
  test(`range connection: ${what}: where the answer ends is not certain, and the connection ends`, async () => {
    await using server = await ScriptedServer.start()
    assert.equal(await server.read(`${head}${header}\r\nabcd`), 'unframed')
    assert.equal(server.target.toString(), '...')
    assert.ok(!server.connection.isOpen)
  })

test('range connection: the same length twice is that length', async () => {
  await using server = await ScriptedServer.start()
  assert.equal(await server.read(`${head}content-length: 3\r\n\r\nabc`), 3)
  assert.ok(server.connection.isOpen)
})

for (const [what, pieces, found] of [
  ['no HTTP', ['SSH-2.0-server\r\n'], /found other bytes than an answer/],
  ['no HTTP, from the second piece on', ['HTTP', 'S/1.1 206 OK\r\n'], /found other bytes than an answer/],
  ['another HTTP', ['HTTP/2 206 OK\r\n'], /found other bytes than an answer/],
  ['no status', ['HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n'], /without a status/],
  ['a head without an end', ['HTTP/1.1 206 OK\r\nx: ', 'x'.repeat(20_000)], /a head of more than 16384 bytes/],
  ['more than announced', [`${head}\r\nabcX`], /more bytes than the 3 announced/],
  ['the end in the middle of the head', [head, 'end'], /closed/],
  ['the end in the middle of the body', [`${head}\r\nab`, 'end'], /closed/],
  ['the end before anything', ['end'], /closed/],
] as const)
  test(`range connection: ${what}: a failure, and the connection ends`, async () => {
    await using server = await ScriptedServer.start()
    await assert.rejects(server.read(...pieces), found)
    assert.ok(!server.connection.isOpen)
  })

test('range connection: bytes behind the end of a body end the connection, whether they come before the next request or after it', async () => {
  await using before = await ScriptedServer.start()
  assert.equal(await before.read(`${head}\r\nabc`), 3)
  await before.send([`${head}\r\nxyz`])
  await before.isEnded()
  assert.equal(before.target.toString(), 'abc')
  await using after = await ScriptedServer.start()
  assert.equal(await after.read(`${head}\r\nabc`), 3)
  await assert.rejects(after.read(`X${head}\r\ndef`), /found other bytes than an answer/)
  assert.ok(!after.connection.isOpen)
})

test('range connection: one that rests is closed after a time; one that is asked over is not', async () => {
  await using server = await ScriptedServer.start()
  server.connection.rest(1)
  const reading = server.read()
  await sleep(systemClock, 20)
  await server.send([`${head}\r\nabc`])
  assert.equal(await reading, 3)
  server.connection.rest(1)
  await server.isEnded()
})
