import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { isPlayheadError } from '../../protocol/errors.ts'
import { BATCH_HEADER_BYTES, encodeRecordBatch, encodeSparseBatch, walkKeys } from '../../protocol/record-batch.ts'
import { mutated, recordInputs } from './arbitraries.ts'

const recordsOf = (batch: Buffer): Buffer => batch.subarray(BATCH_HEADER_BYTES)

function keysIn(records: Buffer, recordCount: number, lastOffsetDelta?: number): (string | null)[] {
  const keys: (string | null)[] = []
  walkKeys(
    records,
    recordCount,
    (offsetDelta, start, end) => {
      keys[offsetDelta] = start < 0 ? null : records.toString('utf8', start, end)
      assert.ok(start < 0 ? end === -1 : start <= end && end <= records.length)
    },
    lastOffsetDelta,
  )
  return keys
}

const four = encodeRecordBatch([
  { key: 'a', value: '1', timestamp: 0, headers: [{ key: 'type', value: null }] },
  { key: null, value: '2', timestamp: 0 },
  { key: '', value: null, timestamp: 0 },
  { key: 'dd', value: 'x'.repeat(300), timestamp: 1e12 },
])

test('walkKeys: finds every key of any records, null and empty ones apart', () => {
  fc.assert(
    fc.property(recordInputs, (inputs) => {
      const keys = keysIn(recordsOf(encodeRecordBatch(inputs)), inputs.length)
      assert.deepEqual(
        keys,
        inputs.map(({ key }) => (key === null ? null : Buffer.from(key as string).toString())),
      )
    }),
  )
  assert.deepEqual(keysIn(recordsOf(four), 4), ['a', null, '', 'dd'])
})

test('walkKeys: gaps between offsets are refused unless the last offset delta allows them', () => {
  const record = { timestamp: 0, key: Buffer.from('k'), value: null, headers: [] }
  const sparse = recordsOf(
    encodeSparseBatch([
      { ...record, offset: 10 },
      { ...record, offset: 17 },
    ]),
  )
  assert.throws(() => keysIn(sparse, 2), { code: 'invalidBatch' })
  assert.throws(() => keysIn(sparse, 2, 6), { code: 'invalidBatch' })
  assert.deepEqual(keysIn(sparse, 2, 7), ['k', , , , , , , 'k']) // oxlint-disable-line no-sparse-arrays
})

test('walkKeys: one record too many, one too few, cut at every byte, bytes left over', () => {
  const records = recordsOf(four)
  for (const count of [3, 5, 1_000_000])
    assert.throws(() => keysIn(records, count), { code: 'invalidBatch' }, `${count} records`)
  for (let end = 0; end < records.length; end++) {
    assert.throws(() => keysIn(records.subarray(0, end), 4), { code: 'invalidBatch' }, `cut at ${end}`)
  }
  assert.throws(() => keysIn(Buffer.concat([records, Buffer.alloc(1)]), 4), { code: 'invalidBatch' })
})

test('walkKeys: offset deltas that repeat or fall are refused', () => {
  const first = recordsOf(encodeRecordBatch([{ key: 'a', value: null, timestamp: 0 }]))
  assert.throws(() => keysIn(Buffer.concat([first, first]), 2), { code: 'invalidBatch' })
})

test('walkKeys: damaged records are walked to their end or refused, never read out of bounds', () => {
  fc.assert(
    fc.property(mutated(recordsOf(four)), fc.integer({ min: 0, max: 6 }), (records, count) => {
      try {
        keysIn(records, count)
      } catch (error) {
        if (!isPlayheadError(error, 'invalidBatch')) throw error
      }
    }),
    { numRuns: 3000 },
  )
})

test('walkKeys: random bytes are refused', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), fc.integer({ min: 1, max: 9 }), (array, count) => {
      try {
        keysIn(Buffer.from(array), count)
      } catch (error) {
        if (!isPlayheadError(error, 'invalidBatch')) throw error
      }
    }),
    { numRuns: 3000 },
  )
})
