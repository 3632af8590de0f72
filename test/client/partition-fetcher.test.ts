/** PartitionFetcher against a scripted broker: how much it asks for. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect } from '../../client/index.ts'
import type { RequestOf } from '../../protocol/api.ts'
import { KiB, MiB } from '../../protocol/limits.ts'
import { ScriptedBroker } from './scripted-broker.ts'

/** What the fetches of a replay asked for; all there is was read. */
async function askedFor(records: number, valueBytes: number, bufferBytes?: number): Promise<number[]> {
  const broker = new ScriptedBroker()
  await using playhead = await connect(await broker.listen(), { transport: broker.transport })
  const topic = playhead.topic('carts')
  const producer = topic.producer({ batchBytes: 256 * KiB })
  const value = 'x'.repeat(valueBytes)
  for (let record = 0; record < records; record++) await producer.send({ key: null, value })
  await producer.flush()
  let read = 0
  for await (const batch of topic.replay({ ...(bufferBytes && { bufferBytes }) })) read += [...batch].length
  assert.equal(read, records)
  return broker.asked.flatMap(({ api, header }) => (api === 'fetch' ? [(header as RequestOf<'fetch'>).maxBytes] : []))
}

test('replay of records of 100 B: after the first fetch about 12,000 records at a time', async () => {
  const [first, ...others] = await askedFor(60_000, 100)
  assert.equal(first, 2 * MiB)
  assert.ok(others.length >= 4)
  for (const bytes of others.slice(0, -1)) assert.ok(bytes > 1.2e6 && bytes < 1.6e6, `${bytes} bytes`)
})

test('replay: 2 MiB at a time of records of 1 KiB, half a MiB of tiny ones, never more than the buffer', async () => {
  for (const bytes of await askedFor(8_000, 1_024)) assert.equal(bytes, 2 * MiB)
  for (const bytes of (await askedFor(300_000, 1)).slice(1, -1))
    assert.ok(bytes >= 512 * KiB && bytes < 768 * KiB, `${bytes} bytes`)
  for (const bytes of await askedFor(2_000, 100, 100 * KiB)) assert.equal(bytes, 100 * KiB)
})

test('replay: what is asked for follows the records, small ones and then large ones, also compressed', async () => {
  const broker = new ScriptedBroker()
  await using playhead = await connect(await broker.listen(), { transport: broker.transport })
  const topic = playhead.topic('carts')
  for (const [valueBytes, count, compression] of [
    [10, 100_000, 'gzip'],
    [2_000, 5_000, 'none'],
  ] as const) {
    const producer = topic.producer({ batchBytes: 64 * KiB, compression })
    for (let record = 0; record < count; record++) await producer.send({ key: null, value: 'x'.repeat(valueBytes) })
    await producer.flush()
  }
  let read = 0
  for await (const batch of topic.replay({ bufferBytes: 4 * MiB })) read += [...batch].length
  assert.equal(read, 105_000)
  const asked = broker.asked.flatMap(({ api, header }) =>
    api === 'fetch' ? [(header as RequestOf<'fetch'>).maxBytes] : [],
  )
  assert.ok(Math.min(...asked) < MiB, 'of small records')
  assert.equal(asked.at(-1), 2 * MiB)
})

test('replay of records of 80 to 160 B: every fetch but the first two asks for the same, as the broker reads ahead for a fetch like the last', async () => {
  const broker = new ScriptedBroker()
  await using playhead = await connect(await broker.listen(), { transport: broker.transport })
  const topic = playhead.topic('carts')
  const producer = topic.producer({ batchBytes: 64 * KiB })
  for (let record = 0; record < 150_000; record++) {
    await producer.send({ key: null, value: 'x'.repeat(80 + ((record * 7_919) % 81)) })
  }
  await producer.flush()
  let read = 0
  for await (const batch of topic.replay()) read += [...batch].length
  assert.equal(read, 150_000)
  const asked = broker.asked.flatMap(({ api, header }) =>
    api === 'fetch' ? [(header as RequestOf<'fetch'>).maxBytes] : [],
  )
  assert.ok(asked.length > 8)
  assert.equal(new Set(asked.slice(1, -2)).size, 1, asked.join(' '))
})
