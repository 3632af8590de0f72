import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RecordLoad } from '../../../cli/bench/record-load.ts'

test('record load: every value carries its sequence, also past 2^32; a foreign value has none', () => {
  const load = new RecordLoad({ recordBytes: 20, streams: 0, seed: 1 })
  for (const sequence of [0, 1, 255, 65_536, 2 ** 32 - 1, 2 ** 32, 2 ** 40 + 7]) {
    const { key, value } = load.record(sequence)
    assert.equal(key, null)
    assert.ok(Buffer.isBuffer(value) && value.length === 20)
    assert.equal(load.sequenceOf(value), sequence)
  }
  const foreign = Buffer.from(load.record(5).value as Buffer)
  foreign[0]! ^= 1
  assert.equal(load.sequenceOf(foreign), -1)
  assert.equal(load.sequenceOf(Buffer.alloc(3)), -1)
  assert.equal(load.sequenceOf(null), -1)
})

test('record load: the same seed makes the same keys, another one others; all streams of 10 come up in 1,000 records', () => {
  const keysOf = (seed: number): string[] => {
    const load = new RecordLoad({ recordBytes: 8, streams: 10, seed })
    return Array.from({ length: 1_000 }, (_, sequence) => String(load.record(sequence).key))
  }
  assert.deepEqual(keysOf(7), keysOf(7))
  assert.notDeepEqual(keysOf(7), keysOf(8))
  const names = Array.from({ length: 10 }, (_, stream) => `s-${stream}`)
  assert.deepEqual([...new Set(keysOf(7))].toSorted(), names)
})
