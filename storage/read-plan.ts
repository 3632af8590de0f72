/**
 * Read plan: which segment holds an offset and which bytes of it to read, from the sparse index alone. Synchronous: what it answers is taken
 * before the first await of a read (H5). A block is what lies between two index entries: it begins with a batch's frame and holds whole
 * batches only, so a read never has to come back for the rest of one.
 */
import type { OffsetIndex } from './offset-index.ts'
import type { Segment } from './segment.ts'
import { SEGMENT_HEADER_BYTES } from './segment-format.ts'
import { indexIntervalBytes } from './storage-settings.ts'

/** Bytes of a segment file. */
export interface ByteRange {
  readonly position: number
  readonly endPosition: number
}

/** Bytes between two index entries, and the offsets wanted from them. */
export interface Block {
  readonly range: ByteRange
  readonly offsets: readonly number[]
}

/** The place in `segments` (in order of offsets) of the one that holds `offset`, or would; -1 when it lies before the first. */
export function segmentPlace(segments: readonly Segment[], offset: number): number {
  let low = 0
  let high = segments.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((segments[middle]?.baseOffset ?? 0) <= offset) low = middle + 1
    else high = middle
  }
  return low - 1
}

/**
 * The block that holds the batch of `offset`. What lies before the first entry is a block too: there is nothing in it but frames without a batch,
 * unless the first batches are damaged.
 */
export function blockOf(index: OffsetIndex, offset: number, endPosition: number): ByteRange {
  const entry = index.floorOffset(offset)
  return {
    position: entry < 0 ? SEGMENT_HEADER_BYTES : index.position(entry),
    endPosition: blockEnd(index, entry, endPosition),
  }
}

/** Whole blocks from the one that holds `offset` on, with at least `maxBytes` behind it as far as the segment has them. */
export function rangeFrom(index: OffsetIndex, offset: number, maxBytes: number, endPosition: number): ByteRange {
  const first = blockOf(index, offset, endPosition)
  const wanted = first.position + indexIntervalBytes + maxBytes
  if (wanted >= endPosition) return { position: first.position, endPosition }
  const last = index.floorPosition(wanted)
  return { position: first.position, endPosition: Math.max(first.endPosition, last < 0 ? 0 : index.position(last)) }
}

/** The blocks that hold the batches of `offsets`, which ascend. */
export function blocksOf(index: OffsetIndex, offsets: readonly number[], endPosition: number): Block[] {
  const blocks: Block[] = []
  for (let at = 0; at < offsets.length; ) {
    const range = blockOf(index, offsets[at] ?? 0, endPosition)
    let end = at + 1
    while (end < offsets.length && blockOf(index, offsets[end] ?? 0, endPosition)?.position === range.position) end++
    blocks.push({ range, offsets: offsets.slice(at, end) })
    at = end
  }
  return blocks
}

/** The blocks in their order, in groups of at most so many, each ended by the block that brings it to so many bytes. */
export function* blockGroups(blocks: readonly Block[], blocksMax: number, bytesMax: number): Generator<Block[]> {
  let group: Block[] = []
  let bytes = 0
  for (const block of blocks) {
    group.push(block)
    bytes += block.range.endPosition - block.range.position
    if (group.length < blocksMax && bytes < bytesMax) continue
    yield group
    group = []
    bytes = 0
  }
  if (group.length > 0) yield group
}

/** Where the first batch behind these bytes of a segment begins; `limitOffset` when there is none. */
export function offsetBehind(offsets: OffsetIndex, range: ByteRange, limitOffset: number): number {
  const entry = offsets.floorPosition(range.endPosition - 1) + 1
  return Math.min(limitOffset, entry < offsets.count ? offsets.offset(entry) : limitOffset)
}

function blockEnd(index: OffsetIndex, entry: number, endPosition: number): number {
  return entry + 1 < index.count ? index.position(entry + 1) : endPosition
}
