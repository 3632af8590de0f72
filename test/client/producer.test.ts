import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect } from '../../client/index.ts'
import type { ConnectOptions, FailedBatch, Playhead } from '../../client/index.ts'
import { namedProducerId } from '../../client/named-producer.ts'
import { PlayheadError } from '../../protocol/errors.ts'
import { ScriptedBroker } from './scripted-broker.ts'

async function clientOf(broker: ScriptedBroker, options: ConnectOptions = {}): Promise<Playhead> {
  return connect(await broker.listen(), { transport: broker.transport, timeoutMs: 1_000, ...options })
}

const turn = () => new Promise((resolve) => setImmediate(resolve))
const valuesOf = (broker: ScriptedBroker, partition = 0) =>
  broker.partitions[partition]!.records.map(({ value }) => value?.toString())

test('producer: send answers a promise only when the buffer is full, and it resolves when there is room', async () => {
  const broker = new ScriptedBroker()
  await using playhead = await clientOf(broker)
  const producer = playhead.topic('carts').producer({ bufferBytesMax: 1_000, batchBytes: 300 })
  const answers: (Promise<void> | undefined)[] = []
  for (let index = 0; index < 15; index++) answers.push(producer.send({ key: 'k', value: 'x'.repeat(100) }))
  assert.equal(answers[0], undefined)
  const full = answers.find((answer) => answer !== undefined)
  await full
  await producer.flush()
  assert.equal(producer.bufferedBytes, 0)
  assert.equal(broker.partitions[0]!.endOffset, 15)
})

test('producer: promises ignored: at twice the buffer send throws overloaded, nothing is lost', async () => {
  const broker = new ScriptedBroker()
  await using playhead = await clientOf(broker)
  const producer = playhead.topic('carts').producer({ bufferBytesMax: 1_000 })
  let taken = 0
  assert.throws(
    () => {
      for (;;) {
        void producer.send({ key: 'k', value: 'x'.repeat(100) })
        taken++
      }
    },
    { code: 'overloaded' },
  )
  await producer.flush()
  assert.equal(broker.partitions[0]!.endOffset, taken)
})

test('producer: with linger, records of several turns share a batch; flush does not wait for linger', async () => {
  const broker = new ScriptedBroker()
  await using playhead = await clientOf(broker)
  const producer = playhead.topic('carts').producer({ lingerMs: 600_000 })
  for (let index = 0; index < 5; index++) {
    await producer.send({ key: 'k', value: `${index}` })
    await turn()
  }
  assert.equal(broker.countOf('append'), 0)
  await producer.flush()
  assert.equal(broker.countOf('append'), 1)
  assert.deepEqual(valuesOf(broker), ['0', '1', '2', '3', '4'])
})

test('producer: full buffer and long linger: the buffer is sent rather than waited for', async () => {
  const broker = new ScriptedBroker()
  await using playhead = await clientOf(broker)
  const producer = playhead.topic('carts').producer({ lingerMs: 600_000, bufferBytesMax: 500, batchBytes: 1_000_000 })
  for (let index = 0; index < 20; index++) await producer.send({ key: 'k', value: 'x'.repeat(100) })
  await producer.flush()
  assert.equal(broker.partitions[0]!.endOffset, 20)
})

for (const compression of ['none', 'gzip', 'zstd'] as const) {
  test(`producer: ${compression} batches arrive as they were sent, keys in the partition of their key`, async () => {
    const broker = new ScriptedBroker(4)
    await using playhead = await clientOf(broker)
    const producer = playhead.topic('carts').producer({ compression, batchBytes: 1_000 })
    for (let index = 0; index < 200; index++) {
      await producer.send({
        key: `k${index % 7}`,
        value: 'v'.repeat(50),
        timestamp: index,
        headers: [{ key: 'n', value: `${index}` }],
      })
    }
    await producer.flush()
    const seen = new Map<string, number>()
    for (const [partition, { records }] of broker.partitions.entries()) {
      for (const { key, timestamp, headers } of records) {
        assert.equal(headers[0]!.value!.toString(), `${timestamp}`)
        assert.equal(seen.get(key!.toString()) ?? partition, partition, 'one partition per key')
        seen.set(key!.toString(), partition)
      }
    }
    assert.equal(seen.size, 7)
    assert.ok(new Set(seen.values()).size > 1)
  })
}

