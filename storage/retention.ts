/**
 * Retention: where a log begins. Moves the start forward, by request or as `retention.ms` and `retention.bytes` say, and lets go of the segments
 * that end at or before it. Invariants: the start is on disk before anybody is told; before a segment's file is removed, the last versions of its
 * streams are in a heads file; the segment under way is never let go of, and none that somebody reads before he is done. Every step may be
 * interrupted: what the log has given up and still lies there is let go of by the next round.
 * Neighbours: Log owns it, Cleaner calls `enforce` now and then; heads.ts has the last versions.
 */
import { isMissing } from '../platform/file-system.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { AgeClock } from './age-clock.ts'
import type { Damage } from './damage.ts'
import { IndexHeads, SidecarHeads } from './head-lines.ts'
import { findHeads, HeadsReader, MergedHeads, writeHeads } from './heads.ts'
import type { HeadLine } from './heads.ts'
import type { LogCleaning } from './log-cleaning.ts'
import type { LogFacts } from './log-facts.ts'
import type { Sealing } from './sealing.ts'
import { sidecarPath } from './sealing.ts'
import type { Segment } from './segment.ts'
import type { SegmentChain } from './segment-chain.ts'
import type { LogIdentity, StorageContext } from './storage-context.ts'
import type { StreamIndex } from './stream-index.ts'
import type { TopicSettings } from './topic-settings.ts'

export interface RetentionOptions {
  readonly context: StorageContext
  readonly identity: LogIdentity
  readonly settings: () => TopicSettings
  readonly facts: LogFacts
  readonly chain: SegmentChain
  readonly sealing: Sealing
  readonly index: StreamIndex
  readonly damage: Damage
  readonly endOffset: () => number
  readonly cleaning: () => LogCleaning
}

/** Segments whose heads are put into one file at once: each has its sidecar open meanwhile. */
const togetherMax = 16

export class Retention {
  readonly stats = { removedSegments: 0, removedBytes: 0 }
  readonly #options: RetentionOptions
  readonly #ages: AgeClock
  #lettingGo: Promise<void> | undefined
  #enforcing: Promise<void> | undefined
  #stopped = false

  constructor(options: RetentionOptions) {
    this.#options = options
    this.#ages = new AgeClock(options.context.clock)
  }

  /** Nothing below `offset` is there any more; resolves when that is on disk. An offset below the start changes nothing. Throws diskFull, storageFailed. */
  async adoptStart(offset: number): Promise<void> {
    const { facts, damage } = this.#options
    if (this.#stopped) return // another log may have the directory
    await facts.raise({ logStartOffset: offset })
    damage.forgetBelow(facts.logStartOffset)
  }

  /** The same for all replicas, who have agreed on it before anything is written here. Throws what they refuse, and notLeader where this one does not decide. */
  async #moveStart(offset: number): Promise<void> {
    const { facts, cleaning, identity, endOffset } = this.#options
    if (offset <= facts.logStartOffset) return
    const { advanceStart } = cleaning()
    if (advanceStart === undefined) {
      const message = `${identity.topic}/${identity.partition}: found a replica that does not lead, wanted the leader to move the start of the log; ask who leads`
      throw new PlayheadError('notLeader', message)
    }
    await this.adoptStart(Math.min(await advanceStart(offset), endOffset()))
  }

  /** The same on somebody's demand. Throws offsetOutOfRange beyond what is durable, diskFull, storageFailed. */
  async deleteBelow(offset: number, durableOffset: number): Promise<void> {
    const { facts, identity } = this.#options
    if (offset > durableOffset) {
      const { logStartOffset } = facts
      const message = `${identity.topic}/${identity.partition}: found offset ${offset}, wanted one from ${logStartOffset} to ${durableOffset}`
      throw new PlayheadError('offsetOutOfRange', message, { offset, logStartOffset, durableOffset })
    }
    await this.#moveStart(offset)
  }

  /** Moves the start as the topic's settings say, and removes what lies before it. Throws what the disk refuses. */
  enforce(): Promise<void> {
    if (this.#stopped) return Promise.resolve()
    this.#enforcing ??= this.#enforce().finally(() => (this.#enforcing = undefined))
    return this.#enforcing
  }

  async #enforce(): Promise<void> {
    if (this.#options.cleaning().advanceStart !== undefined) await this.#moveAsDue()
    await this.letGo()
  }

  async #moveAsDue(): Promise<void> {
    const { chain, settings, endOffset } = this.#options
    const { retentionMs, cleanup } = settings()
    const nowMs = this.#ages.now()
    if (cleanup.deletes && retentionMs >= 0)
      await chain.rollIf((active) => nowMs - active.lastAppendTimeMs > retentionMs, endOffset)
    await this.#moveStart(this.#dueOffset(nowMs))
  }

