/**
 * Appender: the only writer of one log's segments. Collects the batches handed over in one turn of the event loop and writes them with
 * one write and one sync; what arrives meanwhile joins the next group. When the log has been idle for a while, it writes a frame that
 * says what is durable (segment-format.ts), so that recovery can prove it.
 * Invariants: bytes reach the file in offset order; at most one write or sync is in flight; `durableOffset` moves only after a sync that
 * covered everything below it; a failed write or sync, also one of
 * somebody else's on the same file (`fail`), is never retried and ends the log for good.
 * Called by Log, writes to the file of the Segment it was given last.
 */
import assert from 'node:assert/strict'
import { PlayheadError } from '../protocol/errors.ts'
import type { FramePiece } from '../protocol/frame-memory.ts'
import { KiB } from '../protocol/limits.ts'
import type { Timer } from '../platform/clock.ts'
import { GroupMemory } from './group-memory.ts'
import { OffsetLine } from './offset-line.ts'
import type { Segment } from './segment.ts'
import type { SegmentChecksum } from './segment-checksum.ts'
import type { StorageContext } from './storage-context.ts'
import type { CachedRun } from './tail-cache.ts'
import { FRAME_BYTES, FRAME_SCRATCH_BYTES, writeFrame } from './segment-format.ts'

/** Batches up to this size are copied beside their frames, so that a group of small ones is one piece to the kernel. */
const copiedBatchBytesMax = 16 * KiB
/** So are larger ones that lie in memory of the collector: it comes late, long after the tail cache has dropped them. */
const copiedUnheldBytesMax = 256 * KiB
/** So are larger ones that lie in far more memory than they fill: the tail cache counts that memory as its own. */
const pinnedMax = 256
/** Batches that lie together for readers of the tail: few, as who looks for one of them goes over those before it. */
const runBytesMin = 64 * KiB

export interface AppendEntry {
  readonly baseOffset: number
  readonly nextOffset: number
  /** Of the frame in the segment. */
  readonly position: number
  readonly batch: Buffer
  /** What the batch lies in, held for as long as the entry has it. */
  readonly piece: FramePiece | undefined
  readonly appendTimeMs: number
}

export interface AppenderOptions {
  readonly context: StorageContext
  readonly salt: Buffer
  readonly durableOffset: number
  /** Of the last frame on disk. */
  readonly writtenFloor: number
  /** A group is durable; its batches, in order, may be in other memory now than when they were added. What they lie in is held for whoever hears this. */
  readonly onDurable: (runs: readonly CachedRun[]) => void
}

export class Appender {
  readonly stats = { groups: 0, syncs: 0, writtenBytes: 0, floorFrames: 0 }
  readonly #options: AppenderOptions
  #segment: Segment | undefined
  #pending: AppendEntry[] = []
  #pendingBytes = 0
  #running: Promise<void> | undefined
  #durableOffset: number
  /** The highest floor in any frame written. */
  #writtenFloor: number
  readonly #waiting = new OffsetLine()
  readonly #memory: GroupMemory
  #idleTimer: Timer | undefined
  #lastGroupMs = 0
  #failure: PlayheadError | undefined
  #stopped = false

  constructor(options: AppenderOptions) {
    this.#options = options
    this.#durableOffset = options.durableOffset
    this.#writtenFloor = options.writtenFloor
    const { groupMemory, groupBudget } = options.context
    this.#memory = new GroupMemory(groupMemory, groupBudget)
  }

  get durableOffset(): number {
    return this.#durableOffset
  }

  /** Set for good by the first failed write or sync. */
  get failure(): PlayheadError | undefined {
    return this.#failure
  }

  /** Of batches taken over that no write has begun for. */
  get pendingBytes(): number {
    return this.#pendingBytes
  }

  get idle(): boolean {
    return this.#running === undefined && this.#pending.length === 0
  }

  /** From now on writes go to this segment. Everything before must be durable. */
  use(segment: Segment): void {
    assert(this.idle && segment.file !== undefined)
    this.#segment = segment
    this.#lastGroupMs = this.#options.context.clock.monotonicMs()
    this.#watchIdle()
  }

