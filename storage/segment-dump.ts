/**
 * Segment dump: what is in one segment file, piece by piece from its first byte to its last, whatever its state: every byte is in exactly one piece.
 * Invariant: it reads nothing but the file and its sidecar, so that it can be used on a copy, and what cannot be read is a piece like any other.
 * It looks at a file by itself: what is damage here may be a torn tail to recovery, which knows more (verify-log.ts says which).
 * Neighbours: cli/dump-segment.ts prints the pieces; segment-format.ts and sidecar-format.ts draw the bytes.
 */
import type { Clock } from '../platform/clock.ts'
import type { File, FileSystem } from '../platform/file-system.ts'
import { RecordBatch } from '../protocol/record-batch.ts'
import { searchBehindDamage } from './damage-search.ts'
import {
  baseOffsetOfFile,
  decodeSegmentHeader,
  FRAME_BYTES,
  FRAME_SALT,
  FRAME_SCRATCH_BYTES,
  frameProblem,
  SALT_BYTES,
  SEGMENT_HEADER_BYTES,
  type SegmentHeader,
} from './segment-format.ts'
import { type ScannedFrame, scanSegment } from './segment-scan.ts'
import { Sidecar } from './sidecar.ts'
import { type Footer, SectionKind } from './sidecar-format.ts'
import { isZero } from './zero-bytes.ts'

export interface HeaderPiece extends SegmentHeader {
  readonly kind: 'header'
}

/** A sound frame around a batch. */
export interface BatchPiece {
  readonly kind: 'batch'
  readonly position: number
  /** Of the frame with its batch. */
  readonly endPosition: number
  readonly appendTimeMs: number
  /** Every record below it was durable when the frame was written. */
  readonly durableOffset: number
  /** Lies in memory that is used again after the visit. */
  readonly batch: RecordBatch
}

/** A sound frame that only says what is durable. */
export interface FloorPiece {
  readonly kind: 'floor'
  readonly position: number
  readonly endPosition: number
  readonly appendTimeMs: number
  readonly durableOffset: number
}

/** Bytes that are not what should stand there. */
export interface DamagePiece {
  readonly kind: 'damage'
  readonly position: number
  readonly endPosition: number
  readonly reason: string
}

/** Zeros to the end of the file: allocated, not written yet. */
export interface UnusedPiece {
  readonly kind: 'unused'
  readonly position: number
  readonly endPosition: number
}

export type SegmentPiece = HeaderPiece | BatchPiece | FloorPiece | DamagePiece | UnusedPiece

export interface DumpOptions {
  readonly fileSystem: FileSystem
  readonly clock: Clock
  readonly path: string
}

type Visit = (piece: SegmentPiece) => Promise<void>

/** Visits each piece of the file, in order. Throws unsupportedFormat when a newer release wrote it. */
export async function dumpSegment({ fileSystem, clock, path }: DumpOptions, visit: Visit): Promise<void> {
  const file = await fileSystem.open(path, 'read')
  try {
    const sizeBytes = await file.sizeBytes()
    const start = Buffer.alloc(SEGMENT_HEADER_BYTES + FRAME_SCRATCH_BYTES)
    const found = start.subarray(0, await file.read(start, 0))
    const header = decodeSegmentHeader(found, path)
    if (header !== undefined) await visit({ kind: 'header', ...header })
    else {
      const endPosition = Math.min(sizeBytes, SEGMENT_HEADER_BYTES)
      if (endPosition > 0)
        await visit({ kind: 'damage', position: 0, endPosition, reason: 'a header that does not hold' })
    }
    const salt = header?.salt ?? saltOfFrame(found)
    const baseOffset = header?.baseOffset ?? baseOffsetOfFile(path.slice(path.lastIndexOf('/') + 1)) ?? 0
    if (salt !== undefined) await dumpFrames({ file, salt, sizeBytes, baseOffset, clock }, visit)
    else if (sizeBytes > SEGMENT_HEADER_BYTES)
      await visit(await restOf(file, SEGMENT_HEADER_BYTES, sizeBytes, 'no frame can be told without the header'))
  } finally {
    await file.close()
  }
}

/** Without a header the first frame may still tell the log's salt: its checksum covers it. */
function saltOfFrame(bytes: Buffer): Buffer | undefined {
  const at = SEGMENT_HEADER_BYTES
  if (bytes.length < at + FRAME_BYTES) return undefined
  const salt = Buffer.from(bytes.subarray(at + FRAME_SALT, at + FRAME_SALT + SALT_BYTES))
  return frameProblem(bytes, at, bytes.length, salt) === undefined ? salt : undefined
}

interface Frames {
  readonly file: File
  readonly salt: Buffer
  readonly sizeBytes: number
  readonly baseOffset: number
  readonly clock: Clock
}

async function dumpFrames({ file, salt, sizeBytes, baseOffset, clock }: Frames, visit: Visit): Promise<void> {
  let place = { position: SEGMENT_HEADER_BYTES, nextOffset: baseOffset, leaderEpoch: -1 }
  for (;;) {
    const options = { file, salt, from: place, endPosition: sizeBytes, clock }
    const end = await scanSegment(options, (frame) => visit(pieceOf(frame)))
    if (end.problem === undefined) return
    const { position } = end
    const search = { file, salt, position, endPosition: sizeBytes, offsetMin: end.nextOffset, offsetEnd: Infinity }
    const { batch } = await searchBehindDamage(search)
    if (batch === undefined) return await visit(await restOf(file, position, sizeBytes, end.problem))
    await visit({ kind: 'damage', position, endPosition: batch.position, reason: end.problem })
    place = { position: batch.position, nextOffset: batch.baseOffset, leaderEpoch: -1 }
  }
}

function pieceOf({ position, bytes, batchStart, batchEnd, appendTimeMs, floor }: ScannedFrame): SegmentPiece {
  const endPosition = position + FRAME_BYTES + batchEnd - batchStart
  const facts = { position, endPosition, appendTimeMs, durableOffset: floor }
  if (batchEnd === batchStart) return { kind: 'floor', ...facts }
  return { kind: 'batch', ...facts, batch: new RecordBatch(bytes.subarray(batchStart, batchEnd)) }
}

async function restOf(
  file: File,
  position: number,
  endPosition: number,
  reason: string,
): Promise<DamagePiece | UnusedPiece> {
  if (!(await isZero(file, position, endPosition))) return { kind: 'damage', position, endPosition, reason }
  return { kind: 'unused', position, endPosition }
}

/** What stands in a sidecar. */
export interface SidecarSummary {
  readonly path: string
  readonly footer: Footer
  /** By name, with their bytes; one that this release does not know by its number. */
  readonly sections: readonly { readonly name: string; readonly bytes: number }[]
}

/** Undefined when the segment has none. Throws damagedData naming it when it is not what was written. */
export async function summarizeSidecar(
  fileSystem: FileSystem,
  segmentPath: string,
): Promise<SidecarSummary | undefined> {
  const path = segmentPath.replace(/\.log$/, '.idx')
  if (path === segmentPath || !(await fileSystem.exists(path))) return undefined
  await using sidecar = await Sidecar.open(fileSystem, path)
  await sidecar.checkBody()
  const sections = sidecar.sections.map(({ kind, length }) => ({ name: nameOf(kind), bytes: length }))
  return { path, footer: sidecar.footer, sections }
}

function nameOf(kind: number): string {
  return Object.entries(SectionKind).find(([, number]) => number === kind)?.[0] ?? `kind ${kind}`
}
