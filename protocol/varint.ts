/**
 * Zig-zag varints of RecordBatch v2, up to ±(2^53 - 1) without bigint: 7 bits a byte, lowest first, high bit = more follow;
 * the lowest bit of all is the sign. Writers answer the position after what they wrote. Neighbours: record.ts, key-walk.ts.
 */
import { PlayheadError } from './errors.ts'

/** The longest varint of a safe integer. */
export const VARINT_BYTES_MAX = 8

/** Values from -2^30 to 2^30 - 1, nearly all there are, go through 32-bit integers; others through doubles. */
const SMALL = 0x4000_0000

/** Bytes that `value` takes. */
export function varintBytes(value: number): number {
  if (value >= -0x40 && value < 0x40) return 1
  if (value >= -0x2000 && value < 0x2000) return 2
  let magnitude = Math.floor((value < 0 ? -value - 1 : value) / 0x2000)
  let count = 3
  for (; magnitude >= 0x80; count++) magnitude = Math.floor(magnitude / 0x80)
  return count
}

/** Writes `value`, a safe integer, at `at`; the caller has made room. Small enough that V8 inlines it for the common case. */
export function writeVarint(bytes: Buffer, at: number, value: number): number {
  if (value < -0x40 || value >= 0x40) return writeLongVarint(bytes, at, value)
  bytes[at] = (value << 1) ^ (value >> 31)
  return at + 1
}

function writeLongVarint(bytes: Buffer, at: number, value: number): number {
  if (value >= -0x2000 && value < 0x2000) {
    const zigzag = (value << 1) ^ (value >> 31)
    bytes[at] = 0x80 | (zigzag & 0x7f)
    bytes[at + 1] = zigzag >> 7
    return at + 2
  }
  if (value >= -SMALL && value < SMALL) {
    let zigzag = (value << 1) ^ (value >> 31)
    while ((zigzag & ~0x7f) !== 0) {
      bytes[at++] = 0x80 | (zigzag & 0x7f)
      zigzag >>>= 7
    }
    bytes[at] = zigzag
    return at + 1
  }
  const sign = value < 0 ? 1 : 0
  let magnitude = sign === 1 ? -value - 1 : value
  bytes[at++] = 0x80 | ((magnitude % 0x40) << 1) | sign
  magnitude = Math.floor(magnitude / 0x40)
  while (magnitude >= 0x80) {
    bytes[at++] = 0x80 | (magnitude % 0x80)
    magnitude = Math.floor(magnitude / 0x80)
  }
  bytes[at] = magnitude
  return at + 1
}

/** Reads varints and lengths in turn from `at` up to `end`. Throws invalidBatch instead of reading past the end. */
export class VarintReader {
  bytes: Buffer
  at: number
  end: number

  constructor(bytes: Buffer, at: number, end: number) {
    this.bytes = bytes
    this.at = at
    this.end = end
  }

  /** The next value: a safe integer. */
  next(): number {
    const { bytes, at, end } = this
    if (at >= end) throw this.invalid('the end', 'a varint')
    const first = bytes[at]!
    if (first < 0x80) {
      this.at = at + 1
      return (first >> 1) ^ -(first & 1)
    }
    if (at + 1 < end) {
      const second = bytes[at + 1]!
      if (second < 0x80) {
        this.at = at + 2
        const zigzag = (first & 0x7f) | (second << 7)
        return (zigzag >> 1) ^ -(zigzag & 1)
      }
    }
    return this.#middle(first)
  }

  /** A value of three bytes or more, or one that is cut off. */
  #middle(first: number): number {
    const { bytes, end } = this
    let at = this.at + 1
    let zigzag = first & 0x7f
    for (let shift = 7; shift <= 21 && at < end; shift += 7) {
      const byte = bytes[at++]!
      zigzag |= (byte & 0x7f) << shift
      if (byte < 0x80) {
        this.at = at
        return (zigzag >> 1) ^ -(zigzag & 1)
      }
    }
    return this.#long(first)
  }

  /** A value of more than four bytes, or one that is cut off; again from its first byte. */
  #long(first: number): number {
    let at = this.at + 1
    let magnitude = (first >> 1) & 0x3f
    for (let scale = 0x40; scale <= 2 ** 62; scale *= 0x80) {
      if (at >= this.end) throw this.invalid('the end', 'more of a varint')
      const byte = this.bytes[at++]!
      magnitude += (byte & 0x7f) * scale
      if (byte >= 0x80) continue
      if (magnitude > Number.MAX_SAFE_INTEGER) break
      this.at = at
      return (first & 1) === 1 ? -magnitude - 1 : magnitude
    }
    throw this.invalid('a longer number', 'a varint of at most 2^53 - 1')
  }

  /** The next value as a length from `min` (0, or -1 where -1 = null) up to what is left. */
  length(min: number): number {
    const length = this.next()
    if (length < min || length > this.end - this.at) {
      throw this.invalid(`length ${length}`, `${min} to the ${this.end - this.at} bytes left`)
    }
    return length
  }

  /** Moves over a length and the bytes it counts; answers the length. */
  skip(min: number): number {
    const length = this.length(min)
    if (length > 0) this.at += length
    return length
  }

  invalid(found: string, wanted: string): PlayheadError {
    return new PlayheadError('invalidBatch', `record: found ${found} at byte ${this.at}, wanted ${wanted}`)
  }
}
