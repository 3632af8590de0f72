/**
 * IndexMemory: what the stream indexes of all logs of a broker hold that is not saved yet, against its limit. Looked at a few times a second
 * and after each save, not with every event.
 * Neighbours: Log registers its index, LogStore saves the largest ones when it is `full`, Checkpointer makes appends wait when it `overflows`.
 */
import type { StreamIndex } from './stream-index.ts'

/** Appends wait once this many times the limit is in use: saving does not keep up. */
const overflowFactor = 2

export class IndexMemory {
  readonly limitBytes: number
  usedBytes = 0
  readonly #indexes = new Set<StreamIndex>()

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes
  }

  get full(): boolean {
    return this.usedBytes > this.limitBytes
  }

  get overflows(): boolean {
    return this.usedBytes > this.limitBytes * overflowFactor
  }

  add(index: StreamIndex): void {
    this.#indexes.add(index)
  }

  remove(index: StreamIndex): void {
    this.#indexes.delete(index)
    this.look()
  }

  look(): void {
    this.usedBytes = 0
    for (const { dirtyBytes } of this.#indexes) this.usedBytes += dirtyBytes
  }
}
