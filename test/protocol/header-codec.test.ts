import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { Packr } from 'msgpackr'
import { apis } from '../../protocol/api.ts'
import { failure } from '../../protocol/append.ts'
import { PlayheadError, errorTable, isPlayheadError } from '../../protocol/errors.ts'
import type { ErrorCode } from '../../protocol/errors.ts'
import { decodeHeader, encodeHeader, errorOf, failureOf } from '../../protocol/header-codec.ts'
import { bool, int, list, oneOf, optional, struct, text } from '../../protocol/header-schema.ts'
import { mutated } from './arbitraries.ts'

const everything = struct({
  number: int(-(2 ** 53) + 1),
  flag: bool,
  name: text(300),
  choice: oneOf('a', 'b'),
  maybe: optional(int()),
  rows: list(struct({ name: text(100), numbers: list(int(), 10) }), 10),
})
const value = {
  number: fc.maxSafeInteger(),
  flag: fc.boolean(),
  name: fc.string({ unit: 'grapheme', maxLength: 10 }),
  choice: fc.constantFrom('a' as const, 'b' as const),
  maybe: fc.option(fc.maxSafeNat(), { nil: undefined }),
  rows: fc.array(
    fc.record(
      { name: fc.string({ maxLength: 50 }), numbers: fc.array(fc.maxSafeNat(), { maxLength: 10 }) },
      { noNullPrototype: true },
    ),
    { maxLength: 10 },
  ),
}
const plain = new Packr({ useRecords: false })
const pack = (header: unknown): Buffer => Buffer.from(plain.pack(header))
const malformed = { code: 'malformedHeader' } as const

test('header: any values of a schema come back (numbers up to 2^53 - 1, nested lists, absent ones)', () => {
  fc.assert(
    fc.property(fc.record(value, { noNullPrototype: true }), (values) => {
      assert.deepEqual(decodeHeader(everything, encodeHeader(everything, values)), values)
    }),
  )
})

test('header: a fresh buffer each time', () => {
  const schema = struct({ name: text(10) })
  const first = encodeHeader(schema, { name: 'a' })
  const kept = Buffer.from(first)
  for (let count = 0; count < 10_000; count++) encodeHeader(schema, { name: 'b' })
  assert.deepEqual(first, kept)
})

test('header: fields that are missing or null read as absent; more fields than known are ignored', () => {
  const schema = struct({ first: int(), second: optional(text(5)) })
  const wanted = { first: 1, second: undefined }
  for (const header of [[1], [1, null], [1, null, 'of a newer peer', 9]])
    assert.deepEqual(decodeHeader(schema, pack(header)), wanted)
  assert.throws(() => decodeHeader(schema, pack([])), malformed)
})

test('header: integers in every width of msgpack read as numbers', () => {
  const schema = struct({ number: int(-(2 ** 53) + 1) })
  for (const [hex, number] of [
    ['910a', 10],
    ['91ff', -1],
    ['91cc80', 128],
    ['91cd0100', 256],
    ['91ce00010000', 65_536],
    ['91cf0000000100000000', 2 ** 32],
    ['91d080', -128],
    ['91d18000', -32_768],
    ['91d280000000', -(2 ** 31)],
    ['91d3ffffffff00000000', -(2 ** 32)],
    ['91cb4340000000000000', 2 ** 53],
    ['91ca40000000', 2],
    ['91cb4340000000000000', Number.NaN],
    ['91cf0020000000000000', Number.NaN],
    ['91ca3f000000', Number.NaN],
  ] as const) {
    const bytes = Buffer.from(hex, 'hex')
    if (Number.isSafeInteger(number)) assert.deepEqual(decodeHeader(schema, bytes), { number }, hex)
    else assert.throws(() => decodeHeader(schema, bytes), malformed, hex)
  }
})

const field = struct({ number: int(0, 10), name: text(3), flag: bool, choice: oneOf('a'), rows: list(int(), 2) })
const good: unknown[] = [1, 'abc', true, 'a', [1, 2]]
const wrong: readonly [string, unknown][] = [
  ['nothing', null],
  ['a number', 5],
  ['text', 'abc'],
  ['a number below its minimum', good.with(0, -1)],
  ['a number above its maximum', good.with(0, 11)],
  ['a fraction', good.with(0, 1.5)],
  ['a number as text', good.with(0, '1')],
  ['NaN', good.with(0, Number.NaN)],
  ['text that is too long', good.with(1, 'abcd')],
  ['text that is too long in bytes', good.with(1, 'üü')],
  ['a boolean as a number', good.with(2, 1)],
  ['an unknown choice', good.with(3, 'b')],
  ['a choice that every object has', good.with(3, 'toString')],
  ['a list that is too long', good.with(4, [1, 2, 3])],
  ['a list with a wrong element', good.with(4, [1, 'x'])],
  ['a list as a number', good.with(4, 3)],
]
for (const [name, header] of wrong) {
  test(`header: ${name} is a malformedHeader`, () => {
    assert.throws(() => decodeHeader(field, pack(header)), malformed)
  })
}

