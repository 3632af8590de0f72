/**
 * KeyTable: the streams of a table of postings by their keys, as bytes: key -> slot 0, 1, 2 … in the order they came first. Made for millions of
 * lookups a second: a key is compared where it lies in its batch, and no string or object is made for it.
 * Invariant: keys are stream names (checked by whoever hashed them) and slots never change.
 * Neighbours: RecentPostings keeps the facts of each slot, key-sort.ts puts the slots in order, murmur2.ts hashes.
 *
 * Open addressing: a bucket is the two words | hash | slot + 1 |, 0 in the second = empty; the bucket after it is the next to look at. Anybody can make
 * keys that murmur2 hashes alike, so a key that finds no bucket within `looksMax` goes into a Map, whose hash has a secret.
 */
import assert from 'node:assert/strict'
import { murmur2 } from '../protocol/murmur2.ts'
import { streamNameBytesMax } from '../protocol/limits.ts'
import { grown } from './grown.ts'

/** Buckets may be so full before their number is doubled. */
const fillMax = 0.6
/** Buckets looked at for one key: random hashes hardly ever need as many. (50,000 keys of one hash took 25 s without it.) */
export const looksMax = 128
/** A map entry and its key, about. */
const crowdedBytes = 100
/** Of 32-bit hashes: odd, and 2^32 divided by the golden ratio. */
const SPREAD = 0x9e37_79b1

export class KeyTable {
  size = 0
  /** Every key, one after the other. */
  #bytes = Buffer.allocUnsafeSlow(256)
  /** Where the key of each slot ends in `#bytes`, behind a 0: it begins where the one before it ends. */
  #ends = new Uint32Array(17)
  #buckets = new Uint32Array(64)
  /** 32 - log2 of the number of buckets. */
  #shift = 27
  /** The slots of keys that found no bucket, by their bytes as latin1. */
  readonly #crowded = new Map<string, number>()

  /** What is in use, bytes; what is only reserved costs nothing until it is touched. */
  get memoryBytes(): number {
    return this.#buckets.byteLength + 4 * this.size + this.#ends[this.size]! + this.#crowded.size * crowdedBytes
  }

  /** Keys that found no bucket. */
  get crowded(): number {
    return this.#crowded.size
  }

