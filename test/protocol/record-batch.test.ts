import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { crc32c } from '../../protocol/crc32c.ts'
import { isPlayheadError } from '../../protocol/errors.ts'
import {
  BATCH_HEADER_BYTES,
  RecordBatch,
  RecordBatchBuilder,
  attributes,
  baseOffset,
  batchBytes,
  checkAnyBatch,
  checkBatch,
  codec,
  encodeRecordBatch,
  encodeSparseBatch,
  lastOffsetDelta,
  leaderEpoch,
  nextOffset,
  splitBatches,
  stampBatch,
  walkKeys,
} from '../../protocol/record-batch.ts'
import type { LogRecord, RecordInput } from '../../protocol/record.ts'
import { mutated, recordInput, recordInputs } from './arbitraries.ts'

const bytesOf = (blob: string | Buffer | null): Buffer | null => (typeof blob === 'string' ? Buffer.from(blob) : blob)

/** What a reader must see of `input` at `offset`. */
function recordOf(input: RecordInput, offset: number): LogRecord {
  const headers = (input.headers ?? []).map(({ key, value }) => ({
    key: Buffer.from(key).toString(),
    value: bytesOf(value),
  }))
  return { offset, timestamp: input.timestamp, key: bytesOf(input.key), value: bytesOf(input.value), headers }
}

/** Changes bytes of a valid batch and makes its CRC right again, so that what is behind the CRC is put to the test. */
function patched(batch: Buffer, patch: (copy: Buffer) => void): Buffer {
  const copy = Buffer.from(batch)
  patch(copy)
  copy.writeUInt32BE(crc32c(copy.subarray(21)), 17)
  return copy
}

const one: RecordInput = { key: 'carts-1', value: 'v', timestamp: 1000 }
const three = encodeRecordBatch([one, one, one], { producerId: 7, producerEpoch: 1, baseSequence: 9 })

test('record batch: any records come back as they were, with every codec, and pass checkBatch', () => {
  fc.assert(
    fc.property(
      recordInputs,
      fc.constantFrom('none' as const, 'gzip' as const, 'zstd' as const),
      (inputs, compression) => {
        const bytes = encodeRecordBatch(inputs, { compression })
        checkBatch(bytes, 0, bytes.length)
        assert.equal(batchBytes(bytes), bytes.length)
        assert.equal(codec(bytes), compression)
        const batch = new RecordBatch(bytes)
        assert.deepEqual([...batch], inputs.map(recordOf))
        assert.deepEqual([...batch], inputs.map(recordOf), 'a second time')
        assert.equal(batch.maxTimestamp, Math.max(...inputs.map((input) => input.timestamp)))
        assert.equal(batch.recordCount, inputs.length)
        assert.equal(batch.nextOffset, inputs.length)
      },
    ),
  )
})

test('record batch: stamping gives every record its offset and leaves the CRC right (offset beyond 2^32)', () => {
  const bytes = Buffer.concat([Buffer.alloc(5), three])
  stampBatch(bytes, 5, 2 ** 40, 12)
  checkBatch(bytes, 5, bytes.length)
  assert.equal(baseOffset(bytes, 5), 2 ** 40)
  assert.equal(leaderEpoch(bytes, 5), 12)
  assert.equal(nextOffset(bytes, 5), 2 ** 40 + 3)
  const batch = new RecordBatch(bytes.subarray(5))
  assert.deepEqual(
    Array.from(batch, (record) => record.offset),
    [2 ** 40, 2 ** 40 + 1, 2 ** 40 + 2],
  )
  assert.deepEqual([batch.producerId, batch.producerEpoch, batch.baseSequence], [7, 1, 9])
})

