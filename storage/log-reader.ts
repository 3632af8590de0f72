/**
 * LogReader: the reading side of one log: ranges of batches, events of a stream, offsets by time. Every read takes the list of segments and its
 * limit in one synchronous step and never looks past what is durable.
 * Invariant: while a read is under way its files stay open: `close` waits for the last one.
 * Neighbours: Log owns it; TailCache, SegmentReader and StreamReader do the reading.
 */
import type { Clock } from '../platform/clock.ts'
import { PlayheadError } from '../protocol/errors.ts'
import type { FrameMemory } from '../protocol/frame-memory.ts'
import type { ByteBudget } from './byte-budget.ts'
import type { DecompressionMemory } from './decompression-memory.ts'
import { ReadAhead } from './read-ahead.ts'
import type { ReadRange, ReadResult } from './read-range.ts'
import type { Segment } from './segment.ts'
import { SegmentGone } from './segment-pool.ts'
import type { SegmentReader } from './segment-reader.ts'
import type { ReadStream, StreamPage, StreamReader } from './stream-reader.ts'
import type { StreamLimits } from './stream-limits.ts'
import type { TailCache } from './tail-cache.ts'
import { findOffsetForTime } from './time-search.ts'

export type TimeClock = 'event' | 'append'

/** Where the log stands, as of the call. */
export interface LogExtent {
  readonly segments: readonly Segment[]
  readonly logStartOffset: number
  readonly durableOffset: number
  readonly logEndOffset: number
}

export interface LogReaderOptions {
  /** topic/partition */
  readonly name: string
  readonly tail: TailCache
  readonly segments: SegmentReader
  /** What reads are answered in. */
  readonly memory: FrameMemory
  readonly decompression: DecompressionMemory
  readonly streams: StreamReader
  readonly extent: () => LogExtent
  readonly clock: Clock
  readonly limits: StreamLimits
  readonly readAheadBudget: ByteBudget
}

/** Whoever goes through a log at any speed asks again sooner. */
const aheadKeptMsMax = 1000

export class LogReader {
  readonly stats = { readBatches: 0, readBytes: 0 }
  readonly #options: LogReaderOptions
  readonly #underWay = new Set<Promise<unknown>>()
  readonly #ahead: ReadAhead
  #closed: PlayheadError | undefined

