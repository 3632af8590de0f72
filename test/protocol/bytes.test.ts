import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { readI64BE, readU64LE, writeI64BE, writeU64LE } from '../../protocol/bytes.ts'

const bytes = Buffer.alloc(12)

test('bytes: u64 little-endian writes what bigint writes and reads it back (any safe integer ≥ 0)', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), fc.integer({ min: 0, max: 4 }), (value, at) => {
      writeU64LE(bytes, at, value)
      assert.equal(bytes.readBigUInt64LE(at), BigInt(value))
      assert.equal(readU64LE(bytes, at), value)
    }),
  )
})

test('bytes: i64 big-endian writes what bigint writes and reads it back (any safe integer)', () => {
  fc.assert(
    fc.property(fc.maxSafeInteger(), fc.integer({ min: 0, max: 4 }), (value, at) => {
      writeI64BE(bytes, at, value)
      assert.equal(bytes.readBigInt64BE(at), BigInt(value))
      assert.equal(readI64BE(bytes, at), value)
    }),
  )
})

test('bytes: a foreign value beyond 2^53 - 1 never reads as a safe integer', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 2n ** 53n, max: 2n ** 63n - 1n }), (value) => {
      bytes.writeBigUInt64LE(value)
      assert.ok(!Number.isSafeInteger(readU64LE(bytes, 0)))
      bytes.writeBigInt64BE(value)
      assert.ok(!Number.isSafeInteger(readI64BE(bytes, 0)))
      bytes.writeBigInt64BE(-value)
      assert.ok(!Number.isSafeInteger(readI64BE(bytes, 0)))
    }),
  )
})

test('bytes: what is not a safe integer is a bug of the writer', () => {
  for (const value of [-1, 0.5, 2 ** 53, Number.NaN])
    assert.throws(() => writeU64LE(bytes, 0, value), { name: 'AssertionError' })
  for (const value of [0.5, 2 ** 53, -(2 ** 53), Number.NaN])
    assert.throws(() => writeI64BE(bytes, 0, value), { name: 'AssertionError' })
})