test('record batch: the builder is empty after a build and its batch is not touched by the next', () => {
  const builder = new RecordBatchBuilder()
  builder.append(one)
  assert.equal(builder.sizeBytes > BATCH_HEADER_BYTES, true)
  const first = builder.build()
  const kept = Buffer.from(first)
  assert.deepEqual([builder.recordCount, builder.sizeBytes], [0, BATCH_HEADER_BYTES])
  builder.append({ key: 'other', value: 'x'.repeat(100_000), timestamp: 5 })
  const second = builder.build()
  assert.deepEqual(first, kept)
  assert.deepEqual(
    [...new RecordBatch(second)].map((record) => [record.offset, record.timestamp]),
    [[0, 5]],
  )
  builder.append(one)
  builder.clear()
  assert.equal(builder.recordCount, 0)
})

test('record batch: sizeBytes of the builder is the size of the uncompressed batch', () => {
  fc.assert(
    fc.property(recordInputs, (inputs) => {
      const builder = new RecordBatchBuilder()
      for (const input of inputs) builder.append(input)
      const { sizeBytes } = builder
      assert.equal(builder.build().length, sizeBytes)
    }),
  )
})

test('record batch: a timestamp that is no time is an invalidEvent, and the builder stays as it was', () => {
  const builder = new RecordBatchBuilder()
  builder.append(one)
  for (const timestamp of [Number.NaN, 1.5, Number.POSITIVE_INFINITY, 4.5e15 + 1]) {
    assert.throws(() => builder.append({ ...one, timestamp }), { code: 'invalidEvent' })
  }
  assert.deepEqual([...new RecordBatch(builder.build())], [recordOf(one, 0)])
})

test('sparse batch: records keep their offsets (any rising offsets)', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(recordInput, fc.integer({ min: 1, max: 1000 })), { minLength: 1, maxLength: 10 }),
      fc.nat(),
      (steps, start) => {
        let offset = start
        const records = steps.map(([input, step]) => recordOf(input, (offset += step)))
        const bytes = encodeSparseBatch(records)
        checkAnyBatch(bytes, 0, bytes.length)
        const [batch, ...more] = splitBatches(bytes)
        assert.equal(more.length, 0)
        assert.deepEqual([...(batch as RecordBatch)], records)
        assert.equal(batch?.nextOffset, offset + 1)
      },
    ),
  )
})

test('sparse batch: offsets further apart than 2^31 go on in another batch; no records are no bytes', () => {
  const records = [5, 6, 6 + 2 ** 31, 2 ** 45, 2 ** 45 + 1].map((offset) => recordOf(one, offset))
  const batches = splitBatches(encodeSparseBatch(records))
  assert.deepEqual(
    batches.map((batch) => batch.recordCount),
    [2, 1, 2],
  )
  assert.deepEqual(
    batches.flatMap((batch) => [...batch]),
    records,
  )
  assert.equal(encodeSparseBatch([]).length, 0)
})

test('sparse batch: a foreign timestamp farther than the farthest becomes that (delta of 9e15 ms)', () => {
  const records = [9e15, -9e15, 1].map((timestamp, offset) => ({ ...recordOf(one, offset), timestamp }))
  const [batch] = splitBatches(encodeSparseBatch(records))
  assert.deepEqual(
    [...(batch ?? [])].map(({ timestamp }) => timestamp),
    [4.5e15, -4.5e15, 1],
  )
})

test('splitBatches: several batches, and none', () => {
  const other = encodeRecordBatch([one], { compression: 'zstd' })
  assert.deepEqual(
    splitBatches(Buffer.concat([three, other, three])).map((batch) => batch.bytes),
    [three, other, three],
  )
  assert.deepEqual(splitBatches(Buffer.alloc(0)), [])
})

test('splitBatches: a batch that is cut off, damaged or of no length is an invalidBatch', () => {
  for (let end = 1; end < three.length; end++) {
    assert.throws(
      () => splitBatches(Buffer.concat([three, three.subarray(0, end)])),
      { code: 'invalidBatch' },
      `cut at ${end}`,
    )
  }
  for (const length of [-100, -12, -1, 0, 0x7fff_ffff]) {
    const wrong = Buffer.from(three)
    wrong.writeInt32BE(length, 8)
    assert.throws(() => splitBatches(wrong), { code: 'invalidBatch' }, `length ${length}`)
  }
})

