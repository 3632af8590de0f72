/** What fast-check makes records from: short and long, null and empty, text and bytes. */
import * as fc from 'fast-check'
import type { RecordInput } from '../../protocol/record.ts'
import { timestampMax } from '../../protocol/time.ts'

const text = fc.oneof(fc.string({ unit: 'binary', maxLength: 40 }), fc.constant('x'.repeat(300)), fc.constant(''))
const blob = fc.oneof(
  fc.constant(null),
  text,
  fc.uint8Array({ maxLength: 80 }).map((array) => Buffer.from(array)),
)

export const recordInput: fc.Arbitrary<RecordInput> = fc.record({
  key: blob,
  value: blob,
  headers: fc.oneof(fc.constant(undefined), fc.array(fc.record({ key: text, value: blob }), { maxLength: 4 })),
  timestamp: fc.oneof(
    fc.integer({ min: 1_300_000_000_000, max: 1_400_000_000_000 }),
    fc.integer({ min: -timestampMax, max: timestampMax }),
  ),
})

export const recordInputs = fc.array(recordInput, { minLength: 1, maxLength: 20 })

/** A few bytes changed, cut off, added or repeated: what arrives when somebody's encoder is wrong. */
export function mutated(bytes: Buffer): fc.Arbitrary<Buffer> {
  const at = fc.nat({ max: Math.max(0, bytes.length - 1) })
  return fc.oneof(
    fc.array(fc.tuple(at, fc.nat({ max: 255 })), { minLength: 1, maxLength: 4 }).map((changes) => {
      const copy = Buffer.from(bytes)
      for (const [place, value] of changes) copy[place] = value
      return copy
    }),
    at.map((end) => Buffer.from(bytes.subarray(0, end))),
    fc.tuple(at, fc.uint8Array({ maxLength: 20 })).map(([place, more]) => {
      return Buffer.concat([bytes.subarray(0, place), more, bytes.subarray(place)])
    }),
    fc.tuple(at, at).map(([from, to]) => Buffer.concat([bytes.subarray(0, from), bytes.subarray(Math.min(from, to))])),
  )
}
