/** Whether a part of a file holds nothing but zeros: allocated, and never written. Neighbours: segment-files.ts, verify-segment.ts, segment-dump.ts. */
import type { File } from '../platform/file-system.ts'
import { MiB } from '../protocol/limits.ts'

const zeros = Buffer.alloc(MiB)

/** Bytes [from, to); what is behind the end of the file counts as zeros. */
export async function isZero(file: File, from: number, to: number): Promise<boolean> {
  const slice = Buffer.allocUnsafeSlow(zeros.length)
  for (let at = from; at < to; at += slice.length) {
    const count = await file.read(slice.subarray(0, Math.min(slice.length, to - at)), at)
    if (slice.compare(zeros, 0, count, 0, count) !== 0) return false
  }
  return true
}
