/**
 * SegmentChain: the segments of one log in order, the last of them active. Gives appends their place, keeps zeroed space ahead of them,
 * and begins a new segment when the active one is full or old.
 * Invariants: a place is given only in space that is there, so a full disk refuses before anything is half done; everything in a segment is
 * durable before the next one exists; there is always room left for one frame without a batch.
 * Neighbours: Log asks `blocker` and then `take` in one step; Appender writes to the active segment; sealing.ts finishes the others.
 */
import assert from 'node:assert/strict'
import { isPlayheadError } from '../protocol/errors.ts'
import { GiB, MiB } from '../protocol/limits.ts'
import { blocksEnd } from '../platform/file-system.ts'
import type { File } from '../platform/file-system.ts'
import type { Appender } from './appender.ts'
import { isDiskFull, refusalOf } from './disk-space.ts'
import { Segment } from './segment.ts'
import type { BatchFacts } from './segment.ts'
import { SegmentChecksum } from './segment-checksum.ts'
import { encodeSegmentHeader, FRAME_BYTES, SEGMENT_HEADER_BYTES, segmentFileName } from './segment-format.ts'
import { directoryOf } from './small-file.ts'
import type { LogIdentity, StorageContext } from './storage-context.ts'
import type { TopicSettings } from './topic-settings.ts'
import { Turns } from './turns.ts'

/** A follower's segment grows no further, wherever its leader begins the next. */
const followedBytesMax = 4 * GiB
/** A step that lasted no longer was too small. */
const quickStepMs = 250
/** Zeros asked for in one call of the file system. */
const allocationPartBytes = 4 * MiB

export interface SegmentChainOptions {
  readonly context: StorageContext
  readonly identity: LogIdentity
  readonly salt: Buffer
  readonly settings: () => TopicSettings
  readonly appender: Appender
  /** As of now. */
  readonly leaderEpoch: () => number
  /** A new segment is active, in this very step. `full`: the one before it, all of which is durable. */
  readonly onRoll: (full: Segment | undefined) => void
}

export class SegmentChain {
  /** Files of sealed segments are replaced or removed in turns: what is looked at before is what goes. */
  readonly fileTurns = new Turns(1)
  readonly #options: SegmentChainOptions
  readonly #segments: Segment[]
  /** A new segment is being made; no append takes place meanwhile. */
  #rolling: Promise<void> | undefined
  /**
   * A new segment was begun and did not come to be. The active one takes nothing more all the same: if the new file is on disk after a crash, it says
   * where the active one ends.
   */
  #rollFailed = false
  #allocating: Promise<void> | undefined
  /** The next bytes of what is being allocated; never rejects. */
  #allocatingPart: Promise<void> | undefined
  #stepBytes: number
  /** When the last step was there. */
  #steppedMs = -Infinity
  /** The disk had no room for so many bytes: until then, what needs as many is refused without asking it again. */
  #full: { readonly bytes: number; readonly refusal: unknown; readonly untilMs: number } | undefined

  /** `segments`: what recovery found. The last one is active unless it is sealed; an active one has its file open. */
  constructor(options: SegmentChainOptions, segments: Segment[]) {
    this.#options = options
    this.#segments = segments
    this.#stepBytes = options.context.settings.allocationBytesMin
    const { active } = this
    if (active === undefined) return
    options.context.pool.keep(active)
    options.appender.use(active)
  }

  get segments(): readonly Segment[] {
    return this.#segments
  }

  get active(): Segment | undefined {
    const last = this.#segments.at(-1)
    return last === undefined || last.sealed ? undefined : last
  }

