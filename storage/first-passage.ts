/**
 * FirstPassage: whoever goes through a segment that nobody has gone through of late reads it past the page cache, into memory that his answer is sent from.
 * Views are derived from more than fits into memory: pages found and filled for that are the larger part of what reading costs, and push out what others
 * want. Who comes after him is not the only one: for those it is read through the page cache, once.
 * Invariant: of each segment no more bytes than it has are read so, until nobody has for `restMs`.
 * Neighbours: SegmentReader asks, File.readDirect reads.
 */
import { appendBlockBytes, blocksEnd } from '../platform/file-system.ts'
import type { File } from '../platform/file-system.ts'
import { onPages } from '../platform/direct-memory.ts'
import type { Clock } from '../platform/clock.ts'
import { KiB, MiB } from '../protocol/limits.ts'
import { FrameMemory, FramePiece } from '../protocol/frame-memory.ts'
import type { PieceHome } from '../protocol/frame-memory.ts'
import type { ByteRange } from './read-plan.ts'
import type { Segment } from './segment.ts'

/** Whoever asks for less is no one who goes through all of it. */
const passageBytesMin = 256 * KiB
/** The most that clients ask for at a time, a block of the index, and what begins and ends within pages. */
const pieceBytes = 2 * MiB + 64 * KiB
const piecesMax = 12
const restMs = 60_000

interface Passed {
  bytes: number
  atMs: number
}

export class FirstPassage implements PieceHome {
  readonly #clock: Clock
  readonly #passed = new WeakMap<Segment, Passed>()
  /** Undefined before the first read; empty where there is no such memory. The piece given back last goes out first: its pages are warm. */
  #free: Buffer[] | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The bytes of the range, in a piece that is held for the caller; undefined where they are to be read otherwise. */
  async read(
    file: File,
    segment: Segment,
    range: ByteRange,
  ): Promise<{ bytes: Buffer; piece: FramePiece } | undefined> {
    const piece = file.readDirect === undefined ? undefined : this.#take(segment, range)
    if (piece === undefined) return undefined
    const start = range.position - (range.position % appendBlockBytes)
    const target = piece.bytes.subarray(0, blocksEnd(range.endPosition) - start)
    // What the disk cannot read is for the other way to find out, page by page.
    const count = await file.readDirect?.(target, start).catch(() => undefined)
    if (count === undefined || start + count < range.endPosition) {
      piece.letGo()
      return undefined
    }
    return { bytes: target.subarray(range.position - start, range.endPosition - start), piece }
  }

  takeBack(bytes: Buffer): void {
    FrameMemory.onTakenBack(bytes)
    this.#free?.push(bytes)
  }

  #take(segment: Segment, { position, endPosition }: ByteRange): FramePiece | undefined {
    const bytes = endPosition - position
    if (bytes < passageBytesMin || bytes + 2 * appendBlockBytes > pieceBytes) return undefined
    const nowMs = this.#clock.monotonicMs()
    const passed = this.#passed.get(segment) ?? { bytes: 0, atMs: nowMs }
    if (nowMs - passed.atMs > restMs) passed.bytes = 0
    passed.atMs = nowMs
    this.#passed.set(segment, passed)
    if (passed.bytes + bytes > segment.endPosition) return undefined
    this.#free ??= pieces()
    const free = this.#free.pop()
    if (free === undefined) return undefined
    passed.bytes += bytes
    return new FramePiece(free, this)
  }
}

function pieces(): Buffer[] {
  try {
    const memory = onPages(pieceBytes * piecesMax)
    return Array.from({ length: piecesMax }, (_, place) =>
      memory.subarray(place * pieceBytes, (place + 1) * pieceBytes),
    )
  } catch {
    return []
  }
}
