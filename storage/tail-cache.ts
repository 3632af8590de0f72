/**
 * TailCache: the newest durable batches of one log, as they were written, so that tail readers cost no file read. TailCacheBudget bounds all
 * logs of a broker together: the log that has had no append for the longest gives its bytes back first. As long as nobody reads, it bounds them to a
 * quarter: whoever comes finds what is newest, and from then on everything.
 * Invariants: the runs of batches are contiguous and end at the log's durable end; what is counted is all the memory that they keep alive: runs that were
 * received or copied in one piece of memory count as that piece, once; nothing of that memory leaves: who reads copies. Neighbours: Log fills it when a group is durable and reads it.
 */
import assert from 'node:assert/strict'
import type { FramePiece } from '../protocol/frame-memory.ts'
import { nextOffset } from '../protocol/record-batch.ts'
import { FRAME_BYTES, frameAppendTime, frameBatchBytes } from './segment-format.ts'

/**
 * Batches that were written one after the other. Many small ones are one run: what is kept for each of them would cost the collector
 * more than all else about a single event.
 */
export interface CachedRun {
  /** Of the first record. */
  readonly baseOffset: number
  /** After the last record. */
  readonly nextOffset: number
  /** Each batch behind its frame, as in the segment; or one batch alone. */
  readonly bytes: Buffer
  readonly framed: boolean
  /** Of a batch alone; a frame says it itself. */
  readonly appendTimeMs?: number
  /** What the bytes lie in, held by the cache until it drops the run; undefined = memory of the collector. */
  readonly piece?: FramePiece | undefined
}

/** Where batches lie: each in its source, from byte to byte. */
export interface TailRead {
  readonly sources: readonly Buffer[]
  readonly froms: readonly number[]
  readonly tos: readonly number[]
  /** The append time of each. */
  readonly times: readonly number[]
  /** Of all of them. */
  readonly bytes: number
  /** Where to read on. */
  readonly nextOffset: number
}

/** Stands where a removed run was. */
const gone: CachedRun = { baseOffset: 0, nextOffset: 0, bytes: Buffer.alloc(0), framed: false }

/** Removed runs are dropped from the array when this many have gathered. */
const removedMax = 1024

/** Of the budget: what is kept while nobody reads. */
const unreadShare = 4

export class TailCacheBudget {
  readonly #bytesMax: number
  /** Added since anyone has read; who has not read for as long as the budget lasts does not come back to what it holds. */
  #unreadBytes: number
  /** In order of their last append. */
  readonly #caches = new Set<TailCache>()
  #newest: TailCache | undefined
  usedBytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
    this.#unreadBytes = bytesMax
  }

  /** Somebody has read, or would have. */
  read(): void {
    this.#unreadBytes = 0
  }

  take(cache: TailCache, bytes: number): void {
    this.usedBytes += bytes
    this.#unreadBytes += bytes
    if (cache !== this.#newest) {
      this.#caches.delete(cache)
      this.#caches.add(cache)
      this.#newest = cache
    }
    const bytesMax = this.#unreadBytes > this.#bytesMax ? this.#bytesMax / unreadShare : this.#bytesMax
    if (this.usedBytes <= bytesMax) return
    for (const oldest of this.#caches) {
      while (this.usedBytes > bytesMax && oldest.removeOldest());
      if (this.usedBytes <= bytesMax) break
      this.forget(oldest)
    }
  }

  give(bytes: number): void {
    this.usedBytes -= bytes
  }

  forget(cache: TailCache): void {
    this.#caches.delete(cache)
    if (cache === this.#newest) this.#newest = undefined
  }
}

export class TailCache {
  readonly #budget: TailCacheBudget
  readonly #bytesMax: number
  #runs: CachedRun[] = []
  #first = 0
  #bytes = 0
  /** How many of the runs lie in each piece of memory. */
  readonly #pins = new Map<ArrayBufferLike, number>()

  constructor(budget: TailCacheBudget, bytesMax: number) {
    this.#budget = budget
    this.#bytesMax = bytesMax
  }

  /** Of the first record held; Infinity when nothing is. */
  get firstOffset(): number {
    return this.#runs[this.#first]?.baseOffset ?? Infinity
  }

