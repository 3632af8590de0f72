/**
 * Damage search: looks behind the first invalid frame of a segment for proof that what stood there was durable, and for the place where the
 * log can be read again. The proof is the floor of any later sound frame; a later batch alone is none, since the batches of one write may
 * reach the disk in any order.
 * Neighbours: recovery.ts decides with it between a torn tail and corruption.
 */
import { baseOffset } from '../protocol/record-batch.ts'
import { MiB } from '../protocol/limits.ts'
import type { File } from '../platform/file-system.ts'
import { nextFrame } from './frame-search.ts'
import { FRAME_BYTES, FRAME_SCRATCH_BYTES, frameBatchBytes, frameFloor } from './segment-format.ts'
import { ownFault } from './segment-scan.ts'

const windowBytes = 4 * MiB

export interface DamageSearch {
  readonly file: File
  readonly salt: Buffer
  /** Of the invalid frame. */
  readonly position: number
  readonly endPosition: number
  /** A batch to go on with begins at or after `offsetMin` and before `offsetEnd`. */
  readonly offsetMin: number
  readonly offsetEnd: number
}

export interface DamageFindings {
  /** The highest floor of all sound frames behind the invalid one; -1 = there is none. */
  readonly floor: number
  /** The first sound batch among them. */
  readonly batch: { readonly position: number; readonly baseOffset: number } | undefined
}

export async function searchBehindDamage(search: DamageSearch): Promise<DamageFindings> {
  const { file, salt, endPosition } = search
  const window = Buffer.allocUnsafeSlow(
    Math.max(FRAME_SCRATCH_BYTES, Math.min(windowBytes, endPosition - search.position)),
  )
  let floor = -1
  let batch: DamageFindings['batch']
  for (let start = search.position + 1; start + FRAME_BYTES <= endPosition; ) {
    const count = await file.read(window.subarray(0, Math.min(window.length, endPosition - start)), start)
    const bytes = window.subarray(0, count)
    for (let at = nextFrame(bytes, 0, salt); at >= 0; at = nextFrame(bytes, at + 1, salt)) {
      floor = Math.max(floor, frameFloor(bytes, at))
      batch ??= await soundBatch(search, start + at, frameBatchBytes(bytes, at))
    }
    if (start + count >= endPosition || count < FRAME_SCRATCH_BYTES) break
    start += count - FRAME_SCRATCH_BYTES + 1 // a frame may begin in this window and end in the next
  }
  return { floor, batch }
}

async function soundBatch(
  search: DamageSearch,
  position: number,
  batchBytes: number,
): Promise<DamageFindings['batch']> {
  const { file, endPosition, offsetMin, offsetEnd } = search
  if (batchBytes === 0 || position + FRAME_BYTES + batchBytes > endPosition) return undefined
  const bytes = Buffer.allocUnsafeSlow(batchBytes)
  if ((await file.read(bytes, position + FRAME_BYTES)) < batchBytes) return undefined
  const base = baseOffset(bytes)
  if (base < offsetMin || base >= offsetEnd || ownFault(bytes, 0, batchBytes) !== undefined) return undefined
  return { position, baseOffset: base }
}
