/**
 * StreamReader: one page of one stream's events: the index says where the versions are, the records are cut out of their batches.
 * Invariant: versions are those of the index, in the order of offsets whichever way is read; what a page costs is bounded by its limit,
 * its bytes and the number of events it may look at.
 * Neighbours: Log calls it with the segments as of now; it asks StreamIndex, TailCache and SegmentReader.
 */
import type { Yielding } from '../platform/clock.ts'
import { PlayheadError, isPlayheadError } from '../protocol/errors.ts'
import { checkStream } from '../protocol/names.ts'
import type { PackedRecord } from '../protocol/record.ts'
import { baseOffset, codec, nextOffset } from '../protocol/record-batch.ts'
import type { DecompressionMemory } from './decompression-memory.ts'
import { cutPlain, cutRecords } from './record-cutter.ts'
import { segmentPlace } from './read-plan.ts'
import type { Segment } from './segment.ts'
import type { SegmentReader } from './segment-reader.ts'
import type { StorageSettings } from './storage-settings.ts'
import type { StreamIndex } from './stream-index.ts'
import type { StreamLook } from './stream-look.ts'
import type { TailCache } from './tail-cache.ts'
import { Turns } from './turns.ts'

export interface ReadStream {
  readonly stream: string
  /** First version wanted; absent = the first, or the last when reading backwards. */
  readonly from?: number | undefined
  readonly limit: number
  readonly backwards: boolean
  /** Only events whose own time is at most this, ms since the epoch. */
  readonly asOf?: number | undefined
  /** Only the prefix that was appended by this time, ms since the epoch. */
  readonly knownAt?: number | undefined
  /** Of the records answered; at least one is. */
  readonly maxBytes: number
  readonly limitOffset: number
}

export interface StreamPage {
  /** In offset order. */
  readonly records: PackedRecord[]
  /** Of the records. */
  readonly versions: number[]
  /** Where to go on in the same direction; absent = that was all. */
  readonly nextVersion?: number | undefined
  /** Of the stream as this reader sees it; -1 = no event. */
  readonly lastVersion: number
}

/** Versions fetched in one go: a page is made of such steps, so that its limits are looked at in between. */
const stepEventsMax = 256
/** Of the first step, when nothing is known of how large the events are. */
const stepEventsFirst = 64
const stepEventsMin = 16
/** Segments that one page reads at the same time. */
const segmentsAtOnce = 16

interface Step {
  /** The versions looked at: so many from this one on. */
  readonly firstVersion: number
  readonly count: number
  readonly records: readonly PackedRecord[]
  /** Of the records: those that compaction has removed are left out. */
  readonly versions: readonly number[]
}

export interface StreamReaderOptions {
  readonly index: StreamIndex
  readonly reader: SegmentReader
  readonly tail: TailCache
  readonly settings: StorageSettings
  readonly decompression: DecompressionMemory
  readonly clock: Yielding
}

export class StreamReader {
  readonly #options: StreamReaderOptions

  constructor(options: StreamReaderOptions) {
    this.#options = options
  }

  /** Nothing before `fromOffset`. Throws invalidStream; corruptBatch when the first event wanted cannot be read (those before a damaged one are answered first). */
  async read(request: ReadStream, segments: readonly Segment[], fromOffset = 0): Promise<StreamPage> {
    const { index, settings, clock } = this.#options
    const { stream, limitOffset, backwards } = request
    checkStream(stream)
    const fetching = index.prefetchPages(stream)
    if (fetching !== undefined) await fetching
    let look: StreamLook | undefined = index.look(stream)
    const { firstVersion: firstKept, lastVersion } = look.versionsBelow(limitOffset)
    const firstVersion = fromOffset === 0 ? firstKept : Math.max(firstKept, look.versionFrom(fromOffset))
    if (lastVersion < 0) return { records: [], versions: [], lastVersion }
    const within = (version: number) => version >= firstVersion && version <= lastVersion
    let version = backwards
      ? Math.min(request.from ?? lastVersion, lastVersion)
      : Math.max(request.from ?? firstVersion, firstVersion)
    const page = new PageBuilder(request)
    let examined = 0
    while (within(version) && !page.full && examined < settings.examinedEventsMax) {
      if (examined > 0) await clock.yield() // what lies in memory is read at once
      const count = Math.min(page.stepEvents, request.asOf === undefined ? page.missing : stepEventsMax)
      const direction = backwards ? 'backwards' : 'forwards'
      look ??= index.look(stream)
      const found = look.lookup({ fromVersion: version, count, limitOffset, direction })
      look = undefined // no longer so after the next line
      const step = await this.#fetch(request, segments, found, !page.empty)
      if (step.count === 0) break // damage comes next: what stands before it is answered first
      version = page.take(step)
      examined += step.count
    }
    return { ...page.sorted(), lastVersion, nextVersion: within(version) ? version : undefined }
  }

