/**
 * Tail repair: makes the end of a last segment what recovery decided it is. In this order, each step harmless to repeat:
 *   1. bytes past the proven floor are written again in place, so that the sync really carries them
 *   2. the file is cut behind the last valid frame, so that no stale frame can ever continue the log
 *   3. one sync for both, then a frame that says all of it is durable, and its sync. Also where the checkpoint or a sidecar proves it:
 *      they are derived and may be deleted, a frame stays
 * A damaged segment is not cut and gets no frame: its bytes are evidence.
 * Neighbour: segment-recovery.ts.
 */
import { MiB } from '../protocol/limits.ts'
import type { File } from '../platform/file-system.ts'
import { isDiskFull } from './disk-space.ts'
import type { Segment } from './segment.ts'
import { FRAME_BYTES, writeFrame } from './segment-format.ts'
import type { StorageContext } from './storage-context.ts'

const copyBytes = 4 * MiB

export interface TailRepair {
  readonly context: StorageContext
  readonly salt: Buffer
  readonly segment: Segment
  readonly file: File
  /** The highest floor that a frame on disk has, or that the file's being there stands for. */
  readonly frameFloor: number
  /** Where what no floor proves begins, frames without a batch included; undefined = there is none. */
  readonly unprovenFrom: number | undefined
}

/** Answers the highest floor that a frame has now. */
export async function repairTail(repair: TailRepair): Promise<number> {
  const { context, salt, segment, file, frameFloor, unprovenFrom } = repair
  const end = segment.endPosition
  const cut = !segment.damaged && (await file.sizeBytes()) > end
  if (unprovenFrom !== undefined) await writeAgain(file, unprovenFrom, end)
  if (cut) await file.truncate(end)
  if (unprovenFrom !== undefined || cut) await file.sync()
  if (segment.damaged || frameFloor >= segment.nextOffset) return frameFloor
  const frame = Buffer.alloc(FRAME_BYTES)
  writeFrame(frame, 0, salt, 0, segment.lastAppendTimeMs, segment.nextOffset)
  try {
    await file.write([frame], end)
    await file.sync()
    segment.takeFloorFrameAt(end)
    return segment.nextOffset
  } catch (error) {
    if (!isDiskFull(error)) throw error
    context.report('warn', `${segment.path}: no space left to say what is durable; said with the next append`)
    await file.truncate(end)
    return frameFloor
  }
}

async function writeAgain(file: File, from: number, to: number): Promise<void> {
  const slice = Buffer.allocUnsafeSlow(Math.min(copyBytes, to - from))
  for (let at = from; at < to; at += slice.length) {
    const bytes = slice.subarray(0, Math.min(slice.length, to - at))
    const count = await file.read(bytes, at)
    if (count < bytes.length) throw new Error(`${file.path}: ${count} bytes where recovery found ${bytes.length}`)
    await file.write([bytes], at)
  }
}