test('checkBatch: refuses any single changed bit after the length, but for offset and epoch', () => {
  for (let bit = 16 * 8; bit < three.length * 8; bit++) {
    const wrong = Buffer.from(three)
    wrong[bit >> 3]! ^= 1 << (bit & 7)
    assert.throws(() => checkBatch(wrong, 0, wrong.length), { code: 'invalidBatch' }, `bit ${bit}`)
  }
})

test('checkBatch: wants exactly one batch', () => {
  assert.throws(() => checkBatch(three, 0, three.length - 1), { code: 'invalidBatch' })
  assert.throws(() => checkBatch(Buffer.concat([three, Buffer.alloc(1)]), 0, three.length + 1), {
    code: 'invalidBatch',
  })
  for (let end = 0; end <= BATCH_HEADER_BYTES; end++)
    assert.throws(() => checkBatch(three, 0, end), { code: 'invalidBatch' })
})

const wrongHeaders: readonly [string, (copy: Buffer) => void][] = [
  ['no records', (copy) => copy.writeInt32BE(0, 57)],
  ['a negative count', (copy) => copy.writeInt32BE(-1, 57)],
  ['one record more than offsets', (copy) => copy.writeInt32BE(4, 57)],
  ['one record fewer than offsets', (copy) => copy.writeInt32BE(2, 57)],
  ['a negative last offset delta', (copy) => copy.writeInt32BE(-1, 23)],
  ['more records than fit', (copy) => (copy.writeInt32BE(1000, 57), copy.writeInt32BE(999, 23))],
  [
    'more records than a batch may hold',
    (copy) => (copy.writeInt16BE(1, 21), copy.writeInt32BE(1_000_001, 57), copy.writeInt32BE(1_000_000, 23)),
  ],
  ['codec 5', (copy) => copy.writeInt16BE(5, 21)],
  ['codec 7', (copy) => copy.writeInt16BE(7, 21)],
  ['append time set by a producer', (copy) => copy.writeInt16BE(0b1000, 21)],
  ['a transaction', (copy) => copy.writeInt16BE(0b1_0000, 21)],
  ['a control batch', (copy) => copy.writeInt16BE(0b10_0000, 21)],
  ['a delete horizon', (copy) => copy.writeInt16BE(0b100_0000, 21)],
  ['unknown attributes', (copy) => copy.writeInt16BE(0x100, 21)],
  ['all attributes', (copy) => copy.writeInt16BE(-8, 21)],
  ['a base timestamp farther than any time', (copy) => copy.writeBigInt64BE(4_500_000_000_000_001n, 27)],
  ['a max timestamp beyond 2^53', (copy) => copy.writeBigInt64BE(-(2n ** 63n), 35)],
  ['a producer id below -1', (copy) => copy.writeBigInt64BE(-2n, 43)],
  ['a producer id beyond 2^53', (copy) => copy.writeBigInt64BE(2n ** 53n, 43)],
  ['a producer without an epoch', (copy) => copy.writeInt16BE(-1, 51)],
  ['a producer without a sequence', (copy) => copy.writeInt32BE(-1, 53)],
]

for (const [name, patch] of wrongHeaders) {
  test(`checkBatch: ${name} is an invalidBatch though the CRC is right`, () => {
    const wrong = patched(three, patch)
    assert.throws(() => checkBatch(wrong, 0, wrong.length), { code: 'invalidBatch' })
  })
}