  /** The events found; those before damage when it lies among them, none when it comes first and `tolerant`. Throws corruptBatch. */
  async #fetch(
    request: ReadStream,
    segments: readonly Segment[],
    found: { firstVersion: number; offsets: readonly number[] },
    tolerant: boolean,
  ): Promise<Step> {
    try {
      const { firstVersion, offsets } = found
      const records = await this.#records(segments, offsets, request.limitOffset)
      let at = 0
      const versions = records.map(({ offset }) => {
        while (offsets[at] !== offset) at++
        return firstVersion + at
      })
      return { firstVersion, count: offsets.length, records, versions }
    } catch (error) {
      if (!isPlayheadError(error, 'corruptBatch')) throw error
      const rest = beside(error, found, request.backwards)
      if (rest.offsets.length === 0 && !tolerant) throw withVersions(error, found)
      return rest.offsets.length === 0
        ? { firstVersion: 0, count: 0, records: [], versions: [] }
        : this.#fetch(request, segments, rest, tolerant)
    }
  }

  /** Segments are read side by side: a stream may be scattered over many, and some of them far away. */
  async #records(
    segments: readonly Segment[],
    offsets: readonly number[],
    limitOffset: number,
  ): Promise<PackedRecord[]> {
    const { tail } = this.#options
    const parts: (PackedRecord[] | Promise<PackedRecord[]>)[] = []
    const turns = new Turns(segmentsAtOnce)
    for (let at = 0; at < offsets.length; ) {
      const cached = tail.batchAt(offsets[at] ?? 0)
      let end = at
      if (cached !== undefined) {
        while (end < offsets.length && (offsets[end] ?? 0) < nextOffset(cached)) end++
        const wanted = offsets.slice(at, end)
        parts.push(attempted(() => this.#fromTail(cached, wanted)))
      } else {
        const place = segmentPlace(segments, offsets[at] ?? 0)
        const segmentEnd = Math.min(segments[place + 1]?.baseOffset ?? Infinity, tail.firstOffset)
        while (end < offsets.length && (offsets[end] ?? 0) < segmentEnd) end++
        end = Math.max(end, at + 1)
        const wanted = offsets.slice(at, end)
        parts.push(
          attempted(() => this.#fromFileNow(segments, wanted, limitOffset)) ??
            turns.with(() => this.#fromFile(segments, wanted, limitOffset)),
        )
      }
      at = end
    }
    if (parts.length === 1) return parts[0]!
    if (parts.every(isThere)) return parts.flat()
    const records: PackedRecord[] = []
    for (const result of await Promise.allSettled(parts.map(async (part) => part))) {
      if (result.status === 'rejected') throw result.reason
      records.push(...result.value)
    }
    return records
  }

  #fromTail(cached: Buffer, offsets: readonly number[]): PackedRecord[] | Promise<PackedRecord[]> {
    // What is in the cache may be looked at in this turn only: decompression takes longer.
    const batch = codec(cached) === 'none' ? cached : Buffer.from(cached)
    return cutRecords(batch, offsets, this.#options.decompression)
  }

  /** Undefined where it is not all there to be read at once. */
  #fromFileNow(
    segments: readonly Segment[],
    offsets: readonly number[],
    limitOffset: number,
  ): PackedRecord[] | undefined {
    const segment = segments[segmentPlace(segments, offsets[0] ?? 0)]
    if (segment === undefined || segment.compaction > 0) return undefined
    const records: PackedRecord[] = []
    const wantedOf = batchByBatch(offsets, false)
    const isWhole = this.#options.reader.eachBatchNow(segments, offsets, limitOffset, (batch) => {
      records.push(...cutPlain(batch, wantedOf(batch)))
    })
    return isWhole ? records : undefined
  }

  async #fromFile(
    segments: readonly Segment[],
    offsets: readonly number[],
    limitOffset: number,
  ): Promise<PackedRecord[]> {
    const records: PackedRecord[] = []
    const { reader, decompression } = this.#options
    const isSparse = (segments[segmentPlace(segments, offsets[0] ?? 0)]?.compaction ?? 0) > 0
    const wantedOf = batchByBatch(offsets, isSparse)
    await reader.eachBatchOf(segments, offsets, limitOffset, (batch) => {
      const found = cutRecords(batch, wantedOf(batch), decompression, isSparse ? 'some' : 'all')
      if (found instanceof Promise) return found.then((cut) => void records.push(...cut))
      records.push(...found)
      return undefined
    })
    return records
  }
}

