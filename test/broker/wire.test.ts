import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { sleep, systemClock } from '../../platform/clock.ts'
import { FLAG_ERROR } from '../../protocol/frame.ts'
import { KiB, MiB } from '../../protocol/limits.ts'
import { FrameClient, connectFrameClient, helloRequest } from './frame-client.ts'
import { appendBatch, createTopic, eventBatch, fetchRequest, runBroker } from './running-broker.ts'

const listRequest = FrameClient.frame('listTopics', { internal: false }, [], 7)

/** The frame with one field of its prefix changed. */
function changed(frame: Buffer, change: (frame: Buffer) => void): Buffer {
  const copy = Buffer.from(frame)
  change(copy)
  return copy
}

/** Asks again and again, at most 10 s. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 1_000; tries++) {
    if (await holds()) return
    await sleep(systemClock, 10)
  }
  assert.fail('did not come about')
}

test('a first request that is not hello is refused by name and the connection closed', async () => {
  await using running = await runBroker()
  using client = await FrameClient.open(running.broker.port)
  const reply = client.expect(7)
  client.socket.write(listRequest)
  await assert.rejects(reply, { code: 'helloRequired' })
  await client.closed
  await running.client.request('listTopics', { internal: false })
})

test('before hello no more than 16 KiB is taken; after it the limit told in hello', async () => {
  await using running = await runBroker()
  using early = await FrameClient.open(running.broker.port)
  const length = Buffer.alloc(4)
  length.writeUInt32LE(16 * KiB + 1)
  early.socket.write(length)
  await early.closed
  assert.deepEqual(
    early.unasked.map((error) => 'code' in error && error.code),
    ['frameTooLarge'],
  )

  using client = await connectFrameClient(running.broker.port)
  const { header } = await client.hello()
  assert.equal(header.frameBytesMax, 68 * MiB)
  length.writeUInt32LE(header.frameBytesMax + 1)
  client.socket.write(length)
  await client.closed
  assert.deepEqual(
    client.unasked.map((error) => 'code' in error && error.code),
    ['frameTooLarge'],
  )
})

test('what follows hello in the same packet is answered too, and a long frame may be the next', async () => {
  await using running = await runBroker()
  await createTopic(running.client, 't')
  using client = await FrameClient.open(running.broker.port)
  const batch = eventBatch(Array.from({ length: 500 }, (_, index) => `stream-${index}`))
  assert.ok(batch.length > 16 * KiB)
  const groups = [{ batchBytes: batch.length, expected: [], wantVersions: false }]
  const replies = Promise.all([client.expect(1), client.expect(2), client.expect(7)])
  client.socket.write(
    Buffer.concat([
      FrameClient.frame('hello', helloRequest, [], 1),
      FrameClient.frame('append', { topic: 't', partition: 0, acks: 'all', groups }, [batch], 2),
      listRequest,
    ]),
  )
  for (const { flags } of await replies) assert.equal(flags & FLAG_ERROR, 0)
})

test('a client that does not say hello in time is told so and closed (100 ms)', async () => {
  await using running = await runBroker({ helloWaitMsMax: 100 })
  using client = await FrameClient.open(running.broker.port)
  await client.closed
  assert.deepEqual(
    client.unasked.map((error) => 'code' in error && error.code),
    ['helloRequired'],
  )
  await running.client.request('listTopics', { internal: false })
})

test('a hello of versions that we do not speak is refused, a better one on the same connection is welcome', async () => {
  await using running = await runBroker()
  using client = await FrameClient.open(running.broker.port)
  await assert.rejects(client.request('hello', { ...helloRequest, minVersion: 3, maxVersion: 9 }), {
    code: 'unsupportedVersion',
  })
  assert.equal((await client.hello()).header.version, 0)
})

test('unknown api, unknown version, bad headers: typed errors, and the connection goes on', async () => {
  await using running = await runBroker()
  const { client } = running
  const nested = Buffer.concat([Buffer.alloc(10_000, 0x91), Buffer.from([0xc0])])
  const headerOf = (header: Buffer, api = 2) =>
    changed(Buffer.concat([Buffer.alloc(16), header]), (frame) => {
      frame.writeUInt32LE(frame.length - 4, 0)
      frame[5] = api
      frame.writeUInt32LE(7, 8)
      frame.writeUInt32LE(header.length, 12)
    })
  const cases: [string, Buffer, string][] = [
    ['an api of no row', changed(listRequest, (frame) => frame.writeUInt8(250, 5)), 'unknownApi'],
    ['a version above ours', changed(listRequest, (frame) => frame.writeUInt8(9, 4)), 'unsupportedVersion'],
    ['an empty header', headerOf(Buffer.alloc(0)), 'malformedHeader'],
    ['a header that is text', headerOf(Buffer.from([0xa1, 0x61])), 'malformedHeader'],
    ['a header that is no msgpack', headerOf(Buffer.from([0xc1, 0xff])), 'malformedHeader'],
    ['a header with a wrong type in it', headerOf(Buffer.from([0x91, 0x01])), 'malformedHeader'],
    ['arrays nested 10,000 deep', headerOf(nested), 'malformedHeader'],
    [
      'an array that claims 2^32 - 1 elements',
      headerOf(Buffer.from([0xdd, 0xff, 0xff, 0xff, 0xff])),
      'malformedHeader',
    ],
  ]
  for (const [what, frame, code] of cases) {
    const reply = client.expect(7)
    client.socket.write(frame)
    await assert.rejects(reply, { code }, what)
  }
  await client.request('listTopics', { internal: false })
})

test('malformed frames: a typed error, that connection closes, the others and the broker go on', async () => {
  await using running = await runBroker()
  const cases: [string, Buffer][] = [
    ['a length shorter than a prefix', changed(listRequest, (frame) => frame.writeUInt32LE(3, 0))],
    ['a header longer than its frame', changed(listRequest, (frame) => frame.writeUInt32LE(1_000, 12))],
    ['a frame of 2^32 - 1 bytes', Buffer.alloc(16, 0xff)],
  ]
  for (const [what, frame] of cases) {
    using client = await connectFrameClient(running.broker.port)
    client.socket.write(frame)
    await client.closed
    assert.equal(client.unasked.length, 1, what)
  }
  await running.client.request('listTopics', { internal: false })
})

test('connections of random bytes, before and after hello, harm nobody (200 of up to 4 KiB)', async () => {
  await using running = await runBroker()
  for (let round = 0; round < 200; round++) {
    const client =
      round % 2 === 0 ? await FrameClient.open(running.broker.port) : await connectFrameClient(running.broker.port)
    const bytes = randomBytes(1 + ((round * 97) % (4 * KiB)))
    // Half of them claim a length that fits, so that they get as far as the header.
    if (round % 4 < 2 && bytes.length > 4) bytes.writeUInt32LE(bytes.length - 4, 0)
    client.socket.end(bytes)
    await client.closed
  }
  await running.client.request('listTopics', { internal: false })
})

test('valid frames with bytes changed get a reply or an end, and harm nobody (500, seed printed)', async () => {
  const seed = randomBytes(4).readUInt32LE(0)
  console.log(`seed ${seed}`)
  let state = seed
  const random = (below: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
  await using running = await runBroker()
  await createTopic(running.client, 't')
  const batch = eventBatch(['a', 'b'])
  const groups = [{ batchBytes: batch.length, expected: [{ stream: 'a', version: -1 }], wantVersions: true }]
  const stream = {
    topic: 't',
    stream: 'a',
    from: 0,
    limit: 10,
    backwards: false,
    asOf: 5,
    knownAt: 5,
    maxBytes: 1_000,
    after: undefined,
    consistency: undefined,
  }
  const frames = [
    FrameClient.frame('append', { topic: 't', partition: 0, acks: 'all', groups }, [batch], 7),
    FrameClient.frame('fetch', fetchRequest('t', 0), [], 7),
    FrameClient.frame('readStream', stream, [], 7),
    FrameClient.frame(
      'commitPlayhead',
      { topic: 't', name: 'p', positions: [{ partition: 0, offset: 0 }], expectedVersion: -1 },
      [],
      7,
    ),
    FrameClient.frame('hello', helloRequest, [], 7),
  ]
  for (let round = 0; round < 500; round++) {
    const frame = Buffer.from(frames[round % frames.length]!)
    // Past the length, so that the frame is whole; the length itself has its own tests.
    for (let changes = 1 + random(4); changes > 0; changes--) frame[4 + random(frame.length - 4)] = random(256)
    using client = await connectFrameClient(running.broker.port)
    client.socket.end(frame)
    await client.closed
  }
  await running.client.request('listTopics', { internal: false })
})

test('a frame cut off by the end of its connection is no request', async () => {
  await using running = await runBroker()
  await createTopic(running.client, 't')
  using client = await connectFrameClient(running.broker.port)
  const batch = eventBatch(['s'])
  const groups = [{ batchBytes: batch.length, expected: [], wantVersions: false }]
  const frame = FrameClient.frame('append', { topic: 't', partition: 0, acks: 'all', groups }, [batch], 2)
  client.socket.end(frame.subarray(0, frame.length - 1))
  await client.closed
  const { header } = await running.client.request('fetch', fetchRequest('t', 0))
  assert.equal(header.highWatermark, 0)
})

test('one connection too many is told so and closed (2 allowed)', async () => {
  await using running = await runBroker({ connectionsMax: 2 })
  using second = await connectFrameClient(running.broker.port)
  using third = await FrameClient.open(running.broker.port)
  await third.closed
  assert.deepEqual(
    third.unasked.map((error) => 'code' in error && error.code),
    ['overloaded'],
  )
  await second.request('listTopics', { internal: false })
})

test('more requests in flight than allowed are all answered, in their order per partition (2 of 100)', async () => {
  await using running = await runBroker({ inFlightRequestsMax: 2 })
  const { client } = running
  await createTopic(client, 't')
  const replies = Array.from({ length: 100 }, () => appendBatch(client, 't', eventBatch(['s'])))
  const versions = (await Promise.all(replies)).map(({ header }) => header.groups[0]?.versions[0])
  assert.deepEqual(
    versions,
    Array.from({ length: 100 }, (_, index) => index),
  )
})

test('with little memory for the requests of all connections, all are answered, in their order (1 MiB for 8 x 20 x 200 KiB)', async () => {
  await using running = await runBroker({ requestBytesTotalMax: 1 * MiB })
  await createTopic(running.client, 't')
  const clients = await Promise.all(Array.from({ length: 8 }, () => connectFrameClient(running.broker.port)))
  const versions = await Promise.all(
    clients.map((client, index) => {
      const streams = Array.from({ length: 2_000 }, () => `client-${index}`)
      return Promise.all(Array.from({ length: 20 }, () => appendBatch(client, 't', eventBatch(streams))))
    }),
  )
  for (const replies of versions) {
    const firsts = replies.map(({ header }) => header.groups[0]?.versions[0])
    assert.deepEqual(
      firsts,
      Array.from({ length: 20 }, (_, index) => index * 2_000),
    )
  }
  for (const client of clients) client[Symbol.dispose]()
})

test('writers are served while one that began a request and stopped holds the memory for all requests: it is closed (1 MiB, 100 ms)', async () => {
  await using running = await runBroker({ requestBytesTotalMax: 1 * MiB, stallMsMax: 100 })
  const { client } = running
  await createTopic(client, 't')
  using asleep = await connectFrameClient(running.broker.port)
  const begun = Buffer.alloc(64 * KiB)
  begun.writeUInt32LE(2 * MiB, 0)
  asleep.socket.write(begun)
  const requestBytes = async () => {
    const metrics = await (await fetch(`http://127.0.0.1:${running.broker.httpPort}/metrics`)).text()
    return Number(/^playhead_request_bytes (\S+)$/m.exec(metrics)?.[1])
  }
  await until(async () => (await requestBytes()) >= 1 * MiB)
  const batch = eventBatch(Array.from({ length: 2_000 }, () => 's'))
  const replies = await Promise.all(Array.from({ length: 10 }, () => appendBatch(client, 't', batch)))
  assert.equal(replies.at(-1)?.header.endOffset, 20_000)
  await asleep.closed
  await until(async () => (await requestBytes()) === 0)
})

test('a parked fetch blocks nothing that comes after it on its connection', async () => {
  await using running = await runBroker()
  const { client } = running
  await createTopic(client, 't')
  const parked = client.request('fetch', fetchRequest('t', 0, { waitMsMax: 300_000 }))
  await client.request('listTopics', { internal: false })
  await appendBatch(client, 't', eventBatch(['s']))
  const { header } = await parked
  assert.equal(header.nextOffset, 1)
})

test('a client that asks for much and reads nothing holds at most its limit, and others are served (64 KiB of 50 MiB)', async () => {
  await using running = await runBroker({ replyBytesMax: 64 * KiB, fetchBytesMax: 1 * MiB })
  const { client } = running
  await createTopic(client, 't')
  const batch = eventBatch(Array.from({ length: 4_000 }, (_, index) => `stream-${index}`))
  for (let round = 0; round < 4; round++) await appendBatch(client, 't', batch)
  using slow = await connectFrameClient(running.broker.port)
  slow.socket.pause()
  const replies = Array.from({ length: 100 }, () => slow.request('fetch', fetchRequest('t', 0)))
  for (let round = 0; round < 20; round++) await client.request('fetch', fetchRequest('t', 0))
  const metrics = await (await fetch(`http://127.0.0.1:${running.broker.httpPort}/metrics`)).text()
  const sent = Number(/^playhead_sent_bytes_total (\S+)$/m.exec(metrics)?.[1])
  // What the kernel's buffers take is out of our hands; the rest of 100 replies of about 0.5 MiB must not have been made yet.
  assert.ok(sent < 40 * MiB, `${sent} bytes sent`)
  slow.socket.resume()
  assert.equal(new Set((await Promise.all(replies)).map(({ header }) => header.nextOffset)).size, 1)
})

test('of a connection that is gone nothing more is read (100 fetches of 0.5 MiB wait for 64 KiB of room)', async () => {
  await using running = await runBroker({ replyBytesMax: 64 * KiB, fetchBytesMax: 1 * MiB })
  const { client } = running
  await createTopic(client, 't')
  const batch = eventBatch(Array.from({ length: 4_000 }, (_, index) => `stream-${index}`))
  await appendBatch(client, 't', batch)
  using slow = await connectFrameClient(running.broker.port)
  slow.socket.pause()
  const lost = Promise.allSettled(Array.from({ length: 100 }, () => slow.request('fetch', fetchRequest('t', 0))))
  await client.request('listTopics', { internal: false })
  slow[Symbol.dispose]()
  await lost
  const metric = async (name: string) => {
    const metrics = await (await fetch(`http://127.0.0.1:${running.broker.httpPort}/metrics`)).text()
    return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(metrics)?.[1])
  }
  await until(async () => (await metric('playhead_connections')) === 1)
  await until(async () => (await metric('playhead_reply_bytes')) < 1_000)
  assert.ok((await metric('playhead_log_read_bytes_total')) < 40 * batch.length)
})

test('10,000 fetches parked on 10 connections wake together; one more is refused', async () => {
  await using running = await runBroker()
  const { client } = running
  await createTopic(client, 't')
  const clients = await Promise.all(Array.from({ length: 10 }, () => connectFrameClient(running.broker.port)))
  const wish = fetchRequest('t', 0, { waitMsMax: 300_000 })
  const parked = clients.flatMap((each) => Array.from({ length: 1_000 }, () => each.request('fetch', wish)))
  // Their frames are there once the reply to a later request is.
  for (const each of clients) await each.request('listTopics', { internal: false })
  await assert.rejects(client.request('fetch', wish), { code: 'overloaded' })
  await appendBatch(client, 't', eventBatch(['s']))
  for (const { header } of await Promise.all(parked)) assert.equal(header.nextOffset, 1)
  for (const each of clients) each[Symbol.dispose]()
})

test('readers are served while one that takes nothing holds the memory for all replies: it is closed (1 MiB, 100 ms)', async () => {
  await using running = await runBroker({ replyBytesTotalMax: 1 * MiB, stallMsMax: 100 })
  const { client } = running
  await createTopic(client, 't')
  const batch = eventBatch(Array.from({ length: 4_000 }, (_, index) => `stream-${index}`))
  for (let round = 0; round < 4; round++) await appendBatch(client, 't', batch)
  using slow = await connectFrameClient(running.broker.port)
  slow.socket.pause()
  const lost = Promise.allSettled(Array.from({ length: 100 }, () => slow.request('fetch', fetchRequest('t', 0))))
  for (let round = 0; round < 20; round++) await client.request('fetch', fetchRequest('t', 0))
  slow.socket.resume()
  await slow.closed
  assert.ok((await lost).some(({ status }) => status === 'rejected'))
})
