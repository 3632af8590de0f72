/**
 * Compaction: where a topic's `cleanup.policy` says so, of each stream of a log only the newest event stays, and a record without a value, which says that its stream is to go, only for a
 * while. A pass takes all sealed segments up to some offset. Steps, each harmless to repeat:
 *   1. the plan: which events stay, from the postings of the sidecars
 *   2. log.json says how far the pass goes (`compactedTo`): from then on readers of streams see no more than what stays
 *   3. segment by segment, oldest first: written again under temporary names; the last versions of streams of which nothing is left go to a heads file;
 *      the segment and then its sidecar take the place of the old ones, which whoever has them open reads on
 *   4. log.json says that all of it is done (`rewrittenTo`)
 * In any log it removes what limits of single streams have given up (StreamLimits), in the same way, without 1, 2 and 4.
 * A start that finds 2 without 4 goes on with the same pass. Invariants: offsets and versions do not change; of a stream only its oldest events
 * are removed, so what is left has no gaps; nothing behind damage is touched.
 * Neighbours: Cleaner calls it, Log owns it; segment-rewriter.ts writes, compaction-plan.ts decides.
 */
import { PlayheadError } from '../protocol/errors.ts'
import { AgeClock } from './age-clock.ts'
import { planCompaction } from './compaction-plan.ts'
import { findHeads, goneStreams, HeadsReader, ListedHeads, MergedHeads, writeHeads } from './heads.ts'
import type { HeadLine } from './heads.ts'
import type { LogCleaning } from './log-cleaning.ts'
import type { LogFacts } from './log-facts.ts'
import type { Segment } from './segment.ts'
import type { SegmentChain } from './segment-chain.ts'
import { rewriteSegment } from './segment-rewriter.ts'
import type { RewriteOptions, RewrittenSegment } from './segment-rewriter.ts'
import { Sidecar } from './sidecar.ts'
import { sidecarPath } from './sealing.ts'
import type { Sealing } from './sealing.ts'
import { temporarySuffix } from './small-file.ts'
import type { LogIdentity, StorageContext } from './storage-context.ts'
import type { StreamIndex } from './stream-index.ts'
import type { StreamLimits } from './stream-limits.ts'
import type { TopicSettings } from './topic-settings.ts'

export interface CompactionOptions {
  readonly context: StorageContext
  readonly identity: LogIdentity
  readonly salt: Buffer
  readonly settings: () => TopicSettings
  readonly facts: LogFacts
  readonly chain: SegmentChain
  readonly sealing: Sealing
  readonly index: StreamIndex
  readonly limits: StreamLimits
  readonly cleaning: () => LogCleaning
  /** Checkpointer.save: never rejects. */
  readonly saveIndex: () => Promise<void>
}

const failurePauseMs = 600_000

/** What is to stay of a segment. */
interface WantedEvents extends Pick<RewriteOptions, 'versions' | 'firstVersions'> {
  /** Without anything to remove from it, the segment may stay as it is. */
  readonly isCounted: boolean
}

/** Ends a pass that is no longer wanted; it is gone on with at the next start. */
const stopped = Symbol('stopped')

export class Compaction {
  /** Since the start; `compacting…` of the pass under way, 0 without one. */
  readonly stats = {
    compactions: 0,
    rewrittenSegments: 0,
    compactedRecords: 0,
    removedRecords: 0,
    freedBytes: 0,
    compactingBytes: 0,
    compactingBytesDone: 0,
  }
  /** Nothing is rewritten while others rely on the files as they are. */
  isHeld = false
  readonly #options: CompactionOptions
  readonly #ages: AgeClock
  #running: Promise<void> | undefined
  /** After a pass that failed: what it could not read will most likely not be there soon. */
  #notBeforeMs = -Infinity
  #stopped = false
  /** What was taken into account when limits of streams were last looked at. */
  #limited = { changes: 0, endOffset: 0 }

  constructor(options: CompactionOptions) {
    this.#options = options
    this.#ages = new AgeClock(options.context.clock)
  }

  /** Of events below it only the newest of each stream is there for readers of streams. */
  get compactedTo(): number {
    return this.#options.facts.values.compactedTo
  }

  /** Whether a pass was begun, in this run or an earlier one, and has not come to its end. */
  get isUnfinished(): boolean {
    const { rewrittenTo, compactedTo } = this.#options.facts.values
    return rewrittenTo < compactedTo
  }

