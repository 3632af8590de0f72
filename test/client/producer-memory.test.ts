import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect } from '../../client/index.ts'
import type { FailedBatch } from '../../client/index.ts'
import { PlayheadError } from '../../protocol/errors.ts'
import { systemClock } from '../../platform/clock.ts'
import { ScriptedBroker } from './scripted-broker.ts'

const batchBytes = 16 * 1024
const count = 2_000
const valueOf = (index: number) => `${index}`.padEnd(200, '.')
const turn = () => new Promise((resolve) => setImmediate(resolve))

async function sendAll(broker: ScriptedBroker, onError?: (error: unknown, batch: FailedBatch) => void): Promise<void> {
  await using playhead = await connect(await broker.listen(), { transport: broker.transport, timeoutMs: 5_000 })
  const producer = playhead.topic('carts').producer({ batchBytes, inFlight: 3, ...(onError && { onError }) })
  for (let index = 0; index < count; index++) {
    await producer.send({ key: 'k', value: valueOf(index) })
    if (index % 100 === 0) await turn() // acknowledgements come in, and memory is used again
  }
  await producer.flush()
}

test('producer: memory is used again, batches are sent again (every third reply is lost): every record once, in order', async () => {
  const broker = new ScriptedBroker()
  broker.fault = ({ api, count: asked }) => (api === 'append' && asked % 3 === 0 ? 'loseReply' : undefined)
  await sendAll(broker)
  const values = broker.partitions[0]!.records.map(({ value }) => value?.toString())
  assert.deepEqual(
    values,
    Array.from({ length: count }, (_, index) => valueOf(index)),
  )
})

test('producer: the records of a failed batch are still there after many more were sent', async () => {
  const broker = new ScriptedBroker()
  broker.groupFault = ({ count: group }) => (group === 3 ? new PlayheadError('batchTooLarge', 'no') : undefined)
  const failed: FailedBatch[] = []
  await sendAll(broker, (_error, batch) => failed.push(batch))
  const written = broker.partitions[0]!.records.map(({ value }) => value?.toString())
  const lost = failed.flatMap((batch) => batch.records().map(({ value }) => value?.toString()))
  assert.equal(failed.length, 1)
  assert.ok(lost.length > 0)
  assert.deepEqual(new Set([...written, ...lost]), new Set(Array.from({ length: count }, (_, index) => valueOf(index))))
})

test('producer: a record without a time gets that of its own turn, also while earlier ones wait in the same batch', async () => {
  const broker = new ScriptedBroker()
  let nowMs = 1_000
  const clock = { ...systemClock, now: () => nowMs }
  await using playhead = await connect(await broker.listen(), { transport: broker.transport, clock })
  const producer = playhead.topic('carts').producer({ lingerMs: 600_000 })
  for (const time of [1_000, 2_000, 3_500]) {
    nowMs = time
    await producer.send({ key: 'k', value: 'v' })
    await turn()
    await turn()
  }
  await producer.flush()
  assert.deepEqual(
    broker.partitions[0]!.records.map(({ timestamp }) => timestamp),
    [1_000, 2_000, 3_500],
  )
})

test('producer: append takes an array whole, before and after the topic is known, or none of it where one is wrong', async () => {
  const broker = new ScriptedBroker()
  await using playhead = await connect(await broker.listen(), { transport: broker.transport })
  const producer = playhead.topic('carts').producer()
  const records = ['a', 'b', 'c'].map((value) => ({ key: 'k', value }))
  const wrong = [...records, { key: 'k', value: 'd', timestamp: Number.NaN }]
  assert.throws(() => producer.append(wrong), { code: 'invalidEvent' })
  assert.equal(producer.append(records), undefined)
  await producer.flush()
  assert.throws(() => producer.append(wrong), { code: 'invalidEvent' })
  assert.throws(() => producer.append([...records, { key: '', value: '' }]), { code: 'invalidStream' })
  await producer.append(records)
  await producer.flush()
  const values = broker.partitions[0]!.records.map(({ value }) => value?.toString())
  assert.deepEqual(values, ['a', 'b', 'c', 'a', 'b', 'c'])
})

test('producer: append of more than the buffer holds answers a promise, and it resolves when there is room', async () => {
  const broker = new ScriptedBroker()
  await using playhead = await connect(await broker.listen(), { transport: broker.transport })
  const producer = playhead.topic('carts').producer({ bufferBytesMax: 1_000, batchBytes: 300 })
  const room = producer.append(Array.from({ length: 30 }, () => ({ key: 'k', value: 'x'.repeat(100) })))
  assert.ok(room instanceof Promise)
  await room
  await producer.flush()
  assert.equal(broker.partitions[0]!.endOffset, 30)
})

test('producer: what is neither text nor bytes is refused before anything of it is taken', async () => {
  const broker = new ScriptedBroker()
  await using playhead = await connect(await broker.listen(), { transport: broker.transport })
  const producer = playhead.topic('carts').producer()
  await producer.flush()
  for (const wrong of [5, true, {}, new Date(0), undefined]) {
    const value = wrong as unknown as string
    assert.throws(() => producer.send({ key: 'k', value }), { code: 'invalidArgument' })
    assert.throws(() => producer.append([{ value: 'a' }, { value }]), { code: 'invalidArgument' })
    assert.throws(() => producer.send({ value: 'a', headers: [{ key: 'h', value }] }), { code: 'invalidArgument' })
    if (wrong === undefined) continue
    assert.throws(() => producer.send({ key: value, value: 'a' }), { code: 'invalidArgument' })
  }
  await producer.send({ key: 'k', value: 'right' })
  await producer.flush()
  assert.deepEqual(
    broker.partitions[0]!.records.map(({ value }) => value?.toString()),
    ['right'],
  )
})
