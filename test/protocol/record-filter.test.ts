import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decompressRecords } from '../../protocol/compression.ts'
import { checkAnyBatch, encodeRecordBatch, RecordBatch } from '../../protocol/record-batch.ts'
import { RecordFilter, REMOVED, UNCHANGED, versionsIn } from '../../protocol/record-filter.ts'

const inputs = Array.from({ length: 200 }, (_, at) => ({
  key: at % 7 === 0 ? null : `k${at % 5}`,
  value: at % 11 === 0 ? null : 'x'.repeat(at),
  timestamp: 1_000 + ((at * 37) % 200),
  headers:
    at % 3 === 0
      ? [
          { key: 'v', value: 'mine' },
          { key: 'type', value: 'T' },
        ]
      : [],
}))

for (const compression of ['none', 'gzip', 'zstd'] as const) {
  test(`record filter: what is kept is what it was, with its version first (${compression}), and again when it is filtered again`, async () => {
    const source = encodeRecordBatch(inputs, { compression, producerId: 5, producerEpoch: 1, baseSequence: 9 })
    const filter = new RecordFilter()
    const keepSome = (offset: number, keyStart: number) =>
      keyStart < 0 ? UNCHANGED : offset % 2 === 0 ? offset * 2 ** 33 : REMOVED
    const records = await decompressRecords(source, 0, 1e9)
    const once = Buffer.from(
      filter.filter(source, 0, records, 'missing', (offset, _, keyStart) => keepSome(offset, keyStart))!,
    )
    checkAnyBatch(once, 0, once.length)
    const kept = inputs.map((input, at) => ({ ...input, at })).filter(({ key, at }) => key === null || at % 2 === 0)
    const found = [...new RecordBatch(once)]
    assert.deepEqual(
      found.map(({ offset, key, value, timestamp }) => [
        offset,
        key?.toString() ?? null,
        value?.toString() ?? null,
        timestamp,
      ]),
      kept.map(({ at, key, value, timestamp }) => [at, key, value, timestamp]),
    )
    for (const [place, { headers, key }] of found.entries()) {
      const own = kept[place]!.headers
      assert.equal(headers.length, own.length + (key === null ? 0 : 1))
      assert.deepEqual(
        headers.slice(-own.length || headers.length).map(({ key: name }) => name),
        own.map(({ key: name }) => name),
      )
    }
    const header = new RecordBatch(once)
    const original = new RecordBatch(source)
    assert.deepEqual([header.baseOffset, header.nextOffset], [original.baseOffset, original.nextOffset])
    const twice = filter.filter(once, 0, await decompressRecords(once, 0, 1e9), 'written', (offset, _, keyStart) =>
      keyStart < 0 ? UNCHANGED : offset % 4 === 0 ? 0 : REMOVED,
    )!
    checkAnyBatch(twice, 0, twice.length)
    const versions: number[][] = []
    versionsIn(twice, 0, await decompressRecords(twice, 0, 1e9), (_, __, offset, version) =>
      versions.push([offset, version]),
    )
    assert.deepEqual(
      versions,
      kept.filter(({ key, at }) => key !== null && at % 4 === 0).map(({ at }) => [at, at * 2 ** 33]),
    )
    assert.equal(
      filter.filter(source, 0, records, 'missing', () => REMOVED),
      undefined,
    )
    assert.ok(
      filter.filter(once, 0, await decompressRecords(once, 0, 1e9), 'written', () => 0)!.equals(once),
      'nothing changed',
    )
  })
}
