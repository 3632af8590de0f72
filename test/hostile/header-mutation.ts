/**
 * Mutations of headers: a valid one as a tree of values, some of them replaced by another type, an edge number, a name that ought to be
 * refused, an array that nests too deep or lies about its length; then written as msgpack by hand, because no encoder would write that.
 * Neighbours: byte-mutation.ts for changes without regard to the structure.
 */
import { extremeNumbers } from './dice.ts'
import type { Dice } from './dice.ts'
import { mutateBytes } from './byte-mutation.ts'

/** Bytes that stand for a value as they are. */
class RawValue {
  readonly bytes: Buffer

  constructor(bytes: Buffer) {
    this.bytes = bytes
  }
}

const hex = (text: string): RawValue => new RawValue(Buffer.from(text, 'hex'))

/** What msgpack can say and a header must not hold, and numbers in forms that an encoder would not choose. */
const rawValues: readonly RawValue[] = [
  hex('c1'), // never used
  hex('80'), // maps
  hex('81a16101'),
  hex('deffff'),
  hex('dfffffffff'),
  hex('c400'), // binary
  hex('c6ffffffff'),
  hex('d40000'), // extensions: undefined, a timestamp, what msgpackr would take for records, sets, errors, functions
  hex('d6ff00000000'),
  hex('c70c05ffffffffffffffffffffffff'),
  hex('d47200'),
  hex('d87300000000000000000000000000000000'),
  hex('c9ffffffff01'),
  hex('ddffffffff'), // arrays of 2^32 - 1
  hex('ddffffffffc0c0c0'),
  hex('dcffff'),
  hex('dbffffffff'), // text of 2^32 - 1 bytes
  hex('daffff61'),
  hex('d9ff'),
  hex('a3ff80fe'), // no UTF-8
  hex('a2c080'),
  hex('a3eda080'),
  hex('ca7fc00000'), // NaN, infinite, -0, 2^53, 1.5
  hex('cb7ff0000000000000'),
  hex('cb8000000000000000'),
  hex('cb4340000000000000'),
  hex('ca3fc00000'),
  hex('cfffffffffffffffff'), // 64 bits
  hex('cf0020000000000000'),
  hex('d38000000000000000'),
  hex('cf0000000000000000'),
  hex('ce00000001'),
]

const texts: readonly string[] = [
  '',
  'carts',
  'other',
  'customer-17850',
  '.',
  '..',
  '../../etc/passwd',
  '__playheads',
  '__proto__',
  'constructor',
  'a/b',
  'a\0b',
  'Ünïcödé',
  '\u202e',
  '\ud800',
  'all',
  'none',
  'time',
  'start',
  'max.message.bytes',
  'retention.ms',
  'segment.bytes',
  'partition.by',
  '-1',
  '9007199254740993',
  'x'.repeat(249),
  'x'.repeat(250),
  'x'.repeat(1024),
  'ü'.repeat(2049),
  'x'.repeat(70_000),
]

function nested(depth: number): RawValue {
  return new RawValue(Buffer.concat([Buffer.alloc(depth, 0x91), Buffer.from([0xc0])]))
}

/** A value in place of `value`: most often of its own type, so that what comes behind it is looked at too. */
function replacement(value: unknown, dice: Dice): unknown {
  const kind = dice.below(10)
  if (kind === 0) return dice.pick(rawValues)
  if (kind === 1) return dice.pick<unknown>([null, true, false, 0, '', 'carts', [], [[]], [null], 1.5])
  if (kind === 2) return nested(dice.pick([1, 15, 16, 17, 40, 3_000]))
  if (Array.isArray(value)) return changedList(value as unknown[], dice)
  if (typeof value === 'string') return dice.pick(texts)
  if (typeof value === 'boolean') return !value
  if (typeof value === 'number' && dice.oneIn(2)) return value + dice.pick([-1, 1, 0.5])
  return dice.pick(extremeNumbers)
}

function changedList(list: readonly unknown[], dice: Dice): unknown[] {
  switch (dice.below(5)) {
    case 0:
      return []
    case 1:
      return list.slice(1)
    case 2:
      return [...list, ...list]
    case 3:
      return manyOf(list[0] ?? null, dice)
    default:
      return list.toReversed()
  }
}

/** So many that the whole is still shorter than what is refused for its length alone. */
function manyOf(item: unknown, dice: Dice): unknown[] {
  const count = dice.pick([17, 257, 5_000])
  return Array.from({ length: encodeTree(item).length > 512 ? 17 : count }, () => item)
}

function mutateTree(value: unknown, dice: Dice): unknown {
  if (!Array.isArray(value) || value.length === 0 || dice.oneIn(12)) return replacement(value, dice)
  const at = dice.below(value.length)
  return value.map((item, index) => (index === at ? mutateTree(item, dice) : (item as unknown)))
}

/** The bytes of a changed header. `tree`: a valid one as its field packs it. */
export function mutateHeader(tree: unknown, dice: Dice, others: readonly Buffer[] = []): Buffer {
  if (dice.oneIn(8)) return mutateBytes(encodeTree(tree), dice, others)
  let mutated = tree
  for (let count = 1 + dice.below(3); count > 0; count--) mutated = mutateTree(mutated, dice)
  const bytes = encodeTree(mutated)
  return dice.oneIn(12) && bytes.length > 0 ? mutateBytes(bytes, dice, others) : bytes
}

/** Msgpack, of anything that a header's tree may hold. */
export function encodeTree(value: unknown): Buffer {
  if (value instanceof RawValue) return value.bytes
  if (value === null || value === undefined) return Buffer.from([0xc0])
  if (typeof value === 'boolean') return Buffer.from([value ? 0xc3 : 0xc2])
  if (typeof value === 'number') return encodeNumber(value)
  if (Array.isArray(value)) {
    const head = value.length < 16 ? Buffer.from([0x90 | value.length]) : longHead(0xdd, value.length)
    return Buffer.concat([head, ...value.map(encodeTree)])
  }
  const text = Buffer.from(value as string)
  return Buffer.concat([text.length < 32 ? Buffer.from([0xa0 | text.length]) : longHead(0xdb, text.length), text])
}

function longHead(code: number, length: number): Buffer {
  const head = Buffer.from([code, 0, 0, 0, 0])
  head.writeUInt32BE(length, 1)
  return head
}

function encodeNumber(value: number): Buffer {
  if (Number.isInteger(value) && value >= 0 && value < 0x80) return Buffer.from([value])
  const bytes = Buffer.alloc(9)
  if (Number.isSafeInteger(value)) {
    bytes[0] = 0xd3
    bytes.writeBigInt64BE(BigInt(value), 1)
  } else {
    bytes[0] = 0xcb
    bytes.writeDoubleBE(value, 1)
  }
  return bytes
}
