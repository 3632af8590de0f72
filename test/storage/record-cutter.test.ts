/** Records cut out of batches, and sent on as they stand. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PackedRecord, type RecordInput } from '../../protocol/record.ts'
import { encodeRecordBatch, encodeSparseBatch, RecordBatch } from '../../protocol/record-batch.ts'
import { DecompressionMemory } from '../../storage/decompression-memory.ts'
import { cutRecords } from '../../storage/record-cutter.ts'
import { SeededRandom } from './seeded-random.ts'

const memory = new DecompressionMemory(1e8)

function blobOf(random: SeededRandom): Buffer | null {
  const length = random.pick([-1, 0, 1, 30, 63, 64, 200, 9_000])
  return length < 0 ? null : Buffer.from(Array.from({ length }, () => random.below(256)))
}

function recordOf(random: SeededRandom): RecordInput {
  const headers = Array.from({ length: random.pick([0, 0, 1, 3]) }, () => ({
    key: random.pick(['id', 'type', 'content-type', 'größe', '']),
    value: blobOf(random),
  }))
  return { key: blobOf(random), value: blobOf(random), headers, timestamp: random.below(2 ** 31) - 2 ** 30 }
}

test('record cutter: any records of a batch come out as they went in, and go on in a batch of their own, byte for byte (300 batches)', async () => {
  const random = SeededRandom.fresh()
  for (let round = 0; round < 300; round++) {
    const inputs = Array.from({ length: 1 + random.below(20) }, () => recordOf(random))
    const batch = encodeRecordBatch(inputs, { compression: random.pick(['none', 'gzip', 'zstd'] as const) })
    const all = [...new RecordBatch(encodeRecordBatch(inputs))]
    const wanted = all.filter(() => random.below(2) === 0)
    const cut = await cutRecords(
      batch,
      wanted.map(({ offset }) => offset),
      memory,
    )
    assert.deepEqual(
      cut.map(({ offset, timestamp, key, value, headers }) => ({ offset, timestamp, key, value, headers })),
      wanted.map(({ offset, timestamp, key, value, headers }) => ({ offset, timestamp, key, value, headers })),
    )
    assert.ok(encodeSparseBatch(cut).equals(encodeSparseBatch(wanted)))
    await assert.rejects(async () => cutRecords(batch, [all.length], memory), { code: 'invalidBatch' })
  }
})

test('record cutter: a packed record that is cut off or goes on is refused when it is looked at', () => {
  const [record] = [...new RecordBatch(encodeRecordBatch([{ key: 'k', value: 'v', headers: [], timestamp: 1 }]))]
  assert.ok(record)
  const packed = Buffer.from([2, 0x6b, 2, 0x76, 0])
  assert.deepEqual(new PackedRecord(0, 1, packed).key, record.key)
  for (let end = 0; end < packed.length; end++) {
    assert.throws(() => new PackedRecord(0, 1, packed.subarray(0, end)).value, { code: 'invalidBatch' })
  }
  assert.throws(() => new PackedRecord(0, 1, Buffer.concat([packed, packed])).headers, { code: 'invalidBatch' })
})