test('header: the message names the field', () => {
  assert.throws(() => decodeHeader(field, pack(good.with(4, [1, 'x']))), {
    message: 'header field rows[1]: found string, wanted integer ≥ 0',
  })
})

test('header: maps, binary and extensions do not get through (also ones that msgpackr would act on)', () => {
  const bad = [
    pack({ number: 1 }),
    pack([new Map()]),
    pack([Buffer.from('x')]),
    pack([new Date(0)]),
    pack([2n ** 63n]),
    pack([undefined]),
    pack([new Set([1])]),
    Buffer.from('d4725493a161a162a163', 'hex'), // a record definition: makes msgpackr generate code
    Buffer.from('c70162'.padEnd(16, '0'), 'hex'), // bundled strings
    Buffer.from('91c1', 'hex'), // the code that msgpack never uses
  ]
  for (const bytes of bad) assert.throws(() => decodeHeader(everything, bytes), malformed, bytes.toString('hex'))
})

test('header: bytes after its end, or too few, are refused (cut at every byte)', () => {
  const bytes = encodeHeader(field, { number: 1, name: 'abc', flag: true, choice: 'a', rows: [1, 2] })
  for (let end = 0; end < bytes.length; end++)
    assert.throws(() => decodeHeader(field, bytes.subarray(0, end)), malformed, `cut at ${end}`)
  assert.throws(() => decodeHeader(field, Buffer.concat([bytes, Buffer.from([0])])), malformed)
})

test('header: nested 10,000 and 4,000,000 deep is refused, and the next header reads as ever', () => {
  for (const depth of [17, 10_000, 4_000_000]) {
    for (const code of [0x91, 0x81])
      assert.throws(() => decodeHeader(everything, Buffer.alloc(depth, code)), malformed, `${depth}`)
    const closed = Buffer.concat([Buffer.alloc(depth, 0x91), Buffer.from([0x90])])
    assert.throws(() => decodeHeader(everything, closed), malformed, `${depth}`)
  }
  assert.deepEqual(decodeHeader(struct({ a: int() }), pack([3])), { a: 3 })
})

test('header: an array that claims 2^32 - 1 elements takes no memory', () => {
  for (const hex of ['ddffffffff', 'ddffffffff00', '91ddfffffffe0102', 'dcffff00']) {
    assert.throws(() => decodeHeader(everything, Buffer.from(hex, 'hex')), malformed)
  }
})

test('header: longer than the limit is refused before it is looked at', () => {
  const long = pack(['x'.repeat(5 * 1024 * 1024)])
  const schema = struct({ text: text(2 ** 30) })
  assert.throws(() => decodeHeader(schema, long), malformed)
  assert.equal(decodeHeader(schema, long, long.length).text.length, 5 * 1024 * 1024)
})

test('header: random bytes and damaged headers are read or refused, for every api', () => {
  const valid = encodeHeader(apis.append.request, {
    topic: 'carts',
    partition: 1,
    acks: 'all',
    groups: [{ batchBytes: 70_000, expected: [{ stream: 'customer-17850', version: 41 }], wantVersions: true }],
  })
  const bytes = fc.oneof(
    mutated(valid),
    fc.uint8Array({ maxLength: 60 }).map((array) => Buffer.from(array)),
  )
  fc.assert(
    fc.property(bytes, fc.constantFrom(...Object.values(apis)), (input, row) => {
      for (const schema of [row.request, row.reply]) {
        try {
          decodeHeader<unknown>(schema, input)
        } catch (error) {
          if (!isPlayheadError(error, 'malformedHeader')) throw error
        }
      }
    }),
    { numRuns: 2000 },
  )
})

test('failure: every error travels there and back with its details and conflicts', () => {
  const conflicts = [
    { stream: 'carts-1', expected: 3, found: 4 },
    { stream: 'carts-2', expected: -1, found: 0 },
  ]
  for (const code of Object.keys(errorTable) as ErrorCode[]) {
    const error = new PlayheadError(
      code,
      'carts/carts-1: expected 3, found 4',
      { file: 'a.log', position: 2 ** 40 },
      conflicts,
    )
    const back = errorOf(decodeHeader(failure, encodeHeader(failure, failureOf(error))))
    assert.deepEqual(
      { code: back.code, message: back.message, details: back.details, conflicts: back.conflicts },
      { code, message: error.message, details: error.details, conflicts },
    )
  }
})

test('failure: one that is too long for a header is cut, not refused', () => {
  const details = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`n${index}`, 'ü'.repeat(9000)]))
  const error = new PlayheadError('internal', 'ü'.repeat(100_000), { ...details, fraction: 1.5 })
  const back = errorOf(decodeHeader(failure, encodeHeader(failure, failureOf(error))))
  assert.equal(back.message.length, 16_384)
  assert.equal(Object.keys(back.details).length, 64)
  assert.equal(errorOf(failureOf(new PlayheadError('internal', '', { fraction: 1.5 }))).details.fraction, '1.5')
})
