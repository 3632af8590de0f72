/**
 * 64-bit integers in buffers as plain numbers, without bigint: two 32-bit halves. A value beyond ±(2^53 - 1) reads as a number that
 * is not a safe integer (rounding never brings it back into the range), so that whoever reads foreign bytes can tell by
 * Number.isSafeInteger. Neighbours: record-batch.ts, and the disk formats of storage.
 */
import assert from 'node:assert/strict'

/** What the upper half of a 64-bit integer counts. */
export const TWO_TO_32 = 0x1_0000_0000

/** An unsigned 64-bit little-endian integer; not a safe integer when it is larger than 2^53 - 1. */
export function readU64LE(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at + 4) * TWO_TO_32 + bytes.readUInt32LE(at)
}

/** `value` is a safe integer ≥ 0. */
export function writeU64LE(bytes: Buffer, at: number, value: number): void {
  assert(Number.isSafeInteger(value) && value >= 0)
  bytes.writeUInt32LE(value >>> 0, at)
  bytes.writeUInt32LE(Math.floor(value / TWO_TO_32), at + 4)
}

/** A signed 64-bit big-endian integer; not a safe integer when it lies outside ±(2^53 - 1). */
export function readI64BE(bytes: Buffer, at: number): number {
  return bytes.readInt32BE(at) * TWO_TO_32 + bytes.readUInt32BE(at + 4)
}

/** `value` is a safe integer. */
export function writeI64BE(bytes: Buffer, at: number, value: number): void {
  assert(Number.isSafeInteger(value))
  bytes.writeInt32BE(Math.floor(value / TWO_TO_32), at)
  bytes.writeUInt32BE(value >>> 0, at + 4)
}
