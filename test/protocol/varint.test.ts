import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { VARINT_BYTES_MAX, VarintReader, varintBytes, writeVarint } from '../../protocol/varint.ts'

/** The definition, by bigint: zig-zag, then 7 bits a byte. */
function varintOf(value: bigint): Buffer {
  let rest = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n))
  const out: number[] = []
  for (; rest >= 0x80n; rest >>= 7n) out.push(Number(rest & 0x7fn) | 0x80)
  return Buffer.from([...out, Number(rest)])
}

function checkRoundTrip(value: number): void {
  const bytes = Buffer.alloc(VARINT_BYTES_MAX + 2, 0xff)
  const end = writeVarint(bytes, 1, value)
  assert.deepEqual(bytes.subarray(1, end), varintOf(BigInt(value)), `${value}`)
  assert.equal(varintBytes(value), end - 1, `${value}`)
  const reader = new VarintReader(bytes, 1, end)
  assert.equal(reader.next(), value)
  assert.equal(reader.at, end)
}

test('varint: every power of two up to 2^53 and its neighbours, both signs', () => {
  for (let exponent = 0; exponent <= 53; exponent++) {
    for (const delta of [-2, -1, 0, 1, 2]) {
      for (const value of [2 ** exponent + delta, -(2 ** exponent) + delta])
        if (Number.isSafeInteger(value)) checkRoundTrip(value)
    }
  }
})

test('varint: any safe integer', () => {
  fc.assert(fc.property(fc.maxSafeInteger(), checkRoundTrip))
})

test('varint: numbers beyond 2^53 - 1 and endless ones are refused', () => {
  for (const bytes of [
    varintOf(2n ** 53n),
    varintOf(-(2n ** 53n) - 1n),
    varintOf(2n ** 63n - 1n),
    Buffer.alloc(64, 0xff),
    Buffer.alloc(64, 0x80),
  ]) {
    assert.throws(() => new VarintReader(bytes, 0, bytes.length).next(), { code: 'invalidBatch' })
  }
})

test('varint: never reads past the end (every value cut at every byte, more bytes behind)', () => {
  for (const value of [64, -65, 8192, 2 ** 20, 2 ** 31, Number.MAX_SAFE_INTEGER, -Number.MAX_SAFE_INTEGER]) {
    const bytes = Buffer.concat([varintOf(BigInt(value)), Buffer.alloc(10, 1)])
    for (let end = 0; end < varintBytes(value); end++) {
      assert.throws(() => new VarintReader(bytes, 0, end).next(), { code: 'invalidBatch' }, `${value} cut at ${end}`)
    }
  }
})

test('varint: a length is refused below its minimum and beyond what is left', () => {
  const bytes = Buffer.concat([varintOf(3n), Buffer.from('abc')])
  assert.equal(new VarintReader(bytes, 0, 4).length(0), 3)
  assert.throws(() => new VarintReader(bytes, 0, 3).length(0), { code: 'invalidBatch' })
  const none = varintOf(-1n)
  assert.equal(new VarintReader(none, 0, 1).length(-1), -1)
  assert.throws(() => new VarintReader(none, 0, 1).length(0), { code: 'invalidBatch' })
  assert.throws(() => new VarintReader(varintOf(-2n), 0, 1).length(-1), { code: 'invalidBatch' })
})