  constructor(options: LogReaderOptions) {
    this.#options = options
    this.#ahead = new ReadAhead({
      budget: options.readAheadBudget,
      clock: options.clock,
      keptMsMax: aheadKeptMsMax,
      read: (range) => this.#reading(() => this.#fromFile(range, options.extent())),
    })
  }

  /** Throws offsetOutOfRange, corruptBatch. */
  read(range: ReadRange): Promise<ReadResult> {
    return this.#reading(() => this.#read(range))
  }

  /** Throws invalidStream, corruptBatch. */
  readStream(request: ReadStream): Promise<StreamPage> {
    return this.#reading(async () => {
      const { segments, durableOffset } = this.#options.extent()
      let limitOffset = Math.min(request.limitOffset, durableOffset)
      if (request.knownAt !== undefined)
        limitOffset = await this.#offsetForTime(request.knownAt + 1, 'append', limitOffset)
      const { maxAgeMs } = this.#options.limits.get(request.stream)
      let fromOffset = 0
      if (maxAgeMs > 0)
        fromOffset = await this.#offsetForTime(this.#options.clock.now() - maxAgeMs, 'append', durableOffset)
      return this.#options.streams.read({ ...request, limitOffset }, segments, fromOffset)
    })
  }

  offsetForTime(timestampMs: number, clock: TimeClock, limitOffset: number): Promise<number> {
    return this.#reading(() => this.#offsetForTime(timestampMs, clock, limitOffset))
  }

  /** Refuses what comes from now on with `reason`, and resolves when nothing is under way. */
  async close(reason: PlayheadError): Promise<void> {
    this.#closed = reason
    this.#ahead.close()
    await Promise.allSettled(this.#underWay)
  }

  async #reading<T>(read: () => Promise<T>): Promise<T> {
    if (this.#closed !== undefined) throw this.#closed
    const reading = planned(read)
    this.#underWay.add(reading)
    try {
      return await reading
    } finally {
      this.#underWay.delete(reading)
    }
  }

  async #read({ offset, maxBytes, limitOffset, wantsTimes = false }: ReadRange): Promise<ReadResult> {
    const extent = this.#options.extent()
    checkRange(this.#options.name, offset, wantsTimes ? ofReplicas(extent) : extent)
    const limit = Math.min(limitOffset, extent.durableOffset)
    if (offset >= limit) return { batches: [], nextOffset: offset }
    const range = { offset, maxBytes, limitOffset: limit, wantsTimes }
    const read = this.#fromTail(range) ?? (await this.#fromFiles(range, extent))
    this.stats.readBatches += read.batches.length
    for (const batch of read.batches) this.stats.readBytes += batch.length
    return read
  }

  #fromTail({ offset, limitOffset, maxBytes, wantsTimes }: ReadRange): ReadResult | undefined {
    const found = this.#options.tail.read(offset, limitOffset, maxBytes, wantsTimes)
    if (found === undefined || found.sources.length === 0) return found && { batches: [], nextOffset: offset }
    const piece = this.#options.memory.take(found.bytes)
    let at = 0
    const batches = found.sources.map((source, place) => {
      const start = at
      at += source.copy(piece.bytes, at, found.froms[place], found.tos[place])
      return piece.bytes.subarray(start, at)
    })
    return { batches, appendTimes: found.times, nextOffset: found.nextOffset, piece }
  }

  async #fromFiles(range: ReadRange, extent: LogExtent): Promise<ReadResult> {
    const read = (await this.#ahead.take(range)) ?? (await this.#fromFile(range, extent))
    // What is in memory need not be read ahead.
    this.#ahead.follow(range, read.nextOffset, Math.min(range.limitOffset, this.#options.tail.firstOffset))
    return read
  }

  async #fromFile(
    { offset, maxBytes, limitOffset, wantsTimes }: ReadRange,
    { segments }: LogExtent,
  ): Promise<ReadResult> {
    const { batches, piece, nextOffset } = await this.#options.segments.read(segments, offset, limitOffset, maxBytes)
    return {
      batches: batches.map(({ batch }) => batch),
      appendTimes: wantsTimes === true ? batches.map(({ appendTimeMs }) => appendTimeMs) : undefined,
      nextOffset,
      piece,
    }
  }

  #offsetForTime(timestampMs: number, clock: TimeClock, limitOffset: number): Promise<number> {
    const { extent, decompression } = this.#options
    const { segments, logStartOffset: fromOffset, durableOffset } = extent()
    const search = { timestampMs, clock, decompression, fromOffset, limitOffset: Math.min(limitOffset, durableOffset) }
    return findOffsetForTime(this.#options.segments, segments, search)
  }
}

/** A read whose segments have left the log before it had them open is planned again: it finds what is there now, or hears where the log begins. */
async function planned<T>(read: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await read()
    } catch (error) {
      if (!(error instanceof SegmentGone)) throw error
    }
  }
}

/** For them the log begins with its files: whoever is behind its start by a little gets there with batches. */
function ofReplicas(extent: LogExtent): LogExtent {
  const { segments, logStartOffset } = extent
  return { ...extent, logStartOffset: Math.min(logStartOffset, segments[0]?.baseOffset ?? logStartOffset) }
}

function checkRange(name: string, offset: number, { logStartOffset, logEndOffset }: LogExtent): void {
  if (Number.isSafeInteger(offset) && offset >= logStartOffset && offset <= logEndOffset) return
  throw new PlayheadError(
    'offsetOutOfRange',
    `${name}: found offset ${offset}, wanted one from ${logStartOffset} to ${logEndOffset}`,
    { offset, logStartOffset, logEndOffset },
  )
}
