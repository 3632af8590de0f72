/**
 * Verification of one log: that its directory holds segments of it and nothing else, that they continue each other, and that streams have the
 * versions that sidecars and cache say. Each segment is a job of its own (verify-segment.ts), several at once.
 * Neighbours: verify.ts calls it per log; verify-streams.ts compares what is derived.
 */
import type { Clock } from '../platform/clock.ts'
import type { FileSystem } from '../platform/file-system.ts'
import { EventSum } from './event-sum.ts'
import { leaderEpochsFile } from './leader-epochs.ts'
import { endOffsetOfHeads, HeadsReader } from './heads.ts'
import type { HeadsFile } from './heads.ts'
import { type LogFactValues, logFactsFile, readLogFacts } from './log-facts.ts'
import { baseOffsetOfFile, segmentFileName } from './segment-format.ts'
import { temporarySuffix } from './small-file.ts'
import { cacheFile, type LogDigest, wipeCache } from './verify-cache.ts'
import type { TieredRange } from './tier/tier-copies.ts'
import { Findings, type VerifyResult } from './verify-findings.ts'
import { type PostingsFile, type SegmentJob, type SegmentVerdict, segmentHeader } from './verify-segment.ts'
import { compareStreams } from './verify-streams.ts'

/** A log that was found in a data directory. */
export interface FoundLog {
  readonly directory: string
  /** topic/partition, for messages. */
  readonly name: string
  /** In hex. */
  readonly topicId: string
  readonly partition: number
}

export interface VerifyLogOptions {
  readonly fileSystem: FileSystem
  readonly clock: Clock
  readonly log: FoundLog
  readonly cacheDirectory: string
  /** Offsets that the tier has: they may be there alone. */
  readonly tiered: readonly TieredRange[]
  /** What the cache has of this log, once it was looked at. */
  readonly cached: Promise<LogDigest | undefined>
  /** The same with a digest of each stream, for when something differs. */
  readonly digest: () => Promise<LogDigest | undefined>
  /** Where files may be put whose names begin with this; undefined = nowhere. */
  readonly scratchPath: string | undefined
  /** Does a job, now or when there is room for one more. */
  readonly verifySegment: (job: SegmentJob) => Promise<SegmentVerdict>
  /** Called with each segment, in order. */
  readonly onSegment: (found: VerifyResult) => void
}

interface ReadSegment {
  readonly baseOffset: number
  readonly nextBase: number | undefined
  readonly postings: PostingsFile | undefined
}

export async function verifyLog(options: VerifyLogOptions): Promise<Findings> {
  return await new LogVerification(options).run()
}

class LogVerification {
  readonly #options: VerifyLogOptions
  readonly #findings = new Findings()
  /** In hex; undefined when no header holds. */
  #salt: string | undefined
  #nextOffset = -1
  #leaderEpoch = -1
  #lastAppendTimeMs = 0
  /** Of the sidecar before; undefined when there was none to rely on. */
  #previousChecksum: number | undefined = 0
  /** Whether every record so far was read, so that versions can be counted. */
  #whole = true
  /** The whole segments from the first on. */
  readonly #segments: ReadSegment[] = []
  readonly #sum = new EventSum()
  #isBegun = false
  /** Undefined when they cannot be read. */
  #facts: LogFactValues | undefined
  readonly #heads: HeadsFile[] = []
  /** Below it segments have been rewritten. */
  #rewrittenTo = 0

  constructor(options: VerifyLogOptions) {
    this.#options = options
  }

