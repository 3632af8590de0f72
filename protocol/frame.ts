/**
 * Frame: the unit of the native protocol, request and reply alike.
 *
 *   0          4         5     6           8               12               16
 *   | u32      | u8      | u8  | u16       | u32           | u32            | header … | body …
 *   | length   | version | api | flags     | correlation   | header length  |
 *
 * Little-endian. `length` counts everything after itself: 12 + header + body. Version is that of the api. Flag bit 0 = the reply is
 * an error and its header a failure. The header is msgpack (header-codec.ts), the body raw bytes: record batches.
 * Invariant of FrameReader: any bytes give frames or a typed error, and memory grows with what has arrived, not with what was claimed.
 */
import assert from 'node:assert/strict'
import { PlayheadError } from './errors.ts'
import { MiB } from './limits.ts'

const LENGTH = 0
const VERSION = 4
const API = 5
const FLAGS = 6
const CORRELATION = 8
const HEADER_LENGTH = 12
export const FRAME_PREFIX_BYTES = 16
const LENGTH_BYTES = 4
assert(HEADER_LENGTH + 4 === FRAME_PREFIX_BYTES)

export const FLAG_ERROR = 1

/** A frame that spans several chunks gets this much room at once, and more only as its bytes arrive. */
const FIRST_ROOM_BYTES = MiB

export interface FramePrefix {
  /** Of the api, 0 … 255. */
  readonly version: number
  /** Number of the api, 0 … 255. */
  readonly api: number
  readonly flags: number
  /** Chosen by the asker, unique among its unanswered requests; 0 … 2^32 - 1. */
  readonly correlation: number
}

export interface Frame extends FramePrefix {
  readonly header: Buffer
  readonly body: Buffer
}

/** The parts of a frame, to be written one after the other. The body's parts are not copied. */
export function encodeFrame(prefix: FramePrefix, header: Buffer, body: readonly Buffer[]): Buffer[] {
  let bodyBytes = 0
  for (const part of body) bodyBytes += part.length
  const head = Buffer.allocUnsafe(FRAME_PREFIX_BYTES + header.length)
  head.writeUInt32LE(FRAME_PREFIX_BYTES - LENGTH_BYTES + header.length + bodyBytes, LENGTH)
  head[VERSION] = prefix.version
  head[API] = prefix.api
  head.writeUInt16LE(prefix.flags, FLAGS)
  head.writeUInt32LE(prefix.correlation, CORRELATION)
  head.writeUInt32LE(header.length, HEADER_LENGTH)
  header.copy(head, FRAME_PREFIX_BYTES)
  return [head, ...body]
}

/** Cuts what arrives on a connection into frames. After it has thrown it must not be used again: the place of the next frame is unknown. */
export class FrameReader {
  /** The largest frame accepted, length field excluded; may be raised once the peer is known. Holds from the next frame on. */
  frameBytesMax: number
  /** Arrived and not yet taken; the first of them from `#at` on. Bounded by whoever stops reading the connection: see waitingBytes. */
  #chunks: Buffer[] = []
  #at = 0
  #waitingBytes = 0
  /** The frame that began in one chunk and ends in a later one. */
  #partial: Buffer | undefined
  #partialBytes = 0
  #partialTotal = 0

  /** `frameBytesMax`: the largest frame accepted, length field excluded. */
  constructor(frameBytesMax: number) {
    this.frameBytesMax = frameBytesMax
  }

  /** Bytes that have arrived and are not part of a frame handed out yet. */
  get waitingBytes(): number {
    return this.#waitingBytes + this.#partialBytes
  }

  /** Size of the frame that has begun to arrive and is not whole yet, as its length field says; 0 = there is none. */
  get arrivingBytes(): number {
    return this.#partial === undefined ? 0 : this.#partialTotal
  }

  /** Takes over the bytes: frames are slices of them. */
  push(chunk: Buffer): void {
    if (chunk.length === 0) return
    this.#chunks.push(chunk)
    this.#waitingBytes += chunk.length
  }

