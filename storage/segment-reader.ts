/**
 * SegmentReader: batches of one log out of its segment files, each checked before it is given out: frame and batch checksums, salt, and
 * that it stands where the log says. Invariant: nothing that fails a check is ever given out; the damage is remembered and named, and reads
 * before and after it go on.
 * Neighbours: Log and StreamReader ask, read-plan.ts chooses the bytes, SegmentPool keeps files open.
 */
import assert from 'node:assert/strict'
import { baseOffset, nextOffset, recordCount } from '../protocol/record-batch.ts'
import { isPlayheadError } from '../protocol/errors.ts'
import type { FrameMemory, FramePiece } from '../protocol/frame-memory.ts'
import type { File } from '../platform/file-system.ts'
import { corruptBatch } from './damage.ts'
import type { Damage, DamagedRange } from './damage.ts'
import { nextBatchFrame } from './frame-search.ts'
import type { FirstPassage } from './first-passage.ts'
import { blocksOf, offsetBehind, rangeFrom, segmentPlace } from './read-plan.ts'
import type { Block, ByteRange } from './read-plan.ts'
import type { Segment } from './segment.ts'
import { FRAME_BYTES, frameAppendTime, frameBatchBytes, frameProblem } from './segment-format.ts'
import type { LoadIndexes, PinnedSegment, SegmentPool } from './segment-pool.ts'
import { ownFault } from './segment-scan.ts'
import { readAround } from './unreadable.ts'

/** A batch in its place. `bytes` is the batch alone. */
export interface FoundBatch {
  readonly batch: Buffer
  readonly baseOffset: number
  readonly nextOffset: number
  readonly appendTimeMs: number
}

/** Batches and what they lie in, held for the caller. */
export interface BatchesRead {
  readonly batches: readonly FoundBatch[]
  readonly piece: FramePiece
}

export interface RangeRead {
  readonly batches: readonly FoundBatch[]
  /** Undefined without batches. */
  readonly piece: FramePiece | undefined
  /** Where to read on. */
  readonly nextOffset: number
}

/** Thrown by #cut for doubted bytes. */
const doubted = new Error('found damage that was not known')

/** Bytes read at once when a whole range of a segment is looked through. */
const lookThroughBytes = 1024 * 1024

/** Blocks read side by side for one stream. */
const sideBySideMax = 16
const sideBySideBytesMax = 4 * 1024 * 1024

export interface SegmentReaderOptions {
  readonly pool: SegmentPool
  readonly salt: Buffer
  readonly damage: Damage
  /** What is read lies in, of all logs. */
  readonly memory: FrameMemory
  readonly firstPassage: FirstPassage
  readonly loadIndexes: LoadIndexes
  /** Damage that was not known before. */
  readonly onDamage: (range: DamagedRange) => void
}

export class SegmentReader {
  readonly #options: SegmentReaderOptions

  constructor(options: SegmentReaderOptions) {
    this.#options = options
  }

  /**
   * Whole batches from the one that holds `offset` on, below `limitOffset`, up to `maxBytes` but at least one, unless compaction has removed all from there
   * on. `segments` is the log's list as of now. They lie in the piece, which is held for the caller. Throws corruptBatch when the batch of `offset` itself
   * cannot be served.
   */
  async read(segments: readonly Segment[], offset: number, limitOffset: number, maxBytes: number): Promise<RangeRead> {
    for (let from = offset; ; ) {
      const { batches, piece, next } = await this.#readBlocks(segments, from, limitOffset, maxBytes)
      const last = batches.at(-1)
      if (last !== undefined) return { batches, piece, nextOffset: last.nextOffset }
      piece.letGo()
      if (next <= from || next >= limitOffset)
        return { batches: [], piece: undefined, nextOffset: Math.max(from, Math.min(next, limitOffset)) }
      from = next
    }
  }

