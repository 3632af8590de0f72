import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { formatUuid, parseUuid, uuidV7 } from '../../protocol/uuid.ts'

test('uuid: the example of RFC 9562, A.6', () => {
  const random = Buffer.from('0cc318c4dc0c0c07398f', 'hex')
  assert.equal(formatUuid(uuidV7(random, 0x017f_22e2_79b0)), '017f22e2-79b0-7cc3-98c4-dc0c0c07398f')
})

test('uuid: later times sort later, whatever the random bytes', () => {
  const early = uuidV7(Buffer.alloc(10, 0xff), 1_700_000_000_000)
  const late = uuidV7(Buffer.alloc(10), 1_700_000_000_001)
  assert.ok(early.compare(late) < 0)
})

test('uuid: version and variant bits are set over any random bytes; text and back', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 10, maxLength: 10 }),
      fc.integer({ min: 0, max: 2 ** 48 - 1 }),
      (random, nowMs) => {
        const id = uuidV7(Buffer.from(random), nowMs)
        assert.match(formatUuid(id), /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
        assert.deepEqual(parseUuid(formatUuid(id)), id)
        assert.deepEqual(parseUuid(formatUuid(id).toUpperCase()), id)
      },
    ),
  )
})

test('uuid: what is no UUID is an invalidEvent', () => {
  for (const text of [
    '',
    'x',
    '017f22e279b07cc398c4dc0c0c07398f',
    '017f22e2-79b0-7cc3-98c4-dc0c0c07398',
    '017f22e2-79b0-7cc3-98c4-dc0c0c07398g',
    '017f22e2-79b0-7cc3-98c4-dc0c0c07398f\n',
  ]) {
    assert.throws(() => parseUuid(text), { code: 'invalidEvent' }, text)
  }
})
