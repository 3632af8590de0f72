/**
 * IndexMemory: what the stream indexes of all logs of a broker hold, against its limit: what is not saved yet, and what is kept for sidecars. Looked at
 * whenever a few megabytes were appended, and after each save; not with every event.
 * Invariant: what is kept for sidecars is never more than the limit for long, but for the segment that each log makes a sidecar of: one whose tables were
 * forgotten is read for its sidecar.
 * Neighbours: Log registers its index and its Sealing, LogStore saves the largest indexes when it is `full`, Checkpointer makes appends wait when it
 * `overflows`, and saves take longer turns by its `haste` before that.
 */
import { MiB } from '../protocol/limits.ts'
import type { SegmentTables } from './segment-tables.ts'

/** Appends wait once this many times the limit is in use: saving does not keep up. */
const overflowFactor = 2
/** Appended between two looks, all logs together. */
const lookBytes = 4 * MiB
/** Slices of a save in one turn when appends are about to wait. */
const hasteMax = 32

/** A StreamIndex, or the segments of a log that wait for their sidecars. */
interface Holder {
  /** Not saved. */
  readonly dirtyBytes: number
  /** Kept for sidecars. */
  readonly segmentTables: readonly SegmentTables[]
}

export class IndexMemory {
  readonly limitBytes: number
  /** Not saved. */
  usedBytes = 0
  readonly #holders = new Set<Holder>()
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

  add(holder: Holder): void {
    this.#holders.add(holder)
  }

  remove(holder: Holder): void {
    this.#holders.delete(holder)
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
    for (const { dirtyBytes, segmentTables } of this.#holders) {
      this.usedBytes += dirtyBytes
      for (const tables of segmentTables) keptBytes += tables.keptBytes
    }
    // By so much that it is not looked for again at once.
    if (keptBytes > this.limitBytes) this.#forget(keptBytes - this.limitBytes / 2)
  }

  /** The largest first, so that few segments are read again. */
  #forget(bytes: number): void {
    const kept = [...this.#holders].flatMap(({ segmentTables }) => segmentTables)
    let left = bytes
    for (const tables of kept.toSorted((a, b) => b.keptBytes - a.keptBytes)) {
      if (left <= 0) return
      left -= tables.keptBytes
      tables.forget()
    }
  }
}