test('producer: null keys fill one batch before they go on to the next partition', async () => {
  const broker = new ScriptedBroker(3)
  await using playhead = await clientOf(broker)
  const producer = playhead.topic('carts').producer({ batchBytes: 500, lingerMs: 600_000 })
  for (let index = 0; index < 30; index++) await producer.send({ value: 'x'.repeat(100) })
  await producer.flush()
  for (const { batches, endOffset } of broker.partitions) {
    assert.ok(endOffset > 0)
    assert.ok(batches.every(({ recordCount }) => recordCount > 1))
  }
})

test('producer: a batch refused for good goes to onError with its records; later ones are written', async () => {
  const broker = new ScriptedBroker()
  broker.groupFault = ({ count }) => (count === 1 ? new PlayheadError('batchTooLarge', 'too large') : undefined)
  await using playhead = await clientOf(broker)
  const failed: { code: unknown; values: unknown[] }[] = []
  const onError = (error: unknown, batch: FailedBatch) =>
    failed.push({ code: (error as PlayheadError).code, values: batch.records().map(({ value }) => value?.toString()) })
  const producer = playhead.topic('carts').producer({ onError })
  await producer.send({ key: 'k', value: 'one' })
  await producer.flush()
  await producer.send({ key: 'k', value: 'two' })
  await producer.flush()
  assert.deepEqual(failed, [{ code: 'batchTooLarge', values: ['one'] }])
  assert.deepEqual(valuesOf(broker), ['two'])
})

test('producer: without onError a failure is thrown by flush, once', async () => {
  const broker = new ScriptedBroker()
  broker.groupFault = ({ count }) => (count === 1 ? new PlayheadError('batchTooLarge', 'too large') : undefined)
  await using playhead = await clientOf(broker)
  const producer = playhead.topic('carts').producer()
  await producer.send({ key: 'k', value: 'one' })
  await assert.rejects(producer.flush(), { code: 'batchTooLarge' })
  await producer.flush()
})

test('producer: unknown topic: flush throws it, and the producer is closed', async () => {
  const broker = new ScriptedBroker()
  await using playhead = await clientOf(broker)
  const producer = playhead.topic('orders').producer()
  await producer.send({ key: 'k', value: 'one' })
  await assert.rejects(producer.flush(), { code: 'unknownTopic' })
  assert.throws(() => producer.send({ key: 'k', value: 'two' }), { code: 'closed' })
})

test('producer: bad records and options are refused at once', async () => {
  const broker = new ScriptedBroker()
  await using playhead = await clientOf(broker)
  const topic = playhead.topic('carts')
  const producer = topic.producer()
  assert.throws(() => producer.send({ key: '', value: 'x' }), { code: 'invalidStream' })
  assert.throws(() => producer.send({ key: 'k'.repeat(1_025), value: 'x' }), { code: 'invalidStream' })
  assert.throws(() => producer.send({ key: 'k' } as never), { code: 'invalidArgument' })
  assert.throws(() => topic.producer({ inFlight: 0 }), { code: 'invalidArgument' })
  assert.throws(() => topic.producer({ lingerMs: Number.NaN }), { code: 'invalidArgument' })
})

test('producer: closing the client flushes its producers', async () => {
  const broker = new ScriptedBroker()
  const playhead = await clientOf(broker)
  void playhead.topic('carts').producer({ lingerMs: 600_000 }).send({ key: 'k', value: 'kept' })
  await playhead.close()
  assert.deepEqual(valuesOf(broker), ['kept'])
})

test('producer: flush can be aborted while the broker is silent', async () => {
  const broker = new ScriptedBroker()
  broker.fault = ({ api }) => (api === 'append' ? 'silence' : undefined)
  const playhead = await clientOf(broker, { timeoutMs: 400 })
  const abort = new AbortController()
  const producer = playhead.topic('carts').producer({ onError: () => {} })
  void producer.send({ key: 'k', value: 'x' })
  const flushed = producer.flush({ signal: abort.signal })
  setImmediate(() => abort.abort(new Error('enough')))
  await assert.rejects(flushed, /enough/)
  await playhead.close()
})

