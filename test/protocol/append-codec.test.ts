import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { appendReplyCodec, appendRequestCodec } from '../../protocol/append-codec.ts'
import { apis } from '../../protocol/api.ts'
import type { AppendReply, AppendRequest } from '../../protocol/append.ts'
import { decodeHeader, encodeHeader } from '../../protocol/header-codec.ts'
import type { Field, PlainCodec } from '../../protocol/header-schema.ts'

const { request: appendRequest, reply: appendReply } = apis.append
const whole = { noNullPrototype: true }
const count = fc.oneof(fc.nat(300), fc.nat(70_000), fc.maxSafeNat())
const version = fc.oneof(fc.integer({ min: -70_000, max: 70_000 }), fc.maxSafeInteger())
const name = fc.oneof(
  fc.string({ unit: 'grapheme-ascii', maxLength: 40 }),
  fc.string({ unit: 'grapheme-ascii', minLength: 200, maxLength: 300 }),
  fc.string({ maxLength: 20, unit: 'grapheme' }),
)
const request: fc.Arbitrary<AppendRequest> = fc.record(
  {
    topic: fc.stringMatching(/^[a-z]{1,40}$/),
    partition: count,
    acks: fc.constantFrom('all', 'leader', 'none'),
    groups: fc.array(
      fc.record(
        {
          batchBytes: count,
          expected: fc.array(fc.record({ stream: name, version }, whole), { maxLength: 20 }),
          wantVersions: fc.boolean(),
        },
        whole,
      ),
      { maxLength: 20 },
    ),
  },
  whole,
)
const reply: fc.Arbitrary<AppendReply> = fc.record(
  {
    topicId: fc.uuid(),
    endOffset: count,
    groups: fc.array(
      fc.record(
        {
          failure: fc.constant(undefined),
          baseOffset: count,
          appendTimeMs: count,
          duplicate: fc.boolean(),
          versions: fc.array(fc.oneof(count, fc.constant(-1)), { maxLength: 20 }),
        },
        whole,
      ),
      { maxLength: 20 },
    ),
  },
  whole,
)

/** The same field by its schema alone. */
function bySchema<T>({ plain: _plain, ...field }: Field<T>): Field<T> {
  return field
}

/** Encoded by hand and by the schema, and read again. */
function sameBytes<T>(field: Field<T>, codec: PlainCodec<T>, values: fc.Arbitrary<T>) {
  return fc.property(values, (value) => {
    const bytes = encodeHeader(bySchema(field), value)
    assert.deepEqual(codec.encode(value), bytes)
    assert.deepEqual(decodeHeader(field, bytes), value)
  })
}

test('append codec: requests give the same bytes as by the schema, and the same values from them (random)', () => {
  fc.assert(sameBytes(appendRequest, appendRequestCodec, request))
})

test('append codec: replies give the same bytes as by the schema, and the same values from them (random)', () => {
  fc.assert(sameBytes(appendReply, appendReplyCodec, reply))
})

test('append codec: 1,000 groups of single events are read here, not by the schema', () => {
  const groups = Array.from({ length: 1000 }, (_, at) => ({
    batchBytes: 100 + at,
    expected: [{ stream: `customer-${at}`, version: at * 1000 - 1 }],
    wantVersions: true,
  }))
  const value: AppendRequest = { topic: 'carts', partition: 0, acks: 'all', groups }
  assert.deepEqual(appendRequestCodec.decode(encodeHeader(appendRequest, value)), value)
  const verdicts = groups.map((_, at) => ({
    failure: undefined,
    baseOffset: at * 2 ** 30,
    appendTimeMs: 1.7e12,
    duplicate: false,
    versions: [at],
  }))
  const answer: AppendReply = { topicId: 'f'.repeat(36), endOffset: 2 ** 50, groups: verdicts }
  assert.deepEqual(appendReplyCodec.decode(encodeHeader(appendReply, answer)), answer)
})

/** Bytes of the field, some of them changed, cut off or added. */
function sameOutcome<T>(field: Field<T>, values: fc.Arbitrary<T>) {
  const places = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 })
  return fc.property(
    values,
    places,
    fc.option(fc.nat()),
    fc.uint8Array({ maxLength: 2 }),
    (value, changed, cut, added) => {
      const sound = encodeHeader(bySchema(field), value)
      for (const [at, byte] of changed) sound[at % sound.length] = byte
      const kept = cut === null ? sound : sound.subarray(0, cut % sound.length)
      const bytes = Buffer.concat([kept, added])
      assert.deepEqual(outcome(field, bytes), outcome(bySchema(field), bytes))
    },
  )
}

test('append codec: any bytes changed, cut off or added give what the schema makes of them, or the same error (random)', () => {
  fc.assert(sameOutcome(appendRequest, request), { numRuns: 3000 })
  fc.assert(sameOutcome(appendReply, reply), { numRuns: 3000 })
})

function outcome<T>(field: Field<T>, bytes: Buffer): unknown {
  try {
    return decodeHeader(field, bytes)
  } catch (error) {
    return String(error)
  }
}
