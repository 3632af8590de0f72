/**
 * SegmentRecovery: one segment file at recovery. Taken from its footer where that holds; else read from its beginning, or from the
 * checkpoint, with a verdict wherever a frame is not valid (recovery.ts has the rules).
 * Invariant: what it answers holds valid batches only, and what of a last segment is not proven durable has been made durable.
 */
import assert from 'node:assert/strict'
import { PlayheadError } from '../protocol/errors.ts'
import { nextOffset } from '../protocol/record-batch.ts'
import type { File } from '../platform/file-system.ts'
import { batchFactsAt } from './batch-facts.ts'
import type { Damage } from './damage.ts'
import { searchBehindDamage } from './damage-search.ts'
import type { RecoveryCheckpoint } from './recovery-checkpoint.ts'
import { Segment } from './segment.ts'
import { FRAME_BYTES, frameBatchBytes, frameProblem, SEGMENT_HEADER_BYTES } from './segment-format.ts'
import type { SegmentFile } from './segment-files.ts'
import type { ScanWindow } from './scan-slices.ts'
import { ownFault, scanSegment } from './segment-scan.ts'
import type { LogPlace, ScanEnd, ScannedFrame } from './segment-scan.ts'
import type { LogIdentity, StorageContext } from './storage-context.ts'
import { repairTail } from './tail-repair.ts'
import { isUnreadable, readingAround } from './unreadable.ts'

export interface SegmentRecoveryOptions {
  readonly context: StorageContext
  readonly identity: LogIdentity
  readonly salt: Buffer
  readonly entry: SegmentFile
  /** Where the next segment begins; undefined for the last one. All before it was durable when that was made. */
  readonly nextBase: number | undefined
  /** Of the last batch before the segment. */
  readonly leaderEpoch: number
  readonly checkpoint: RecoveryCheckpoint | undefined
  /** The stream index has everything below this. */
  readonly indexedTo: number
  readonly damage: Damage
}

type Visit = (frame: ScannedFrame) => Promise<void> | undefined

export class SegmentRecovery {
  /** Everything below this is proven durable, as far as this segment tells. */
  floor: number
  /** As far as a frame on disk says so, or the next segment by being there: what no deletion of derived files takes away. */
  frameFloor: number
  readonly #options: SegmentRecoveryOptions
  readonly #segment: Segment
  /** Batches past the floor, in order: what may not be on disk yet. */
  #unproven: { end: number; nextOffset: number }[] = []
  /** Behind the last batch that is proven durable. Frames without a batch that follow it were never synced themselves: nothing proves them. */
  #provenEnd = SEGMENT_HEADER_BYTES

  constructor(options: SegmentRecoveryOptions) {
    this.#options = options
    this.#segment = new Segment(options.entry.path, options.entry.baseOffset)
    this.#segment.leaderEpoch = options.leaderEpoch
    this.#segment.compaction = options.entry.compaction
    this.#segment.tombstoneMs = options.entry.tombstoneMs
    this.floor = options.entry.baseOffset
    this.frameFloor = options.entry.baseOffset
  }

  /**
   * The segment as its footer says; undefined when it has none, or one that goes on behind the beginning of the next segment. Where it ends before
   * that, a whole segment is missing between the two.
   */
  fromFooter(): Segment | undefined {
    const { entry, nextBase } = this.#options
    const { footer } = entry
    if (footer === undefined || nextBase === undefined || footer.nextOffset > nextBase) return undefined
    const segment = this.#segment
    segment.takeFooter(footer)
    this.floor = footer.nextOffset
    this.frameFloor = footer.nextOffset
    return segment
  }

