/**
 * CRC-32C (Castagnoli): the checksum of record batches and of everything on disk. Native where @node-rs/crc32 loads, else eight
 * tables in plain TypeScript; both give the same results, so a client runs without native parts. Checksums of parts that are already known
 * are put together without the bytes (crc32cOfBoth).
 */
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'

type Crc32c = (bytes: Buffer, seed?: number) => number

/** The native implementation, or undefined where its library is not installed or does not load. */
export const crc32cNative: Crc32c | undefined = loadNative()

const POLYNOMIAL = 0x82f6_3b78
/** tables[k][b]: the effect of byte b followed by k zero bytes; built when first needed, since most processes never need them. */
let tables: readonly Uint32Array[] | undefined

/** Of bytes [from, to), eight a step ("slicing by 8"). `seed` is the CRC of the bytes before these. */
export function crc32cTypeScript(bytes: Buffer, seed = 0, from = 0, to = bytes.length): number {
  tables ??= buildTables()
  const [t0, t1, t2, t3, t4, t5, t6, t7] = tables as [
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
  ]
  let crc = ~seed
  let at = from
  const eights = to - ((to - from) % 8)
  for (; at < eights; at += 8) {
    crc ^= bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
    crc =
      t7[crc & 0xff]! ^
      t6[(crc >>> 8) & 0xff]! ^
      t5[(crc >>> 16) & 0xff]! ^
      t4[crc >>> 24]! ^
      t3[bytes[at + 4]!]! ^
      t2[bytes[at + 5]!]! ^
      t1[bytes[at + 6]!]! ^
      t0[bytes[at + 7]!]!
  }
  for (; at < to; at++) crc = (crc >>> 8) ^ t0[(crc ^ bytes[at]!) & 0xff]!
  return ~crc >>> 0
}

/** The CRC-32C of `bytes`, 0 … 2^32 - 1; `seed` is the CRC of the bytes before these, so that parts can be summed in turn. */
export const crc32c: Crc32c = crc32cNative ?? crc32cTypeScript

/** More bytes than this at once have no checksum put together: 2^(its bits + 3) must stay within the table of powers. */
const bothBytesMax = 2 ** 28

/** The checksum of some bytes followed by `secondBytes` others, from those of both alone. The method is Mark Adler's, of zlib's crc32_combine. */
export function crc32cOfBoth(first: number, second: number, secondBytes: number): number {
  assert(secondBytes >= 0 && secondBytes < bothBytesMax)
  return (times(shiftOver(secondBytes), first) ^ second) >>> 0
}

// Polynomials over GF(2) modulo that of the CRC, as 32 bits: the highest bit is x^0, the lowest x^31.
const ONE = 0x8000_0000
let powers: Int32Array | undefined
/** Batches are often as long as the one before. */
let lastShift = { bytes: 0, shift: ONE | 0 }

/** What the checksum of the bytes before is multiplied with when `count` bytes follow: x^(8 count). */
function shiftOver(count: number): number {
  if (lastShift.bytes === count) return lastShift.shift
  powers ??= squares()
  let shift = ONE | 0
  for (let [rest, power] = [count, 3]; rest > 0; rest >>>= 1, power++) {
    if ((rest & 1) === 1) shift = times(powers[power]!, shift)
  }
  lastShift = { bytes: count, shift }
  return shift
}

/** x^(2^k) for k = 0 … 31. */
function squares(): Int32Array {
  const built = new Int32Array(32)
  built[0] = ONE >>> 1
  for (let k = 1; k < built.length; k++) built[k] = times(built[k - 1]!, built[k - 1]!)
  return built
}

function times(left: number, right: number): number {
  let product = 0
  for (let bit = ONE; bit !== 0; bit >>>= 1) {
    if ((left & bit) !== 0) product ^= right
    right = (right & 1) === 1 ? (right >>> 1) ^ POLYNOMIAL : right >>> 1
  }
  return product
}

function loadNative(): Crc32c | undefined {
  try {
    const native = createRequire(import.meta.url)('@node-rs/crc32') as {
      crc32c: (bytes: Buffer, seed?: number) => number
    }
    return native.crc32c(Buffer.from('123456789')) === 0xe306_9283 ? native.crc32c : undefined
  } catch {
    return undefined // an optional dependency: not installed, or not built for this machine
  }
}

function buildTables(): readonly Uint32Array[] {
  const first = new Uint32Array(256)
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? POLYNOMIAL : 0)
    first[byte] = crc
  }
  const built = [first]
  for (let k = 1; k < 8; k++) {
    const previous = built[k - 1]!
    built.push(first.map((_, byte) => (previous[byte]! >>> 8) ^ first[previous[byte]! & 0xff]!))
  }
  return built
}