  /** Takes the next batch over; it is written and synced without being asked again. */
  add(entry: AppendEntry): void {
    assert(this.#failure === undefined)
    this.#pending.push(entry)
    this.#pendingBytes += entry.batch.length
    this.#running ??= this.#run()
  }

  /** Ends the log for good, in this very step: what the file holds, or should hold, is not known any more. */
  fail(error: unknown): PlayheadError {
    if (this.#failure !== undefined) return this.#failure
    const cause = error instanceof Error ? error : new Error(String(error))
    const failure = new PlayheadError(
      'storageFailed',
      `${this.#segment?.path ?? 'log'}: found ${cause.message} while writing, wanted the bytes on disk; the broker stops, start it again`,
    )
    this.#failure = failure
    this.#pending = []
    this.#pendingBytes = 0
    this.#idleTimer?.cancel()
    this.#idleTimer = undefined
    this.#waiting.fail(failure)
    this.#options.context.onFatal(cause)
    return failure
  }

  /** Resolves when everything below `offset` is durable; rejects when that will never be known. */
  durable(offset: number): Promise<void> {
    if (offset <= this.#durableOffset) return Promise.resolve()
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    return this.#waiting.wait(offset)
  }

  /** Resolves when nothing is being written or waits to be; rejects after a failure. */
  async drained(): Promise<void> {
    while (this.#running !== undefined) await this.#running
    if (this.#failure !== undefined) throw this.#failure
  }

  /** Writes and syncs a last frame that says everything is durable, and stops. Nothing is added afterwards. */
  async close(): Promise<void> {
    await this.stop()
    if (this.#failure !== undefined || this.#segment === undefined) return
    await this.#writeFloor()
  }

  /** Stops after what is under way, without a last frame. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#idleTimer?.cancel()
    this.#idleTimer = undefined
    while (this.#running !== undefined) await this.#running
    this.#memory.letGo()
  }

  async #run(): Promise<void> {
    try {
      await Promise.resolve() // the rest of this turn's batches join
      while (this.#pending.length > 0) await this.#writeGroup(this.#takeGroup())
    } catch (error) {
      this.fail(error)
    } finally {
      this.#running = undefined
    }
    this.#lastGroupMs = this.#options.context.clock.monotonicMs()
    this.#watchIdle()
  }

  #takeGroup(): AppendEntry[] {
    let bytes = 0
    let batchBytes = 0
    let count = 0
    for (const entry of this.#pending) {
      bytes += FRAME_BYTES + entry.batch.length
      if (count > 0 && bytes > this.#options.context.settings.groupBytesMax) break
      batchBytes += entry.batch.length
      count++
    }
    this.#pendingBytes -= batchBytes
    if (count === this.#pending.length) {
      const group = this.#pending
      this.#pending = []
      return group
    }
    return this.#pending.splice(0, count)
  }

  async #writeGroup(group: AppendEntry[]): Promise<void> {
    const first = group[0]
    const last = group.at(-1)
    const segment = this.#segment
    const file = segment?.file
    assert(first !== undefined && last !== undefined && file !== undefined)
    assert(first.baseOffset >= this.#durableOffset)
    const floor = this.#durableOffset
    const { parts, bytes, runs } = encodeGroup(group, this.#memory, this.#options.salt, floor, segment?.checksum)
    const { clock, commits } = this.#options.context
    const startedMs = clock.monotonicMs()
    await file.append(parts, first.position)
    if (this.#failure !== undefined) throw this.#failure // another sync of the file was told that bytes are lost: they may be these
    this.#writtenFloor = floor
    this.#durableOffset = last.nextOffset
    this.stats.groups++
    this.stats.syncs++
    this.stats.writtenBytes += bytes
    commits.ms.add(clock.monotonicMs() - startedMs)
    commits.bytes.add(bytes)
    commits.batches.add(group.length)
    this.#options.onDurable(runs)
    this.#waiting.release(this.#durableOffset)
  }

  /** One timer per idle log at most: it looks again later instead of being moved with every group. */
  #watchIdle(): void {
    if (this.#idleTimer !== undefined || this.#stopped || this.#failure !== undefined) return
    if (this.#writtenFloor >= this.#durableOffset) return
    const { clock, settings } = this.#options.context
    const { idleFloorMs } = settings
    const waitMs = Math.max(1, this.#lastGroupMs + idleFloorMs - clock.monotonicMs())
    this.#idleTimer = clock.after(waitMs, () => {
      this.#idleTimer = undefined
      if (!this.idle) return // the end of that work looks again
      if (clock.monotonicMs() < this.#lastGroupMs + idleFloorMs) return this.#watchIdle()
      this.#memory.letGo()
      this.#running = this.#runFloor()
    })
  }

  async #runFloor(): Promise<void> {
    try {
      await this.#writeFloor()
    } catch (error) {
      this.fail(error)
    } finally {
      this.#running = undefined
    }
    if (this.#pending.length > 0) this.#running ??= this.#run()
  }

  async #writeFloor(): Promise<void> {
    const segment = this.#segment
    if (segment?.file === undefined || this.#writtenFloor >= this.#durableOffset) return
    if (segment.endPosition + FRAME_BYTES > segment.allocatedEnd) return
    const floor = this.#durableOffset
    const frame = Buffer.alloc(FRAME_BYTES)
    writeFrame(frame, 0, this.#options.salt, 0, segment.lastAppendTimeMs, floor)
    segment.checksum?.add(frame)
    await segment.file.append([frame], segment.takeFloorFrame())
    this.#writtenFloor = floor
    this.stats.floorFrames++
  }
}

interface EncodedGroup {
  /** The parts of one write: frames and small batches copied together, large batches as they are. */
  readonly parts: Buffer[]
  readonly bytes: number
  readonly runs: CachedRun[]
}

/** `checksum` takes all of what is to be written. Lets go of what copied batches lay in. */
function encodeGroup(
  group: readonly AppendEntry[],
  memory: GroupMemory,
  salt: Buffer,
  floor: number,
  checksum: SegmentChecksum | undefined,
): EncodedGroup {
  let copiedBytes = isCopied(group.at(-1)!) ? 0 : FRAME_SCRATCH_BYTES - FRAME_BYTES
  for (const entry of group) copiedBytes += FRAME_BYTES + (isCopied(entry) ? entry.batch.length : 0)
  const { bytes: copies, piece: copiesPiece } = memory.take(copiedBytes)
  const parts: Buffer[] = []
  const runs: CachedRun[] = []
  const first = group[0]!
  let [at, partStart, runStart] = [0, 0, 0]
  let runOffset = first.baseOffset
  let position = first.position
  const endRun = (nextOffset: number) => {
    if (at > runStart) {
      const bytes = copies.subarray(runStart, at)
      copiesPiece?.hold()
      runs.push({ baseOffset: runOffset, nextOffset, bytes, framed: true, piece: copiesPiece })
    }
    runStart = at
    runOffset = nextOffset
  }
  const endPart = (what: 'any' | 'batch' = 'any') => {
    if (at === partStart) return
    const part = copies.subarray(partStart, at)
    parts.push(part)
    if (what === 'batch') checksum?.addBatch(part)
    else checksum?.add(part)
    partStart = at
  }
  for (const entry of group) {
    const { batch, piece, baseOffset, nextOffset, appendTimeMs } = entry
    assert(entry.position === position, 'a group is contiguous')
    const copied = isCopied(entry)
    if (!copied) endRun(baseOffset)
    // Its beginning is under the checksum of the frame. Where it is not copied the next frame comes over it.
    batch.copy(copies, at + FRAME_BYTES, 0, copied ? batch.length : FRAME_SCRATCH_BYTES - FRAME_BYTES)
    writeFrame(copies, at, salt, batch.length, appendTimeMs, floor)
    position += FRAME_BYTES + batch.length
    at += FRAME_BYTES
    if (copied) {
      const isLarge = batch.length > copiedBatchBytesMax // then what its own checksum covers is not gone over again
      if (isLarge) endPart()
      at += batch.length
      if (isLarge) endPart('batch')
      piece?.letGo()
      if (at - runStart >= runBytesMin) endRun(nextOffset)
    } else {
      endPart()
      parts.push(batch)
      checksum?.addBatch(batch)
      runs.push({ baseOffset, nextOffset, bytes: batch, framed: false, appendTimeMs, piece })
      runStart = at
      runOffset = nextOffset
    }
  }
  endRun(group.at(-1)!.nextOffset)
  endPart()
  return { parts, bytes: position - first.position, runs }
}

function isCopied({ batch, piece }: AppendEntry): boolean {
  if (batch.length <= (piece === undefined ? copiedUnheldBytesMax : copiedBatchBytesMax)) return true
  return batch.buffer.byteLength > pinnedMax * batch.length
}