  /** The next whole frame, or undefined until more has arrived. Throws malformedFrame or frameTooLarge: close the connection then. */
  next(): Frame | undefined {
    if (this.#partial === undefined) {
      if (this.#waitingBytes < LENGTH_BYTES) return undefined
      const chunk = this.#chunks[0]!
      const at = this.#at
      const total = LENGTH_BYTES + this.#checkedLength(chunk, at)
      if (chunk.length - at >= total) {
        this.#consume(total)
        return frameOf(chunk, at, at + total)
      }
      this.#partialTotal = total
      this.#partialBytes = 0
      this.#partial = Buffer.allocUnsafeSlow(Math.min(total, FIRST_ROOM_BYTES))
    }
    this.#collect()
    if (this.#partialBytes < this.#partialTotal) return undefined
    const whole = this.#partial
    this.#partial = undefined
    this.#partialBytes = 0
    return frameOf(whole, 0, whole.length)
  }

  /** The length field at the beginning of what waits; at least its 4 bytes have arrived. */
  #checkedLength(chunk: Buffer, at: number): number {
    let length = 0
    if (chunk.length - at >= LENGTH_BYTES) length = chunk.readUInt32LE(at + LENGTH)
    else length = Buffer.concat([chunk.subarray(at), ...this.#chunks.slice(1, LENGTH_BYTES)]).readUInt32LE(LENGTH)
    if (length < FRAME_PREFIX_BYTES - LENGTH_BYTES) {
      throw malformed(`found length ${length}, wanted at least ${FRAME_PREFIX_BYTES - LENGTH_BYTES}`)
    }
    if (length > this.frameBytesMax) {
      throw new PlayheadError(
        'frameTooLarge',
        `frame: found length ${length} bytes, wanted at most ${this.frameBytesMax}; send smaller batches, or fewer in one request`,
        { length, limit: this.frameBytesMax },
      )
    }
    return length
  }

  #collect(): void {
    while (this.#chunks.length > 0 && this.#partialBytes < this.#partialTotal) {
      const chunk = this.#chunks[0]!
      const count = Math.min(chunk.length - this.#at, this.#partialTotal - this.#partialBytes)
      this.#makeRoom(count)
      chunk.copy(this.#partial!, this.#partialBytes, this.#at, this.#at + count)
      this.#partialBytes += count
      this.#consume(count)
    }
  }

  #makeRoom(count: number): void {
    const partial = this.#partial!
    if (this.#partialBytes + count <= partial.length) return
    const room = Math.min(this.#partialTotal, Math.max(partial.length * 2, this.#partialBytes + count))
    this.#partial = Buffer.allocUnsafeSlow(room)
    partial.copy(this.#partial, 0, 0, this.#partialBytes)
  }

  /** Takes `count` bytes off; they lie in the first chunk. */
  #consume(count: number): void {
    this.#at += count
    this.#waitingBytes -= count
    if (this.#at < this.#chunks[0]!.length) return
    this.#chunks.shift()
    this.#at = 0
  }
}

function frameOf(bytes: Buffer, at: number, end: number): Frame {
  const headerLength = bytes.readUInt32LE(at + HEADER_LENGTH)
  const headerAt = at + FRAME_PREFIX_BYTES
  if (headerLength > end - headerAt) {
    throw malformed(`found header length ${headerLength}, wanted at most the ${end - headerAt} bytes that follow`)
  }
  return {
    version: bytes[at + VERSION]!,
    api: bytes[at + API]!,
    flags: bytes.readUInt16LE(at + FLAGS),
    correlation: bytes.readUInt32LE(at + CORRELATION),
    header: bytes.subarray(headerAt, headerAt + headerLength),
    body: bytes.subarray(headerAt + headerLength, end),
  }
}

function malformed(what: string): PlayheadError {
  return new PlayheadError(
    'malformedFrame',
    `frame: ${what}; is this the port of the native protocol, and the client's version right?`,
  )
}