  /** Reads the segment. It comes back with its file open, unless it is damaged. */
  async scan(visit: Visit): Promise<Segment> {
    const { context, entry, nextBase } = this.#options
    const segment = this.#segment
    const file = await context.fileSystem.open(entry.path, 'write')
    try {
      const reading = nextBase === undefined ? file : readingAround(file)
      const from = (await this.#fromCheckpoint(reading)) ?? this.#start()
      await this.#readThrough(reading, from, visit)
      if (nextBase === undefined) {
        this.frameFloor = await repairTail({
          context,
          salt: this.#options.salt,
          segment,
          file,
          frameFloor: this.frameFloor,
          unprovenFrom: this.#provenEnd < segment.endPosition ? this.#provenEnd : undefined,
        })
        this.floor = segment.nextOffset
      }
    } catch (error) {
      await file.close()
      throw isUnreadable(error) ? unreadable(entry.path, error) : error
    }
    if (nextBase !== undefined || segment.damaged) segment.sealed = true
    segment.allocatedEnd = segment.endPosition
    if (segment.damaged) await file.close()
    else segment.file = file
    return segment
  }

  /** Visits the batches of a segment that was opened already, for what is derived from them. */
  async replay(segment: Segment, visit: Visit): Promise<void> {
    const { context, entry } = this.#options
    const opened = await context.fileSystem.open(entry.path, 'read')
    try {
      await context.scanWindows.lend(segment.endPosition, (windows) =>
        this.#replayFrom(readingAround(opened), segment, windows, visit),
      )
    } finally {
      await opened.close()
    }
  }

  async #replayFrom(file: File, segment: Segment, windows: ScanWindow | undefined, visit: Visit): Promise<void> {
    const { context, salt } = this.#options
    let place = this.#start()
    while (place.nextOffset < segment.nextOffset) {
      const end = await scanSegment(
        {
          file,
          salt,
          from: place,
          endPosition: segment.endPosition,
          endOffset: segment.nextOffset,
          isSparse: segment.compaction > 0,
          windows,
          clock: context.clock,
        },
        visit,
      )
      if (end.nextOffset >= segment.nextOffset) break
      const next = await this.#searchBehind(file, end, segment.nextOffset)
      if (next.batch === undefined) break
      place = { position: next.batch.position, nextOffset: next.batch.baseOffset, leaderEpoch: end.leaderEpoch }
    }
  }