  /** `next`: where to look on if there was none. */
  async #readBlocks(
    segments: readonly Segment[],
    offset: number,
    limitOffset: number,
    maxBytes: number,
  ): Promise<BatchesRead & { readonly next: number }> {
    const damaged = this.#options.damage.at(offset)
    if (damaged !== undefined) throw corruptBatch(damaged)
    const place = segmentPlace(segments, offset)
    const segment = segments[place]
    assert(segment !== undefined, 'the caller checked the offset against the log')
    const { endPosition } = segment
    const segmentLimit = Math.min(limitOffset, segments[place + 1]?.baseOffset ?? Infinity)
    const pin = await this.#options.pool.pin(segment, this.#options.loadIndexes)
    try {
      const range = rangeFrom(pin.indexes.offsets, offset, maxBytes, endPosition)
      const wanted = { offset, endOffset: segmentLimit, limitOffset: segmentLimit }
      const { batches: found, piece } = await this.#readAndCut(pin, segment, range, wanted)
      const next = segment.compaction === 0 ? offset : offsetBehind(pin.indexes.offsets, range, segmentLimit)
      return { batches: withinBytes(found, maxBytes), piece, next }
    } finally {
      pin.release()
    }
  }

  /**
   * Visits the batches that hold `offsets` (ascending, all of one segment, all below `limitOffset`), in order. Blocks are read side by side, a
   * bounded number of bytes at a time. A batch must not be referred to after its visit. Throws corruptBatch.
   */
  async eachBatchOf(
    segments: readonly Segment[],
    offsets: readonly number[],
    limitOffset: number,
    visit: (batch: Buffer) => Promise<void>,
  ): Promise<void> {
    const place = segmentPlace(segments, offsets[0] ?? 0)
    const segment = segments[place]
    const missing = segment === undefined ? this.#options.damage.at(offsets[0] ?? 0) : undefined
    if (missing !== undefined) throw corruptBatch(missing)
    assert(segment !== undefined)
    const { endPosition } = segment
    const segmentLimit = Math.min(limitOffset, segments[place + 1]?.baseOffset ?? Infinity)
    const pin = await this.#options.pool.pin(segment, this.#options.loadIndexes)
    try {
      let reads: Promise<BatchesRead>[] = []
      let bytes = 0
      for (const block of blocksOf(pin.indexes.offsets, offsets, endPosition)) {
        reads.push(this.#holding(pin, segment, block, segmentLimit))
        bytes += block.range.endPosition - block.range.position
        if (bytes < sideBySideBytesMax && reads.length < sideBySideMax) continue
        await visitAll(reads, visit)
        reads = []
        bytes = 0
      }
      await visitAll(reads, visit)
    } finally {
      pin.release()
    }
  }

  /** The first batch at `from` or later that `wanted` answers true for, as far as the time index can tell where to look; undefined = none. */
  async find(
    segment: Segment,
    { from, timestampMs, clock, limitOffset }: TimeRange,
    wanted: (batch: FoundBatch) => boolean,
  ): Promise<FoundBatch | undefined> {
    const { endPosition } = segment
    const pin = await this.#options.pool.pin(segment, this.#options.loadIndexes)
    try {
      const { offsets, times } = pin.indexes
      if (offsets.count === 0) return undefined
      let offset = Math.max(from, offsets.offset(times.startEntry(timestampMs, clock)))
      while (offset < limitOffset) {
        const damaged = this.#options.damage.at(offset)
        if (damaged !== undefined) {
          offset = damaged.nextOffset
          continue
        }
        const range = rangeFrom(offsets, offset, lookThroughBytes, endPosition)
        const bytes = await readRange(pin.file, range)
        const batches = this.#soundIn(pin, segment, { bytes, range }, { offset, endOffset: limitOffset, limitOffset })
        const last = batches.at(-1)
        for (const batch of batches) if (wanted(batch)) return batch
        if (last === undefined && this.#options.damage.at(offset) === undefined) {
          if (segment.compaction === 0) return undefined
          offset = offsetBehind(offsets, range, limitOffset)
        } else offset = last?.nextOffset ?? offset
      }
      return undefined
    } finally {
      pin.release()
    }
  }

  async #holding(
    pin: PinnedSegment,
    segment: Segment,
    { range, offsets }: Block,
    limitOffset: number,
  ): Promise<BatchesRead> {
    for (const offset of offsets) {
      const damaged = this.#options.damage.at(offset)
      if (damaged !== undefined) throw corruptBatch(damaged)
    }
    const last = offsets.at(-1) ?? 0
    const { bytes, piece } = await this.#readPiece(pin.file, range)
    const batches = this.#cut(
      pin,
      segment,
      { bytes, range },
      { offset: offsets[0] ?? 0, endOffset: last + 1, limitOffset },
    )
    const end = batches.at(-1)?.nextOffset ?? 0
    const damaged = last >= end ? this.#options.damage.at(end) : undefined
    if (damaged !== undefined) throw corruptBatch(damaged)
    assert(last < end || segment.compaction > 0, `${segment.path}: offset ${last} is not in its block`)
    let at = 0
    const holding = batches.filter((batch) => {
      while ((offsets[at] ?? Infinity) < batch.baseOffset) at++
      return (offsets[at] ?? Infinity) < batch.nextOffset
    })
    return { batches: holding, piece }
  }

  /** What damage the bytes that were read past the page cache have is believed once they are read through it. */
  async #readAndCut(pin: PinnedSegment, segment: Segment, range: ByteRange, wanted: OffsetRange): Promise<BatchesRead> {
    const rangeBytes = range.endPosition - range.position
    const piece = this.#options.memory.take(rangeBytes)
    const target = piece.bytes.subarray(0, rangeBytes)
    try {
      const isPassed = await this.#options.firstPassage.read(pin.file, segment, range, target)
      const batches = isPassed ? this.#cutIfSound(pin, segment, { bytes: target, range }, wanted) : undefined
      if (batches !== undefined) return { batches, piece }
      const bytes = await readRange(pin.file, range, target)
      return { batches: this.#cut(pin, segment, { bytes, range }, wanted), piece }
    } catch (error) {
      piece.letGo()
      throw error
    }
  }

  /** The bytes of the range in a piece that is held for the caller. */
  async #readPiece(file: File, range: ByteRange): Promise<{ bytes: Buffer; piece: FramePiece }> {
    const rangeBytes = range.endPosition - range.position
    const piece = this.#options.memory.take(rangeBytes)
    return { bytes: await readRange(file, range, piece.bytes.subarray(0, rangeBytes)), piece }
  }

  /** As #cut, none when damage comes first. */
  #soundIn(pin: PinnedSegment, segment: Segment, read: ReadBytes, wanted: OffsetRange): FoundBatch[] {
    try {
      return this.#cut(pin, segment, read, wanted)
    } catch (error) {
      if (isPlayheadError(error, 'corruptBatch')) return []
      throw error
    }
  }

  /** As #cut, undefined when damage comes that was not known. */
  #cutIfSound(
    pin: PinnedSegment,
    segment: Segment,
    read: ReadBytes,
    wanted: OffsetRange,
  ): readonly FoundBatch[] | undefined {
    try {
      return this.#cut(pin, segment, { ...read, isDoubted: true }, wanted)
    } catch (error) {
      if (error === doubted) return undefined
      throw error
    }
  }

  /** The batches in `range` that hold what is wanted, up to the first damage. Throws corruptBatch when that comes first. */
  #cut(
    pin: PinnedSegment,
    segment: Segment,
    { bytes, range, isDoubted }: ReadBytes,
    wanted: OffsetRange,
  ): FoundBatch[] {
    const { offset, endOffset, limitOffset } = wanted
    const batches: FoundBatch[] = []
    const entry = pin.indexes.offsets.floorPosition(range.position)
    let expected = entry < 0 ? segment.baseOffset : pin.indexes.offsets.offset(entry)
    let at = 0
    while (at < bytes.length && expected < Math.min(endOffset, limitOffset)) {
      const problem = this.#frameFault(segment, bytes, at, expected, offset)
      if (problem !== undefined) {
        const place = { bytes, at, offset: expected, range, limitOffset }
        const known = this.#options.damage.at(expected)
        if (known === undefined && isDoubted === true) throw doubted
        const lost = known ?? this.#newDamage(pin, segment, place, problem)
        const isLoss = lost.nextOffset > expected
        if (isLoss && batches.length > 0) break
        if (isLoss && lost.nextOffset > offset) throw corruptBatch(lost)
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
        const batch = bytes.subarray(start, at)
        batches.push({
          batch,
          baseOffset: baseOffset(bytes, start),
          nextOffset: end,
          appendTimeMs: frameAppendTime(bytes, start - FRAME_BYTES),
        })
      }
      expected = end
    }
    return batches
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
  #newDamage(pin: PinnedSegment, segment: Segment, place: DamagedPlace, reason: string): DamagedRange {
    const { bytes, at, offset, range } = place
    const { offsets } = pin.indexes
    const position = range.position + at
    // The batch of `offset` itself may come next: then a frame without a batch is what is damaged, and nothing is lost.
    const frame = nextBatchFrame(bytes, at + 1, this.#options.salt, offset)
    let end = { nextOffset: 0, endPosition: range.endPosition }
    if (frame >= 0) end = { nextOffset: baseOffset(bytes, frame + FRAME_BYTES), endPosition: range.position + frame }
    else {
      const entry = offsets.floorPosition(range.endPosition - 1) + 1
      if (entry < offsets.count) end.nextOffset = offsets.offset(entry)
      // Where the batch at the limit begins is not known, and behind it stands what was not yet durable: who reads on looks again from here.
      else end = { nextOffset: Math.min(segment.nextOffset, place.limitOffset), endPosition: position }
    }
    const lost = { file: segment.path, position, offset, reason, ...end }
    if (this.#options.damage.add(lost)) this.#options.onDamage(lost)
    return lost
  }
}

export interface TimeRange {
  readonly from: number
  readonly timestampMs: number
  readonly clock: 'event' | 'append'
  readonly limitOffset: number
}

/** Batches are wanted from the one that holds `offset` to the one that holds the last before `endOffset`, if they end at or before `limitOffset`. */
interface OffsetRange {
  readonly offset: number
  readonly endOffset: number
  readonly limitOffset: number
}

/** What the file has at `range`. */
interface ReadBytes {
  readonly bytes: Buffer
  readonly range: ByteRange
  /** Nothing is remembered as damaged by them. */
  readonly isDoubted?: true
}

/** Where in the bytes of `range` the damage was met, and which offset comes next there. */
interface DamagedPlace {
  readonly bytes: Buffer
  readonly at: number
  readonly offset: number
  readonly range: ByteRange
  readonly limitOffset: number
}

async function visitAll(
  reads: readonly Promise<BatchesRead>[],
  visit: (batch: Buffer) => Promise<void>,
): Promise<void> {
  const results = await Promise.allSettled(reads) // all end before the pin is released
  try {
    for (const result of results) {
      if (result.status === 'rejected') throw result.reason
      for (const { batch } of result.value.batches) await visit(batch)
    }
  } finally {
    for (const result of results) if (result.status === 'fulfilled') result.value.piece.letGo()
  }
}

async function readRange(
  file: File,
  range: ByteRange,
  bytes: Buffer = Buffer.allocUnsafeSlow(range.endPosition - range.position),
): Promise<Buffer> {
  const count = await readAround(file, bytes, range.position)
  return count === bytes.length ? bytes : bytes.subarray(0, count)
}

function withinBytes(batches: readonly FoundBatch[], maxBytes: number): readonly FoundBatch[] {
  let bytes = 0
  let count = 0
  for (const batch of batches) {
    bytes += batch.batch.length
    if (count > 0 && bytes > maxBytes) break
    count++
  }
  return count === batches.length ? batches : batches.slice(0, count)
}
