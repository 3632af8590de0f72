/**
 * Packed postings: the offsets of one stream's events, ascending, as LEB128 varints. The first is the offset itself, each further one the
 * distance from the one before, so it is never 0. Versions are not written: they are places.
 * Invariant: offsets are safe integers and strictly ascending; decoding is total: it throws `damagedData`, and never reads past `end`.
 * Neighbours: StreamIndex keeps chunks of these in the checkpoint store, sidecar.ts keeps them in the postings section.
 */
import { PlayheadError } from '../protocol/errors.ts'

/** A varint of a safe integer is at most 8 bytes. */
export const varintBytesMax = 8

/** Writes `value` (a safe integer, not negative) at `at`, answers the position after it. */
export function writeVarint(bytes: Buffer, at: number, value: number): number {
  let rest = value
  while (rest > 0x7fff_ffff) {
    bytes[at++] = (rest % 128) | 128
    rest = Math.floor(rest / 128)
  }
  while (rest > 127) {
    bytes[at++] = (rest & 127) | 128
    rest >>>= 7
  }
  bytes[at++] = rest
  return at
}

/** Reads varints one after the other from `at` to `end` of `bytes`. */
export class VarintReader {
  readonly #bytes: Buffer
  readonly #end: number
  at: number

  constructor(bytes: Buffer, at = 0, end = bytes.length) {
    this.#bytes = bytes
    this.#end = end
    this.at = at
  }

  get isAtEnd(): boolean {
    return this.at === this.#end
  }

  next(): number {
    const at = this.at
    const first = at < this.#end ? this.#bytes[at]! : 128
    if (first < 128) {
      this.at = at + 1
      return first
    }
    const second = at + 1 < this.#end ? this.#bytes[at + 1]! : 128
    if (second < 128) {
      this.at = at + 2
      return (first & 127) | (second << 7)
    }
    return this.#middle()
  }

  /** A number of three or four bytes: the most frequent ones where a stream's events stand far apart. */
  #middle(): number {
    const [bytes, at] = [this.#bytes, this.at]
    if (at + 3 < this.#end) {
      const low = (bytes[at]! & 127) | ((bytes[at + 1]! & 127) << 7)
      const third = bytes[at + 2]!
      if (third < 128) {
        this.at = at + 3
        return low | (third << 14)
      }
      const fourth = bytes[at + 3]!
      if (fourth < 128) {
        this.at = at + 4
        return low | ((third & 127) << 14) | (fourth << 21)
      }
    }
    return this.#long()
  }

  /** A number of any length, or one that is cut off. */
  #long(): number {
    let value = 0
    let scale = 1
    for (let count = 0; count < varintBytesMax; count++) {
      if (this.at >= this.#end) throw damaged('found its end inside a number')
      const byte = this.#bytes[this.at++]!
      value += (byte & 127) * scale
      if (byte < 128) {
        if (!Number.isSafeInteger(value)) throw damaged(`found ${value}`)
        return value
      }
      scale *= 128
    }
    throw damaged(`found a number longer than ${varintBytesMax} bytes`)
  }
}

/**
 * Packs offsets[from … to) behind `previous` (-1: nothing before, the first is written whole) into `bytes` at `at`; answers the position
 * after them. `bytes` must have room for `varintBytesMax` each.
 */
export function packOffsets(
  offsets: readonly number[],
  from: number,
  to: number,
  previous: number,
  bytes: Buffer,
  at: number,
): number {
  let last = previous < 0 ? 0 : previous
  for (let place = from; place < to; place++) {
    const offset = offsets[place]!
    at = writeVarint(bytes, at, offset - last)
    last = offset
  }
  return at
}

/** Appends `count` offsets packed at `at` … `end` to `into`; the first one is whole. Throws when they do not fill the range exactly. */
export function unpackOffsets(bytes: Buffer, at: number, end: number, count: number, into: number[]): void {
  eachPacked(new VarintReader(bytes, at, end), count, (offset) => into.push(offset))
}

/** Visits the offsets that stand behind the reader's place; the first one is whole. Throws when they do not fill its bytes exactly. */
export function eachPacked(reader: VarintReader, count: number, visit: (offset: number) => void): void {
  let last = -1
  for (let left = count; left > 0; left--) {
    const value = reader.next()
    const offset = last < 0 ? value : last + value
    if (offset <= last || !Number.isSafeInteger(offset)) throw damaged(`found offset ${offset} after ${last}`)
    visit(offset)
    last = offset
  }
  if (!reader.isAtEnd) throw damaged(`found more bytes after ${count} offsets`)
}

/** Number of offsets in ascending `offsets` that are below `limit`. */
export function countBelow(offsets: readonly number[], limit: number): number {
  let [low, high] = [0, offsets.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (offsets[middle]! < limit) low = middle + 1
    else high = middle
  }
  return low
}

function damaged(found: string): PlayheadError {
  return new PlayheadError('damagedData', `packed postings: ${found}, wanted ascending offsets; wipe what is derived`)
}
