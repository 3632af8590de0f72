import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { crc32c, crc32cNative, crc32cOfBoth, crc32cTypeScript } from '../../protocol/crc32c.ts'

/** RFC 3720, B.4, and the check value of the algorithm's catalogue. */
const vectors: readonly [Buffer, number][] = [
  [Buffer.alloc(0), 0],
  [Buffer.from('123456789'), 0xe306_9283],
  [Buffer.alloc(32), 0x8a91_36aa],
  [Buffer.alloc(32, 0xff), 0x62a8_ab43],
  [Buffer.from(Array.from({ length: 32 }, (_, index) => index)), 0x46dd_794e],
  [Buffer.from(Array.from({ length: 32 }, (_, index) => 31 - index)), 0x113f_db5c],
]

test('crc32c: published vectors, native and TypeScript', () => {
  for (const [bytes, crc] of vectors) {
    assert.equal(crc32c(bytes), crc)
    assert.equal(crc32cTypeScript(bytes), crc)
    assert.equal(crc32cNative?.(bytes) ?? crc, crc)
  }
})

test('crc32c: native and TypeScript agree on any bytes, from any seed, at any alignment', {
  skip: crc32cNative === undefined,
}, () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 3000 }),
      fc.nat({ max: 9 }),
      fc.integer({ min: 0, max: 0xffff_ffff }),
      (array, from, seed) => {
        const bytes = Buffer.from(array).subarray(from)
        assert.equal(crc32cTypeScript(bytes, seed), crc32cNative?.(bytes, seed))
      },
    ),
  )
})

test('crc32c: parts in turn give the checksum of the whole', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat({ max: 300 }), (array, cut) => {
      const bytes = Buffer.from(array)
      for (const implementation of [crc32c, crc32cTypeScript]) {
        assert.equal(implementation(bytes.subarray(cut), implementation(bytes.subarray(0, cut))), implementation(bytes))
      }
    }),
  )
})

test('crc32c: of both parts, from their checksums alone', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 3000 }), fc.nat({ max: 3000 }), (array, cut) => {
      const [first, second] = [Buffer.from(array).subarray(0, cut), Buffer.from(array).subarray(cut)]
      assert.equal(crc32cOfBoth(crc32c(first), crc32c(second), second.length), crc32c(Buffer.from(array)))
    }),
  )
  const large = Buffer.alloc(70_000_001, 'playhead')
  assert.equal(
    crc32cOfBoth(crc32c(Buffer.from('before')), crc32c(large), large.length),
    crc32c(large, crc32c(Buffer.from('before'))),
  )
})
