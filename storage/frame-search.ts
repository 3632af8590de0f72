/**
 * Frame search: finds the next sound frame behind bytes that are not one, by the log's salt. What makes damage end somewhere.
 * The salt is random, per log, and never leaves the disk, so no client can write records that look like a frame.
 * Neighbours: recovery.ts over a whole file, segment-reader.ts within what it has read.
 */
import { baseOffset } from '../protocol/record-batch.ts'
import { FRAME_BYTES, FRAME_SALT, frameBatchBytes, frameProblem } from './segment-format.ts'
import { ownFault } from './segment-scan.ts'

/** Where in `bytes`, at or after `from`, the first sound frame begins whose batch is whole, sound, and begins at `offsetMin` or later; -1 = nowhere. */
export function nextBatchFrame(bytes: Buffer, from: number, salt: Buffer, offsetMin: number): number {
  for (let at = nextFrame(bytes, from, salt); at >= 0; at = nextFrame(bytes, at + 1, salt)) {
    const batchBytes = frameBatchBytes(bytes, at)
    const start = at + FRAME_BYTES
    if (batchBytes === 0 || start + batchBytes > bytes.length) continue
    if (ownFault(bytes, start, start + batchBytes) === undefined && baseOffset(bytes, start) >= offsetMin) return at
  }
  return -1
}

/** Where in `bytes`, at or after `from`, the first frame begins whose own checksum holds; -1 = nowhere. Its batch is not looked at. */
export function nextFrame(bytes: Buffer, from: number, salt: Buffer): number {
  for (let at = bytes.indexOf(salt, from + FRAME_SALT); at >= 0; at = bytes.indexOf(salt, at + 1)) {
    if (frameProblem(bytes, at - FRAME_SALT, bytes.length, salt) === undefined) return at - FRAME_SALT
  }
  return -1
}
