/** Appends against a broker that loses requests and replies: nothing is lost, nothing is there twice, order is kept. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect } from '../../client/index.ts'
import type { ConnectOptions, Playhead } from '../../client/index.ts'
import { PlayheadError } from '../../protocol/errors.ts'
import { ScriptedBroker } from './scripted-broker.ts'
import type { Asked, Fault } from './scripted-broker.ts'

async function clientOf(broker: ScriptedBroker, options: ConnectOptions = {}): Promise<Playhead> {
  return connect(await broker.listen(), { transport: broker.transport, timeoutMs: 2_000, ...options })
}

const onAppends = (...faults: (Fault | undefined)[]) => {
  return ({ api, count }: Asked) => (api === 'append' ? faults[count - 1] : undefined)
}

const typesOf = (broker: ScriptedBroker, partition = 0) =>
  broker.partitions[partition]!.records.map(({ headers }) =>
    headers.find(({ key }) => key === 'type')?.value?.toString(),
  )

for (const fault of ['loseRequest', 'loseReply', 'silence'] as const) {
  test(`append: one ${fault} is retried and written once, with its first version and offset`, async () => {
    const broker = new ScriptedBroker()
    broker.fault = onAppends(undefined, fault)
    await using playhead = await clientOf(broker, { timeoutMs: 1_000 })
    const stream = playhead.topic('carts').stream('c1')
    await stream.append({ type: 'A' })
    const { version, offset } = await stream.append({ type: 'B' }, { expectedVersion: 0 })
    assert.deepEqual({ version, offset }, { version: 1, offset: 1 })
    assert.deepEqual(typesOf(broker), ['A', 'B'])
  })
}

test('append: several frames in flight, the connection is lost after the second: all are written once, in order', async () => {
  const broker = new ScriptedBroker()
  broker.fault = onAppends(undefined, undefined, 'loseReply')
  await using playhead = await clientOf(broker)
  const topic = playhead.topic('carts')
  await topic.stream('warm-up').append({ type: 'first' })
  const appends: Promise<{ version: number }>[] = []
  for (let index = 0; index < 40; index++) {
    appends.push(topic.stream('c1').append({ type: `T${index}` }))
    if (index % 8 === 7) await new Promise((resolve) => setImmediate(resolve))
  }
  const versions = (await Promise.all(appends)).map(({ version }) => version)
  assert.deepEqual(
    versions,
    Array.from({ length: 40 }, (_, index) => index),
  )
  assert.deepEqual(typesOf(broker), ['first', ...Array.from({ length: 40 }, (_, index) => `T${index}`)])
})

test('append: 200 appends of one turn travel in few frames, each with its own verdict', async () => {
  const broker = new ScriptedBroker()
  await using playhead = await clientOf(broker)
  const topic = playhead.topic('carts')
  await topic.stream('c0').append({ type: 'A' })
  const results = await Promise.allSettled(
    Array.from({ length: 200 }, (_, index) =>
      topic.stream(`c${index}`).append({ type: 'B' }, { expectedVersion: 'none' }),
    ),
  )
  assert.equal(results.filter(({ status }) => status === 'rejected').length, 1, 'only c0 has an event already')
  assert.equal((results[0] as PromiseRejectedResult).reason.code, 'wrongExpectedVersion')
  assert.deepEqual((results[0] as PromiseRejectedResult).reason.conflicts, [{ stream: 'c0', expected: -1, found: 0 }])
  assert.ok(broker.countOf('append') <= 3, `${broker.countOf('append')} frames`)
})

test('append: more batches wait than the dedupe window holds: no more than that are in flight', async () => {
  const broker = new ScriptedBroker()
  broker.limits = { ...broker.limits, dedupeBatches: 10 }
  await using playhead = await clientOf(broker)
  const topic = playhead.topic('carts')
  await Promise.all(Array.from({ length: 55 }, (_, index) => topic.stream('c').append({ type: `T${index}` })))
  const sizes = broker.asked.flatMap(({ api, header }) =>
    api === 'append' ? [(header as { groups: [] }).groups.length] : [],
  )
  assert.ok(Math.max(...sizes) <= 10)
  assert.equal(broker.partitions[0]!.endOffset, 55)
})

test('append: a group refused for a passing reason is retried', async () => {
  const broker = new ScriptedBroker()
  broker.groupFault = ({ count }) => (count <= 2 ? new PlayheadError('overloaded', 'busy') : undefined)
  await using playhead = await clientOf(broker)
  const { version } = await playhead.topic('carts').stream('c').append({ type: 'A' })
  assert.equal(version, 0)
  assert.equal(broker.partitions[0]!.endOffset, 1)
})

test('append: a refused group whose successor was written goes to the end if it is conditional, and fails if it is not', async () => {
  for (const expectedVersion of ['none', 'any'] as const) {
    const broker = new ScriptedBroker()
    broker.groupFault = ({ count }) => (count === 1 ? new PlayheadError('diskFull', 'full') : undefined)
    await using playhead = await clientOf(broker)
    const topic = playhead.topic('carts')
    const [first, second] = await Promise.allSettled([
      topic.stream('a').append({ type: 'A' }, { expectedVersion }),
      topic.stream('b').append({ type: 'B' }),
    ])
    assert.equal(second.status, 'fulfilled')
    if (expectedVersion === 'none') {
      assert.equal(first.status, 'fulfilled')
      assert.deepEqual(typesOf(broker), ['B', 'A'])
    } else {
      assert.equal((first as PromiseRejectedResult).reason.code, 'diskFull')
      assert.deepEqual(typesOf(broker), ['B'])
    }
  }
})

test('append: the reply to a refusal is lost and a later append was written: the refusal is decided again', async () => {
  const broker = new ScriptedBroker()
  broker.fault = onAppends(undefined, 'loseReply')
  await using playhead = await clientOf(broker)
  const topic = playhead.topic('carts')
  await topic.stream('a').append({ type: 'A' })
  const [refused, written] = await Promise.allSettled([
    topic.stream('a').append({ type: 'never' }, { expectedVersion: 'none' }),
    topic.stream('b').append({ type: 'B' }),
  ])
  assert.equal((refused as PromiseRejectedResult).reason.code, 'wrongExpectedVersion')
  assert.equal(written.status, 'fulfilled')
  assert.deepEqual(typesOf(broker), ['A', 'B'])
})

test('append: no broker for the whole timeout: unavailable, and the outcome says whether it may have been written', async () => {
  const broker = new ScriptedBroker()
  const playhead = await clientOf(broker, { timeoutMs: 300 })
  const stream = playhead.topic('carts').stream('c')
  await stream.append({ type: 'A' })
  broker.fault = ({ api }) => (api === 'append' ? 'loseReply' : undefined)
  const lost = stream.append({ type: 'B' })
  await new Promise((resolve) => setImmediate(resolve))
  await broker.stop()
  await assert.rejects(lost, { code: 'unavailable', details: { outcome: 'unknown', timeoutMs: 300 } })
  await assert.rejects(stream.append({ type: 'C' }), {
    code: 'unavailable',
    details: { outcome: 'notApplied', timeoutMs: 300 },
  })
  await playhead.close()
  await assert.rejects(stream.append({ type: 'D' }), { code: 'closed' })
})

test('append: an aborted append rejects with the reason; what waited is not sent', async () => {
  const broker = new ScriptedBroker()
  await using playhead = await clientOf(broker)
  const topic = playhead.topic('carts')
  await topic.stream('c').append({ type: 'A' })
  const abort = new AbortController()
  const waiting = topic.stream('c').append({ type: 'B' }, { signal: abort.signal })
  abort.abort(new Error('enough'))
  await assert.rejects(waiting, /enough/)
  await assert.rejects(
    topic.stream('c').append({ type: 'B' }, { signal: AbortSignal.abort(new Error('before')) }),
    /before/,
  )
  await topic.stream('c').append({ type: 'C' })
  assert.deepEqual(typesOf(broker), ['A', 'C'])
})

test('append: bad expected versions and events are refused before anything is sent', async () => {
  const broker = new ScriptedBroker()
  await using playhead = await clientOf(broker)
  const topic = playhead.topic('carts')
  for (const expectedVersion of [-1, 1.5, Number.NaN, 2 ** 53, 'some' as 'any']) {
    await assert.rejects(topic.stream('c').append({ type: 'A' }, { expectedVersion }), {
      code: 'invalidExpectedVersion',
    })
  }
  await assert.rejects(topic.stream('').append({ type: 'A' }), { code: 'invalidStream' })
  await assert.rejects(topic.stream('c').append([]), { code: 'invalidEvent' })
  await assert.rejects(topic.append([{ stream: 'c', events: [] }]), { code: 'invalidEvent' })
  await assert.rejects(topic.append([]), { code: 'invalidEvent' })
  const twice = { stream: 'c', events: [{ type: 'A' }] }
  await assert.rejects(topic.append([twice, twice]), { code: 'invalidArgument' })
  assert.throws(() => playhead.topic('../etc'), { code: 'invalidTopicName' })
  assert.equal(broker.countOf('append'), 0)
})

test('append: streams of two partitions in one append are refused by name', async () => {
  const broker = new ScriptedBroker(8)
  await using playhead = await clientOf(broker)
  const appends = Array.from({ length: 8 }, (_, index) => ({ stream: `c${index}`, events: [{ type: 'A' }] }))
  await assert.rejects(playhead.topic('carts').append(appends), {
    code: 'wrongPartition',
    message: /c0 in partition \d and c\d in/,
  })
})

test('append: an unknown topic is forgotten, so that the next append asks again', async () => {
  const broker = new ScriptedBroker()
  await using playhead = await clientOf(broker)
  const stream = playhead.topic('orders').stream('c')
  await assert.rejects(stream.append({ type: 'A' }), { code: 'unknownTopic' })
  broker.topic = 'orders'
  assert.equal((await stream.append({ type: 'A' })).version, 0)
})

test('append: what may have been written is not told to be refused by a broker that knows no such topic', async () => {
  const broker = new ScriptedBroker()
  broker.fault = onAppends(
    undefined,
    'loseReply',
    new PlayheadError('unknownTopic', 'topic carts: found no such topic'),
  )
  await using playhead = await clientOf(broker)
  const stream = playhead.topic('carts').stream('c1')
  await stream.append({ type: 'A' })
  await assert.rejects(stream.append({ type: 'B' }), (error: PlayheadError) => {
    assert.deepEqual([error.code, error.details['outcome']], ['unknownTopic', 'unknown'])
    return true
  })
  assert.deepEqual(typesOf(broker), ['A', 'B'])
})
