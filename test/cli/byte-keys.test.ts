import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ByteKeys, hashOf } from '../../cli/byte-keys.ts'
import { StreamKeys } from '../../cli/stream-keys.ts'

test('byte keys: each different key has its own number, in the order they came (any keys, cut out of anything)', () => {
  const key = fc.oneof(fc.uint8Array({ maxLength: 3 }), fc.uint8Array({ maxLength: 40 }))
  fc.assert(
    fc.property(fc.array(key, { maxLength: 60 }), fc.nat(5), (all, before) => {
      const keys = new ByteKeys()
      const wanted = new Map<string, number>()
      for (const bytes of all) {
        const name = Buffer.from(bytes).toString('hex')
        const around = Buffer.concat([Buffer.alloc(before, 7), bytes, Buffer.from([7])])
        assert.equal(keys.find(around, before, before + bytes.length), wanted.get(name) ?? -1)
        if (wanted.has(name)) continue
        assert.equal(keys.add(around, before, before + bytes.length), wanted.size)
        wanted.set(name, wanted.size)
        around.fill(0)
      }
      assert.equal(keys.count, wanted.size)
    }),
  )
})

test('byte keys: many keys are found again as the table grows (50,000)', () => {
  const keys = new ByteKeys()
  const names = Array.from({ length: 50_000 }, (_, index) => Buffer.from(`customer-${index}`))
  for (const name of names) keys.add(name, 0, name.length)
  for (const [index, name] of names.entries()) assert.equal(keys.find(name, 0, name.length), index)
  assert.equal(keys.find(Buffer.from('customer-50000'), 0, 14), -1)
})

test('stream keys: a stream is one and counted once, also past the number of keys kept (100,100), as text and as bytes', () => {
  const streams = new StreamKeys({ stream: 'customer' })
  for (let round = 0; round < 2; round++) {
    for (let index = 0; index < 100_100; index++)
      assert.equal(streams.keyOf(`c${index}`).toString('latin1'), `c${index}`)
  }
  const bytes = Buffer.from('xc100050x')
  const key = streams.keyOfBytes(bytes, 1, 8)
  bytes.fill(0)
  assert.equal(key.toString(), 'c100050')
  assert.equal(streams.count, 100_100)
})

test('byte keys: keys made to have one hash under one seed do not under another (4,096 of 12 pairs of blocks)', () => {
  const usual = 0x811c9dc5
  const pairs = ['105zx 1bpcd', '0k40p 1c04a', '003zx 0fpad', '09vl8 0apd6', '04pvu 0b3ea', '05rnw 0mpba'].map((pair) =>
    pair.split(' '),
  )
  while (pairs.length < 12) pairs.push(['07rnw', '0opba'])
  const keys = Array.from({ length: 4096 }, (_, number) =>
    Buffer.from(pairs.map((pair, bit) => pair[(number >> bit) & 1]).join('')),
  )
  const hashes = (seed: number) => new Set(keys.map((key) => hashOf(seed, key, 0, key.length))).size
  assert.equal(hashes(usual), 1)
  for (const seed of [0, 1, 12_345, 0xdead_beef]) assert.ok(hashes(seed) > 4_000, `seed ${seed}`)
})
