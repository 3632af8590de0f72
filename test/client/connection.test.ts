/** Connections: limits, several addresses, silence, brokers that speak something else, reconnecting. */
import { until } from '../storage/store-under-test.ts'
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect } from '../../client/index.ts'
import { BrokerConnection } from '../../client/connection.ts'
import { systemClock } from '../../platform/clock.ts'
import { PlayheadError } from '../../protocol/errors.ts'
import { nodeTransport } from '../../platform/node-transport.ts'
import type { Connection } from '../../platform/transport.ts'
import { MemoryTransport } from './memory-transport.ts'
import { ScriptedBroker } from './scripted-broker.ts'

async function open(broker: ScriptedBroker, timeoutMs = 500): Promise<BrokerConnection> {
  const [host, port] = (await broker.listen()).split(':') as [string, string]
  const address = { host, port: Number(port) }
  return BrokerConnection.open({
    transport: broker.transport,
    clock: systemClock,
    address,
    clientName: 'test',
    timeoutMs,
  })
}

const turns = async (count: number) => {
  for (let index = 0; index < count; index++) await new Promise((resolve) => setImmediate(resolve))
}

test('connection: no more requests are unanswered than the broker allows; the others wait and keep their order', async () => {
  const broker = new ScriptedBroker()
  broker.limits = { ...broker.limits, inFlightRequestsMax: 3 }
  let held = true
  broker.fault = ({ api }) => (held && api === 'describeTopic' ? 'silence' : undefined)
  const connection = await open(broker)
  const silent = Array.from({ length: 3 }, () =>
    connection.request('describeTopic', { topic: 'carts' }, [], { timeoutMs: 150 }),
  )
  const waiting = connection.request('status', {}, [], { timeoutMs: 100 })
  await turns(10)
  assert.equal(broker.countOf('describeTopic'), 3)
  assert.equal(broker.countOf('status'), 0)
  await assert.rejects(waiting, { code: 'unavailable', details: { outcome: 'notApplied', timeoutMs: 100 } })
  for (const request of silent)
    await assert.rejects(request, { code: 'unavailable', details: { outcome: 'unknown', timeoutMs: 150 } })
  assert.equal(connection.isOpen, false, 'nothing came for a whole timeout: the connection is given up')
  held = false
})

test('connection: replies in any order, in pieces of one byte', async () => {
  const broker = new ScriptedBroker(3)
  broker.transport.pieceBytes = 1
  const connection = await open(broker)
  const [description, status] = await Promise.all([
    connection.request('describeTopic', { topic: 'carts' }, [], { timeoutMs: 5_000 }),
    connection.request('status', {}, [], { timeoutMs: 5_000 }),
  ])
  assert.equal(description.header.partitions.length, 3)
  assert.equal(status.header.clusterId, 'c')
  connection.close()
})