/** Answers, for batches in order, those of `offsets` that lie in each. Between sparse batches offsets may be missing; else that throws. */
function batchByBatch(offsets: readonly number[], isSparse: boolean): (batch: Buffer) => readonly number[] {
  let at = 0
  return (batch) => {
    if (isSparse) while ((offsets[at] ?? Infinity) < baseOffset(batch)) at++
    const from = at
    while ((offsets[at] ?? Infinity) < nextOffset(batch)) at++
    if ((offsets[from] ?? Infinity) < baseOffset(batch)) throw new Error(`offset ${offsets[from]} was not found`)
    return offsets.slice(from, at)
  }
}

/** What it throws comes as a rejection, after all that other parts have begun. */
function attempted<T>(work: () => T): T | Promise<never> {
  try {
    return work()
  } catch (error) {
    return Promise.reject(error)
  }
}

function isThere(part: PackedRecord[] | Promise<PackedRecord[]>): part is PackedRecord[] {
  return !(part instanceof Promise)
}

/** Gathers events in reading order until the page is full. */
class PageBuilder {
  readonly #request: ReadStream
  readonly #records: PackedRecord[] = []
  readonly #versions: number[] = []
  #bytes = 0
  #isBegun = false
  full = false

  constructor(request: ReadStream) {
    this.#request = request
  }

  get missing(): number {
    return this.#request.limit - this.#records.length
  }

  /** As many as will fit, as far as one can tell: what is read and does not fit is read again for the next page. */
  get stepEvents(): number {
    const { length } = this.#records
    if (length === 0) return this.#isBegun ? stepEventsMax : stepEventsFirst
    const fitting = Math.ceil((this.#request.maxBytes - this.#bytes) / (this.#bytes / length))
    return Math.max(stepEventsMin, Math.min(fitting, stepEventsMax))
  }

  get empty(): boolean {
    return this.#records.length === 0
  }

  /** Takes events until the page is full. Answers the first version not looked at, in reading order. */
  take({ firstVersion, count: looked, records, versions }: Step): number {
    const { backwards, asOf, maxBytes } = this.#request
    this.#isBegun = true
    for (let count = 0; count < records.length; count++) {
      const place = backwards ? records.length - 1 - count : count
      const [record, version] = [records[place], versions[place]]
      if (record === undefined || version === undefined) break
      if (asOf !== undefined && record.timestamp > asOf) continue
      const bytes = recordBytes(record)
      this.full = this.missing === 0 || (!this.empty && this.#bytes + bytes > maxBytes)
      if (this.full) return version
      this.#records.push(record)
      this.#versions.push(version)
      this.#bytes += bytes
    }
    this.full = this.missing === 0
    return backwards ? firstVersion - 1 : firstVersion + looked
  }

  sorted(): { records: PackedRecord[]; versions: number[] } {
    if (!this.#request.backwards) return { records: this.#records, versions: this.#versions }
    return { records: this.#records.toReversed(), versions: this.#versions.toReversed() }
  }
}

/** What a record is counted as against maxBytes. */
function recordBytes({ packed }: PackedRecord): number {
  return 16 + packed.length
}

/** Of the versions found, those on this side of the damage, in reading order. */
function beside(
  error: PlayheadError,
  { firstVersion, offsets }: { firstVersion: number; offsets: readonly number[] },
  backwards: boolean,
): { firstVersion: number; offsets: readonly number[] } {
  const damagedFrom = Number(error.details.offset)
  const damagedTo = Number(error.details.nextOffset)
  if (!backwards) return { firstVersion, offsets: offsets.filter((offset) => offset < damagedFrom) }
  const rest = offsets.filter((offset) => offset >= damagedTo)
  return { firstVersion: firstVersion + offsets.length - rest.length, offsets: rest }
}

/** Tells the reader of a stream which versions it cannot have, so that it can go on behind them. */
function withVersions(
  error: PlayheadError,
  found: { firstVersion: number; offsets: readonly number[] },
): PlayheadError {
  const damagedFrom = Number(error.details.offset)
  const damagedTo = Number(error.details.nextOffset)
  const before = found.offsets.filter((offset) => offset < damagedFrom).length
  const until = found.offsets.filter((offset) => offset < damagedTo).length
  const details = { ...error.details, version: found.firstVersion + before, nextVersion: found.firstVersion + until }
  return new PlayheadError('corruptBatch', error.message, details)
}
