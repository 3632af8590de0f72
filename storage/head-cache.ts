/**
 * HeadCache: stream -> head, for streams asked for lately; of each of two generations at most `headsMax`. When the young one is full it
 * becomes the old one, and what was the old one is forgotten: recency for the price of a map lookup.
 * Invariant: a head in here is what the checkpoint store holds for the stream, or held before a write whose events are still in memory.
 * Neighbours: StreamIndex.
 */
import type { StreamHead } from './index-keys.ts'

/** A map entry, its key and its value, about. */
const headBytes = 200

export class HeadCache {
  readonly #headsMax: number
  #young = new Map<string, StreamHead>()
  #old = new Map<string, StreamHead>()
  #isAsked = false

  constructor(memoryBytesMax: number) {
    this.#headsMax = Math.max(64, Math.floor(memoryBytesMax / headBytes / 2))
  }

  get memoryBytes(): number {
    return (this.#young.size + this.#old.size) * headBytes
  }

  get(stream: string): StreamHead | undefined {
    const young = this.#young.get(stream)
    if (young !== undefined) return young
    const old = this.#old.get(stream)
    if (old !== undefined) this.set(stream, old)
    return old
  }

  has(stream: string): boolean {
    return this.#young.has(stream) || this.#old.has(stream)
  }

  set(stream: string, head: StreamHead): void {
    if (this.#young.size >= this.#headsMax) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(stream, head)
  }

  /** A head was asked for that the store cannot have: the next time, it can. */
  noteAsked(): void {
    this.#isAsked = true
  }

  /** Whether there is any use for heads that are written: nobody may have asked for one yet. */
  get isWanted(): boolean {
    return this.#isAsked || this.#young.size + this.#old.size > 0
  }

  /** The store has these now. They replace what is here; of others, whose streams had events lately, as many come in as there is room for. */
  updateAll(heads: readonly (readonly [string, StreamHead])[]): void {
    for (const [stream, head] of heads) {
      const isOld = this.#old.has(stream)
      if (isOld) this.#old.set(stream, head)
      if (this.#young.has(stream) || (!isOld && this.#young.size < this.#headsMax)) this.#young.set(stream, head)
    }
  }

  clear(): void {
    this.#young.clear()
    this.#old.clear()
  }
}