test('connection: one request without an answer is given up alone while others are answered', async () => {
  const broker = new ScriptedBroker()
  broker.fault = ({ api }) => (api === 'describeTopic' ? 'silence' : undefined)
  const connection = await open(broker)
  const lost = connection.request('describeTopic', { topic: 'carts' }, [], { timeoutMs: 200 })
  lost.catch(() => {})
  for (let index = 0; index < 12; index++) {
    await connection.request('status', {}, [], { timeoutMs: 1_000 })
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
  await assert.rejects(lost, { code: 'unavailable' })
  assert.equal(connection.isOpen, true)
  connection.close()
})

test('connection: aborting one request leaves the others; its late reply is dropped', async () => {
  const broker = new ScriptedBroker()
  const connection = await open(broker)
  const abort = new AbortController()
  const aborted = connection.request('status', {}, [], { timeoutMs: 500, signal: abort.signal })
  const kept = connection.request('status', {}, [], { timeoutMs: 500 })
  abort.abort(new Error('enough'))
  await assert.rejects(aborted, /enough/)
  assert.equal((await kept).header.clusterId, 'c')
  connection.close()
  await assert.rejects(connection.request('status', {}, [], { timeoutMs: 500 }), { code: 'unavailable' })
})

test('connection: one on which nothing comes ends when a request should have been answered, also if its caller has left', async () => {
  const broker = new ScriptedBroker()
  const connection = await open(broker)
  broker.fault = () => 'silence'
  const abort = new AbortController()
  const left = connection.request('describeTopic', { topic: 'carts' }, [], { timeoutMs: 300, signal: abort.signal })
  abort.abort(new Error('enough'))
  await assert.rejects(left, /enough/)
  assert.equal(connection.isOpen, true)
  await until(() => !connection.isOpen)
})

test('connection: a request larger than the broker takes is refused here', async () => {
  const broker = new ScriptedBroker()
  broker.limits = { ...broker.limits, frameBytesMax: 1_000 }
  const connection = await open(broker)
  const header = { topic: 'carts', partition: 0, acks: 'all' as const, groups: [] }
  await assert.rejects(connection.request('append', header, [Buffer.alloc(1_001)], { timeoutMs: 500 }), {
    code: 'frameTooLarge',
  })
  assert.equal(broker.countOf('append'), 0)
  connection.close()
})

test('connect: no broker within the timeout: unavailable, naming the address and what to do', async () => {
  const transport = new MemoryTransport()
  await assert.rejects(connect('memory:9', { transport, timeoutMs: 100 }), {
    code: 'unavailable',
    message: /memory:9.*playhead serve/,
  })
})

test('connect: a broker that comes up while the client tries', async () => {
  const broker = new ScriptedBroker()
  const connecting = connect('memory:77', { transport: broker.transport, timeoutMs: 5_000 })
  await turns(3)
  await broker.listen(77)
  await (await connecting).close()
})

test('connect: several addresses, the first is dead, the second dies later: requests go on with the third', async () => {
  const second = new ScriptedBroker()
  const third = new ScriptedBroker()
  await second.listen(2)
  // Both brokers behind one transport.
  const { transport } = second
  await transport.listen('memory', 3, (connection) => {
    third.partitions.splice(0, third.partitions.length, ...second.partitions)
    third.serve(connection)
  })
  await using playhead = await connect(['memory:1', 'memory:2,memory:3'], { transport, timeoutMs: 2_000 })
  const stream = playhead.topic('carts').stream('c')
  assert.equal((await stream.append({ type: 'A' })).version, 0)
  await second.stop()
  assert.equal((await stream.append({ type: 'B' })).version, 1)
  assert.equal(third.countOf('append'), 1)
})

test('connect: what answers is no broker: malformedFrame at once, not a retry until the timeout', async () => {
  const transport = new MemoryTransport()
  let connections = 0
  await transport.listen('memory', 5, (connection) => {
    connections++
    connection.onData = () => connection.write([Buffer.from('\0\0\0\0HTTP/1.1 400 Bad Request\r\n\r\n')])
  })
  await assert.rejects(connect('memory:5', { transport, timeoutMs: 60_000 }), {
    code: 'malformedFrame',
    message: /memory:5/,
  })
  assert.equal(connections, 1)
})

test('connect: a refusal of hello is passed on', async () => {
  const broker = new ScriptedBroker()
  broker.fault = ({ api }) =>
    api === 'hello' ? new PlayheadError('unsupportedVersion', 'hello: found version 0, wanted 7') : undefined
  await assert.rejects(connect(await broker.listen(), { transport: broker.transport }), { code: 'unsupportedVersion' })
})

test('connect: aborted before and while dialling', async () => {
  const transport = new MemoryTransport()
  await assert.rejects(connect('memory:9', { transport, signal: AbortSignal.abort(new Error('before')) }), /before/)
  const abort = new AbortController()
  const connecting = connect('memory:9', { transport, signal: abort.signal })
  await turns(3)
  abort.abort(new Error('while'))
  await assert.rejects(connecting, /while/)
})

test('requests: reads are repeated after a lost reply, creating a topic is not', async () => {
  const broker = new ScriptedBroker()
  broker.fault = ({ api, count }) => (api !== 'hello' && count === 1 ? 'loseReply' : undefined)
  await using playhead = await connect(await broker.listen(), { transport: broker.transport, timeoutMs: 1_000 })
  assert.equal((await playhead.status()).clusterId, 'c')
  assert.equal(broker.countOf('status'), 2)
  await assert.rejects(playhead.admin.createTopic('carts'), { code: 'unavailable', details: { outcome: 'unknown' } })
  assert.equal(broker.countOf('createTopic'), 1)
})

test('requests: creating a topic is repeated after an answer that says nothing was done', async () => {
  const broker = new ScriptedBroker()
  broker.fault = ({ api, count }) =>
    api === 'createTopic' && count < 3 ? new PlayheadError('stopping', 'bye') : undefined
  await using playhead = await connect(await broker.listen(), { transport: broker.transport, timeoutMs: 1_000 })
  assert.deepEqual(await playhead.admin.createTopic('carts'), { topicId: broker.topicId, partitions: 1 })
  assert.equal(broker.countOf('createTopic'), 3)
})

test('playhead: a conditional commit whose reply was lost is recognised as ours', async () => {
  const broker = new ScriptedBroker()
  broker.fault = ({ api, count }) => (api === 'commitPlayhead' && count === 1 ? 'loseReply' : undefined)
  await using playhead = await connect(await broker.listen(), { transport: broker.transport, timeoutMs: 1_000 })
  const reader = playhead.topic('carts').playhead('mailer')
  assert.equal(await reader.read(), undefined)
  assert.deepEqual(await reader.commit([{ partition: 0, offset: 7 }], { expectedVersion: 'none' }), { version: 0 })
  assert.equal(broker.countOf('commitPlayhead'), 1)
  await assert.rejects(reader.commit([{ partition: 0, offset: 9 }], { expectedVersion: 'none' }), {
    code: 'playheadMoved',
  })
  await assert.rejects(reader.commit([], { expectedVersion: 1.5 }), { code: 'invalidExpectedVersion' })
  assert.throws(() => playhead.topic('carts').playhead(''), { code: 'invalidPlayheadName' })
})

test('playhead: a conditional commit was lost before it took effect and another one came: playheadMoved', async () => {
  const broker = new ScriptedBroker()
  broker.fault = ({ api, count }) => {
    if (api !== 'commitPlayhead' || count > 1) return undefined
    broker.playhead = { version: 0, positions: [{ partition: 0, offset: 1 }] }
    return 'loseRequest'
  }
  await using playhead = await connect(await broker.listen(), { transport: broker.transport, timeoutMs: 1_000 })
  const commit = playhead
    .topic('carts')
    .playhead('mailer')
    .commit([{ partition: 0, offset: 7 }], { expectedVersion: 'none' })
  await assert.rejects(commit, { code: 'playheadMoved' })
})

test('connection: over TCP large replies are read in large pieces, into the memory of the frame reader', async () => {
  const wanted = Buffer.alloc(4 * 1024 * 1024, 'playhead ')
  const listener = await nodeTransport.listen('127.0.0.1', 0, (connection) => {
    connection.onData = () => connection.write([wanted])
  })
  let opened: Connection | undefined
  const transport = {
    ...nodeTransport,
    async connect(...to: Parameters<typeof nodeTransport.connect>) {
      opened = await nodeTransport.connect(...to)
      return opened
    },
  }
  const address = { host: '127.0.0.1', port: listener.port }
  const opening = BrokerConnection.open({
    transport,
    clock: systemClock,
    address,
    clientName: 'test',
    timeoutMs: 5_000,
  })
  // No broker: what comes back is no frame, which is enough to see where it was to be put.
  await assert.rejects(opening, { code: 'frameTooLarge' })
  const room = opened?.room?.()
  assert.ok(room !== undefined && room.length > 4 * 1024, `found room for ${room?.length} bytes`)
  await listener.close()
})
