/**
 * ByteKeys: which number a short run of bytes was given: 0, 1, 2 … in the order they were added, found again without making text of
 * it. An open-addressing table over one growing piece of memory that holds copies. The hash has a seed of its own for each table: no file
 * can be made so that its keys fall into one slot. Called by stream-keys.ts and csv-records.ts.
 */
import { randomInt } from 'node:crypto'

const firstSlots = 1024
const firstBytes = 16 * 1024
const FREE = -1

export class ByteKeys {
  #count = 0
  readonly #seed: number
  /** Key `id` is bytes #ends[id - 1] … #ends[id]. */
  #bytes = Buffer.allocUnsafeSlow(firstBytes)
  readonly #ends: number[] = []
  readonly #hashes: number[] = []
  /** Ids, each at the first slot that was free from its hash on; at most half of them are taken. */
  #slots = new Int32Array(firstSlots).fill(FREE)

  /** `seed`: 32 bits, of the hash; the numbers of the keys do not depend on it. */
  constructor(seed = randomInt(2 ** 32)) {
    this.#seed = seed
  }

  get count(): number {
    return this.#count
  }

  /** The number of the key in bytes `from` … `to`; -1 = it was never added. */
  find(bytes: Buffer, from: number, to: number): number {
    const hash = hashOf(this.#seed, bytes, from, to)
    const mask = this.#slots.length - 1
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const id = this.#slots[slot]!
      if (id === FREE || (this.#hashes[id] === hash && this.#isKey(id, bytes, from, to))) return id
    }
  }

  /** Adds a key that is not there; answers its number. */
  add(bytes: Buffer, from: number, to: number): number {
    const id = this.#count++
    const at = id === 0 ? 0 : this.#ends[id - 1]!
    const end = at + to - from
    if (end > this.#bytes.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(end, this.#bytes.length * 2))
      this.#bytes.copy(larger, 0, 0, at)
      this.#bytes = larger
    }
    bytes.copy(this.#bytes, at, from, to)
    this.#ends.push(end)
    this.#hashes.push(hashOf(this.#seed, bytes, from, to))
    if (this.#count * 2 > this.#slots.length) this.#grow()
    else this.#place(id)
    return id
  }

  #isKey(id: number, bytes: Buffer, from: number, to: number): boolean {
    const at = id === 0 ? 0 : this.#ends[id - 1]!
    if (this.#ends[id]! - at !== to - from) return false
    for (let index = from; index < to; index++) if (bytes[index] !== this.#bytes[at + index - from]) return false
    return true
  }

  #place(id: number): void {
    const mask = this.#slots.length - 1
    let slot = this.#hashes[id]! & mask
    while (this.#slots[slot] !== FREE) slot = (slot + 1) & mask
    this.#slots[slot] = id
  }

  #grow(): void {
    this.#slots = new Int32Array(this.#slots.length * 2).fill(FREE)
    for (let id = 0; id < this.#count; id++) this.#place(id)
  }
}

/** FNV-1a from a seed, its bits mixed once more: the slot is the lowest of them. */
export function hashOf(seed: number, bytes: Buffer, from: number, to: number): number {
  let hash = seed | 0
  for (let index = from; index < to; index++) hash = Math.imul(hash ^ bytes[index]!, 0x01000193)
  hash ^= hash >>> 15
  hash = Math.imul(hash, 0x2c1b3c6d)
  return (hash ^ (hash >>> 13)) | 0
}
