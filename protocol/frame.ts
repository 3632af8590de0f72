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
import type { FrameMemory, FramePiece } from './frame-memory.ts'
import { KiB, MiB } from './limits.ts'

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

/** A large frame gets this much room at once, and more only as its bytes arrive. */
const FIRST_ROOM_BYTES = MiB
/** Memory is taken in pieces: small ones on a quiet connection, large ones where few pushes fill them. */
const MEMORY_BYTES_MIN = 16 * KiB
const MEMORY_BYTES_MAX = 256 * KiB
const BUSY_PUSHES = 4
const QUIET_PUSHES = 64
/** Memory of more than so many times what is needed is given up. */
const FAR_TOO_LARGE = 4
/** Less room than this is not worth a system call. */
const ROOM_BYTES_MIN = 2 * KiB
const noMemory: Buffer = Buffer.alloc(0)

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
  /** What header and body lie in, held once for whoever takes the frame; undefined = memory of the collector. */
  readonly piece?: FramePiece | undefined
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

/**
 * Cuts what arrives on a connection into frames, each in one piece of memory. Whoever reads the connection asks `room` where to put the bytes and
 * says what came by `push`: then nothing is copied unless a frame crosses from one piece of memory to the next. Bytes that came elsewhere
 * may be pushed too. After it has thrown it must not be used again: the place of the next frame is unknown.
 */
export class FrameReader {
  /** The largest frame accepted, length field excluded; may be raised once the peer is known. Holds from the next frame on. */
  frameBytesMax: number
  /** Where memory comes from; undefined = the collector's. */
  readonly #pieces: FrameMemory | undefined
  /** Handed out up to `#start`, arrived up to `#end`, free behind it. Never written again below `#end`: frames are slices of it. */
  #memory = noMemory
  /** What `#memory` is, if it came from `#pieces`. */
  #piece: FramePiece | undefined
  #start = 0
  #end = 0
  /** Of the frame that has begun to arrive, length field included; 0 = its length is not known or not looked at yet. */
  #total = 0
  /** As long as the longest frame of late: the next one may be so too. */
  #usualTotal = 0
  #memoryBytes = MEMORY_BYTES_MIN
  /** Pushes into the present memory. */
  #pushes = 0

  /** `frameBytesMax`: the largest frame accepted, length field excluded. `pieces`: then each frame holds its piece. */
  constructor(frameBytesMax: number, pieces?: FrameMemory) {
    this.frameBytesMax = frameBytesMax
    this.#pieces = pieces
  }

  /** Bytes that have arrived and are not part of a frame handed out yet. Bounded by whoever stops reading the connection. */
  get waitingBytes(): number {
    return this.#end - this.#start
  }

  /** Size of the frame that has begun to arrive and is not whole yet, as its length field says; 0 = there is none. */
  get arrivingBytes(): number {
    return this.#total
  }

  /** Where the bytes that arrive next may be put, from its beginning on. Ask again after each push. */
  room(): Buffer {
    const left = this.#memory.length - this.#end
    // A frame that would not end in this memory, as far as one can know, is better begun in the next one.
    const wanted = Math.min(this.#total || this.#usualTotal, this.#believedBytes) - this.waitingBytes
    if (left < Math.max(wanted, ROOM_BYTES_MIN) || left === 0 || this.#isFarTooLarge) this.#renew(ROOM_BYTES_MIN)
    return this.#memory.subarray(this.#end)
  }

  /** Takes over the bytes: frames are slices of them, or of a copy. */
  push(bytes: Buffer): void {
    const { length } = bytes
    if (length === 0) return
    if (this.#isNext(bytes)) {
      this.#end += length
    } else if (this.#start === this.#end) {
      this.#goOnIn(bytes, undefined)
      this.#start = 0
      this.#end = length
    } else {
      if (this.#memory.length - this.#end < length) this.#renew(length)
      bytes.copy(this.#memory, this.#end)
      this.#end += length
    }
    this.#pushes++
  }

  /** The next whole frame, or undefined until more has arrived. Throws malformedFrame or frameTooLarge: close the connection then. */
  next(): Frame | undefined {
    const waiting = this.#end - this.#start
    if (this.#total === 0) {
      if (waiting < LENGTH_BYTES) return undefined
      this.#total = LENGTH_BYTES + this.#checkedLength()
    }
    if (waiting < this.#total) return undefined
    const at = this.#start
    this.#start += this.#total
    this.#usualTotal = Math.max(this.#total, this.#usualTotal - (this.#usualTotal >> 3))
    this.#total = 0
    const frame = frameOf(this.#memory, at, this.#start, this.#piece)
    this.#piece?.hold()
    return frame
  }

  #isNext(bytes: Buffer): boolean {
    return (
      bytes.buffer === this.#memory.buffer &&
      bytes.byteOffset === this.#memory.byteOffset + this.#end &&
      this.#end + bytes.length <= this.#memory.length
    )
  }

  /** What was made for large frames is not kept for small ones: a connection that now and then says a word would fill all of it with them. */
  get #isFarTooLarge(): boolean {
    const needed = Math.max(MEMORY_BYTES_MAX, this.#total, this.#usualTotal, this.waitingBytes)
    return this.#memory.length > FAR_TOO_LARGE * needed
  }

  /** Up to here a claim is believed: who has sent a large frame gets room for another one at once. */
  get #believedBytes(): number {
    return Math.max(FIRST_ROOM_BYTES, 2 * this.#usualTotal)
  }

  #checkedLength(): number {
    const length = this.#memory.readUInt32LE(this.#start + LENGTH)
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

  /** Goes on in fresh memory, with room for `count` bytes at least: as much as a busy or a quiet connection needs, and its frames. */
  #renew(count: number): void {
    const waiting = this.#end - this.#start
    if (this.#pushes <= BUSY_PUSHES) this.#memoryBytes = Math.min(MEMORY_BYTES_MAX, this.#memoryBytes * 4)
    else if (this.#pushes >= QUIET_PUSHES) this.#memoryBytes = Math.max(MEMORY_BYTES_MIN, this.#memoryBytes / 4)
    const claimed = Math.min(this.#total || this.#usualTotal, Math.max(this.#believedBytes, 2 * waiting))
    const size = Math.max(this.#memoryBytes, claimed, waiting + count)
    const piece = this.#pieces?.take(size)
    const memory = piece?.bytes ?? Buffer.allocUnsafeSlow(size)
    this.#memory.copy(memory, 0, this.#start, this.#end)
    this.#goOnIn(memory, piece)
    this.#start = 0
    this.#end = waiting
    this.#pushes = 0
  }

  #goOnIn(memory: Buffer, piece: FramePiece | undefined): void {
    this.#piece?.letGo()
    this.#memory = memory
    this.#piece = piece
  }
}

function frameOf(bytes: Buffer, at: number, end: number, piece: FramePiece | undefined): Frame {
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
    ...(piece !== undefined && { piece }),
  }
}

function malformed(what: string): PlayheadError {
  return new PlayheadError(
    'malformedFrame',
    `frame: ${what}; is this the port of the native protocol, and the client's version right?`,
  )
}