  /** Whether a pass would have enough to do. */
  get isDue(): boolean {
    const { context, facts, settings } = this.#options
    const { rewrittenTo, compactedTo } = facts.values
    const { cleanup, dirtyRatioMin } = settings()
    if (this.#stopped || this.isHeld || context.clock.monotonicMs() < this.#notBeforeMs) return false
    const segments = this.#cleanable()
    let [bytes, dirtyBytes] = [0, 0]
    for (const { nextOffset, endPosition } of segments) {
      bytes += endPosition
      if (nextOffset > rewrittenTo) dirtyBytes += endPosition
    }
    if (rewrittenTo < compactedTo) return dirtyBytes > 0
    if (this.#areLimitsDue(segments)) return true
    if (!cleanup.compacts) return false
    return (
      (dirtyBytes > 0 && dirtyBytes >= dirtyRatioMin * bytes) ||
      segments.some((segment) => this.#hasOldTombstone(segment))
    )
  }

  /** One pass. `pause` is called after every piece of work. Throws what the disk refuses. */
  run(pause: () => Promise<void>): Promise<void> {
    if (this.#stopped) return Promise.resolve()
    const guarded = async () => {
      await pause()
      if (this.#stopped) throw stopped
    }
    this.#running ??= this.#run(guarded)
      .catch((error: unknown) => {
        if (error === stopped) return
        this.#notBeforeMs = this.#options.context.clock.monotonicMs() + failurePauseMs
        throw error
      })
      .finally(() => {
        this.#running = undefined
        this.stats.compactingBytes = 0
        this.stats.compactingBytesDone = 0
      })
    return this.#running
  }

  /** Ends after the step that is under way. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running?.catch(() => undefined)
  }

  /** Sealed segments with a sidecar, up to the first that is not ready or has damage. A pass that was begun goes no further than it said. */
  #cleanable(): Segment[] {
    const { chain, sealing, facts, cleaning } = this.#options
    const { rewrittenTo, compactedTo } = facts.values
    const endOffset = Math.min(cleaning().rewritableTo, rewrittenTo < compactedTo ? compactedTo : Infinity)
    const segments: Segment[] = []
    for (const segment of chain.segments) {
      const isReady = segment.sealed && !segment.damaged && !sealing.isUnfinished(segment)
      if (!isReady || segment.nextOffset > endOffset) break
      segments.push(segment)
    }
    return segments
  }

  #hasOldTombstone({ tombstoneMs }: Segment): boolean {
    return tombstoneMs > 0 && tombstoneMs < this.#tombstonesBeforeMs()
  }

  #tombstonesBeforeMs(): number {
    const { settings } = this.#options
    return this.#ages.now() - settings().deleteRetentionMs
  }

  async #run(pause: () => Promise<void>): Promise<void> {
    const { limits, settings, index, saveIndex } = this.#options
    const wanted = this.#cleanable().at(-1)?.nextOffset
    if (wanted === undefined || !this.isDue) return
    // A start goes on from what the index has saved, and counts versions from there: none of the events behind it may be gone by then.
    // One that was under way may have begun too early.
    for (let saves = 0; saves < 2 && index.indexedTo < wanted; saves++) await saveIndex()
    // Meanwhile less may be rewritten than before, or nothing.
    const segments = this.#cleanable().filter(({ nextOffset }) => nextOffset <= wanted)
    const end = segments.at(-1)?.nextOffset
    if (end === undefined || !this.isDue || index.indexedTo < end) return // the next round tries again
    const limited = { changes: limits.changes, endOffset: Math.min(end, limits.certain.offset) }
    if (!settings().cleanup.compacts && !this.isUnfinished) await this.#applyLimits(segments, pause)
    else await this.#compact(segments, end, pause)
    this.#limited = limited
    this.stats.compactions++
  }

  async #compact(segments: readonly Segment[], end: number, pause: () => Promise<void>): Promise<void> {
    const { context, identity, facts } = this.#options
    const planned = segments.map((segment) => ({
      baseOffset: segment.baseOffset,
      path: sidecarPath(identity, segment),
    }))
    const plan = await planCompaction(context, planned, pause)
    const { rewrittenTo } = facts.values
    await facts.raise({ compactedTo: end })
    for (const { endPosition } of segments) this.stats.compactingBytes += endPosition
    let isCounted = true // every version can still be counted from the records before it
    for (const [place, segment] of segments.entries()) {
      const kept = plan[place]!
      const isDirty = segment.nextOffset > rewrittenTo
      if (kept.count < kept.events || segment.compaction > 0) isCounted = false
      this.stats.compactingBytesDone += segment.endPosition
      const firstVersions = await this.#firstVersions(segment, pause)
      const isWanted = isDirty || kept.count < kept.events || this.#hasOldTombstone(segment) || firstVersions.size > 0
      if (isWanted) {
        const versions = kept.byOffset(segment.nextOffset - segment.baseOffset)
        await this.#rewrite(segment, { versions, firstVersions, isCounted }, pause)
      }
      await pause()
    }
    await facts.raise({ rewrittenTo: end })
  }

