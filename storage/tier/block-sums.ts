/**
 * Block sums: a CRC-32C for each block of an object of the tier, taken from the bytes on the local disk when they are sent, so that any part of
 * the object can be checked without the rest of it. Neighbours: segment-upload.ts takes them, TierBlocks compares.
 */
import { crc32c } from '../../protocol/crc32c.ts'

export const tierBlockBytes = 128 * 1024

/** An object and the sums of its blocks, 4 bytes each. */
export interface SummedObject {
  readonly key: string
  readonly sizeBytes: number
  readonly sums: Buffer
}

/** Of the block at `place` of an object. */
export function blockName(key: string, place: number): string {
  return `${key}#${place}`
}

/** CRC-32C of each block, 4 bytes each, of bytes that begin at a block. */
export function blockSums(bytes: Buffer): Buffer {
  const sums = Buffer.allocUnsafe(Math.ceil(bytes.length / tierBlockBytes) * 4)
  for (let place = 0; place * tierBlockBytes < bytes.length; place++)
    sums.writeUInt32LE(crc32c(bytes.subarray(place * tierBlockBytes, (place + 1) * tierBlockBytes)), place * 4)
  return sums
}

/** The position of the first block whose sum is another one; -1 = all is as it was sent. */
export function wrongBlock({ sums }: SummedObject, position: number, bytes: Buffer): number {
  for (let at = 0; at < bytes.length; at += tierBlockBytes) {
    const sum = crc32c(bytes.subarray(at, Math.min(at + tierBlockBytes, bytes.length)))
    if (sum !== sums.readUInt32LE(((position + at) / tierBlockBytes) * 4)) return position + at
  }
  return -1
}
