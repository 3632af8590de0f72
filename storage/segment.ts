/**
 * Segment: one file of a partition and what is known of it: its range of offsets, its end, its sparse indexes. The active one grows, the
 * sealed ones never change; a sealed one may be closed and opened again (segment-pool.ts).
 * Invariant: `endPosition` is where the next frame goes and never passes `allocatedEnd`; indexes cover exactly the batches taken in.
 * Neighbours: Log assigns places in it, Appender writes to its file, ReadPlan looks up positions.
 */
import assert from 'node:assert/strict'
import type { File } from '../platform/file-system.ts'
import { OffsetIndex } from './offset-index.ts'
import type { SegmentChecksum } from './segment-checksum.ts'
import { FRAME_BYTES, SEGMENT_HEADER_BYTES } from './segment-format.ts'
import type { Footer } from './sidecar-format.ts'
import { indexIntervalBytes } from './storage-settings.ts'
import { TimeIndex } from './time-index.ts'

export interface SegmentIndexes {
  readonly offsets: OffsetIndex
  readonly times: TimeIndex
}

/** The facts of a batch that a segment keeps. */
export interface BatchFacts {
  readonly baseOffset: number
  readonly nextOffset: number
  readonly recordCount: number
  readonly leaderEpoch: number
  /** Largest event time in the batch, as its header says. */
  readonly maxTimestamp: number
}

export class Segment {
  readonly baseOffset: number
  readonly path: string
  nextOffset: number
  /** Of the next frame; of the end of the file once sealed. */
  endPosition = SEGMENT_HEADER_BYTES
  /** Bytes below this are there, as zeros or frames. */
  allocatedEnd = SEGMENT_HEADER_BYTES
  batchCount = 0
  /** Of the frame of the last batch; -1 while there is none. */
  lastBatchPosition = -1
  /** Behind the last batch: frames without a batch may follow, and those may be lost. */
  batchesEnd = SEGMENT_HEADER_BYTES
  /** Of the last batch; of the one before the segment while there is none. */
  leaderEpoch = -1
  recordCount = 0
  /** Largest event time so far; -Infinity while there is no batch. */
  maxTimestamp = -Infinity
  firstAppendTimeMs = 0
  lastAppendTimeMs = 0
  /** Takes no more batches. */
  sealed = false
  /** How often it was rewritten; if at all, batches may lie anywhere behind one another. */
  compaction = 0
  /** Append time of its oldest record without a value, if it was rewritten; 0 = none. */
  tombstoneMs = 0
  /** Something in it cannot be read: it is kept byte for byte, and gets no sidecar. */
  damaged = false
  /** It is not part of the log any more: its file may be removed, or be another one by now. Whoever holds it open reads on. */
  gone = false
  /** Open for the active one; for a sealed one only while the pool keeps it open. */
  file: File | undefined
  /** Of what was written since the file was made; undefined when that was in an earlier run. */
  checksum: SegmentChecksum | undefined
  indexes: SegmentIndexes | undefined = { offsets: new OffsetIndex(), times: new TimeIndex() }

  constructor(path: string, baseOffset: number) {
    this.path = path
    this.baseOffset = baseOffset
    this.nextOffset = baseOffset
  }

  /** Is the sealed segment that the footer speaks of; its indexes are read when they are wanted. */
  takeFooter(footer: Footer): void {
    this.nextOffset = footer.nextOffset
    this.endPosition = footer.segmentBytes
    this.allocatedEnd = footer.segmentBytes
    this.batchCount = footer.batches
    this.recordCount = footer.records
    this.maxTimestamp = footer.maxTimestamp
    this.firstAppendTimeMs = footer.firstAppendTimeMs
    this.lastAppendTimeMs = footer.lastAppendTimeMs
    this.leaderEpoch = footer.leaderEpoch
    this.compaction = footer.compaction
    this.indexes = undefined
    this.sealed = true
  }

  /** Makes room for a frame without a batch. Answers its position. */
  takeFloorFrame(): number {
    const position = this.endPosition
    this.endPosition += FRAME_BYTES
    assert(this.endPosition <= this.allocatedEnd)
    return position
  }

  /** The same for one found in the file. */
  takeFloorFrameAt(position: number): void {
    assert(position >= this.endPosition)
    this.endPosition = position + FRAME_BYTES
  }

  /** Takes in the batch that comes next. Answers the position of its frame. */
  takeBatch(facts: BatchFacts, batchBytes: number, appendTimeMs: number): number {
    const position = this.endPosition
    this.takeBatchAt(position, facts, batchBytes, appendTimeMs)
    assert(this.endPosition <= this.allocatedEnd)
    return position
  }

  /** The same for a batch found in the file, at or after the present end. */
  takeBatchAt(position: number, facts: BatchFacts, batchBytes: number, appendTimeMs: number): void {
    assert(!this.sealed && position >= this.endPosition && facts.baseOffset >= this.nextOffset)
    const { offsets, times } = this.#openIndexes()
    // Behind damage too: a block between two entries must not begin before it and end after it.
    const gap = facts.baseOffset > this.nextOffset && this.compaction === 0
    if (offsets.count === 0 || gap || position >= offsets.position(offsets.count - 1) + indexIntervalBytes) {
      offsets.add(facts.baseOffset, position)
      times.add(appendTimeMs, this.maxTimestamp)
    }
    if (this.batchCount === 0) this.firstAppendTimeMs = appendTimeMs
    this.lastAppendTimeMs = appendTimeMs
    this.batchCount++
    this.lastBatchPosition = position
    this.leaderEpoch = facts.leaderEpoch
    this.recordCount += facts.recordCount
    this.maxTimestamp = Math.max(this.maxTimestamp, facts.maxTimestamp)
    this.nextOffset = facts.nextOffset
    this.endPosition = position + FRAME_BYTES + batchBytes
    this.batchesEnd = this.endPosition
  }

  #openIndexes(): SegmentIndexes {
    assert(this.indexes !== undefined, `${this.path} has no indexes`)
    return this.indexes
  }
}
