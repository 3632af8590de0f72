import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { RecordBatch, encodeRecordBatch } from '../../protocol/record-batch.ts'
import { RecordCursor, RecordFields } from '../../protocol/record-cursor.ts'
import type { LogRecord } from '../../protocol/record.ts'
import { recordInputs } from './arbitraries.ts'

/** Every record, its fields read one by one and in another order than they stand in. */
function readLazily(bytes: Buffer): LogRecord[] {
  const { records } = new RecordBatch(bytes)
  const cursor = new RecordCursor(bytes, records)
  const fields = new RecordFields(bytes, records)
  const read: LogRecord[] = []
  while (cursor.next()) {
    const { fieldsAt, end, offsetDelta, timestampDelta } = cursor
    const headers = fields.headers(fieldsAt, end)
    const value = fields.value(fieldsAt, end)
    const key = fields.key(fieldsAt, end)
    read.push({
      offset: fields.baseOffset + offsetDelta,
      timestamp: fields.timestamp(timestampDelta),
      key,
      value,
      headers,
    })
  }
  return read
}

test('record cursor: fields read one by one are those of the whole record (any records)', () => {
  fc.assert(
    fc.property(recordInputs, (inputs) => {
      const bytes = encodeRecordBatch(inputs)
      assert.deepEqual(readLazily(bytes), [...new RecordBatch(bytes)])
    }),
  )
})

test('record: comes back as it was where its length takes another byte (bodies around 64, 8,192 and 1,048,576 bytes; text and bytes; headers)', () => {
  for (const edge of [64, 8_192, 1_048_576]) {
    for (let size = edge - 64; size < edge + 8; size++) {
      const headers = [
        { key: 'type', value: 'Ä'.repeat(size % 9) },
        { key: 'a name of more than 16', value: null },
      ]
      const inputs = [
        { key: null, value: Buffer.alloc(size, 7), timestamp: 1 },
        { key: 'k', value: 'v'.repeat(size), timestamp: 1, ...(size % 2 === 0 && { headers }) },
        { key: 'ключ', value: 'é'.repeat(size >> 1), timestamp: 1 },
      ]
      const [bytes, ascii, other] = [...new RecordBatch(encodeRecordBatch(inputs))]
      assert.deepEqual(bytes?.value, Buffer.alloc(size, 7))
      assert.equal(ascii?.value?.toString(), 'v'.repeat(size))
      assert.deepEqual(
        ascii?.headers.map((header) => header.value?.toString()),
        size % 2 === 0 ? ['Ä'.repeat(size % 9), undefined] : [],
      )
      assert.equal(other?.key?.toString(), 'ключ')
      assert.equal(other?.value?.toString(), 'é'.repeat(size >> 1))
    }
  }
})
