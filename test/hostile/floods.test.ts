/**
 * Floods against a real broker process: each is bounded by the setting in its name. Memory and descriptors are the kernel's figures (/proc),
 * before, during and after; in the end a healthy client is served and what was acknowledged is unchanged (WatchedBroker.check).
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { isPlayheadError } from '../../protocol/errors.ts'
import { KiB, MiB } from '../../protocol/limits.ts'
import { FrameClient, connectFrameClient, helloRequest } from '../broker/frame-client.ts'
import { appendBatch, createTopic, fetchRequest } from '../broker/running-broker.ts'
import { endAll, flood, floodOf, recordBatch } from './flood.ts'
import type { Flooder } from './flood.ts'
import { assertGrownBelow, grownBy, onOwnConnection, WatchedBroker } from './watched-broker.ts'
import type { Usage } from './watched-broker.ts'

/** Descriptors that come and go without being anybody's connection: segments, the cache, what is being closed. */
const otherDescriptors = 16
const helloFrame = FrameClient.frame('hello', helloRequest)

/** So many descriptors does a process of this machine get at most, or the test fails and says what to do. */
function needDescriptors(count: number): void {
  const limits = readFileSync('/proc/self/limits', 'utf8')
  const hard = /^Max open files\s+\S+\s+(\S+)/m.exec(limits)?.[1]
  const enough = hard === 'unlimited' || Number(hard) >= count
  assert.ok(enough, `found a limit of ${hard} open files, wanted ${count}: raise it with ulimit -Hn ${count}`)
}

/** When those who flooded are gone, so is what they had, and the healthy are served. */
async function assertRecovers(watched: WatchedBroker, before: Usage, flooders: readonly Flooder[] = []): Promise<void> {
  endAll(flooders)
  await watched.settled(before.descriptors + otherDescriptors)
  await watched.check()
}

async function whenAll(what: string, isSo: () => boolean): Promise<void> {
  for (let left = 1_500; left > 0 && !isSo(); left--) await wait(20)
  assert.ok(isSo(), what)
}

test('flood: 10,000 idle connections after hello (connectionsMax), in less than 64 KiB of memory each; gone when they are', async (t) => {
  needDescriptors(10_400)
  const flags = ['--connections-max', '10000', '--connections-per-address-max', '10000']
  await using watched = await WatchedBroker.start(...flags)
  const before = watched.usage()
  const idle = await floodOf(9_990, () => flood(watched.port, helloFrame))
  await whenAll('each is greeted', () => idle.every(({ receivedBytes }) => receivedBytes > 0))
  const during = watched.usage()
  t.diagnostic(
    `${(during.rssBytes - before.rssBytes) / idle.length / KiB} KiB a connection, ${during.descriptors} open`,
  )
  assertGrownBelow(idle.length * 64 * KiB, before, during)
  assert.ok(
    during.descriptors >= idle.length && during.descriptors <= idle.length + before.descriptors + otherDescriptors,
  )
  await watched.check()
  await assertRecovers(watched, before, idle)
})

test('flood: 3,000 connections where 100 may be (connectionsMax), 40 from one address (connectionsPerAddressMax): the others are told or closed', async () => {
  await using watched = await WatchedBroker.start('--connections-max', '100', '--connections-per-address-max', '40')
  const before = watched.usage()
  const making = floodOf(3_000, () => flood(watched.port, helloFrame))
  const during = await watched.most(making)
  const flooders = await making
  await whenAll('all but 40 are closed', () => flooders.filter(({ isClosed }) => isClosed).length === 2_960)
  // Those that are being told why are descriptors too, a hundred at most; what the kernel accepted in one go is closed in the same turn.
  assert.ok(during.descriptors < before.descriptors + 40 + 100 + 600, `${during.descriptors} descriptors`)
  assertGrownBelow(100 * MiB, before, during)
  assert.ok(watched.usage().descriptors <= before.descriptors + 40 + otherDescriptors)
  const told = flooders.filter(({ isClosed, last }) => isClosed && last.includes('connectionsPerAddressMax'))
  assert.ok(told.length > 0, 'nobody was told why')
  await assertRecovers(watched, before, flooders)
})

test('flood: 400 HTTP connections where 100 may be, 40 from one address', async () => {
  await using watched = await WatchedBroker.start('--connections-max', '100', '--connections-per-address-max', '40')
  const before = watched.usage()
  const flooders = await floodOf(400, () => flood(watched.httpPort))
  await whenAll('all but 40 are closed', () => flooders.filter(({ isClosed }) => isClosed).length === 360)
  assert.ok(watched.usage().descriptors <= before.descriptors + 40 + otherDescriptors)
  await assertRecovers(watched, before, flooders)
})