  get sizeBytes(): number {
    let bytes = 0
    for (const segment of this.#segments) bytes += segment.endPosition
    return bytes
  }

  /**
   * What an append of a batch of this size must wait for; undefined = nothing, `take` may be called at once. `beginsSegment`: whether it does at the leader,
   * which goes before what the settings say. Throws diskFull while it just was.
   */
  blocker(batchBytes: number, baseOffset: number, nowMs: number, beginsSegment?: boolean): Promise<void> | undefined {
    if (this.#rolling !== undefined) return this.#rolling
    const { active } = this
    const neededEnd = (active?.endPosition ?? SEGMENT_HEADER_BYTES) + 2 * FRAME_BYTES + batchBytes
    if (active === undefined || this.#rollFailed || this.#isOver(active, neededEnd, nowMs, beginsSegment)) {
      this.#refuseWhileFull(this.#firstStepBytes)
      return this.#roll(baseOffset)
    }
    if (neededEnd > active.allocatedEnd) return this.#allocateFor(active, neededEnd)
    if (active.allocatedEnd - neededEnd < this.#stepBytes / 2) this.#allocateAhead(active)
    return undefined
  }

  /** Whether the next batch begins a new segment. A follower's has more frames without a batch than its leader's, or fewer, and may be longer. */
  #isOver(active: Segment, neededEnd: number, nowMs: number, beginsSegment: boolean | undefined): boolean {
    const { segmentBytes, segmentMs } = this.#options.settings()
    if (active.batchCount === 0) return false
    if (beginsSegment !== undefined) return beginsSegment || neededEnd > followedBytesMax
    return neededEnd > segmentBytes || nowMs - active.firstAppendTimeMs >= segmentMs
  }

  /** Gives the batch the next place. */
  take(facts: BatchFacts, batchBytes: number, appendTimeMs: number): number {
    assert(this.#rolling === undefined && this.active !== undefined)
    return this.active.takeBatch(facts, batchBytes, appendTimeMs)
  }

  /**
   * Begins a new segment at the end of the log if `isDue` says so of the active one; no append takes place meanwhile. `baseOffset`: the end of the log, as
   * of the call. Throws diskFull, and what ends the log.
   */
  async rollIf(isDue: (active: Segment) => boolean, baseOffset: () => number): Promise<void> {
    await this.settled()
    const { active } = this
    if (this.#rolling !== undefined || active === undefined || active.batchCount === 0 || !isDue(active)) return
    await this.#roll(baseOffset())
  }

  /** Takes the segments that end at or before `offset` out of the log, but never the last one; whoever has one open reads on. */
  letGoBelow(offset: number): Segment[] {
    let count = 0
    while (count < this.#segments.length - 1 && this.#segments[count]!.nextOffset <= offset) count++
    const gone = this.#segments.splice(0, count)
    for (const segment of gone) segment.gone = true
    return gone
  }

  /** Puts a rewritten segment, which has its file open, in the place of the one it was made from. */
  replace(segment: Segment, rewritten: Segment): void {
    const place = this.#segments.indexOf(segment)
    assert(place >= 0 && segment.sealed && rewritten.sealed && segment.baseOffset === rewritten.baseOffset)
    this.#segments[place] = rewritten
    segment.gone = true
    this.#options.context.pool.keep(rewritten)
  }

  /** Puts a sealed segment in the place of one with the same records, whose file may go once it is closed. */
  exchange(segment: Segment, other: Segment): void {
    const place = this.#segments.indexOf(segment)
    assert(place >= 0 && segment.sealed && other.sealed)
    assert(segment.baseOffset === other.baseOffset && segment.nextOffset === other.nextOffset)
    this.#segments[place] = other
    segment.gone = true
  }

  /** Resolves when nothing is under way. */
  async settled(): Promise<void> {
    await this.#rolling?.catch(() => undefined)
    await this.#allocating?.catch(() => undefined)
  }

  #roll(baseOffset: number): Promise<void> {
    const rolling = this.#rollNow(baseOffset).finally(() => (this.#rolling = undefined))
    rolling.catch(() => undefined) // whoever waits for it hears; it may be that nobody does yet
    this.#rolling = rolling
    return rolling
  }

  async #rollNow(baseOffset: number): Promise<void> {
    const { appender, context, onRoll } = this.#options
    await this.#allocating?.catch(() => undefined)
    await appender.drained()
    this.#rollFailed = true
    const next = await this.#create(baseOffset)
    await appender.drained() // a frame without a batch may have been written meanwhile
    const full = this.active
    this.#rollFailed = false
    this.#segments.push(next)
    context.pool.keep(next)
    appender.use(next)
    // A log that stays busy soon has its large steps again; one that was busy once does not keep them.
    this.#stepBytes = Math.max(context.settings.allocationBytesMin, this.#stepBytes / 2)
    onRoll(full)
  }

  /** The file is complete and durable, name and all, before anything is written into it. Throws diskFull. */
  async #create(baseOffset: number): Promise<Segment> {
    const { context, identity, salt } = this.#options
    const { fileSystem } = context
    const path = `${identity.directory}/${segmentFileName(baseOffset)}`
    let file: File | undefined
    try {
      await fileSystem.makeDirectory(identity.directory)
      // An earlier attempt may have made it and then failed to make its name durable: that it is there says nothing.
      if (this.#segments.length === 0) await fileSystem.syncDirectory(directoryOf(identity.directory))
      // What an earlier attempt left: it never became part of the log.
      if (await fileSystem.exists(path)) await fileSystem.remove(path)
      file = await fileSystem.open(path, 'create')
      const { topicId, partition } = identity
      const leaderEpoch = this.#options.leaderEpoch()
      const header = encodeSegmentHeader({ topicId, partition, baseOffset, salt, leaderEpoch })
      await file.write([header], 0)
      const segment = new Segment(path, baseOffset)
      segment.checksum = new SegmentChecksum()
      segment.checksum.add(header)
      segment.file = file
      segment.allocatedEnd = this.#firstStepBytes
      await file.allocate(SEGMENT_HEADER_BYTES, segment.allocatedEnd)
      await file.sync()
      await fileSystem.syncDirectory(identity.directory)
      return segment
    } catch (error) {
      await file?.close().catch(() => undefined)
      if (file !== undefined) await fileSystem.remove(path).catch(() => undefined)
      throw this.#refused(error, path, this.#firstStepBytes)
    }
  }

  #allocateFor(active: Segment, neededEnd: number): Promise<void> {
    if (this.#allocating !== undefined) return this.#allocatingPart ?? this.#allocating
    this.#refuseWhileFull(blocksEnd(neededEnd) - active.allocatedEnd)
    return this.#allocate(active, neededEnd)
  }

  /** In the background. When it fails, the append that finds no room left asks again, and hears why. */
  #allocateAhead(active: Segment): void {
    const { segmentBytes } = this.#options.settings()
    if (this.#allocating !== undefined || this.#isFull || active.allocatedEnd >= segmentBytes) return
    void this.#allocate(active, active.allocatedEnd)
  }

  get #firstStepBytes(): number {
    return blocksEnd(Math.max(this.#options.context.settings.allocationBytesMin, 2 * SEGMENT_HEADER_BYTES))
  }

  /** Whether some refusal for want of room is young enough to still hold. */
  get #isFull(): boolean {
    if (this.#full !== undefined && this.#options.context.clock.monotonicMs() >= this.#full.untilMs)
      this.#full = undefined
    return this.#full !== undefined
  }

  #refuseWhileFull(bytes: number): void {
    if (this.#isFull && this.#full !== undefined && bytes >= this.#full.bytes) throw this.#full.refusal
  }

  /** What to throw for `error`: a refusal, remembered when the disk is full; all else ends the log, because a sync may have been told of lost bytes. */
  #refused(error: unknown, path: string, bytes: number): unknown {
    const refusal = refusalOf(error, path)
    const { appender, context } = this.#options
    if (refusal === error) return appender.fail(error)
    if (isDiskFull(error)) {
      const untilMs = context.clock.monotonicMs() + context.settings.diskFullPauseMs
      this.#full = { bytes, refusal, untilMs }
    }
    return refusal
  }

  #allocate(active: Segment, neededEnd: number): Promise<void> {
    const allocating = this.#allocateNow(active, neededEnd).finally(() => (this.#allocating = undefined))
    allocating.catch(() => undefined)
    this.#allocating = allocating
    return allocating
  }

  /**
   * The next step of zeroed space, doubling while the last one is used up within a quarter of a second, or an append already waits: of many logs
   * each writes ahead what it soon needs, not what one alone would. A batch larger than a step or the segment gets what it needs. Where there is no room for a step, just what is needed; that may be nothing.
   */
  async #allocateNow(active: Segment, neededEnd: number): Promise<void> {
    const { settings, clock } = this.#options.context
    const isShort = neededEnd > active.allocatedEnd || clock.monotonicMs() - this.#steppedMs < quickStepMs
    const { segmentBytes } = this.#options.settings()
    const enough = blocksEnd(neededEnd)
    const stepEnd = Math.max(enough, blocksEnd(Math.min(active.allocatedEnd + this.#stepBytes, segmentBytes)))
    if (!this.#isFull) {
      try {
        await this.#grow(active, stepEnd)
        if (isShort) this.#stepBytes = Math.min(this.#stepBytes * 2, settings.allocationBytesMax)
        this.#steppedMs = clock.monotonicMs()
        return
      } catch (error) {
        if (!isPlayheadError(error, 'diskFull') || enough === stepEnd) throw error
      }
    }
    this.#stepBytes = settings.allocationBytesMin
    if (enough > active.allocatedEnd) await this.#grow(active, enough)
  }

  /** Part by part, so that an append that waits for room waits for no more than it needs. */
  async #grow(active: Segment, to: number): Promise<void> {
    try {
      assert(active.file !== undefined)
      while (active.allocatedEnd < to) {
        const end = Math.min(blocksEnd(active.allocatedEnd + allocationPartBytes), to)
        const part = active.file.allocate(active.allocatedEnd, end).then(() => void (active.allocatedEnd = end))
        this.#allocatingPart = part.catch(() => undefined)
        await part
      }
    } catch (error) {
      throw this.#refused(error, active.path, to - active.allocatedEnd)
    } finally {
      this.#allocatingPart = undefined
    }
  }
}