  /** Removes the segments that lie before the start. One at a time: whoever comes meanwhile waits for what is under way. */
  letGo(): Promise<void> {
    this.#lettingGo ??= this.#letGo().finally(() => (this.#lettingGo = undefined))
    return this.#lettingGo
  }

  /** Ends after what is under way, also on somebody's demand: after that the log's directory may go. Nothing may be demanded any more. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#enforcing?.catch(() => undefined)
    await this.#lettingGo?.catch(() => undefined)
    await this.#options.facts.settled()
  }

  /** The start that the settings ask for; 0 when they ask for nothing. */
  #dueOffset(nowMs: number): number {
    const { retentionMs, retentionBytes, cleanup } = this.#options.settings()
    const { segments, sizeBytes } = this.#options.chain
    const { committedTo } = this.#options.cleaning()
    let dueOffset = 0
    let keptBytes = sizeBytes
    if (!cleanup.deletes) return dueOffset
    for (const segment of segments.slice(0, -1)) {
      keptBytes -= segment.endPosition
      const isOld = retentionMs >= 0 && nowMs - segment.lastAppendTimeMs > retentionMs
      const isTooMuch = retentionBytes >= 0 && keptBytes >= retentionBytes
      if ((!isOld && !isTooMuch) || segment.nextOffset > committedTo) break
      dueOffset = segment.nextOffset
    }
    return dueOffset
  }

  async #letGo(): Promise<void> {
    for (let leaving = this.#leaving(); leaving.length > 0 && !this.#stopped; leaving = this.#leaving()) {
      await this.#writeHeads(leaving)
      await this.#options.chain.fileTurns.with(() => this.#remove(leaving))
    }
  }

  /** The next segments to go. */
  #leaving(): readonly Segment[] {
    const { chain, sealing, facts } = this.#options
    const whole = chain.segments.slice(0, -1)
    const kept = whole.findIndex(
      (segment) => segment.nextOffset > facts.logStartOffset || sealing.isUnfinished(segment),
    )
    return (kept < 0 ? whole : whole.slice(0, kept)).slice(0, togetherMax)
  }

  /** Merged with the files there are as long as those are not much larger: then there are few of them, and each stream is written seldom. */
  async #writeHeads(leaving: readonly Segment[]): Promise<void> {
    const { context, identity } = this.#options
    const { fileSystem, clock } = context
    const endOffset = leaving.at(-1)!.nextOffset
    const lines: HeadLine[] = []
    const merged: string[] = []
    let line: MergedHeads | undefined
    try {
      let streams = 0
      for (const segment of leaving) {
        const heads = await this.#headsOf(segment)
        lines.push(heads)
        streams += heads instanceof SidecarHeads ? heads.streams : Infinity
      }
      for (const { path, endOffset: end } of (await findHeads(fileSystem, identity.directory)).toReversed()) {
        if (end > endOffset) continue
        const heads = await HeadsReader.open(fileSystem, path, identity)
        if (end <= leaving[0]!.baseOffset && heads.streams > 2 * streams) {
          await heads.close()
          break
        }
        lines.push(heads)
        if (end < endOffset) merged.push(path)
        streams += heads.streams
      }
      line = new MergedHeads(lines)
    } finally {
      if (line === undefined) for (const each of lines) await each.close()
    }
    await writeHeads({ fileSystem, clock }, identity, endOffset, line)
    for (const path of merged) await fileSystem.remove(path)
    if (merged.length > 0) await fileSystem.syncDirectory(identity.directory)
  }

  async #headsOf(segment: Segment): Promise<HeadLine> {
    const { context, identity, index } = this.#options
    try {
      if (!segment.damaged) return await SidecarHeads.open(context.fileSystem, sidecarPath(identity, segment))
    } catch (error) {
      if (!(error instanceof PlayheadError) && !isMissing(error)) throw error
    }
    return new IndexHeads(index, segment.nextOffset)
  }

  async #remove(leaving: readonly Segment[]): Promise<void> {
    const { context, identity, chain } = this.#options
    const { fileSystem, pool } = context
    const gone = chain.letGoBelow(leaving.at(-1)!.nextOffset)
    for (const segment of gone) {
      await pool.close(segment)
      // The sidecar first: alone it would be one without a segment.
      for (const path of [sidecarPath(identity, segment), segment.path])
        if (await fileSystem.exists(path)) await fileSystem.remove(path)
      this.stats.removedSegments++
      this.stats.removedBytes += segment.endPosition
    }
    await fileSystem.syncDirectory(identity.directory)
  }
}
