/**
 * IndexMemory: what the stream indexes of all logs of a broker hold, against its limit: what is not saved yet, and what is kept for the sidecars of
 * segments under way. Looked at whenever a few megabytes were appended, and after each save; not with every event.
 * Invariant: what is kept for sidecars is never more than a share of the limit for long: a segment whose postings were forgotten is read again.
 * Neighbours: Log registers its index, LogStore saves the largest ones when it is `full`, Checkpointer makes appends wait when it `overflows`, and
 * saves take longer turns by its `haste` before that.
 */
import { MiB } from '../protocol/limits.ts'
import type { StreamIndex } from './stream-index.ts'

/** Appends wait once this many times the limit is in use: saving does not keep up. */
const overflowFactor = 2
/** Of the limit, for what is kept for sidecars. */
const keptShare = 0.5
/** Appended between two looks, all logs together. */
const lookBytes = 4 * MiB
/** Slices of a save in one turn when appends are about to wait. */
const hasteMax = 32

export class IndexMemory {
  readonly limitBytes: number
  /** Not saved. */
  usedBytes = 0
  readonly #indexes = new Set<StreamIndex>()
  #unlookedBytes = 0

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes
  }

  get full(): boolean {
    return this.usedBytes > this.limitBytes
  }

  get overflows(): boolean {
    return this.usedBytes > this.limitBytes * overflowFactor
  }

  /** Slices of a save in one turn of the event loop: more of them the less memory is left, so that appends seldom have to stand still. */
  get haste(): number {
    const excess = this.usedBytes / this.limitBytes - 1
    return 1 + (hasteMax - 1) * Math.max(0, Math.min(1, excess))
  }

  add(index: StreamIndex): void {
    this.#indexes.add(index)
  }

  remove(index: StreamIndex): void {
    this.#indexes.delete(index)
    this.look()
  }

  /** Bytes of batches went into one of the logs. */
  appended(bytes: number): void {
    this.#unlookedBytes += bytes
    if (this.#unlookedBytes >= lookBytes) this.look()
  }

  look(): void {
    this.#unlookedBytes = 0
    this.usedBytes = 0
    let keptBytes = 0
    for (const index of this.#indexes) {
      this.usedBytes += index.dirtyBytes
      keptBytes += index.keptBytes
    }
    const keptMax = this.limitBytes * keptShare
    if (keptBytes > keptMax) this.#forget(keptBytes - keptMax / 2) // by so much that it is not done again at the next look
  }

  /** The largest first, so that few segments are read again. */
  #forget(bytes: number): void {
    let left = bytes
    for (const index of [...this.#indexes].toSorted((a, b) => b.keptBytes - a.keptBytes)) {
      if (left <= 0) return
      left -= index.keptBytes
      index.forgetSegment()
    }
  }
}
