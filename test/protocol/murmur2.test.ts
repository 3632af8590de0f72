import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { murmur2, partitionOf } from '../../protocol/murmur2.ts'

interface Vector {
  readonly key: string
  readonly murmur2: number
  readonly partitionOf7: number
  readonly partitionOf4096: number
}
const vectors = JSON.parse(readFileSync(new URL('../golden/kafka/murmur2.json', import.meta.url), 'utf8')) as Vector[]

const partition = (key: string): number => partitionOf(key, 4096, 'key')
const byPrefix = (key: string | Buffer): number => partitionOf(key, 4096, 'prefix:/')

test('murmur2: hash and partition of every key are those of the Kafka client, from bytes and from text', () => {
  assert.ok(vectors.length >= 12)
  for (const vector of vectors) {
    const bytes = Buffer.from(vector.key, 'base64')
    assert.equal(murmur2(bytes), vector.murmur2)
    assert.equal(
      murmur2(Buffer.concat([Buffer.from('before'), bytes, Buffer.from('after')]), 6, 6 + bytes.length),
      vector.murmur2,
    )
    for (const key of [bytes, bytes.toString()]) {
      assert.equal(partitionOf(key, 7, 'key'), vector.partitionOf7)
      assert.equal(partitionOf(key, 4096, 'key'), vector.partitionOf4096)
      assert.equal(partitionOf(key, 1, 'key'), 0)
    }
  }
})

test('murmur2: a text key longer than the scratch space hashes as its bytes', () => {
  const key = 'ü'.repeat(5000)
  assert.equal(partitionOf(key, 4096, 'key'), partitionOf(Buffer.from(key), 4096, 'key'))
})

test('murmur2: partition.by=prefix takes the part before the first separator, the whole key where there is none', () => {
  assert.equal(byPrefix('tenant-7/cart/9'), partition('tenant-7'))
  assert.equal(byPrefix(Buffer.from('tenant-7/cart/9')), partition('tenant-7'))
  assert.equal(byPrefix('tenant-7'), partition('tenant-7'))
  assert.equal(byPrefix('/x'), partition(''))
  assert.equal(partitionOf('eu::7::8', 4096, 'prefix:::'), partition('eu'))
  assert.notEqual(byPrefix('tenant-7/cart/9'), partition('tenant-7/cart/9'))
})

test('murmur2: a separator left in the scratch space by a longer key before does not count', () => {
  partitionOf('aaaaaaaaaaaaaaaaaaaaaaaa/b', 4096, 'prefix:/')
  assert.equal(partitionOf('short', 4096, 'prefix:/'), partitionOf('short', 4096, 'key'))
})
