/**
 * Append frame: how many of the batches that wait travel in the next frame, and what its body is. Invariant: a frame stays within what the broker takes,
 * and holds at least one batch if one may go. Called by AppendLane.
 */
import type { Expectation } from '../protocol/append.ts'
import { MiB, groupsPerAppendMax } from '../protocol/limits.ts'

/** Bytes of one frame that holds more than one batch. */
const frameBytesTarget = 4 * MiB
/** Bytes of conditions in one frame's header. */
const conditionBytesMax = MiB
/** Room for a frame's prefix and header beside its batches. */
const frameOverheadBytes = 64 * 1024
/** Batches up to this size, on average, are joined in their frame. */
const joinedBytesMax = 4 * 1024

/** What a frame's plan looks at. */
export interface FrameBatch {
  bytes: Buffer
  /** As conditionBytesOf says. */
  readonly conditionBytes: number
}

export interface FrameLimits {
  /** Batches that may go. */
  readonly countMax: number
  /** What the broker takes. */
  readonly frameBytesMax: number
  /** Of the lane, in a row. */
  readonly failures: number
}

/** What the conditions of a batch may take in a frame's header. */
export function conditionBytesOf(expected: readonly Expectation[]): number {
  let bytes = 0
  for (const { stream } of expected) bytes += stream.length * 3 + 16
  return bytes
}

/** How many batches, from the first on, make the next frame. */
export function batchesInFrame(
  waiting: readonly FrameBatch[],
  { countMax, frameBytesMax, failures }: FrameLimits,
): number {
  const most = Math.min(waiting.length, countMax, groupsPerAppendMax)
  // Smaller with every failure in a row: over a slow or breaking line a large frame might never be answered in time.
  const target = frameBytesTarget >> Math.min(2 * Math.max(0, failures - 1), 20)
  const bytesMax = Math.min(target, frameBytesMax - frameOverheadBytes - conditionBytesMax)
  let [count, bytes, conditionBytes] = [0, 0, 0]
  for (; count < most; count++) {
    const batch = waiting[count]!
    bytes += batch.bytes.length
    conditionBytes += batch.conditionBytes
    if (count > 0 && (bytes > bytesMax || conditionBytes > conditionBytesMax)) break
  }
  return count
}

/** The batches of a frame, small ones joined: handing the socket one more part costs more than copying a few hundred bytes. */
export function frameBody(batches: readonly FrameBatch[]): Buffer[] {
  const parts = batches.map(({ bytes }) => bytes)
  let bytes = 0
  for (const part of parts) bytes += part.length
  return bytes > parts.length * joinedBytesMax || parts.length === 1 ? parts : [Buffer.concat(parts, bytes)]
}
