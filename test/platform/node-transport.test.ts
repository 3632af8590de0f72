import assert from 'node:assert/strict'
import { connect as connectSocket } from 'node:net'
import { test } from 'node:test'
import { nodeTransport } from '../../platform/node-transport.ts'
import type { Connection } from '../../platform/transport.ts'

/** A promise and the function that resolves it. */
function once(): { done: Promise<void>; call: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>()
  return { done: promise, call: resolve }
}

async function pair(): Promise<{ client: Connection; server: Connection; close: () => Promise<void> }> {
  let server: Connection | undefined
  const arrived = once()
  const listener = await nodeTransport.listen('127.0.0.1', 0, (connection) => {
    server = connection
    connection.onData = () => {}
    arrived.call()
  })
  const client = await nodeTransport.connect('127.0.0.1', listener.port)
  client.onData = () => {}
  await arrived.done
  assert.ok(server)
  return { client, server, close: () => listener.close() }
}

test('parts of several writes arrive in order, and end sends what is queued first', async () => {
  const { client, server, close } = await pair()
  const received: Buffer[] = []
  const closed = once()
  server.onData = (bytes) => received.push(bytes)
  server.onClose = closed.call
  client.write([Buffer.from('a'), Buffer.from('b')])
  client.write([Buffer.from('c')])
  client.end()
  client.write([Buffer.from('after the end')])
  await closed.done
  assert.equal(Buffer.concat(received).toString(), 'abc')
  await close()
})

test('a paused reader makes the writer keep its bytes; resumed, it drains (64 MiB)', async () => {
  const { client, server, close } = await pair()
  const bytes = 64 * 1024 * 1024
  let received = 0
  const drained = once()
  const all = once()
  server.pause()
  server.onData = (chunk) => {
    received += chunk.length
    if (received === bytes) all.call()
  }
  client.onDrain = drained.call
  client.write([Buffer.alloc(bytes)])
  assert.equal(client.pendingBytes, bytes)
  await new Promise((resolve) => setImmediate(resolve))
  assert.ok(client.pendingBytes > 0)
  server.resume()
  await Promise.all([drained.done, all.done])
  assert.equal(client.pendingBytes, 0)
  client.destroy()
  await close()
})

test('close is told once, to both sides, and nothing after it', async () => {
  const { client, server, close } = await pair()
  let closes = 0
  const both = Promise.all(
    [client, server].map(
      (connection) =>
        new Promise<void>((resolve) => {
          connection.onClose = () => {
            closes++
            resolve()
          }
        }),
    ),
  )
  client.destroy()
  client.destroy()
  await both
  client.end()
  client.write([Buffer.from('x')])
  server.end()
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(closes, 2)
  assert.equal(client.pendingBytes, 0)
  await close()
})

test('a port in use and a port that nobody listens on reject with the error of the system', async () => {
  const listener = await nodeTransport.listen('127.0.0.1', 0, () => {})
  await assert.rejects(
    nodeTransport.listen('127.0.0.1', listener.port, () => {}),
    { code: 'EADDRINUSE' },
  )
  await listener.close()
  await assert.rejects(nodeTransport.connect('127.0.0.1', listener.port), { code: 'ECONNREFUSED' })
})

test('an aborted connect rejects with the reason of the signal', async () => {
  const reason = new Error('enough')
  await assert.rejects(nodeTransport.connect('127.0.0.1', 1, AbortSignal.abort(reason)), reason)
  const listener = await nodeTransport.listen('127.0.0.1', 0, () => {})
  const abort = new AbortController()
  const connecting = nodeTransport.connect('127.0.0.1', listener.port, abort.signal)
  abort.abort(reason)
  await assert.rejects(connecting, reason)
  await listener.close()
})

test('nothing arrives between pause and resume, though the sender has sent all (200 KB, paused in every fifth read)', async () => {
  const { client, server, close } = await pair()
  const memory = Buffer.alloc(4096)
  let received = 0
  let reads = 0
  let isPaused = false
  const all = once()
  server.room = () => memory
  server.onData = (bytes) => {
    assert.ok(!isPaused)
    received += bytes.length
    if (received === 200_000) all.call()
    if (++reads % 5 !== 0) return
    isPaused = true
    server.pause()
    setImmediate(() => {
      isPaused = false
      server.resume()
    })
  }
  client.write([Buffer.alloc(200_000)])
  await all.done
  client.destroy()
  await close()
})

test('where an accepted handle cannot read into our memory, the stream is read: data, pause and close work as ever', async () => {
  const closed = once()
  const arrived: Buffer[] = []
  const listener = await nodeTransport.listen('127.0.0.1', 0, (connection) => {
    connection.onData = (bytes) => {
      arrived.push(bytes)
      connection.write([Buffer.from('seen')])
    }
    connection.onClose = closed.call
    connection.pause()
    setImmediate(() => connection.resume())
  })
  const socket = connectSocket(listener.port, '127.0.0.1')
  await new Promise<void>((resolve) => socket.once('connect', () => resolve()))
  let prototype = Object.getPrototypeOf(Reflect.get(socket, '_handle')) as object
  while (!Object.hasOwn(prototype, 'useUserBuffer')) prototype = Object.getPrototypeOf(prototype) as object
  const own = Object.getOwnPropertyDescriptor(prototype, 'useUserBuffer')!
  Object.defineProperty(prototype, 'useUserBuffer', { ...own, value: undefined })
  try {
    // Accepting happens in a later turn: the connection above, and this one, are taken as they are.
    const second = connectSocket(listener.port, '127.0.0.1')
    const answer = new Promise<string>((resolve) => second.once('data', (bytes) => resolve(bytes.toString())))
    second.write('hello')
    assert.equal(await answer, 'seen')
    assert.equal(Buffer.concat(arrived).toString(), 'hello')
    second.end()
    await closed.done
  } finally {
    Object.defineProperty(prototype, 'useUserBuffer', own)
    socket.destroy()
    await listener.close()
  }
})
