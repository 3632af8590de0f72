/**
 * TailCache: the newest durable batches of one log, as they arrived, so that tail readers cost no file read. TailCacheBudget bounds all
 * logs of a broker together: the log that has had no append for the longest gives its bytes back first.
 * Invariants: the batches are contiguous and end at the log's durable end; what is counted is all the memory that they keep alive, as a batch is
 * part of what was received in one piece; nothing of that memory leaves: who reads copies. Neighbours: Log fills it when a group is durable and reads it.
 */
import assert from 'node:assert/strict'
import type { FramePiece } from '../protocol/frame-memory.ts'
import type { BatchFacts } from './segment.ts'

export interface CachedBatch extends BatchFacts {
  readonly batch: Buffer
  /** What the batch lies in, held by the cache until it drops the batch; undefined = memory of the collector. */
  readonly piece?: FramePiece | undefined
}

export interface TailRead {
  readonly batches: readonly Buffer[]
  /** Of all of them. */
  readonly bytes: number
  /** Where to read on. */
  readonly nextOffset: number
}

/** Stands where a removed batch was. */
const gone: CachedBatch = {
  baseOffset: 0,
  nextOffset: 0,
  recordCount: 0,
  leaderEpoch: 0,
  maxTimestamp: 0,
  batch: Buffer.alloc(0),
}

/** Removed entries are dropped from the array when this many have gathered. */
const removedMax = 1024

export class TailCacheBudget {
  readonly #bytesMax: number
  /** In order of their last append. */
  readonly #caches = new Set<TailCache>()
  usedBytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  take(cache: TailCache, bytes: number): void {
    this.usedBytes += bytes
    this.#caches.delete(cache)
    this.#caches.add(cache)
    for (const oldest of this.#caches) {
      while (this.usedBytes > this.#bytesMax && oldest.removeOldest());
      if (this.usedBytes <= this.#bytesMax) break
      this.#caches.delete(oldest)
    }
  }

  give(bytes: number): void {
    this.usedBytes -= bytes
  }

  forget(cache: TailCache): void {
    this.#caches.delete(cache)
  }
}

export class TailCache {
  readonly #budget: TailCacheBudget
  readonly #bytesMax: number
  #batches: CachedBatch[] = []
  #first = 0
  #bytes = 0
  /** How many of the batches lie in each piece of memory. */
  readonly #pins = new Map<ArrayBufferLike, number>()

  constructor(budget: TailCacheBudget, bytesMax: number) {
    this.#budget = budget
    this.#bytesMax = bytesMax
  }

  /** Of the first record held; Infinity when nothing is. */
  get firstOffset(): number {
    return this.#batches[this.#first]?.baseOffset ?? Infinity
  }

  add(cached: CachedBatch): void {
    const last = this.#batches.at(-1)
    assert(last === undefined || this.#first === this.#batches.length || last.nextOffset === cached.baseOffset)
    this.#batches.push(cached)
    const bytes = this.#pin(cached.batch.buffer)
    this.#bytes += bytes
    this.#budget.take(this, bytes)
    while (this.#bytes > this.#bytesMax && this.removeOldest());
  }

  /** False when there is nothing left to remove. */
  removeOldest(): boolean {
    const oldest = this.#batches[this.#first]
    if (oldest === undefined) return false
    this.#batches[this.#first++] = gone // the array is cut later: it must not keep what is not counted any more
    const bytes = this.#unpin(oldest.batch.buffer)
    oldest.piece?.letGo()
    this.#bytes -= bytes
    this.#budget.give(bytes)
    if (this.#first >= removedMax || this.#first === this.#batches.length) {
      this.#batches.splice(0, this.#first)
      this.#first = 0
    }
    return true
  }

  /** To be copied in this very turn: whole batches from the one that holds `offset` on, below `limitOffset`, up to `maxBytes` but at least one; undefined when `offset` is not held. */
  read(offset: number, limitOffset: number, maxBytes: number): TailRead | undefined {
    let at = this.#placeOf(offset)
    if (at < 0) return undefined
    const batches: Buffer[] = []
    let nextOffset = offset
    let bytes = 0
    for (
      let batch = this.#batches[at];
      batch !== undefined && batch.nextOffset <= limitOffset;
      batch = this.#batches[++at]
    ) {
      if (batches.length > 0 && bytes + batch.batch.length > maxBytes) break
      batches.push(batch.batch)
      nextOffset = batch.nextOffset
      bytes += batch.batch.length
    }
    return { batches, bytes, nextOffset }
  }

  /** The batch that holds `offset`, to be looked at in this very turn; undefined when it is not held. */
  batchAt(offset: number): Buffer | undefined {
    const at = this.#placeOf(offset)
    return at < 0 ? undefined : this.#batches[at]?.batch
  }

  clear(): void {
    while (this.removeOldest());
    this.#budget.forget(this)
  }

  /** Answers the bytes that are kept alive from now on. */
  #pin(memory: ArrayBufferLike): number {
    const batches = this.#pins.get(memory) ?? 0
    this.#pins.set(memory, batches + 1)
    return batches === 0 ? memory.byteLength : 0
  }

  /** Answers the bytes that no batch keeps alive any more. */
  #unpin(memory: ArrayBufferLike): number {
    const batches = this.#pins.get(memory)! - 1
    if (batches > 0) {
      this.#pins.set(memory, batches)
      return 0
    }
    this.#pins.delete(memory)
    return memory.byteLength
  }

  #placeOf(offset: number): number {
    if (offset < this.firstOffset) return -1
    let low = this.#first
    let high = this.#batches.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#batches[middle]?.nextOffset ?? 0) <= offset) low = middle + 1
      else high = middle
    }
    return low < this.#batches.length ? low : -1
  }
}
