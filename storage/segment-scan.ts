/**
 * Segment scan: reads the frames of one segment file in order, a slice at a time, and checks each batch completely (segment-format.ts
 * says when one is valid). Invariant: it visits valid batches only, in offset order, and says where and why it ended.
 * Used by recovery, sealing and verify; reads of clients go through read-plan.ts and do not scan.
 */
import { baseOffset, batchBytes, checkAnyBatch, leaderEpoch, nextOffset } from '../protocol/record-batch.ts'
import { isPlayheadError } from '../protocol/errors.ts'
import { KiB, MiB } from '../protocol/limits.ts'
import type { Clock } from '../platform/clock.ts'
import type { File } from '../platform/file-system.ts'
import { PlainSlices, type ScanWindow, type Slices, SlicesAhead } from './scan-slices.ts'
import {
  FRAME_BYTES,
  FRAME_SCRATCH_BYTES,
  frameAppendTime,
  frameBatchBytes,
  frameFloor,
  frameProblem,
} from './segment-format.ts'

const sliceBytesDefault = 4 * MiB
/** Mostly it is the end of the log, with zeros behind it. */
const againBytes = 256 * KiB

/** Where a log stands between two frames. */
export interface LogPlace {
  /** Of the next frame. */
  readonly position: number
  /** Of the next record. */
  readonly nextOffset: number
  /** Of the last batch before. */
  readonly leaderEpoch: number
}

export interface ScannedFrame {
  readonly position: number
  /** The buffer that holds frame and batch; it is used again after the visit. */
  readonly bytes: Buffer
  /** The batch in `bytes`, just behind the frame. Both the same for a frame without a batch. */
  readonly batchStart: number
  readonly batchEnd: number
  readonly appendTimeMs: number
  /** Every record below this offset was durable when the frame was written. */
  readonly floor: number
}

export interface ScanEnd extends LogPlace {
  /** Why there is no further valid frame at `position`; undefined when the bytes ended exactly there. */
  readonly problem: string | undefined
}

export interface ScanOptions {
  readonly file: File
  readonly salt: Buffer
  readonly from: LogPlace
  /** Bytes at and after this position are not looked at. */
  readonly endPosition: number
  /** Batches at and after this offset are not looked at. */
  readonly endOffset?: number
  /** The segment was rewritten: a batch may begin anywhere behind the one before it. */
  readonly isSparse?: boolean
  /** Read at once, and between two yields to the event loop; a larger batch gets a larger buffer for itself. */
  readonly sliceBytes?: number
  /** To read ahead through; slices have the size of these then. */
  readonly windows?: ScanWindow | undefined
  readonly clock: Clock
}

type Visit = (frame: ScannedFrame) => Promise<void> | void

/** Visits each valid frame from `from` on, until the first that is not. */
export async function scanSegment(options: ScanOptions, visit: Visit): Promise<ScanEnd> {
  const { windows, sliceBytes = sliceBytesDefault } = options
  if (windows === undefined) return scanPlain(options, sliceBytes, visit)
  const ahead = new SlicesAhead(options.file, options.endPosition, windows)
  let end: ScanEnd
  try {
    end = await scanSlices(options, ahead, visit)
  } finally {
    await ahead.close()
  }
  // What came past the page cache is believed when it is sound. What is not may be cut for that, so it is looked at again.
  return end.problem === undefined ? end : scanPlain({ ...options, from: end }, againBytes, visit)
}

async function scanPlain(options: ScanOptions, sliceBytes: number, visit: Visit): Promise<ScanEnd> {
  const { file, endPosition, from } = options
  const bytes = Math.max(FRAME_SCRATCH_BYTES, Math.min(sliceBytes, endPosition - from.position))
  return scanSlices(options, new PlainSlices(file, endPosition, bytes), visit)
}

async function scanSlices(options: ScanOptions, slices: Slices, visit: Visit): Promise<ScanEnd> {
  const { salt, endPosition, clock, endOffset = Infinity } = options
  const isSparse = options.isSparse === true
  let { position, nextOffset: offset, leaderEpoch: epoch } = options.from
  const stopAt = (problem: string | undefined): ScanEnd => ({
    position,
    nextOffset: offset,
    leaderEpoch: epoch,
    problem,
  })

  /** Brings at least `neededBytes` at `position` into the slice; false when the file has not so many. */
  const fill = async (neededBytes: number): Promise<boolean> => {
    if (position + neededBytes <= slices.end) return true
    if (position + neededBytes > endPosition) return false
    await clock.yield()
    return slices.fill(position, neededBytes)
  }

  for (;;) {
    if (position >= endPosition || offset >= endOffset) return stopAt(undefined)
    // A frame without a batch may be the last thing in the file, with nothing behind it.
    if (!(await fill(FRAME_SCRATCH_BYTES)) && !(await fill(FRAME_BYTES))) return stopAt('fewer bytes than a frame has')
    const at = position - slices.start
    const problem = frameProblem(slices.bytes, at, slices.end - slices.start, salt)
    if (problem !== undefined) return stopAt(problem)
    const bodyBytes = frameBatchBytes(slices.bytes, at)
    if (!(await fill(FRAME_BYTES + bodyBytes))) return stopAt('a batch that is longer than the file')
    const { bytes, start } = slices
    const frameAt = position - start
    const batchStart = frameAt + FRAME_BYTES
    const batchEnd = batchStart + bodyBytes
    if (bodyBytes > 0) {
      const fault = batchFault(bytes, batchStart, batchEnd, { offset, epoch, isSparse })
      if (fault !== undefined) return stopAt(fault)
    } else if (isSparse && position + FRAME_BYTES >= endPosition) offset = Math.max(offset, frameFloor(bytes, frameAt))
    const visiting = visit({
      position,
      bytes,
      batchStart,
      batchEnd,
      appendTimeMs: frameAppendTime(bytes, frameAt),
      floor: frameFloor(bytes, frameAt),
    })
    if (visiting !== undefined) await visiting
    if (bodyBytes > 0) {
      offset = nextOffset(bytes, batchStart)
      epoch = leaderEpoch(bytes, batchStart)
    }
    position += FRAME_BYTES + bodyBytes
  }
}

/** What is wrong with a batch whose frame is sound, in words; undefined when it continues the log at `offset`. */
export function batchFault(
  bytes: Buffer,
  start: number,
  end: number,
  { offset, epoch, isSparse }: { readonly offset: number; readonly epoch: number; readonly isSparse: boolean },
): string | undefined {
  const own = ownFault(bytes, start, end)
  if (own !== undefined) return own
  const found = baseOffset(bytes, start)
  if (isSparse ? found < offset : found !== offset) return `a batch at offset ${found} where ${offset} comes next`
  if (leaderEpoch(bytes, start) < epoch) return `leader epoch ${leaderEpoch(bytes, start)} after ${epoch}`
  return undefined
}

/** What is wrong with a batch by itself, wherever it stands. */
export function ownFault(bytes: Buffer, start: number, end: number): string | undefined {
  try {
    checkAnyBatch(bytes, start, end)
  } catch (error) {
    if (isPlayheadError(error)) return error.message
    throw error
  }
  return batchBytes(bytes, start) === end - start ? undefined : 'a batch of another length than its frame says'
}