test('flood: 3,000 topics asked for, of one partition and of many, where 60 partitions may be (partitionsTotalMax): told by name, and nothing of them stays', async () => {
  await using watched = await WatchedBroker.start('--partitions-total-max', '60')
  const before = watched.usage()
  const codes = new Map<string, number>()
  const ask = async (client: FrameClient, index: number): Promise<void> => {
    const request = { partitions: index % 5 === 0 ? 4_096 : 1, replicationFactor: 1, settings: [] }
    try {
      await client.request('createTopic', { topic: `flood-${index}`, ...request })
      codes.set('made', (codes.get('made') ?? 0) + 1)
    } catch (error) {
      const code = isPlayheadError(error) ? error.code : String(error)
      codes.set(code, (codes.get(code) ?? 0) + 1)
    }
  }
  using client = await connectFrameClient(watched.port)
  for (let at = 0; at < 3_000; at += 500)
    await Promise.all(Array.from({ length: 500 }, (_, index) => ask(client, at + index)))
  // One is the healthy client's.
  assert.deepEqual(Object.fromEntries(codes), { made: 59, tooManyPartitions: 2_941 })
  const after = watched.usage()
  assertGrownBelow(100 * MiB, before, after)
  assert.ok(after.descriptors <= before.descriptors + otherDescriptors, `${after.descriptors} descriptors`)
  await watched.check()
  await watched.restart('--partitions-total-max', '60')
})

test('flood: 300 handshakes that never end, a byte at a time or not at all (helloWaitMsMax 300): closed, and told why', async () => {
  await using watched = await WatchedBroker.start('--hello-wait-ms-max', '300')
  const before = watched.usage()
  const flooders = await floodOf(300, () => flood(watched.port))
  let at = 0
  while (flooders.some(({ isClosed }) => !isClosed) && at < 1_500) {
    // Of two of three: hello byte by byte, but for its last; or a frame of zeros that claims 16 KiB.
    for (const [index, { socket }] of flooders.entries()) {
      if (index % 3 === 0 && at < helloFrame.length - 1) socket.write(helloFrame.subarray(at, at + 1))
      if (index % 3 === 1) socket.write(at === 0 ? Buffer.from([0, 0x3f, 0, 0]) : Buffer.alloc(1))
    }
    at++
    await wait(20)
  }
  assert.ok(
    flooders.every(({ isClosed }) => isClosed),
    'a handshake without an end is still open',
  )
  assert.ok(
    flooders.every(({ last }) => last.includes('hello')),
    'not all were told',
  )
  assertGrownBelow(50 * MiB, before, watched.usage())
  await assertRecovers(watched, before)
})

test('flood: 30 frames of 64 MiB that are begun and sent byte by byte (requestBytesTotalMax 128 MiB, stallMsMax 300): others get their memory', async () => {
  const flags = ['--request-bytes-total-max', String(128 * MiB), '--stall-ms-max', '300']
  await using watched = await WatchedBroker.start(...flags)
  const before = watched.usage()
  const begun = Buffer.concat([helloFrame, Buffer.from([0, 0, 0, 4]), Buffer.from([0, 10, 0, 0])])
  const making = floodOf(30, () => flood(watched.port, begun))
  const during = await watched.most(making)
  const flooders = await making
  let turns = 0
  // Those that are read from are closed once others wait for longer than stallMsMax; then the next are read from.
  const closedCount = (): number => flooders.filter(({ isClosed }) => isClosed).length
  while (closedCount() < 26 && turns++ < 1_500) {
    for (const { socket, isClosed } of flooders) if (!isClosed) socket.write(Buffer.alloc(1))
    if (turns === 20) await watched.check()
    await wait(20)
  }
  // Two hold all the memory that there is; when nobody waits any more, the last ones may stay.
  assert.ok(closedCount() >= 26, 'slow senders were not closed')
  assertGrownBelow(300 * MiB, before, during)
  await assertRecovers(watched, before, flooders)
})

test('flood: frames that claim 2^31 and 2^32 - 1 bytes (frameBytesMax) are refused as soon as they say so, before and after hello', async () => {
  await using watched = await WatchedBroker.start()
  const before = watched.usage()
  for (const length of [0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 68 * MiB + 1]) {
    const prefix = Buffer.alloc(4)
    prefix.writeUInt32LE(length)
    for (const bytes of [prefix, Buffer.concat([helloFrame, prefix])]) {
      const flooders = await floodOf(25, () => flood(watched.port, bytes))
      await Promise.all(flooders.map(({ closed }) => closed))
      assert.ok(
        flooders.every(({ last }) => last.includes('found length')),
        `${length} bytes`,
      )
    }
  }
  assertGrownBelow(50 * MiB, before, watched.usage())
  await assertRecovers(watched, before)
})

