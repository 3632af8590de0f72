/**
 * Bombs: few bytes that ask for much memory, against a real broker process: what it takes for them is bounded by the setting in the name of each test, or by
 * the limits of frames. In the end a healthy client is served and what was acknowledged is unchanged. Neighbour: floods.test.ts has those who come in numbers.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MiB } from '../../protocol/limits.ts'
import { encodeRecordBatch } from '../../protocol/record-batch.ts'
import { connectFrameClient } from '../broker/frame-client.ts'
import { appendBatch, createTopic } from '../broker/running-broker.ts'
import { recordBatch } from './flood.ts'
import { assertGrownBelow, grownBy, WatchedBroker } from './watched-broker.ts'

for (const compression of ['gzip', 'zstd'] as const) {
  test(`bomb: 16 ${compression} bombs of 60 MiB at once over 16 partitions (decompressionBytesTotalMax 128 MiB)`, async (t) => {
    await using watched = await WatchedBroker.start('--decompression-bytes-total-max', String(128 * MiB))
    using client = await connectFrameClient(watched.port)
    await createTopic(client, 'carts', 16)
    const bomb = recordBatch(60 * MiB, compression)
    const tooLarge = recordBatch(65 * MiB, compression)
    const before = watched.usage()
    const groups = [{ batchBytes: bomb.length, expected: [], wantVersions: true }]
    const appends = Array.from({ length: 16 }, (_, index) =>
      client.request('append', { topic: 'carts', partition: index, acks: 'all', groups }, [bomb]),
    )
    const during = await watched.most(Promise.all(appends))
    t.diagnostic(`bomb of ${bomb.length} bytes; ${grownBy(before, during)}`)
    // The pieces of one are joined in the end, twice the size for a moment, and the collector comes later; all at once would be 1.9 GiB.
    assertGrownBelow(1000 * MiB, before, during)
    for (const { header } of await Promise.all(appends)) assert.equal(header.groups[0]?.failure, undefined)
    const { header } = await appendBatch(client, 'carts', tooLarge)
    assert.match(header.groups[0]?.failure?.message ?? '', /more than 67108864 bytes once decompressed/)
    await watched.check()
  })
}

test('bomb: a million versions asked for in each of 64 small requests at once (replyBytesMax): refused or answered, in bounded memory', async (t) => {
  await using watched = await WatchedBroker.start()
  using client = await connectFrameClient(watched.port)
  await createTopic(client, 'carts')
  const keyless = Array.from({ length: 1_000_000 }, () => ({ key: null, value: null, timestamp: 0 }))
  const million = encodeRecordBatch(keyless, { compression: 'zstd' })
  const before = watched.usage()
  const groups = [{ batchBytes: million.length, expected: [], wantVersions: true }]
  const request = { topic: 'carts', partition: 0, acks: 'all' as const, groups }
  const outcomes = Promise.allSettled(Array.from({ length: 64 }, () => client.request('append', request, [million])))
  const during = await watched.most(outcomes)
  const codes = (await outcomes).map((outcome) =>
    outcome.status === 'fulfilled' ? 'written' : String((outcome.reason as { code?: string }).code),
  )
  t.diagnostic(`batch of ${million.length} bytes; ${grownBy(before, during)}`)
  assert.deepEqual(new Set(codes), new Set(['written', 'overloaded']))
  assertGrownBelow(500 * MiB, before, during)
  const [one] = groups
  assert.ok(one !== undefined)
  await assert.rejects(client.request('append', { ...request, groups: [one, one] }, [million, million]), {
    code: 'batchTooLarge',
  })
  await watched.check()
})

test('bomb: msgpack bombs in 4 MiB headers: arrays of 2^32 - 1, nested millions deep, a million small ones: malformedHeader, in bounded memory', async () => {
  await using watched = await WatchedBroker.start()
  const before = watched.usage()
  using client = await connectFrameClient(watched.port)
  const size = 4 * MiB - 16
  const bombs: [string, Buffer][] = [
    ['an array of 2^32 - 1', Buffer.from('ddffffffff', 'hex')],
    ['nested without end', Buffer.alloc(size, 0x91)],
    [
      'four million nils in an array of 2^32 - 1',
      Buffer.concat([Buffer.from('ddffffffff', 'hex'), Buffer.alloc(size - 5, 0xc0)]),
    ],
    ['four million empty arrays', arrayOf(size - 5, 0x90)],
    ['four million zeros', arrayOf(size - 5, 0)],
  ]
  const sending = (async () => {
    for (const [what, header] of bombs) {
      const replies = Array.from({ length: 4 }, async (_, index) => {
        const frame = Buffer.alloc(16 + header.length)
        const correlation = 1_000_000 + index
        frame.writeUInt32LE(12 + header.length, 0)
        frame[5] = 10
        frame.writeUInt32LE(correlation, 8)
        frame.writeUInt32LE(header.length, 12)
        header.copy(frame, 16)
        const reply = client.expect(correlation)
        client.socket.write(frame)
        await assert.rejects(reply, { code: 'malformedHeader' }, what)
      })
      await Promise.all(replies)
    }
  })()
  const during = await watched.most(sending)
  assertGrownBelow(1024 * MiB, before, during)
  await watched.check()
})

function arrayOf(count: number, code: number): Buffer {
  const head = Buffer.from([0xdd, 0, 0, 0, 0])
  head.writeUInt32BE(count, 1)
  return Buffer.concat([head, Buffer.alloc(count, code)])
}