const nameHash = Buffer.alloc(32, 0xff)

test('named producer: id is 2^52 plus 52 bits of the hash, a safe integer', () => {
  assert.equal(namedProducerId(nameHash), Number.MAX_SAFE_INTEGER)
  assert.equal(namedProducerId(Buffer.alloc(32)), 2 ** 52)
  assert.throws(() => namedProducerId(Buffer.alloc(6)), { code: 'invalidArgument' })
})

test('named producer: interrupted at any record, run again: every record once, in order, counted', async () => {
  const keys = Array.from({ length: 60 }, (_, index) => `k${(index * 7) % 13}`)
  for (const stopAt of [0, 1, 17, 59, 60]) {
    const broker = new ScriptedBroker(3)
    const first = await clientOf(broker)
    const interrupted = await first.topic('carts').namedProducer(nameHash, { batchBytes: 150 })
    for (const [index, key] of keys.slice(0, stopAt).entries()) await interrupted.send({ key, value: `${index}` })
    await first.close()
    await using second = await clientOf(broker)
    const producer = await second.topic('carts').namedProducer(nameHash, { batchBytes: 200 })
    for (const [index, key] of keys.entries()) await producer.send({ key, value: `${index}` })
    await producer.flush()
    const { appended, skipped } = producer.counts
    assert.deepEqual({ appended, skipped }, { appended: 60 - stopAt, skipped: stopAt })
    const seen = broker.partitions.flatMap(({ records }) => records.map(({ value }) => Number(value)))
    assert.deepEqual(
      seen.toSorted((a, b) => a - b),
      Array.from({ length: 60 }, (_, index) => index),
    )
  }
})

test('named producer: one batch is refused: nothing after it is written, so that a second run leaves no gap', async () => {
  const broker = new ScriptedBroker()
  broker.groupFault = ({ count }) => (count === 2 ? new PlayheadError('batchTooLarge', 'too large') : undefined)
  const first = await clientOf(broker)
  const producer = await first.topic('carts').namedProducer(nameHash, { batchBytes: 100 })
  const send = async () => {
    for (let index = 0; index < 30; index++) await producer.send({ key: 'k', value: `record ${index}` })
    await producer.flush()
  }
  await assert.rejects(send(), { code: 'batchTooLarge' })
  await assert.rejects(producer.flush(), { code: 'batchTooLarge' }, 'it stays stopped')
  const written = broker.partitions[0]!.endOffset
  assert.ok(written > 0 && written < 30)
  await first.close()
  await using second = await clientOf(broker)
  const again = await second.topic('carts').namedProducer(nameHash, { batchBytes: 1_000 })
  for (let index = 0; index < 30; index++) await again.send({ key: 'k', value: `record ${index}` })
  await again.flush()
  assert.deepEqual(
    valuesOf(broker),
    Array.from({ length: 30 }, (_, index) => `record ${index}`),
  )
})

test('named producer: two runs at once write nothing twice; the slower one is told', async () => {
  const broker = new ScriptedBroker()
  await using playhead = await clientOf(broker)
  const one = await playhead.topic('carts').namedProducer(nameHash, { batchBytes: 100 })
  const two = await playhead.topic('carts').namedProducer(nameHash, { batchBytes: 170 })
  const run = async (producer: typeof one) => {
    for (let index = 0; index < 50; index++) await producer.send({ key: 'k', value: `record ${index}` })
    await producer.flush()
  }
  const results = await Promise.allSettled([run(one), run(two)])
  const failures = results.flatMap((result) => (result.status === 'rejected' ? [result.reason.code] : []))
  assert.ok(
    failures.every((code) => code === 'outOfOrderSequence'),
    failures.join(),
  )
  const values = valuesOf(broker)
  assert.equal(new Set(values).size, values.length)
})

test('named producer: a record without a key is refused', async () => {
  const broker = new ScriptedBroker()
  await using playhead = await clientOf(broker)
  const producer = await playhead.topic('carts').namedProducer(nameHash)
  assert.throws(() => producer.send({ value: 'x' }), { code: 'invalidArgument' })
})
