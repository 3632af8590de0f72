/**
 * Unreadable: what the disk refuses to read (EIO: a bad sector, a failed path to the disk). Bytes that were proven durable and cannot be read
 * are damage like flipped ones: the pages in question count as zeros, which no checksum takes for a frame, and what lies around them is served.
 * Never for the end of a last segment: there zeros are a torn tail, and recovery would cut what may have been acknowledged.
 * Neighbours: segment-reader.ts, segment-recovery.ts, sidecar.ts.
 */
import { type File, forwarding } from '../platform/file-system.ts'

const pageBytes = 4096

export function isUnreadable(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EIO'
}

/** Like file.read, with zeros where the disk cannot read. */
export async function readAround(file: File, target: Buffer, position: number): Promise<number> {
  try {
    return await file.read(target, position)
  } catch (error) {
    if (!isUnreadable(error)) throw error
  }
  const end = Math.min(position + target.length, await file.sizeBytes())
  for (let at = position; at < end; ) {
    const next = Math.min(end, (Math.floor(at / pageBytes) + 1) * pageBytes)
    const page = target.subarray(at - position, next - position)
    try {
      await file.read(page, at)
    } catch (error) {
      if (!isUnreadable(error)) throw error
      page.fill(0)
    }
    at = next
  }
  return Math.max(0, end - position)
}

/** Like file.readNow; what the disk cannot read is for `readAround`. */
export function readNow(file: File, target: Buffer, position: number): number | undefined {
  try {
    return file.readNow?.(target, position)
  } catch (error) {
    if (isUnreadable(error)) return undefined
    throw error
  }
}

/** The file, read like readAround does. */
export function readingAround(file: File): File {
  return {
    ...forwarding(file),
    read: (target, position) => readAround(file, target, position),
    readDirect: (target, position) => file.readDirect?.(target, position) ?? Promise.resolve(undefined),
  }
}
