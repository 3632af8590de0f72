/**
 * BatchCutter: the batches of one log in bytes that were read from its segments, each checked before it is given out: frame and batch
 * checksums, salt, and that it stands where the log says. Invariant: nothing that fails a check is ever given out; the damage is remembered and
 * named, so that it is met once, and what stands before and behind it is given out.
 * Neighbours: SegmentReader reads the bytes; segment-scan.ts does the same from the beginning of a file, for recovery.
 */
import { baseOffset, nextOffset, recordCount } from '../protocol/record-batch.ts'
import type { Damage, DamagedRange } from './damage.ts'
import { nextBatchFrame } from './frame-search.ts'
import type { OffsetIndex } from './offset-index.ts'
import type { ByteRange } from './read-plan.ts'
import type { Segment } from './segment.ts'
import { FRAME_BYTES, frameAppendTime, frameBatchBytes, frameProblem } from './segment-format.ts'
import { ownFault } from './segment-scan.ts'

/** A batch in its place. `bytes` is the batch alone. */
export interface FoundBatch {
  readonly batch: Buffer
  readonly baseOffset: number
  readonly nextOffset: number
  readonly appendTimeMs: number
}

/** What the file of a segment has at `range`, which begins with a frame. */
export interface ReadBytes {
  readonly segment: Segment
  readonly offsets: OffsetIndex
  readonly bytes: Buffer
  readonly range: ByteRange
}

/** Batches are wanted from the one that holds `offset` to the one that holds the last before `endOffset`, if they end at or before `limitOffset`. */
export interface OffsetRange {
  readonly offset: number
  readonly endOffset: number
  readonly limitOffset: number
}

export interface Cut {
  /** Up to the first damage. */
  readonly batches: readonly FoundBatch[]
  /** What was wanted first and cannot be served: then there are no batches. */
  readonly damage: DamagedRange | undefined
}

export interface BatchCutterOptions {
  readonly salt: Buffer
  readonly damage: Damage
  /** Damage that was not known before. */
  readonly onDamage: (range: DamagedRange) => void
}

export class BatchCutter {
  readonly #options: BatchCutterOptions

  constructor(options: BatchCutterOptions) {
    this.#options = options
  }

  /** The batches that hold what is wanted. */
  cut(read: ReadBytes, wanted: OffsetRange): Cut {
    return this.#cut(read, wanted, false)!
  }

  /** The same of bytes that are not believed when they are damaged: undefined then, and nothing is remembered. */
  cutDoubted(read: ReadBytes, wanted: OffsetRange): Cut | undefined {
    return this.#cut(read, wanted, true)
  }

  #cut(read: ReadBytes, wanted: OffsetRange, isDoubted: boolean): Cut | undefined {
    const { segment, offsets, bytes, range } = read
    const { offset, endOffset, limitOffset } = wanted
    const batches: FoundBatch[] = []
    const entry = offsets.floorPosition(range.position)
    let expected = entry < 0 ? segment.baseOffset : offsets.offset(entry)
    let at = 0
    while (at < bytes.length && expected < Math.min(endOffset, limitOffset)) {
      const problem = this.#frameFault(segment, bytes, at, expected, offset)
      if (problem !== undefined) {
        const known = this.#options.damage.at(expected)
        if (known === undefined && isDoubted) return undefined
        const lost = known ?? this.#newDamage(read, { at, offset: expected, limitOffset }, problem)
        const isLoss = lost.nextOffset > expected
        if (isLoss && batches.length > 0) break
        if (isLoss && lost.nextOffset > offset) return { batches: [], damage: lost }
        // What is known of it may end before this range: no later frame was to be found then, and behind it others have been appended since.
        at = Math.max(at, lost.endPosition - range.position)
        expected = lost.nextOffset
        continue
      }
      const batchBytes = frameBatchBytes(bytes, at)
      const start = at + FRAME_BYTES
      at = start + batchBytes
      if (batchBytes === 0) continue
      const end = nextOffset(bytes, start)
      if (end > offset && end <= limitOffset) {
        batches.push({
          batch: bytes.subarray(start, at),
          baseOffset: baseOffset(bytes, start),
          nextOffset: end,
          appendTimeMs: frameAppendTime(bytes, start - FRAME_BYTES),
        })
      }
      expected = end
    }
    return { batches, damage: undefined }
  }

  /**
   * What is wrong with the frame and batch at `at`, if anything. Batches that are only passed over are checked by their frame alone, if they end
   * where their count says: a flipped bit in their length in offsets must not cost the sound ones behind them.
   */
  #frameFault(segment: Segment, bytes: Buffer, at: number, expected: number, offset: number): string | undefined {
    const problem = frameProblem(bytes, at, bytes.length, this.#options.salt)
    if (problem !== undefined) return problem
    const batchBytes = frameBatchBytes(bytes, at)
    if (batchBytes === 0) return undefined
    const start = at + FRAME_BYTES
    if (start + batchBytes > bytes.length) return 'a batch that is longer than the file'
    const found = baseOffset(bytes, start)
    const isSparse = segment.compaction > 0
    if (isSparse ? found < expected : found !== expected)
      return `a batch at offset ${found} where ${expected} comes next`
    const end = nextOffset(bytes, start)
    if (end <= offset && (isSparse || end - expected === recordCount(bytes, start))) return undefined
    return ownFault(bytes, start, start + batchBytes)
  }

  /** Names and remembers what cannot be read: from here to the next sound batch in the bytes read, else to the next index entry behind them. */
  #newDamage(read: ReadBytes, place: DamagedPlace, reason: string): DamagedRange {
    const { segment, offsets, bytes, range } = read
    const { at, offset, limitOffset } = place
    const position = range.position + at
    // The batch of `offset` itself may come next: then a frame without a batch is what is damaged, and nothing is lost.
    const frame = nextBatchFrame(bytes, at + 1, this.#options.salt, offset)
    let end = { nextOffset: 0, endPosition: range.endPosition }
    if (frame >= 0) end = { nextOffset: baseOffset(bytes, frame + FRAME_BYTES), endPosition: range.position + frame }
    else {
      const entry = offsets.floorPosition(range.endPosition - 1) + 1
      if (entry < offsets.count) end.nextOffset = offsets.offset(entry)
      // Where the batch at the limit begins is not known, and behind it stands what was not yet durable: who reads on looks again from here.
      else end = { nextOffset: Math.min(segment.nextOffset, limitOffset), endPosition: position }
    }
    const lost = { file: segment.path, position, offset, reason, ...end }
    if (this.#options.damage.add(lost)) this.#options.onDamage(lost)
    return lost
  }
}

/** Where in the bytes the damage was met, and which offset comes next there. */
interface DamagedPlace {
  readonly at: number
  readonly offset: number
  readonly limitOffset: number
}