  /** The slot of the key at bytes [from, to), -1 when it has none. `hash`: its streamKeyHash. */
  find(bytes: Buffer, from: number, to: number, hash: number): number {
    const buckets = this.#buckets
    const wanted = hash >>> 0
    const last = buckets.length - 1
    let at = this.#firstBucket(hash)
    for (let looks = 0; looks < looksMax; looks++, at = (at + 2) & last) {
      const slot = buckets[at + 1]! - 1
      if (slot < 0) break
      if (wanted === buckets[at] && this.#holds(slot, bytes, from, to)) return slot
    }
    return this.#crowded.size === 0 ? -1 : (this.#crowded.get(bytes.toString('latin1', from, to)) ?? -1)
  }

  /** Which slot a key with this hash has if it is in the first bucket that it may be in, else 0: what `find` will most likely answer. */
  guess(hash: number): number {
    const at = this.#firstBucket(hash)
    const slot = this.#buckets[at + 1]! - 1
    return slot >= 0 && this.#buckets[at] === hash >>> 0 ? slot : 0
  }

  /** A word and a byte near which `find` will look for this slot's key. */
  endOf(slot: number): number {
    return this.#ends[slot]!
  }

  byteOf(slot: number): number {
    return this.#bytes[this.#ends[slot]!]!
  }

  /** Gives a key that has none the next slot. */
  add(bytes: Buffer, from: number, to: number, hash: number): number {
    const slot = this.size
    const start = this.#ends[slot]!
    const end = start + to - from
    if (slot + 2 > this.#ends.length) this.#ends = grown(this.#ends)
    while (end > this.#bytes.length) this.#bytes = grownBytes(this.#bytes)
    bytes.copy(this.#bytes, start, from, to)
    this.#ends[slot + 1] = end
    this.size++
    if (this.size * 2 > this.#buckets.length * fillMax) this.#spreadOut()
    this.#put(hash, slot)
    return slot
  }

  findStream(stream: string): number {
    if (this.size === 0) return -1
    const end = scratch.write(stream)
    return this.find(scratch, 0, end, murmur2(scratch, 0, end))
  }

  /** streamKeyHash of the key. */
  hash(slot: number): number {
    return murmur2(this.#bytes, this.#ends[slot], this.#ends[slot + 1])
  }

  /** The slot that the key has in another table, -1 when it has none there. `hash`: its streamKeyHash. */
  slotIn(other: KeyTable, slot: number, hash: number): number {
    return other.find(this.#bytes, this.#ends[slot]!, this.#ends[slot + 1]!, hash)
  }

  stream(slot: number): string {
    return this.#bytes.toString('utf8', this.#ends[slot], this.#ends[slot + 1])
  }

  /** A view of the key's bytes. */
  key(slot: number): Buffer {
    return this.#bytes.subarray(this.#ends[slot], this.#ends[slot + 1])
  }

  keyBytes(slot: number): number {
    return this.#ends[slot + 1]! - this.#ends[slot]!
  }

  /** Negative, 0 or positive, as the bytes of the key at `slot` and of that at `otherSlot` of `other` compare, from byte `from` on. */
  compare(slot: number, other: KeyTable, otherSlot: number, from: number): number {
    const [bytes, otherBytes] = [this.#bytes, other.#bytes]
    const [start, otherStart] = [this.#ends[slot]!, other.#ends[otherSlot]!]
    const [length, otherLength] = [this.#ends[slot + 1]! - start, other.#ends[otherSlot + 1]! - otherStart]
    const shorter = Math.min(length, otherLength)
    for (let place = from; place < shorter; place++) {
      const difference = bytes[start + place]! - otherBytes[otherStart + place]!
      if (difference !== 0) return difference
    }
    return length - otherLength
  }

  /** The same against bytes [from, to). */
  compareName(slot: number, bytes: Buffer, from: number, to: number): number {
    const own = this.#bytes
    const start = this.#ends[slot]!
    const length = this.#ends[slot + 1]! - start
    const shorter = Math.min(length, to - from)
    for (let place = 0; place < shorter; place++) {
      const difference = own[start + place]! - bytes[from + place]!
      if (difference !== 0) return difference
    }
    return length - (to - from)
  }

  /** Byte `place` of the key, -1 behind its end. */
  byteAt(slot: number, place: number): number {
    const at = this.#ends[slot]! + place
    return at < this.#ends[slot + 1]! ? this.#bytes[at]! : -1
  }

  /** Copies the key to `target` at `at`; answers the position after it. */
  copyKey(slot: number, target: Buffer, at: number): number {
    return at + this.#bytes.copy(target, at, this.#ends[slot], this.#ends[slot + 1])
  }

  #holds(slot: number, bytes: Buffer, from: number, to: number): boolean {
    const start = this.#ends[slot]!
    const length = to - from
    if (this.#ends[slot + 1]! - start !== length) return false
    const own = this.#bytes
    // From the end, where names that begin alike differ.
    for (let place = length - 1; place >= 0; place--) if (own[start + place] !== bytes[from + place]) return false
    return true
  }

  /** Streams of one partition agree in the low bits of their hash (partition = hash mod n), so the high bits of a product choose. */
  #firstBucket(hash: number): number {
    return (Math.imul(hash, SPREAD) >>> this.#shift) << 1
  }

  #put(hash: number, slot: number): void {
    const buckets = this.#buckets
    const last = buckets.length - 1
    let at = this.#firstBucket(hash)
    for (let looks = 0; looks < looksMax; looks++, at = (at + 2) & last) {
      if (buckets[at + 1]! !== 0) continue
      buckets[at] = hash >>> 0
      buckets[at + 1] = slot + 1
      return
    }
    this.#crowded.set(this.#bytes.toString('latin1', this.#ends[slot], this.#ends[slot + 1]), slot)
  }

  #spreadOut(): void {
    const old = this.#buckets
    assert(this.#shift > 1, 'key table: more than 2^30 streams')
    this.#buckets = new Uint32Array(old.length * 2)
    this.#shift--
    for (let at = 0; at < old.length; at += 2) if (old[at + 1]! !== 0) this.#put(old[at]! | 0, old[at + 1]! - 1)
  }
}

/** Holds a stream's name while it is looked up; of one that is too long for a stream there is room for too much to find it. */
const scratch = Buffer.allocUnsafeSlow(streamNameBytesMax * 3 + 3)

function grownBytes(bytes: Buffer<ArrayBuffer>): Buffer<ArrayBuffer> {
  const larger = Buffer.allocUnsafeSlow(bytes.length * 2)
  bytes.copy(larger)
  return larger
}