  /** Of a log that is not compacted, what limits of single streams have given up. */
  async #applyLimits(segments: readonly Segment[], pause: () => Promise<void>): Promise<void> {
    for (const { endPosition } of segments) this.stats.compactingBytes += endPosition
    for (const segment of segments) {
      const firstVersions = await this.#firstVersions(segment, pause)
      this.stats.compactingBytesDone += segment.endPosition
      if (firstVersions.size > 0) {
        const versions = await this.#versionsOf(segment, pause)
        await this.#rewrite(segment, { versions, firstVersions, isCounted: false }, pause)
      }
      await pause()
    }
  }

  /** Whether limits have changed, or so much is new that they will have given up more. */
  #areLimitsDue(segments: readonly Segment[]): boolean {
    const { limits, settings } = this.#options
    const { changes, endOffset } = this.#limited
    if (limits.size === 0 || limits.certain.offset === 0) return false
    if (limits.changes !== changes) return segments.length > 0
    let [bytes, newBytes] = [0, 0]
    for (const { nextOffset, endPosition } of segments) {
      bytes += endPosition
      if (nextOffset > endOffset) newBytes += endPosition
    }
    return newBytes > 0 && newBytes >= settings().dirtyRatioMin * bytes
  }

  /** Of streams with a limit that gives up some of their events in the segment: the first version that is kept. */
  async #firstVersions(segment: Segment, pause: () => Promise<void>): Promise<Map<string, number>> {
    const { context, identity, index, limits } = this.#options
    const firstVersions = new Map<string, number>()
    const { certain } = limits
    if (limits.size === 0) return firstVersions
    await using sidecar = await Sidecar.open(context.fileSystem, sidecarPath(identity, segment))
    for (const stream of Array.from(limits.streams())) {
      const postings = await sidecar.find(stream)
      await pause()
      if (postings === undefined) continue
      const { maxAgeMs } = limits.get(stream)
      const isOld = maxAgeMs > 0 && segment.lastAppendTimeMs < Math.min(this.#ages.now(), certain.atMs) - maxAgeMs
      const countedTo = index.versionFrom(stream, certain.offset) - 1
      const first = isOld ? Infinity : limits.firstVersion(stream, index.lastVersion(stream), countedTo)
      if (first > postings.firstVersion) firstVersions.set(stream, first)
    }
    return firstVersions
  }

  /** As RewriteOptions.versions has them, when all stay. */
  async #versionsOf(segment: Segment, pause: () => Promise<void>): Promise<Float64Array> {
    const { context, identity } = this.#options
    const versions = new Float64Array(segment.nextOffset - segment.baseOffset)
    await using sidecar = await Sidecar.open(context.fileSystem, sidecarPath(identity, segment))
    for await (const entries of sidecar.blocks()) {
      while (entries.next()) {
        for (let place = 0; place < entries.count; place++)
          versions[entries.nextOffset() - segment.baseOffset] = entries.firstVersion + place + 1
      }
      await pause()
    }
    return versions
  }

  async #rewrite(segment: Segment, wanted: WantedEvents, pause: () => Promise<void>): Promise<void> {
    const { context, identity, salt, settings } = this.#options
    const { fileSystem } = context
    const { versions, firstVersions, isCounted } = wanted
    // Only where a key has one value is a record without one the end of it.
    const tombstonesBeforeMs = settings().cleanup.compacts ? this.#tombstonesBeforeMs() : -Infinity
    const options = { context, identity, salt, segment, versions, firstVersions, tombstonesBeforeMs, pause }
    const rewritten = await rewriteSegment(options)
    this.stats.compactedRecords += segment.recordCount
    if (isCounted && rewritten.removedRecords === 0 && rewritten.segment.tombstoneMs === 0) {
      await rewritten.segment.file?.close()
      for (const path of [segment.path, sidecarPath(identity, segment)]) await fileSystem.remove(path + temporarySuffix)
      return
    }
    await this.#writeHeads(segment, rewritten)
    await this.#options.chain.fileTurns.with(() => this.#swap(segment, rewritten))
    this.stats.rewrittenSegments++
    this.stats.removedRecords += rewritten.removedRecords
    this.stats.freedBytes += segment.endPosition - rewritten.segment.endPosition
  }

  /** Before the events go. With what an earlier pass over this segment has written. */
  async #writeHeads(segment: Segment, { gone }: RewrittenSegment): Promise<void> {
    if (gone.length === 0) return
    const { context, identity, index } = this.#options
    const endOffset = segment.nextOffset
    const lines: HeadLine[] = [new ListedHeads(gone)]
    for (const file of await findHeads(context.fileSystem, identity.directory)) {
      if (file.endOffset === endOffset) lines.push(await HeadsReader.open(context.fileSystem, file.path, identity))
    }
    await writeHeads(context, identity, endOffset, new MergedHeads(lines))
    index.addGone(await goneStreams(new ListedHeads(gone), endOffset, Infinity))
  }

  /**
   * In one step for readers, who find the rewritten segment open; then on disk, the segment first: its sidecar of before says that it is not about this
   * file. A failure in between ends the process, since the path would be another file than the one that is served.
   */
  async #swap(segment: Segment, rewritten: RewrittenSegment): Promise<void> {
    const { context, identity, chain } = this.#options
    const { fileSystem, pool } = context
    chain.replace(segment, rewritten.segment)
    try {
      await fileSystem.rename(segment.path + temporarySuffix, segment.path)
      const sidecar = sidecarPath(identity, segment)
      await fileSystem.rename(sidecar + temporarySuffix, sidecar)
      await fileSystem.syncDirectory(identity.directory)
    } catch (error) {
      const failure = new PlayheadError('storageFailed', `${segment.path}: not replaced: ${String(error)}`, {
        file: segment.path,
      })
      context.onFatal(failure)
      throw failure
    }
    await pool.close(segment)
    pool.letGo(rewritten.segment)
  }
}
