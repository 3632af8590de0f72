/**
 * SegmentReader: batches of one log out of its segment files. Invariants: what is read while a segment is pinned has been read before the pin is
 * released, and what it lies in is held until the caller has looked; damage known is refused by name before anything is read for it.
 * Neighbours: Log and StreamReader ask, read-plan.ts chooses the bytes, BatchCutter checks them, SegmentPool keeps files open.
 */
import assert from 'node:assert/strict'
import type { FrameMemory, FramePiece } from '../protocol/frame-memory.ts'
import { codec } from '../protocol/record-batch.ts'
import type { Yielding } from '../platform/clock.ts'
import type { File } from '../platform/file-system.ts'
import type { BatchCutter, FoundBatch, OffsetRange } from './batch-cutter.ts'
import { corruptBatch } from './damage.ts'
import type { Damage, DamagedRange } from './damage.ts'
import type { FirstPassage } from './first-passage.ts'
import { ReadTurns } from './read-turns.ts'
import { blockGroups, blocksOf, offsetBehind, rangeFrom, segmentPlace } from './read-plan.ts'
import type { Block, ByteRange } from './read-plan.ts'
import type { Segment } from './segment.ts'
import type { LoadIndexes, PinnedSegment, SegmentPool } from './segment-pool.ts'
import { readAround, readNow } from './unreadable.ts'

export type { FoundBatch } from './batch-cutter.ts'

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

/** Bytes read at once when a whole range of a segment is looked through. */
const lookThroughBytes = 1024 * 1024

/** Blocks read side by side for one stream. */
const sideBySideMax = 16
const sideBySideBytesMax = 4 * 1024 * 1024
/** A smaller piece would not be used again (FrameMemory). */
const groupBytesMin = 64 * 1024

export interface SegmentReaderOptions {
  readonly pool: SegmentPool
  readonly cutter: BatchCutter
  readonly damage: Damage
  /** What is read lies in, of all logs. */
  readonly memory: FrameMemory
  readonly firstPassage: FirstPassage
  readonly clock: Yielding
  readonly loadIndexes: LoadIndexes
}

export class SegmentReader {
  readonly #options: SegmentReaderOptions
  readonly #turns: ReadTurns
  /** Where compressed batches were met: they are decompressed off the event loop, so it is not worth reading them at once. */
  readonly #compressed = new WeakSet<Segment>()