  async run(): Promise<Findings> {
    const { fileSystem, log } = this.#options
    this.#findings.partitions++
    const names = await fileSystem.list(log.directory)
    const bases = names.map(baseOffsetOfFile).filter((base) => base !== undefined)
    for (const name of names) this.#look(name, bases)
    await this.#readFacts()
    await this.#readHeads()
    await this.#findSalt(bases)
    const verdicts = bases.map((base, place) => this.#begin(base, bases[place + 1]))
    const settled = Promise.allSettled(verdicts) // one that fails may do so while an earlier one is waited for
    for (const [place, base] of bases.entries()) await this.#segment(base, bases[place + 1], verdicts[place]!)
    await settled
    await this.#compareStreams()
    return this.#findings
  }

  async #readFacts(): Promise<void> {
    const { fileSystem, log } = this.#options
    const path = `${log.directory}/${logFactsFile}`
    this.#whole = await this.#findings.guard(path, async () => {
      this.#facts = await readLogFacts(fileSystem, path)
    })
    this.#nextOffset = this.#facts === undefined || this.#facts.logStartOffset === 0 ? -1 : this.#facts.logStartOffset
  }

  /** Every byte; without one of them the versions of streams cannot be counted. */
  async #readHeads(): Promise<void> {
    const { fileSystem, log } = this.#options
    const identity = { topicId: Buffer.from(log.topicId, 'hex'), partition: log.partition }
    for (const { path, endOffset } of this.#heads) {
      const isSound = await this.#findings.guard(path, async () => {
        const reader = await HeadsReader.open(fileSystem, path, identity)
        try {
          let streams = 0
          while (await reader.next()) streams++
          if (streams !== reader.streams || endOffset !== reader.endOffset)
            this.#findings.damaged(
              path,
              0,
              `found ${streams} streams up to offset ${reader.endOffset}, wanted what its header and name say`,
            )
        } finally {
          await reader.close()
        }
      })
      if (!isSound) this.#whole = false
    }
  }

  /** Whether events have been removed from the log, so that it does not tell all that the cache may know. */
  get #isTrimmed(): boolean {
    const { logStartOffset = 0, compactedTo = 0 } = this.#facts ?? {}
    return logStartOffset > 0 || compactedTo > 0 || this.#heads.length > 0 || this.#rewrittenTo > 0
  }

  /** The log's salt, from the first header that holds. */
  async #findSalt(bases: readonly number[]): Promise<void> {
    const { fileSystem, log } = this.#options
    for (const base of bases) {
      const path = `${log.directory}/${segmentFileName(base)}`
      const file = await fileSystem.open(path, 'read')
      try {
        this.#salt = (await segmentHeader(file, path))?.salt.toString('hex')
      } finally {
        await file.close()
      }
      if (this.#salt !== undefined) return
    }
  }

  /** Says what a name in the directory is when it is not a segment. */
  #look(name: string, bases: readonly number[]): void {
    const path = `${this.#options.log.directory}/${name}`
    if (baseOffsetOfFile(name) !== undefined || name === logFactsFile || name === leaderEpochsFile) return
    const endOffset = endOffsetOfHeads(name)
    if (endOffset !== undefined) return void this.#heads.push({ path, endOffset })
    if (name.endsWith(temporarySuffix)) return this.#findings.note(`${path}: half made; the next start removes it`)
    const segment = name.endsWith('.idx') ? baseOffsetOfFile(name.replace(/\.idx$/, '.log')) : undefined
    if (segment === undefined) return this.#findings.note(`${path}: not a file of Playhead`)
    if (!bases.includes(segment)) {
      this.#findings.damaged(
        path,
        0,
        `found a sidecar, wanted its segment ${segmentFileName(segment)} beside it`,
        segment,
      )
    }
  }

  /** Gives a segment to be read. It is not known yet what the one before ends with, so it is taken as the first. */
  async #begin(baseOffset: number, nextBase: number | undefined): Promise<SegmentVerdict> {
    // What the cache calls durable matters at the end of the log only.
    const durableOffset = nextBase === undefined ? await this.#durableOffset() : 0
    return await this.#options.verifySegment(this.#job(baseOffset, nextBase, durableOffset))
  }

  #job(baseOffset: number, nextBase: number | undefined, durableOffset: number): SegmentJob {
    const { directory, topicId, partition } = this.#options.log
    return {
      path: `${directory}/${segmentFileName(baseOffset)}`,
      topicId,
      partition,
      baseOffset,
      nextBase,
      salt: this.#salt ?? '',
      durableOffset,
      leaderEpoch: -1,
      spillPath: undefined,
    }
  }

  async #durableOffset(): Promise<number> {
    const durable = (await this.#options.cached)?.durable
    return durable !== undefined && durable.salt === this.#salt ? durable.offset : 0
  }

  /** Takes in what was found of a segment; reads it again where it could not have been judged without the one before. */
  async #segment(baseOffset: number, nextBase: number | undefined, begun: Promise<SegmentVerdict>): Promise<void> {
    const path = `${this.#options.log.directory}/${segmentFileName(baseOffset)}`
    let verdict = await begun
    const { firstLeaderEpoch, firstAppendTimeMs } = verdict
    if ((firstLeaderEpoch ?? Infinity) < this.#leaderEpoch) {
      const job = this.#job(baseOffset, nextBase, nextBase === undefined ? await this.#durableOffset() : 0)
      verdict = await this.#options.verifySegment({ ...job, leaderEpoch: this.#leaderEpoch })
    }
    // While the one before could not be read, nobody knew how late it was: with a clock that was set back, appends went on from an earlier time.
    if ((firstAppendTimeMs ?? Infinity) < this.#lastAppendTimeMs)
      this.#findings.note(`${path}: begins with append time ${firstAppendTimeMs}, after ${this.#lastAppendTimeMs}`)
    if (verdict.state !== 'skipped' || verdict.result.damage.length > 0) this.#checkOrder(path, baseOffset)
    this.#findings.add(verdict.result)
    this.#take(verdict, path, { baseOffset, nextBase })
    if (verdict.state !== 'skipped') this.#options.onSegment(verdict.result)
  }

  #checkOrder(path: string, baseOffset: number): void {
    // The start may lie anywhere in the first segment, or behind some that are on their way out.
    if (!this.#isBegun && baseOffset < this.#nextOffset) this.#nextOffset = baseOffset
    this.#isBegun = true
    if (baseOffset > Math.max(0, this.#nextOffset) && this.#isTiered(Math.max(0, this.#nextOffset), baseOffset)) {
      const { log } = this.#options
      const [from, to] = [Math.max(0, this.#nextOffset), baseOffset - 1]
      this.#findings.note(`${log.name}: offsets ${from} to ${to} are in the tier only; playhead tier verify reads them`)
      this.#whole = false
      this.#previousChecksum = undefined
    } else if (this.#nextOffset >= 0 && baseOffset > this.#nextOffset) {
      const reason = `found no segment with offsets ${this.#nextOffset} to ${baseOffset - 1}, wanted one before this`
      this.#findings.damaged(path, 0, reason, this.#nextOffset)
      this.#whole = false
      this.#previousChecksum = undefined
    } else if (this.#nextOffset > baseOffset) {
      this.#findings.damaged(
        path,
        0,
        `found a segment from offset ${baseOffset}, wanted ${this.#nextOffset}`,
        baseOffset,
      )
      this.#whole = false
    }
    this.#nextOffset = baseOffset
  }

  /** Whether the tier has all offsets [from, to). */
  #isTiered(from: number, to: number): boolean {
    let next = from
    for (const range of this.#options.tiered)
      if (range.baseOffset <= next && range.nextOffset > next) next = range.nextOffset
    return next >= to
  }

  #take(verdict: SegmentVerdict, path: string, { baseOffset, nextBase }: Omit<ReadSegment, 'postings'>): void {
    const { state, footer, postings } = verdict
    if (state === 'skipped') {
      if (verdict.result.damage.length > 0 || nextBase !== undefined) this.#whole = false
      this.#previousChecksum = undefined
      if (nextBase !== undefined) this.#nextOffset = nextBase
      return
    }
    // The sidecar before was made, or made again, after this one: its bytes need not be the same, and the segment is what counts.
    const chained =
      footer === undefined || footer.previousChecksum === (this.#previousChecksum ?? footer.previousChecksum)
    // A rewritten segment has a newer sidecar than those around it as a matter of course.
    if ((footer?.compaction ?? 0) > 0) this.#rewrittenTo = verdict.nextOffset
    const isRewritten = this.#rewrittenTo >= baseOffset && this.#rewrittenTo > 0
    if (state === 'whole' && !chained && !isRewritten)
      this.#findings.note(`${path.replace(/\.log$/, '.idx')}: the sidecar before it is newer than this one`)
    this.#previousChecksum = footer?.checksum
    this.#nextOffset = verdict.nextOffset
    this.#leaderEpoch = Math.max(this.#leaderEpoch, verdict.leaderEpoch)
    this.#lastAppendTimeMs = Math.max(this.#lastAppendTimeMs, verdict.lastAppendTimeMs)
    if (state === 'broken') this.#whole = false
    if (!this.#whole) return
    this.#segments.push({ baseOffset, nextBase, postings })
    if (verdict.sum !== undefined) this.#sum.addAll(verdict.sum)
  }

  async #compareStreams(): Promise<void> {
    const { log, cacheDirectory } = this.#options
    const cached = await this.#options.cached
    const cache = cacheFile(cacheDirectory)
    const end = Math.max(0, this.#nextOffset)
    let digest: LogDigest | undefined
    if (cached !== undefined && !this.#whole) {
      this.#findings.note(`${log.name}: not all of it could be read here, so its part of the cache was not compared`)
    } else if (cached !== undefined && (this.#isTrimmed || !this.#isProven(cached, end))) {
      digest = cached.fault === undefined ? await this.#options.digest() : cached
      const fault =
        digest === undefined ? `found nothing when it was looked at again; ${wipeCache}` : faultOf(digest, end)
      if (fault !== undefined) {
        this.#findings.damaged(cache, 0, fault)
        digest = undefined
      }
    }
    await this.#findings.guard(cache, () => this.#compareWith(digest))
  }

  /** Throws damagedData for the first thing that differs between log and digest. */
  async #compareWith(digest: LogDigest | undefined): Promise<void> {
    const { fileSystem, clock } = this.#options
    // Behind the last sidecar no version is written down, so only the digest can be compared there.
    const last = this.#segments.findLastIndex(({ postings }) => postings !== undefined)
    const postings: (PostingsFile & { readonly baseOffset: number })[] = []
    for (const segment of digest === undefined ? this.#segments.slice(0, last + 1) : this.#segments) {
      const found = segment.postings ?? (await this.#postingsOf(segment))
      if (found === undefined) return // there is nowhere to put them
      postings.push({ ...found, baseOffset: segment.baseOffset })
    }
    const damaged = (path: string, reason: string) => this.#findings.damaged(path, 0, reason)
    const { topicId, partition } = this.#options.log
    const removed = {
      heads: this.#heads,
      identity: { topicId: Buffer.from(topicId, 'hex'), partition },
      isTrimmed: this.#isTrimmed,
      rewrittenTo: Math.max(this.#facts?.compactedTo ?? 0, this.#rewrittenTo),
    }
    await compareStreams({ fileSystem, clock, postings, removed, digest, damaged })
  }

  /** Reads a segment without a sound sidecar again, for the postings alone. */
  async #postingsOf({ baseOffset, nextBase }: ReadSegment): Promise<PostingsFile | undefined> {
    const { scratchPath } = this.#options
    if (scratchPath === undefined) return undefined
    const job = this.#job(baseOffset, nextBase, nextBase === undefined ? await this.#durableOffset() : 0)
    return (await this.#options.verifySegment({ ...job, spillPath: `${scratchPath}-${baseOffset}` })).postings
  }

  /** Whether the cache has all events of the log, and the sum over them says that they are the same: then no stream needs to be looked at. */
  #isProven({ indexedTo, reachesTo, sum }: LogDigest, end: number): boolean {
    return indexedTo === end && reachesTo === end && sum !== undefined && this.#sum.equals(sum)
  }
}

/** What is wrong with the cache's part of a log that ends at offset `end`, without comparing streams. */
function faultOf({ fault, reachesTo }: LogDigest, end: number): string | undefined {
  if (fault !== undefined || reachesTo <= end) return fault
  return `stream index of the log: found offsets up to ${reachesTo}, wanted at most ${end}; the cache must be wiped, it is rebuilt from the log`
}
