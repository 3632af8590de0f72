/**
 * LogReader: the reading side of one log: ranges of batches, events of a stream, offsets by time. Every read takes the list of segments and its
 * limit in one synchronous step and never looks past what is durable.
 * Invariant: while a read is under way its files stay open: `close` waits for the last one.
 * Neighbours: Log owns it; TailCache, SegmentReader and StreamReader do the reading.
 */
import { PlayheadError } from '../protocol/errors.ts'
import type { FrameMemory, FramePiece } from '../protocol/frame-memory.ts'
import type { DecompressionMemory } from './decompression-memory.ts'
import type { Segment } from './segment.ts'
import type { SegmentReader } from './segment-reader.ts'
import type { ReadStream, StreamPage, StreamReader } from './stream-reader.ts'
import type { TailCache } from './tail-cache.ts'
import { findOffsetForTime } from './time-search.ts'

export interface ReadRange {
  readonly offset: number
  /** Whole batches up to this many bytes, at least one. */
  readonly maxBytes: number
  /** Records at and after this offset are not there for this reader. */
  readonly limitOffset: number
}

export interface ReadResult {
  readonly batches: Buffer[]
  /** Where to read on. */
  readonly nextOffset: number
  /** What the batches lie in, held for the caller; who does not let go leaves it to the collector. */
  readonly piece?: FramePiece | undefined
}

interface FileRead {
  readonly offset: number
  readonly maxBytes: number
  readonly limit: number
  readonly extent: LogExtent
}

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
}

export class LogReader {
  readonly stats = { readBatches: 0, readBytes: 0 }
  readonly #options: LogReaderOptions
  readonly #underWay = new Set<Promise<unknown>>()
  #closed: PlayheadError | undefined

  constructor(options: LogReaderOptions) {
    this.#options = options
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
      return this.#options.streams.read({ ...request, limitOffset }, segments)
    })
  }

  offsetForTime(timestampMs: number, clock: TimeClock, limitOffset: number): Promise<number> {
    return this.#reading(() => this.#offsetForTime(timestampMs, clock, limitOffset))
  }

  /** Refuses what comes from now on with `reason`, and resolves when nothing is under way. */
  async close(reason: PlayheadError): Promise<void> {
    this.#closed = reason
    await Promise.allSettled(this.#underWay)
  }

  async #reading<T>(read: () => Promise<T>): Promise<T> {
    if (this.#closed !== undefined) throw this.#closed
    const reading = read()
    this.#underWay.add(reading)
    try {
      return await reading
    } finally {
      this.#underWay.delete(reading)
    }
  }

  async #read({ offset, maxBytes, limitOffset }: ReadRange): Promise<ReadResult> {
    const extent = this.#options.extent()
    checkRange(this.#options.name, offset, extent)
    const limit = Math.min(limitOffset, extent.durableOffset)
    if (offset >= limit) return { batches: [], nextOffset: offset }
    const read = this.#fromTail(offset, limit, maxBytes) ?? (await this.#fromFile({ offset, maxBytes, limit, extent }))
    this.stats.readBatches += read.batches.length
    for (const batch of read.batches) this.stats.readBytes += batch.length
    return read
  }

  #fromTail(offset: number, limit: number, maxBytes: number): ReadResult | undefined {
    const found = this.#options.tail.read(offset, limit, maxBytes)
    if (found === undefined || found.sources.length === 0) return found && { batches: [], nextOffset: offset }
    const piece = this.#options.memory.take(found.bytes)
    let at = 0
    const batches = found.sources.map((source, place) => {
      const start = at
      at += source.copy(piece.bytes, at, found.froms[place], found.tos[place])
      return piece.bytes.subarray(start, at)
    })
    return { batches, nextOffset: found.nextOffset, piece }
  }

  async #fromFile({ offset, maxBytes, limit, extent }: FileRead): Promise<ReadResult> {
    const { batches, piece } = await this.#options.segments.read(extent.segments, offset, limit, maxBytes)
    return { batches: batches.map(({ batch }) => batch), nextOffset: batches.at(-1)?.nextOffset ?? offset, piece }
  }

  #offsetForTime(timestampMs: number, clock: TimeClock, limitOffset: number): Promise<number> {
    const { extent, decompression } = this.#options
    const { segments, durableOffset } = extent()
    const search = { timestampMs, clock, decompression, limitOffset: Math.min(limitOffset, durableOffset) }
    return findOffsetForTime(this.#options.segments, segments, search)
  }
}

function checkRange(name: string, offset: number, { logStartOffset, logEndOffset }: LogExtent): void {
  if (Number.isSafeInteger(offset) && offset >= logStartOffset && offset <= logEndOffset) return
  throw new PlayheadError(
    'offsetOutOfRange',
    `${name}: found offset ${offset}, wanted one from ${logStartOffset} to ${logEndOffset}`,
    { offset, logStartOffset, logEndOffset },
  )
}