  constructor(options: SegmentReaderOptions) {
    this.#options = options
    this.#turns = new ReadTurns(options.clock, sideBySideMax)
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
    visit: (batch: Buffer) => Promise<void> | undefined,
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
      const blocks = blocksOf(pin.indexes.offsets, offsets, endPosition)
      for (const group of blockGroups(blocks, sideBySideMax, sideBySideBytesMax))
        await this.#visitGroup(pin, segment, group, segmentLimit, visit)
    } finally {
      pin.release()
    }
  }

  /**
   * `eachBatchOf` at once: true when all has been visited. False, and nothing visited, where something would have to be waited for, is known to be damaged,
   * compressed or too much for one turn. Most reads of streams end here, and leave little to the collector beside what they answer. Throws corruptBatch.
   */
  eachBatchNow(
    segments: readonly Segment[],
    offsets: readonly number[],
    limitOffset: number,
    visit: (batch: Buffer) => void,
  ): boolean {
    const { pool, damage, memory } = this.#options
    const place = segmentPlace(segments, offsets[0] ?? 0)
    const segment = segments[place]
    if (segment === undefined || this.#compressed.has(segment)) return false
    if (damage.ranges.length > 0 && offsets.some((offset) => damage.at(offset) !== undefined)) return false
    const pin = pool.pinNow(segment)
    if (pin === undefined) return false
    let piece: FramePiece | undefined
    try {
      const blocks = blocksOf(pin.indexes.offsets, offsets, segment.endPosition)
      const bytes = bytesIn(blocks)
      if (bytes > sideBySideBytesMax || !this.#turns.hasRoom(blocks.length)) return false
      piece = memory.take(Math.max(bytes, groupBytesMin))
      const { found: read, missing } = readWarm(pin.file, blocks, piece.bytes)
      if (missing.length > 0) return false
      void this.#turns.take(blocks.length) // there is room
      const segmentLimit = Math.min(limitOffset, segments[place + 1]?.baseOffset ?? Infinity)
      const batches = blocks.flatMap((block, at) => this.#holding(pin, segment, block, read[at]!, segmentLimit))
      if (batches.some(({ batch }) => codec(batch) !== 'none')) {
        this.#compressed.add(segment)
        return false
      }
      for (const { batch } of batches) visit(batch)
      return true
    } finally {
      piece?.letGo()
      pin.release()
    }
  }

  /** The blocks lie in one piece, one behind the other. Of damage that is known, and what follows it, nothing is read. */
  async #visitGroup(
    pin: PinnedSegment,
    segment: Segment,
    group: readonly Block[],
    limitOffset: number,
    visit: (batch: Buffer) => Promise<void> | undefined,
  ): Promise<void> {
    const waiting = this.#turns.take(group.length)
    if (waiting !== undefined) await waiting
    const { blocks, damaged } = this.#untilDamage(group)
    if (blocks.length > 0) await this.#visitBlocks(pin, segment, blocks, limitOffset, visit)
    if (damaged !== undefined) throw corruptBatch(damaged)
  }

  async #visitBlocks(
    pin: PinnedSegment,
    segment: Segment,
    blocks: readonly Block[],
    limitOffset: number,
    visit: (batch: Buffer) => Promise<void> | undefined,
  ): Promise<void> {
    const piece = this.#options.memory.take(Math.max(bytesIn(blocks), groupBytesMin))
    try {
      const found = bytesOf(pin.file, blocks, piece.bytes)
      const read = found instanceof Promise ? await found : found
      for (const [place, block] of blocks.entries()) {
        for (const { batch } of this.#holding(pin, segment, block, read[place]!, limitOffset)) {
          const visiting = visit(batch)
          if (visiting !== undefined) await visiting
        }
      }
    } finally {
      piece.letGo()
    }
  }

  /** The blocks before the first of which some offset is known to be damaged, and that damage. */
  #untilDamage(group: readonly Block[]): { blocks: readonly Block[]; damaged: DamagedRange | undefined } {
    for (const [place, { offsets }] of group.entries()) {
      for (const offset of offsets) {
        const damaged = this.#options.damage.at(offset)
        if (damaged !== undefined) return { blocks: group.slice(0, place), damaged }
      }
    }
    return { blocks: group, damaged: undefined }
  }

  /** The batches of the block that hold its offsets. Throws corruptBatch. */
  #holding(
    pin: PinnedSegment,
    segment: Segment,
    { range, offsets: wanted }: Block,
    bytes: Buffer,
    limitOffset: number,
  ): FoundBatch[] {
    const [offset, last] = [wanted[0] ?? 0, wanted.at(-1) ?? 0]
    const { offsets } = pin.indexes
    const cut = this.#options.cutter.cut(
      { segment, offsets, bytes, range },
      { offset, endOffset: last + 1, limitOffset },
    )
    const { batches } = cut
    const end = batches.at(-1)?.nextOffset ?? 0
    const damaged = cut.damage ?? (last >= end ? this.#options.damage.at(end) : undefined)
    if (damaged !== undefined) throw corruptBatch(damaged)
    if (last >= end && segment.compaction === 0) throw new Error(`${segment.path}: offset ${last} is not in its block`)
    let at = 0
    const holding: FoundBatch[] = []
    for (const batch of batches) {
      while ((wanted[at] ?? Infinity) < batch.baseOffset) at++
      if ((wanted[at] ?? Infinity) < batch.nextOffset) holding.push(batch)
    }
    return holding
  }

  /** The first batch at `from` or later that `wanted` answers true for, as far as the time index can tell where to look; undefined = none. */
  async find(
    segment: Segment,
    { from, timestampMs, clock, limitOffset }: TimeRange,
    wanted: (batch: FoundBatch) => boolean,
  ): Promise<FoundBatch | undefined> {
    const { endPosition } = segment
    const { damage, cutter, pool, loadIndexes } = this.#options
    const pin = await pool.pin(segment, loadIndexes)
    try {
      const { offsets, times } = pin.indexes
      if (offsets.count === 0) return undefined
      let offset = Math.max(from, offsets.offset(times.startEntry(timestampMs, clock)))
      while (offset < limitOffset) {
        const damaged = damage.at(offset)
        if (damaged !== undefined) {
          offset = damaged.nextOffset
          continue
        }
        const range = rangeFrom(offsets, offset, lookThroughBytes, endPosition)
        const bytes = await readRange(pin.file, range, Buffer.allocUnsafeSlow(lengthOf(range)))
        const { batches } = cutter.cut(
          { segment, offsets, bytes, range },
          { offset, endOffset: limitOffset, limitOffset },
        )
        const last = batches.at(-1)
        for (const batch of batches) if (wanted(batch)) return batch
        if (last === undefined && damage.at(offset) === undefined) {
          if (segment.compaction === 0) return undefined
          offset = offsetBehind(offsets, range, limitOffset)
        } else offset = last?.nextOffset ?? offset
      }
      return undefined
    } finally {
      pin.release()
    }
  }

  /** What damage the bytes that were read past the page cache have is believed once they are read through it. */
  async #readAndCut(pin: PinnedSegment, segment: Segment, range: ByteRange, wanted: OffsetRange): Promise<BatchesRead> {
    const { memory, firstPassage, cutter } = this.#options
    const { offsets } = pin.indexes
    const piece = memory.take(lengthOf(range))
    const target = piece.bytes.subarray(0, lengthOf(range))
    try {
      const isPassed = await firstPassage.read(pin.file, segment, range, target)
      const passed = isPassed ? cutter.cutDoubted({ segment, offsets, bytes: target, range }, wanted) : undefined
      const bytes = passed === undefined ? await readRange(pin.file, range, target) : target
      const { batches, damage } = passed ?? cutter.cut({ segment, offsets, bytes, range }, wanted)
      if (damage !== undefined) throw corruptBatch(damage)
      return { batches, piece }
    } catch (error) {
      piece.letGo()
      throw error
    }
  }
}

