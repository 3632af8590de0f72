import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { checkKey, checkPlayheadName, checkStream, checkTopicName, isInternalTopic } from '../../protocol/names.ts'

/** What the broker does with a record's key: it is checked, then read. */
function streamOfKey(bytes: Buffer, from = 0, to = bytes.length): string {
  checkKey(bytes, from, to)
  return bytes.toString('utf8', from, to)
}

test('names: topic names that are taken', () => {
  for (const name of ['a', 'carts', 'Carts.v2_final-1', '__playheads', 'a.b', 'x'.repeat(249)]) checkTopicName(name)
})

test('names: topic names that are refused as invalidTopicName', () => {
  const bad = [
    '',
    '.',
    '..',
    'a..b',
    '../a',
    'a/b',
    '/',
    'a\\b',
    'a b',
    'a\0b',
    'ü',
    'a\n',
    '\na',
    'x'.repeat(250),
    'a:b',
    'C:',
  ]
  for (const name of bad) assert.throws(() => checkTopicName(name), { code: 'invalidTopicName' }, JSON.stringify(name))
})

test('names: playhead names follow the same rule under their own error', () => {
  checkPlayheadName('billing-2')
  for (const name of ['', '..', 'a/b', 'x'.repeat(250)])
    assert.throws(() => checkPlayheadName(name), { code: 'invalidPlayheadName' })
})

test('names: internal topics begin with two underscores', () => {
  assert.deepEqual(['__playheads', '_a', 'a__'].map(isInternalTopic), [true, false, false])
})

test('names: streams are 1 to 1,024 bytes of well-formed text', () => {
  for (const name of ['a', '/../', ' ', 'a\0b', 'Grüße 👖', '\ufffd', 'x'.repeat(1024), 'ü'.repeat(512)])
    checkStream(name)
  for (const name of ['', 'x'.repeat(1025), 'ü'.repeat(513), 'half \ud83d', '\udc56 half']) {
    assert.throws(() => checkStream(name), { code: 'invalidStream' }, JSON.stringify(name))
  }
})

test('names: a key of any bytes is either the UTF-8 of its stream name or invalidStream', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 12 }), (array) => {
      const bytes = Buffer.concat([Buffer.from('x'), array, Buffer.from('x')])
      const key = bytes.subarray(1, -1)
      const valid = key.length > 0 && Buffer.from(key.toString()).equals(key)
      if (valid) assert.equal(streamOfKey(bytes, 1, bytes.length - 1), key.toString())
      else assert.throws(() => streamOfKey(bytes, 1, bytes.length - 1), { code: 'invalidStream' })
    }),
  )
  assert.throws(() => streamOfKey(Buffer.alloc(1025, 'a')), { code: 'invalidStream' })
  assert.equal(streamOfKey(Buffer.from('\ufffd')), '\ufffd')
})
