/**
 * The part of msgpack that headers are made of, written and read without an object or an array in between: for the headers of which there
 * are very many (append-codec.ts). What is written is what msgpackr writes; what is read is only what is certain, and
 * everything else is left to header-codec.ts, which knows all of it and says what is wrong.
 */
import { MiB } from './limits.ts'

const FIX_ARRAY = 0x90
const FIX_TEXT = 0xa0
const NIL = 0xc0
const FALSE = 0xc2
const TRUE = 0xc3
const FLOAT_64 = 0xcb
const UINT_8 = 0xcc
const UINT_16 = 0xcd
const UINT_32 = 0xce
const INT_8 = 0xd0
const INT_16 = 0xd1
const INT_32 = 0xd2
const TEXT_8 = 0xd9
const ARRAY_16 = 0xdc
const ARRAY_32 = 0xdd

const FIRST_BYTES = 16 * 1024
/** Beyond this the memory is given up once the header is there. */
const keptBytesMax = MiB
/** The longest head of a value. */
const HEAD_BYTES_MAX = 9

/** Writes one header after the other, each in memory of its own. */
export class PlainWriter {
  #bytes = Buffer.allocUnsafeSlow(FIRST_BYTES)
  #at = 0

  begin(): void {
    this.#at = 0
  }

  /** What was written since `begin`. */
  end(): Buffer {
    const header = Buffer.allocUnsafe(this.#at)
    this.#bytes.copy(header, 0, 0, this.#at)
    if (this.#bytes.length > keptBytesMax) this.#bytes = Buffer.allocUnsafeSlow(FIRST_BYTES)
    return header
  }

  nil(): void {
    this.#need(1)
    this.#bytes[this.#at++] = NIL
  }

  bool(value: boolean): void {
    this.#need(1)
    this.#bytes[this.#at++] = value ? TRUE : FALSE
  }

  /** A safe integer. */
  int(value: number): void {
    this.#need(HEAD_BYTES_MAX)
    const bytes = this.#bytes
    let at = this.#at
    if (value >= 0 && value < 0x80) bytes[at++] = value
    else if (value < 0 && value >= -0x20) bytes[at++] = 0x100 + value
    else if (value < -0x8000_0000 || value > 0xffff_ffff) {
      bytes[at] = FLOAT_64
      at = bytes.writeDoubleBE(value, at + 1)
    } else if (value >= 0) at = writeSized(bytes, at, UINT_8, value)
    else at = writeNegative(bytes, at, value)
    this.#at = at
  }

  array(count: number): void {
    this.#need(HEAD_BYTES_MAX)
    const bytes = this.#bytes
    if (count < 0x10) bytes[this.#at++] = FIX_ARRAY | count
    else if (count < 0x1_0000) {
      bytes[this.#at] = ARRAY_16
      this.#at = bytes.writeUInt16BE(count, this.#at + 1)
    } else {
      bytes[this.#at] = ARRAY_32
      this.#at = bytes.writeUInt32BE(count, this.#at + 1)
    }
  }

  text(value: string): void {
    const { length } = value
    this.#need(HEAD_BYTES_MAX + 3 * length)
    const bytes = this.#bytes
    // Room for the head that the text has if it is ASCII.
    const start = this.#at + (length < 0x20 ? 1 : length < 0x100 ? 2 : length < 0x1_0000 ? 3 : 5)
    let seen = 0
    if (length <= SHORT_TEXT) {
      for (let index = 0; index < length; index++) {
        const code = value.charCodeAt(index)
        seen |= code
        bytes[start + index] = code
      }
    }
    if (length > SHORT_TEXT || seen > 0x7f) {
      const written = bytes.write(value, start)
      if (written !== length) return this.#longer(value, written)
    }
    this.#at = writeTextHead(bytes, this.#at, length) + length
  }

  /** A text of which the head may be longer than was thought. */
  #longer(value: string, textBytes: number): void {
    const start = writeTextHead(this.#bytes, this.#at, textBytes)
    this.#at = start + this.#bytes.write(value, start)
  }

  #need(count: number): void {
    if (this.#at + count <= this.#bytes.length) return
    const larger = Buffer.allocUnsafeSlow(Math.max(2 * this.#bytes.length, this.#at + count))
    this.#bytes.copy(larger, 0, 0, this.#at)
    this.#bytes = larger
  }
}

/** Up to here a loop beats a call into the runtime. */
const SHORT_TEXT = 24

/** A number or a length below 2^32 behind the code for so many bytes: `code8` is that for one, and those for two and four follow it. */
function writeSized(bytes: Buffer, at: number, code8: number, value: number): number {
  if (value < 0x100) {
    bytes[at] = code8
    bytes[at + 1] = value
    return at + 2
  }
  if (value < 0x1_0000) {
    bytes[at] = code8 + 1
    return bytes.writeUInt16BE(value, at + 1)
  }
  bytes[at] = code8 + 2
  return bytes.writeUInt32BE(value, at + 1)
}

function writeNegative(bytes: Buffer, at: number, value: number): number {
  if (value >= -0x80) {
    bytes[at] = INT_8
    return bytes.writeInt8(value, at + 1)
  }
  if (value >= -0x8000) {
    bytes[at] = INT_16
    return bytes.writeInt16BE(value, at + 1)
  }
  bytes[at] = INT_32
  return bytes.writeInt32BE(value, at + 1)
}

function writeTextHead(bytes: Buffer, at: number, length: number): number {
  if (length >= 0x20) return writeSized(bytes, at, TEXT_8, length)
  bytes[at] = FIX_TEXT | length
  return at + 1
}

/**
 * Reads the values of a header one after the other. What is not what was asked for, or not plain enough, makes the reader uncertain: what it
 * answers from then on says nothing.
 */
export class PlainReader {
  readonly #bytes: Buffer
  #at = 0
  #certain = true

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get certain(): boolean {
    return this.#certain
  }

  /** True if all was what was asked for, and nothing is left. */
  get done(): boolean {
    return this.#certain && this.#at === this.#bytes.length
  }

  nil(): void {
    if (this.#bytes[this.#at++] !== NIL) this.#certain = false
  }

  bool(): boolean {
    const code = this.#bytes[this.#at++]
    if (code !== TRUE && code !== FALSE) this.#certain = false
    return code === TRUE
  }

  /** A safe integer, `min` or more. */
  int(min: number): number {
    const value = this.#number()
    if (value >= min && Number.isSafeInteger(value)) return value
    this.#certain = false
    return 0
  }

  /** The array of exactly `count` values, which come next. */
  tuple(count: number): void {
    if (this.#bytes[this.#at++] !== (FIX_ARRAY | count)) this.#certain = false
  }

  /** The count of an array of at most `countMax` values, which come next. */
  array(countMax: number): number {
    const bytes = this.#bytes
    const code = bytes[this.#at++] ?? NIL
    let count = code - FIX_ARRAY
    if (count < 0 || count >= 0x10) {
      count = code === ARRAY_16 && this.#at + 2 <= bytes.length ? bytes.readUInt16BE(this.#at) : Infinity
      this.#at += 2
    }
    if (count <= countMax) return count
    this.#certain = false
    return 0
  }

  /** ASCII of at most `bytesMax` bytes. */
  text(bytesMax: number): string {
    const bytes = this.#bytes
    const code = bytes[this.#at++] ?? NIL
    let length = code - FIX_TEXT
    if (length < 0 || length >= 0x20) {
      length = code === TEXT_8 ? (bytes[this.#at] ?? Infinity) : Infinity
      this.#at++
    }
    const start = this.#at
    const end = start + length
    if (length > bytesMax || end > bytes.length || !isAscii(bytes, start, end)) {
      this.#certain = false
      return ''
    }
    this.#at = end
    return bytes.toString('latin1', start, end)
  }

  #number(): number {
    const bytes = this.#bytes
    const at = this.#at
    const code = bytes[at] ?? NIL
    if (code < 0x80) return this.#moved(1, code)
    if (code >= 0xe0) return this.#moved(1, code - 0x100)
    const left = bytes.length - at
    if (code === UINT_8 && left >= 2) return this.#moved(2, bytes[at + 1]!)
    if (code === UINT_16 && left >= 3) return this.#moved(3, (bytes[at + 1]! << 8) | bytes[at + 2]!)
    if (code === UINT_32 && left >= 5) return this.#moved(5, bytes.readUInt32BE(at + 1))
    if (code === FLOAT_64 && left >= 9) return this.#moved(9, bytes.readDoubleBE(at + 1))
    return Number.NaN
  }

  #moved(count: number, value: number): number {
    this.#at += count
    return value
  }
}

function isAscii(bytes: Buffer, from: number, to: number): boolean {
  for (let at = from; at < to; at++) if (bytes[at]! > 0x7f) return false
  return true
}