test('checkBatch: snappy and lz4 are unsupportedCompression by name; checkAnyBatch lets them and gaps pass', () => {
  for (const [number, name] of [
    [2, 'snappy'],
    [3, 'lz4'],
  ] as const) {
    const batch = patched(three, (copy) => copy.writeInt16BE(number, 21))
    assert.throws(() => checkBatch(batch, 0, batch.length), {
      code: 'unsupportedCompression',
      message: new RegExp(name),
    })
    checkAnyBatch(batch, 0, batch.length)
    assert.throws(() => [...new RecordBatch(batch)], { code: 'unsupportedCompression' })
  }
  const gaps = patched(three, (copy) => copy.writeInt32BE(500, 23))
  assert.throws(() => checkBatch(gaps, 0, gaps.length), { code: 'invalidBatch' })
  checkAnyBatch(gaps, 0, gaps.length)
})

test('accessors: attributes and deltas of a batch as built', () => {
  assert.equal(attributes(three), 0)
  assert.equal(lastOffsetDelta(three), 2)
})

test('record batch: damaged records behind a right CRC give records or a typed error, never anything else', () => {
  const batches = (['none', 'gzip', 'zstd'] as const).map((compression) => {
    return encodeRecordBatch(
      Array.from({ length: 5 }, (_, index) => ({ ...one, key: `k${index}`, headers: [{ key: 'type', value: 'T' }] })),
      { compression },
    )
  })
  fc.assert(
    fc.property(
      fc
        .constantFrom(...batches)
        .chain((batch) => mutated(batch.subarray(BATCH_HEADER_BYTES)).map((records) => ({ batch, records }))),
      ({ batch, records }) => {
        const bytes = Buffer.concat([batch.subarray(0, BATCH_HEADER_BYTES), records])
        const wrong = patched(bytes, (copy) => copy.writeInt32BE(copy.length - 12, 8))
        try {
          checkAnyBatch(wrong, 0, wrong.length)
          for (const record of new RecordBatch(wrong)) assert.ok(Number.isSafeInteger(record.offset))
        } catch (error) {
          if (!isPlayheadError(error)) throw error
        }
      },
    ),
    { numRuns: 2000 },
  )
})

test('record batch: random bytes are refused with a typed error', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), (array) => {
      assert.throws(() => splitBatches(Buffer.from(array)), { code: 'invalidBatch' })
    }),
  )
})

/** A batch with these bytes as its records; count and offsets stay those of `batch`. */
function withRecords(batch: Buffer, records: Buffer): Buffer {
  const bytes = Buffer.concat([batch.subarray(0, BATCH_HEADER_BYTES), records])
  return patched(bytes, (copy) => copy.writeInt32BE(copy.length - 12, 8))
}

const two = encodeRecordBatch([one, one])
const [first, second] = [
  two.subarray(BATCH_HEADER_BYTES, (two.length + BATCH_HEADER_BYTES) / 2),
  two.subarray((two.length + BATCH_HEADER_BYTES) / 2),
]

const wrongRecords: readonly [string, Buffer][] = [
  ['the same offset twice', Buffer.concat([first, first])],
  ['falling offsets', Buffer.concat([second, first])],
  ['bytes after the last record', Buffer.concat([first, second, Buffer.alloc(1)])],
  [
    'a record inside the length of another',
    Buffer.concat([Buffer.from([first[0]! + 2 * second.length]), first.subarray(1), second]),
  ],
  ['a record of no bytes', Buffer.concat([first, Buffer.alloc(second.length)])],
  ['one record fewer', Buffer.concat([first, first.subarray(0, -1)])],
]

for (const [name, records] of wrongRecords) {
  test(`record batch: ${name} behind a right CRC is an invalidBatch for readers and for walkKeys`, () => {
    const batch = withRecords(two, records)
    checkBatch(batch, 0, batch.length)
    assert.throws(() => [...new RecordBatch(batch)], { code: 'invalidBatch' })
    assert.throws(() => walkKeys(records, 2, () => {}), { code: 'invalidBatch' })
  })
}

test('checkAnyBatch: fewer offsets than records is an invalidBatch', () => {
  const wrong = patched(three, (copy) => copy.writeInt32BE(1, 23))
  assert.throws(() => checkAnyBatch(wrong, 0, wrong.length), { code: 'invalidBatch' })
})