  add(run: CachedRun): void {
    const last = this.#runs.at(-1)
    assert(last === undefined || this.#first === this.#runs.length || last.nextOffset === run.baseOffset)
    this.#runs.push(run)
    const bytes = this.#pin(run.bytes.buffer)
    this.#bytes += bytes
    this.#budget.take(this, bytes)
    while (this.#bytes > this.#bytesMax && this.removeOldest());
  }

  /** False when there is nothing left to remove. */
  removeOldest(): boolean {
    const oldest = this.#runs[this.#first]
    if (oldest === undefined) return false
    this.#runs[this.#first++] = gone // the array is cut later: it must not keep what is not counted any more
    const bytes = this.#unpin(oldest.bytes.buffer)
    oldest.piece?.letGo()
    this.#bytes -= bytes
    this.#budget.give(bytes)
    if (this.#first >= removedMax || this.#first === this.#runs.length) {
      this.#runs.splice(0, this.#first)
      this.#first = 0
    }
    return true
  }

  /**
   * To be copied in this very turn: whole batches from the one that holds `offset` on, below `limitOffset`, up to `maxBytes` but at least one;
   * undefined when `offset` is not held. `times` only when they are wanted.
   */
  read(offset: number, limitOffset: number, maxBytes: number, wantsTimes = false): TailRead | undefined {
    this.#budget.read()
    const cursor = this.#cursorAt(offset)
    if (cursor === undefined) return undefined
    const sources: Buffer[] = []
    const froms: number[] = []
    const tos: number[] = []
    const times: number[] = []
    let next = offset
    let bytes = 0
    for (; cursor.isOnBatch && cursor.nextOffset <= limitOffset; cursor.goOn()) {
      const batchBytes = cursor.to - cursor.from
      if (sources.length > 0 && bytes + batchBytes > maxBytes) break
      sources.push(cursor.source)
      froms.push(cursor.from)
      tos.push(cursor.to)
      if (wantsTimes) times.push(cursor.appendTimeMs)
      bytes += batchBytes
      next = cursor.nextOffset
    }
    return { sources, froms, tos, times, bytes, nextOffset: next }
  }

  /** The batch that holds `offset`, to be looked at in this very turn; undefined when it is not held. */
  batchAt(offset: number): Buffer | undefined {
    this.#budget.read()
    const cursor = this.#cursorAt(offset)
    return cursor?.source.subarray(cursor.from, cursor.to)
  }

  clear(): void {
    while (this.removeOldest());
    this.#budget.forget(this)
  }

  /** Answers the bytes that are kept alive from now on. */
  #pin(memory: ArrayBufferLike): number {
    const runs = this.#pins.get(memory) ?? 0
    this.#pins.set(memory, runs + 1)
    return runs === 0 ? memory.byteLength : 0
  }

  /** Answers the bytes that no run keeps alive any more. */
  #unpin(memory: ArrayBufferLike): number {
    const runs = this.#pins.get(memory)! - 1
    if (runs > 0) {
      this.#pins.set(memory, runs)
      return 0
    }
    this.#pins.delete(memory)
    return memory.byteLength
  }

  /** On the batch that holds `offset`. */
  #cursorAt(offset: number): RunCursor | undefined {
    const place = this.#placeOf(offset)
    if (place < 0) return undefined
    const cursor = new RunCursor(this.#runs, place)
    while (cursor.nextOffset <= offset) cursor.goOn()
    return cursor
  }

  #placeOf(offset: number): number {
    if (offset < this.firstOffset) return -1
    let low = this.#first
    let high = this.#runs.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#runs[middle]?.nextOffset ?? 0) <= offset) low = middle + 1
      else high = middle
    }
    return low < this.#runs.length ? low : -1
  }
}

/** Goes from batch to batch over runs. */
class RunCursor {
  source: Buffer = gone.bytes
  /** Of the batch in `source`. */
  from = 0
  to = 0
  /** Of the batch. */
  nextOffset = 0
  readonly #runs: readonly CachedRun[]
  #place: number

  /** On the first batch of the run at `place`. */
  constructor(runs: readonly CachedRun[], place: number) {
    this.#runs = runs
    this.#place = place
    this.#enter()
  }

  /** False behind the last one. */
  get isOnBatch(): boolean {
    return this.#place < this.#runs.length
  }

  get appendTimeMs(): number {
    const run = this.#runs[this.#place]!
    return run.framed ? frameAppendTime(run.bytes, this.from - FRAME_BYTES) : (run.appendTimeMs ?? 0)
  }

  goOn(): void {
    if (this.to < this.source.length) return this.#standAt(this.to)
    this.#place++
    this.#enter()
  }

  #enter(): void {
    const run = this.#runs[this.#place]
    if (run === undefined) return
    this.source = run.bytes
    if (run.framed) return this.#standAt(0)
    this.from = 0
    this.to = run.bytes.length
    this.nextOffset = run.nextOffset
  }

  /** On the batch behind the frame at `frameAt`. */
  #standAt(frameAt: number): void {
    this.from = frameAt + FRAME_BYTES
    this.to = this.from + frameBatchBytes(this.source, frameAt)
    this.nextOffset = nextOffset(this.source, this.from)
  }
}
