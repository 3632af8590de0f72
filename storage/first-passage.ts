/**
 * FirstPassage: whoever goes through a segment that nobody has gone through of late reads it past the page cache. Views are derived from more than
 * fits into memory: pages found and filled for that are the larger part of what reading costs, and push out what others want. Who comes after him is not
 * the only one: for those it is read through the page cache, once.
 * Invariant: of each segment no more bytes than it has are read so, until nobody has for `restMs`.
 * Neighbours: SegmentReader asks, File.readDirect reads.
 */
import { appendBlockBytes, blocksEnd } from '../platform/file-system.ts'
import type { File } from '../platform/file-system.ts'
import { onPages } from '../platform/direct-memory.ts'
import type { Clock } from '../platform/clock.ts'
import { KiB, MiB } from '../protocol/limits.ts'
import type { ByteRange } from './read-plan.ts'
import type { Segment } from './segment.ts'

/** Whoever asks for less is no one who goes through all of it. */
const passageBytesMin = 256 * KiB
/** The most that clients ask for at a time, a block of the index, and what begins and ends within pages. */
const pieceBytes = 2 * MiB + 64 * KiB
/** Reads at once. Each piece is in use while the disk fills it and it is copied, however long the answer waits for who asked. */
const piecesMax = 8
const restMs = 60_000

interface Passed {
  bytes: number
  atMs: number
}

export class FirstPassage {
  readonly #clock: Clock
  readonly #passed = new WeakMap<Segment, Passed>()
  /** Undefined before the first read; empty where there is no such memory. The piece given back last goes out first: its pages are warm. */
  #free: Buffer[] | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Fills `target`, which has the size of the range. False where it is to be read otherwise, whatever the reason. */
  async read(file: File, segment: Segment, range: ByteRange, target: Buffer): Promise<boolean> {
    const piece = file.readDirect === undefined ? undefined : this.#take(segment, range)
    if (piece === undefined) return false
    try {
      const { position, endPosition } = range
      const start = position - (position % appendBlockBytes)
      const count = await file.readDirect?.(piece.subarray(0, blocksEnd(endPosition) - start), start)
      if (count === undefined || start + count < endPosition) return false
      piece.copy(target, 0, position - start, endPosition - start)
      return true
    } catch {
      return false // what the disk cannot read is for the other way to find out, page by page
    } finally {
      this.#free?.push(piece)
    }
  }

  #take(segment: Segment, { position, endPosition }: ByteRange): Buffer | undefined {
    const bytes = endPosition - position
    if (bytes < passageBytesMin || bytes + 2 * appendBlockBytes > pieceBytes) return undefined
    const nowMs = this.#clock.monotonicMs()
    const passed = this.#passed.get(segment) ?? { bytes: 0, atMs: nowMs }
    if (nowMs - passed.atMs > restMs) passed.bytes = 0
    passed.atMs = nowMs
    this.#passed.set(segment, passed)
    if (passed.bytes + bytes > segment.endPosition) return undefined
    this.#free ??= pieces()
    const piece = this.#free.pop()
    if (piece !== undefined) passed.bytes += bytes
    return piece
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
