/**
 * Headers of frames: values <-> msgpack bytes, by the schemas of header-schema.ts; and failures <-> PlayheadErrors.
 * Invariant: any bytes give a value of the schema or malformedHeader. What a peer sends is walked once before msgpackr sees it, so that
 * only nil, booleans, numbers, text and arrays get there: no maps, no extensions (some of which generate code), no deep nesting.
 */
import { Packr } from 'msgpackr'
import type { Failure } from './append.ts'
import { PlayheadError, errorCode, errorTable } from './errors.ts'
import type { Field } from './header-schema.ts'
import { headerBytesMax, offsetMax } from './limits.ts'

/** Deeper than any header is nested; a list of structs of lists is 5. */
const DEPTH_MAX = 16
const MESSAGE_CHARACTERS_MAX = 16 * 1024

const packr = new Packr({
  useRecords: false,
  mapsAsObjects: true,
  int64AsType: 'number',
  moreTypes: false,
  structuredClone: false,
  bundleStrings: false,
  encodeUndefinedAsNil: true,
  copyBuffers: false,
})

/** The header of a frame, in fresh memory. The value is trusted to fit the field: only what comes in is checked. */
export function encodeHeader<T>(field: Field<T>, value: T): Buffer {
  return field.plain?.encode(value) ?? packr.pack(field.pack(value))
}

/**
 * The value in the header of a frame of at most `bytesMax` bytes. Throws malformedHeader for anything that is not a header of this
 * schema. Clients pass replyHeaderBytesMax: a broker's answer may be longer than what it takes.
 */
export function decodeHeader<T>(field: Field<T>, bytes: Buffer, bytesMax = headerBytesMax): T {
  if (bytes.length > bytesMax) throw malformed(`found ${bytes.length} bytes, wanted at most ${bytesMax}`)
  const plain = field.plain?.decode(bytes)
  if (plain !== undefined) return plain
  checkPlainMsgpack(bytes)
  return field.unpack(packr.unpack(bytes), '')
}

/** How an error travels. */
export function failureOf(error: PlayheadError): Failure {
  return {
    number: errorTable[error.code].number,
    message: error.message.slice(0, MESSAGE_CHARACTERS_MAX),
    conflicts: error.conflicts.map(({ stream, expected, found }) => ({ stream, expected, found })),
    details: Object.entries(error.details)
      .slice(0, 64)
      .map(([name, value]) =>
        typeof value === 'number' && Number.isSafeInteger(value) && Math.abs(value) <= offsetMax
          ? { name, number: value, text: undefined }
          : { name, number: undefined, text: String(value).slice(0, 4096) },
      ),
  }
}

/** The error that a failure from the wire stands for; a number that is not in our table reads as `internal`. */
export function errorOf(failure: Failure): PlayheadError {
  const details = Object.fromEntries(failure.details.map(({ name, number, text }) => [name, number ?? text ?? '']))
  return new PlayheadError(errorCode(failure.number), failure.message, details, failure.conflicts)
}

/**
 * One value, and nothing after it, of the part of msgpack that headers are made of.
 * `open` counts the values still to come at each depth.
 */
function checkPlainMsgpack(bytes: Buffer): void {
  const end = bytes.length
  const open = [1]
  let at = 0
  while (open.length > 0) {
    const depth = open.length - 1
    if (open[depth] === 0) {
      open.pop()
      continue
    }
    open[depth]!--
    if (at >= end) throw malformed(`found the end at byte ${at}, wanted more values`)
    const code = bytes[at]!
    const children = childCount(bytes, at)
    at += valueBytes(bytes, at)
    if (at > end) throw malformed(`found a value that ends past the header, code 0x${code.toString(16)}`)
    if (children > 0) {
      if (open.length > DEPTH_MAX) throw malformed(`found arrays nested more than ${DEPTH_MAX} deep`)
      open.push(children)
    }
  }
  if (at !== end) throw malformed(`found ${end - at} bytes after its end`)
}

/** Elements that the array which begins here claims; 0 for all other values, and for an array whose length is cut off (valueBytes finds out). */
function childCount(bytes: Buffer, at: number): number {
  const code = bytes[at]!
  if (code >= 0x90 && code <= 0x9f) return code & 0x0f
  if (code === 0xdc && at + 3 <= bytes.length) return bytes.readUInt16BE(at + 1)
  if (code === 0xdd && at + 5 <= bytes.length) return bytes.readUInt32BE(at + 1)
  return 0
}

/** Bytes of the value that begins here, without the elements of an array; may be more than there are. */
function valueBytes(bytes: Buffer, at: number): number {
  const code = bytes[at]!
  if (code <= 0x7f || code >= 0xe0) return 1 // small integers
  if (code >= 0x90 && code <= 0x9f) return 1 // small arrays
  if (code >= 0xa0 && code <= 0xbf) return 1 + (code & 0x1f) // short text
  const rest = bytes.length - at
  switch (code) {
    case 0xc0: // nil
    case 0xc2: // false
    case 0xc3: // true
      return 1
    case 0xcc: // 8-bit integers
    case 0xd0:
      return 2
    case 0xcd: // 16-bit integers, array length
    case 0xd1:
    case 0xdc:
      return 3
    case 0xca: // float32, 32-bit integers, array length
    case 0xce:
    case 0xd2:
    case 0xdd:
      return 5
    case 0xcb: // float64, 64-bit integers
    case 0xcf:
    case 0xd3:
      return 9
    case 0xd9: // text
      return rest < 2 ? 2 : 2 + bytes[at + 1]!
    case 0xda:
      return rest < 3 ? 3 : 3 + bytes.readUInt16BE(at + 1)
    case 0xdb:
      return rest < 5 ? 5 : 5 + bytes.readUInt32BE(at + 1)
    default: // maps, binary, extensions
      throw malformed(`found msgpack code 0x${code.toString(16)}, wanted nil, booleans, numbers, text and arrays only`)
  }
}

function malformed(what: string): PlayheadError {
  return new PlayheadError('malformedHeader', `header: ${what}; send one msgpack array as docs/protocol.md says`)
}
