import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { test } from 'node:test'
import { RedisClient } from '../../../bench/rivals/redis-client.ts'

const entry = (id: string, value: string): string =>
  `*2\r\n$${id.length}\r\n${id}\r\n*2\r\n$1\r\nv\r\n$${value.length}\r\n${value}\r\n`

/** Answers one command after another with these replies, `pieceBytes` at a time; keeps what it was asked. */
async function fakeRedis(replies: readonly string[], pieceBytes: number) {
  const asked: string[] = []
  const serve = async (socket: Socket): Promise<void> => {
    for await (const command of socket) {
      const lines = String(command).split('\r\n')
      asked.push(lines.filter((_, index) => index > 0 && index % 2 === 0).join(' '))
      const reply = replies[asked.length - 1] ?? ''
      for (let at = 0; at < reply.length; at += pieceBytes) {
        socket.write(reply.slice(at, at + pieceBytes))
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
  }
  // A client that leaves early ends the loop with an error that concerns nobody.
  const server = createServer({ noDelay: true }, (socket) => void serve(socket).catch(() => socket.destroy()))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    asked,
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      server.close()
      await once(server, 'close')
    },
  }
}

for (const pieceBytes of [1, 7, 100_000]) {
  test(`redis client: a stream is read page by page to its end, replies arriving ${pieceBytes} bytes at a time`, async () => {
    const pages = [
      `*2\r\n${entry('1-0', 'a\r\n$9')}${entry('1-1', 'bbbbb')}`,
      `*1\r\n${entry('22-0', 'ccccc')}`,
      '*0\r\n',
    ]
    await using redis = await fakeRedis([...pages, ':3\r\n'], pieceBytes)
    const client = await RedisClient.connect(redis.port)
    try {
      assert.equal(await client.readStream('s', 2, 5), 3)
      assert.equal(await client.streamLength('s'), 3)
    } finally {
      client.close()
    }
    assert.deepEqual(redis.asked, [
      'XRANGE s - + COUNT 2',
      'XRANGE s (1-1 + COUNT 2',
      'XRANGE s (22-0 + COUNT 2',
      'XLEN s',
    ])
  })
}

test('redis client: an error reply and a value of another size are failures', async () => {
  await using redis = await fakeRedis(['-ERR no\r\n'], 100)
  const refused = await RedisClient.connect(redis.port)
  await assert.rejects(refused.readStream('s', 2, 5), /found "-ERR no/)
  refused.close()
  await using other = await fakeRedis([`*1\r\n${entry('1-0', 'four')}xx`], 100)
  const wrong = await RedisClient.connect(other.port)
  await assert.rejects(wrong.readStream('s', 2, 5), { code: 'unavailable' })
  wrong.close()
})