export interface TimeRange {
  readonly from: number
  readonly timestampMs: number
  readonly clock: 'event' | 'append'
  readonly limitOffset: number
}

/** The bytes of each block, one behind the other in `target`, as far as they are in memory; `missing`: the places of the others. */
function readWarm(file: File, blocks: readonly Block[], target: Buffer): { found: Buffer[]; missing: number[] } {
  const found: Buffer[] = []
  const missing: number[] = []
  let at = 0
  for (const [place, { range }] of blocks.entries()) {
    const part = target.subarray(at, at + lengthOf(range))
    const count = readNow(file, part, range.position)
    if (count === undefined) missing.push(place)
    found.push(count === undefined || count === part.length ? part : part.subarray(0, count))
    at += part.length
  }
  return { found, missing }
}

/** The same, and the others read. All reads have ended when it settles. */
function bytesOf(file: File, blocks: readonly Block[], target: Buffer): Buffer[] | Promise<Buffer[]> {
  const { found, missing } = readWarm(file, blocks, target)
  return missing.length === 0 ? found : readMissing(file, blocks, found, missing)
}

async function readMissing(
  file: File,
  blocks: readonly Block[],
  found: Buffer[],
  missing: readonly number[],
): Promise<Buffer[]> {
  const reads = missing.map((place) => readRange(file, blocks[place]!.range, found[place]!))
  for (const [index, result] of (await Promise.allSettled(reads)).entries()) {
    if (result.status === 'rejected') throw result.reason
    found[missing[index]!] = result.value
  }
  return found
}

function bytesIn(blocks: readonly Block[]): number {
  let sum = 0
  for (const { range } of blocks) sum += lengthOf(range)
  return sum
}

function lengthOf({ position, endPosition }: ByteRange): number {
  return endPosition - position
}

async function readRange(file: File, range: ByteRange, bytes: Buffer): Promise<Buffer> {
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
