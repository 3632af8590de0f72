import assert from 'node:assert/strict'
import { test } from 'node:test'
import { crc32c } from '../../protocol/crc32c.ts'
import { compressRecords, decompressRecords, decompressRecordsSync } from '../../protocol/compression.ts'
import { BATCH_HEADER_BYTES, RecordBatch, encodeRecordBatch } from '../../protocol/record-batch.ts'

const records = Array.from({ length: 100 }, (_, index) => ({
  key: `stream-${index}`,
  value: 'v'.repeat(100),
  timestamp: index,
}))
const plain = encodeRecordBatch(records)

for (const compression of ['none', 'gzip', 'zstd'] as const) {
  test(`compression: ${compression} gives the records back, waiting or off the loop, wherever the batch stands`, async () => {
    const batch = encodeRecordBatch(records, { compression })
    if (compression !== 'none') assert.ok(batch.length < plain.length / 4)
    const bytes = Buffer.concat([Buffer.alloc(7, 1), batch, Buffer.alloc(7, 1)])
    assert.deepEqual(decompressRecordsSync(bytes, 7, plain.length), plain.subarray(BATCH_HEADER_BYTES))
    assert.deepEqual(await decompressRecords(bytes, 7, plain.length), plain.subarray(BATCH_HEADER_BYTES))
    const view = new RecordBatch(batch)
    await view.decompress()
    assert.equal([...view].length, 100)
  })

  test(`compression: ${compression} that would become more than allowed is batchTooLarge (one byte over)`, async () => {
    const batch = encodeRecordBatch(records, { compression })
    const limit = plain.length - BATCH_HEADER_BYTES - 1
    assert.throws(() => decompressRecordsSync(batch, 0, limit), { code: 'batchTooLarge' })
    await assert.rejects(decompressRecords(batch, 0, limit), { code: 'batchTooLarge' })
  })
}

for (const compression of ['gzip', 'zstd'] as const) {
  test(`compression: a bomb is refused before it takes the memory (64 MiB of zeros in ${compression}, 1 MiB allowed)`, async () => {
    const bomb = batchAround(compressRecords(Buffer.alloc(64 * 1024 * 1024), compression), compression)
    assert.ok(bomb.length < 128 * 1024)
    assert.throws(() => decompressRecordsSync(bomb, 0, 1024 * 1024), { code: 'batchTooLarge' })
    await assert.rejects(decompressRecords(bomb, 0, 1024 * 1024), { code: 'batchTooLarge' })
  })

  test(`compression: ${compression} that is cut off, damaged or something else is an invalidBatch`, async () => {
    const compressed = compressRecords(plain.subarray(BATCH_HEADER_BYTES), compression)
    const wrong = [
      compressed.subarray(0, -1),
      compressed.subarray(0, 10),
      compressed.subarray(1),
      Buffer.from('not compressed at all'),
    ]
    for (const bytes of wrong) {
      const batch = batchAround(bytes, compression)
      assert.throws(() => decompressRecordsSync(batch, 0, 1 << 20), { code: 'invalidBatch' })
      await assert.rejects(decompressRecords(batch, 0, 1 << 20), { code: 'invalidBatch' })
      assert.throws(() => [...new RecordBatch(batch)], { code: 'invalidBatch' })
    }
  })
}

/** A batch with these bytes in place of its records. */
function batchAround(bytes: Buffer, compression: 'gzip' | 'zstd'): Buffer {
  const batch = Buffer.concat([encodeRecordBatch(records, { compression }).subarray(0, BATCH_HEADER_BYTES), bytes])
  batch.writeInt32BE(batch.length - 12, 8)
  batch.writeUInt32BE(crc32c(batch.subarray(21)), 17)
  return batch
}