test('flood: 50 consumers that ask for 100 x 1 MiB each and read nothing (replyBytesMax, replyBytesTotalMax 32 MiB, stallMsMax 500): others read on', async () => {
  const total = 32 * MiB
  const flags = [
    '--reply-bytes-max',
    String(4 * MiB),
    '--reply-bytes-total-max',
    String(total),
    '--stall-ms-max',
    '500',
  ]
  await using watched = await WatchedBroker.start(...flags)
  {
    using client = await connectFrameClient(watched.port)
    await createTopic(client, 'carts')
    for (let round = 0; round < 8; round++) {
      const { header } = await appendBatch(client, 'carts', recordBatch(1_000_000, 'none'))
      assert.equal(header.groups[0]?.failure, undefined)
    }
  }
  const before = watched.usage()
  const wishes = [
    helloFrame,
    ...Array.from({ length: 100 }, (_, index) =>
      FrameClient.frame('fetch', fetchRequest('carts', 0, { maxBytes: MiB }), [], index + 2),
    ),
  ]
  const making = floodOf(50, () => flood(watched.port, Buffer.concat(wishes), { reads: false }))
  const sleepers = await making
  const during = await watched.most(watched.check())
  // What the kernel holds for each is its own; the broker's replies are total and what they are made in.
  assertGrownBelow(total + 160 * MiB, before, during)
  await assertRecovers(watched, before, sleepers)
})

const slowHead = 'POST /api/topics/carts/streams/s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n'

test('flood: HTTP heads and bodies that never end, a byte at a time (httpRequestWaitMsMax 500): refused and closed', async () => {
  await using watched = await WatchedBroker.start('--http-request-wait-ms-max', '500')
  const before = watched.usage()
  const beginnings = ['', 'GET /healthz HTTP/1.1\r\nX: ', `${slowHead}Content-Length: 1000000\r\n\r\n[`]
  const flooders = await floodOf(300, (index) => flood(watched.httpPort, beginnings[index % 3]))
  let turns = 0
  while (flooders.some(({ isClosed }) => !isClosed) && turns++ < 1_500) {
    for (const [index, { socket, isClosed }] of flooders.entries()) if (index % 3 > 0 && !isClosed) socket.write('1')
    await wait(20)
  }
  assert.ok(
    flooders.every(({ isClosed }) => isClosed),
    'a request without an end is still open',
  )
  assertGrownBelow(60 * MiB, before, watched.usage())
  await assertRecovers(watched, before)
})

test('flood: 100 HTTP bodies of 15 MiB, chunked or with a length that is not kept (httpBytesTotalMax 32 MiB, stallMsMax 500); larger ones are refused', async (t) => {
  const flags = ['--http-bytes-total-max', String(32 * MiB), '--stall-ms-max', '500']
  await using watched = await WatchedBroker.start(...flags)
  const before = watched.usage()
  const piece = Buffer.alloc(64 * KiB, '[')
  const chunk = Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n')])
  const send = async (index: number): Promise<Flooder> => {
    const isChunked = index % 2 === 0
    const rest = isChunked ? 'Transfer-Encoding: chunked\r\n\r\n' : `Content-Length: ${15 * MiB}\r\n\r\n`
    const flooder = await flood(watched.httpPort, slowHead + rest)
    for (let sent = 0; sent < 15 * MiB - piece.length; sent += piece.length)
      flooder.socket.write(isChunked ? chunk : piece)
    return flooder
  }
  const sending = floodOf(100, send).then(async (flooders) => {
    await wait(1_500)
    return flooders
  })
  const during = await watched.most(sending)
  t.diagnostic(grownBy(before, during))
  assertGrownBelow(200 * MiB, before, during)
  endAll(await sending)
  await watched.settled(before.descriptors + otherDescriptors)
  using large = await flood(watched.httpPort, `${slowHead}Content-Length: ${2 ** 40}\r\n\r\n`)
  await whenAll('a body of 2^40 bytes is refused', () => large.last.includes('413'))
  await watched.check()
})

test('flood: 40 HTTP clients that ask for 4 pages of 6 MiB each and read nothing (httpBytesTotalMax 32 MiB, stallMsMax 500): others are served', async (t) => {
  const flags = [
    '--http-bytes-total-max',
    String(32 * MiB),
    '--stall-ms-max',
    '500',
    '--fetch-bytes-max',
    String(8 * MiB),
  ]
  await using watched = await WatchedBroker.start(...flags)
  using client = await connectFrameClient(watched.port)
  await createTopic(client, 'carts')
  const url = `http://127.0.0.1:${watched.httpPort}/api/topics/carts/streams/s`
  const event = JSON.stringify({ type: 'Note', contentType: 'text/plain', data: 'x'.repeat(700_000) })
  for (let count = 0; count < 9; count++) {
    const headers = { 'content-type': 'application/json', ...onOwnConnection }
    const posted = await fetch(url, { method: 'POST', headers, body: event })
    assert.equal(posted.status, 201)
  }
  const before = watched.usage()
  const asking = 'GET /api/topics/carts/streams/s HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(4)
  const sleepers = await floodOf(40, () => flood(watched.httpPort, asking, { reads: false }))
  const reading = fetch(url, { headers: onOwnConnection }).then(({ status }) => assert.equal(status, 200))
  const during = await watched.most(reading)
  t.diagnostic(grownBy(before, during))
  assertGrownBelow(650 * MiB, before, during)
  await assertRecovers(watched, before, sleepers)
})