  #start(): LogPlace {
    return {
      position: SEGMENT_HEADER_BYTES,
      nextOffset: this.#options.entry.baseOffset,
      leaderEpoch: this.#options.leaderEpoch,
    }
  }

  /** Ahead through windows, if there are any, and through a descriptor of its own, which goes with what it was read past the page cache with. */
  #readThrough(file: File, from: LogPlace, visit: Visit): Promise<void> {
    const { context, entry, nextBase } = this.#options
    return context.scanWindows.lend(entry.sizeBytes - from.position, async (windows) => {
      if (windows === undefined) return this.#readOn(file, from, windows, visit)
      const opened = await context.fileSystem.open(entry.path, 'read')
      try {
        await this.#readOn(nextBase === undefined ? opened : readingAround(opened), from, windows, visit)
      } finally {
        await opened.close().catch(() => undefined) // it was only read from
      }
    })
  }

  async #readOn(file: File, from: LogPlace, windows: ScanWindow | undefined, visit: Visit): Promise<void> {
    const { context, entry, salt, nextBase } = this.#options
    const segment = this.#segment
    for (let place = from; ; ) {
      const end = await scanSegment(
        {
          file,
          salt,
          from: place,
          endPosition: entry.sizeBytes,
          endOffset: nextBase ?? Infinity,
          isSparse: segment.compaction > 0,
          windows,
          clock: context.clock,
        },
        (frame) => this.#take(frame, visit),
      )
      if (end.nextOffset === nextBase) {
        segment.nextOffset = nextBase // in a rewritten one the last batches may be gone
        return
      }
      const behind =
        end.problem === undefined
          ? { floor: -1, batch: undefined }
          : await this.#searchBehind(file, end, nextBase ?? Infinity)
      const proven = nextBase ?? Math.max(behind.floor, this.#checkpointFloor(), entry.footer?.nextOffset ?? 0)
      // With the next batch right behind it, only a frame without a batch is damaged. It was durable before that batch was written.
      const isWhole = behind.batch?.baseOffset === end.nextOffset
      if (proven <= end.nextOffset && !isWhole) return
      const resume =
        behind.batch !== undefined && (isWhole || behind.batch.baseOffset <= proven) ? behind.batch : undefined
      segment.damaged = true
      this.#options.damage.add({
        file: entry.path,
        position: end.position,
        endPosition: resume?.position ?? entry.sizeBytes,
        offset: end.nextOffset,
        nextOffset: resume?.baseOffset ?? proven,
        reason: end.problem ?? 'the end of the file, where there was more',
      })
      if (resume === undefined) {
        segment.nextOffset = proven
        return
      }
      place = { position: resume.position, nextOffset: resume.baseOffset, leaderEpoch: end.leaderEpoch }
    }
  }

  #searchBehind(file: File, end: ScanEnd, offsetEnd: number) {
    const { salt, entry } = this.#options
    return searchBehindDamage({
      file,
      salt,
      position: end.position,
      endPosition: entry.sizeBytes,
      offsetMin: end.nextOffset,
      offsetEnd,
    })
  }

  #take(frame: ScannedFrame, visit: Visit): Promise<void> | undefined {
    const { position, bytes, batchStart, batchEnd, appendTimeMs } = frame
    this.floor = Math.max(this.floor, frame.floor)
    this.frameFloor = Math.max(this.frameFloor, frame.floor)
    if (batchEnd === batchStart) this.#segment.takeFloorFrameAt(position)
    else {
      const facts = batchFactsAt(bytes, batchStart)
      this.#segment.takeBatchAt(position, facts, batchEnd - batchStart, appendTimeMs)
      this.#unproven.push({ end: this.#segment.endPosition, nextOffset: facts.nextOffset })
    }
    if ((this.#unproven[0]?.nextOffset ?? Infinity) <= this.floor) {
      const count = this.#unproven.findLastIndex((batch) => batch.nextOffset <= this.floor) + 1
      for (const { end } of this.#unproven.splice(0, count)) this.#provenEnd = end
    }
    return visit(frame)
  }

  /** What the checkpoint proves: it was written only once everything below its offset was durable. */
  #checkpointFloor(): number {
    return this.#options.checkpoint?.facts.nextOffset ?? 0
  }

  /** The place in this segment from which to read on, if the checkpoint has one and the segment still says the same there. */
  async #fromCheckpoint(file: File): Promise<LogPlace | undefined> {
    const { checkpoint, entry, indexedTo } = this.#options
    const facts = checkpoint?.facts
    if (checkpoint === undefined || facts?.segmentBaseOffset !== entry.baseOffset || indexedTo < facts.nextOffset)
      return undefined
    if (
      facts.lastBatchPosition < 0 ||
      !(await this.#endsAt(file, facts.lastBatchPosition, facts.nextOffset, facts.position))
    )
      return undefined
    const segment = this.#segment
    segment.indexes = checkpoint.indexes
    segment.nextOffset = facts.nextOffset
    segment.endPosition = facts.position
    segment.batchCount = facts.batchCount
    segment.recordCount = facts.recordCount
    segment.maxTimestamp = facts.maxTimestamp ?? -Infinity
    segment.firstAppendTimeMs = facts.firstAppendTimeMs
    segment.lastAppendTimeMs = facts.lastAppendTimeMs
    segment.lastBatchPosition = facts.lastBatchPosition
    segment.batchesEnd = facts.position
    segment.leaderEpoch = facts.leaderEpoch
    this.floor = facts.nextOffset
    this.#provenEnd = facts.position
    return { position: facts.position, nextOffset: facts.nextOffset, leaderEpoch: facts.leaderEpoch }
  }

  /** Whether a sound batch stands at `position` that ends at `offset`, before `end`. */
  async #endsAt(file: File, position: number, offset: number, end: number): Promise<boolean> {
    const { salt, entry } = this.#options
    if (end > entry.sizeBytes || position + FRAME_BYTES >= end) return false
    const bytes = Buffer.allocUnsafeSlow(end - position)
    if ((await file.read(bytes, position)) < bytes.length || frameProblem(bytes, 0, bytes.length, salt) !== undefined)
      return false
    const batchBytes = frameBatchBytes(bytes, 0)
    if (batchBytes === 0 || FRAME_BYTES + batchBytes > bytes.length) return false
    assert(position >= SEGMENT_HEADER_BYTES)
    return (
      ownFault(bytes, FRAME_BYTES, FRAME_BYTES + batchBytes) === undefined && nextOffset(bytes, FRAME_BYTES) === offset
    )
  }
}

function unreadable(path: string, error: unknown): PlayheadError {
  return new PlayheadError(
    'damagedData',
    `${path}: found ${String(error)}, wanted to read the newest segment to its end; restore the file from a copy`,
    { file: path },
  )
}
