/**
 * MemoryCheckpointStore: a CheckpointStore without a disk, for tests, simulations and brokers that may not write a cache.
 * Invariant: `#keys` is sorted in byte order and holds exactly the keys of `#values`. It is not made for millions of keys.
 * Neighbours: checkpoint-store.ts declares what it does, and its conformance suite runs on this and on LMDB alike.
 */
import type {
  CheckpointEntry,
  CheckpointPut,
  CheckpointStats,
  CheckpointStore,
  RangeOptions,
} from './checkpoint-store.ts'

export class MemoryCheckpointStore implements CheckpointStore {
  /** As those that are not: whoever would prefetch does. */
  readonly isWarm = false
  readonly stats: CheckpointStats = { gets: 0, puts: 0, transactions: 0, failedTransactions: 0, badValues: 0 }
  readonly #values = new Map<string, Buffer>()
  /** Keys as latin1 text: its order of UTF-16 units is the order of the bytes. */
  #keys: string[] = []
  #stale = false

  get(key: Buffer): Buffer | undefined {
    this.stats.gets++
    return this.#values.get(key.toString('latin1'))
  }

  async prefetch(): Promise<void> {}

  range(from: Buffer, to: Buffer, { limit, direction = 'forwards' }: RangeOptions): CheckpointEntry[] {
    this.#sort()
    const start = floorPlace(this.#keys, from.toString('latin1'))
    const end = floorPlace(this.#keys, to.toString('latin1'))
    const count = Math.max(0, Math.min(limit, end - start))
    const keys =
      direction === 'forwards'
        ? this.#keys.slice(start, start + count)
        : this.#keys.slice(end - count, end).toReversed()
    return keys.map((key) => ({ key: Buffer.from(key, 'latin1'), value: this.#values.get(key)! }))
  }

  async write(puts: readonly CheckpointPut[]): Promise<void> {
    this.stats.transactions++
    for (const { key, value } of puts) {
      this.stats.puts++
      const name = key.toString('latin1')
      if (value === null) this.#stale = this.#values.delete(name) || this.#stale
      else {
        if (!this.#values.has(name)) this.#stale = true
        this.#values.set(name, Buffer.from(value))
      }
    }
  }

  async removeRange(from: Buffer, to: Buffer): Promise<void> {
    const [first, end] = [from.toString('latin1'), to.toString('latin1')]
    for (const key of this.#values.keys()) if (key >= first && key < end) this.#values.delete(key)
    this.#stale = true
  }

  /** Nobody opens it again. */
  condemn(): void {}

  async close(): Promise<void> {}

  #sort(): void {
    if (!this.#stale) return
    this.#keys = [...this.#values.keys()].toSorted((a, b) => (a < b ? -1 : 1))
    this.#stale = false
  }
}

/** Number of keys that sort before `key`. */
function floorPlace(keys: readonly string[], key: string): number {
  let [low, high] = [0, keys.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (keys[middle]! < key) low = middle + 1
    else high = middle
  }
  return low
}
