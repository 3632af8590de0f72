/**
 * RecentPostings: stream -> offsets in memory, for events added since a moment, in the order they were added. Made for millions of adds a
 * second: one lookup of the key's bytes and one or two stores into a flat array for each, no object per stream or event.
 * Invariant: within a stream offsets ascend (across streams they may come in any order), and all lie in [baseOffset, baseOffset + 2^32).
 * Neighbours: StreamIndex keeps one growing and some frozen ones; Sealing collects a segment in one; KeyTable finds streams.
 *
 * The arena is a flat array of u32 words. A stream's offsets (relative to baseOffset) lie in slices of 1, 1, 2, 4 … 1,024, 1,024 … entries,
 * each followed by one word: the place of the next slice.
 *   | entry … entry | next |
 */
import assert from 'node:assert/strict'
import { streamKeyHash } from '../protocol/murmur2.ts'
import type { Yielding } from '../platform/clock.ts'
import type { BatchKeys } from './batch-streams.ts'
import { grown } from './grown.ts'
import { sortSlots } from './key-sort.ts'
import { KeyTable } from './key-table.ts'

const sliceEntriesMax = 1024
const relativeMax = 0xffff_ffff

/** Of each stream: count of events | arena place of the first | arena place of the newest | relative offset of the newest. */
const SLOT_WORDS = 4
const COUNT = 0
const FIRST = 1
const NEWEST = 2
const NEWEST_OFFSET = 3

/** Records whose memory is fetched together. */
export const warmedMax = 128
const guessed = new Uint32Array(warmedMax)

/** Of a table's arrays and objects before there is much in them. */
const emptyBytes = 2048

export class RecentPostings {
  /** No offset is below it: the first one added, unless it was given; -1 before that. */
  baseOffset: number
  /** The highest offset; -1 while empty. */
  lastOffset = -1
  events = 0
  /** Its events are in the store. */
  isSaved = false
  /** Its events are in a sidecar. */
  isSealed = false
  /** The streams: what is asked of a slot here is of the stream with that slot there. */
  readonly keys = new KeyTable()
  /** Version of the first event here + 1 of each slot where somebody said so, else 0; made when it is first needed. */
  #firstVersions: Float64Array | undefined
  /** SLOT_WORDS for each stream, side by side because they are used together. */
  #facts = new Uint32Array(16 * SLOT_WORDS)
  #arena = new Uint32Array(64)
  #arenaEnd = 0
  #sorted: Promise<Uint32Array> | undefined

  /** `baseOffset`: when the first offset to come may not be the lowest one. */
  constructor(baseOffset = -1) {
    this.baseOffset = baseOffset
  }

  get streams(): number {
    return this.keys.size
  }

  /** What is in use, bytes; what is only reserved costs nothing until it is touched. */
  get memoryBytes(): number {
    if (this.keys.size === 0) return 0
    const perStream =
      4 * SLOT_WORDS + (this.#firstVersions === undefined ? 0 : 8) + (this.#sorted === undefined ? 0 : 4)
    return emptyBytes + this.keys.memoryBytes + 4 * this.#arenaEnd + this.keys.size * perStream
  }

  /** Whether `add` can take this offset; when not, it is time for the next RecentPostings. */
  fits(offset: number): boolean {
    return this.baseOffset < 0 || offset - this.baseOffset <= relativeMax
  }

  /** `add` for whoever has only the name. */
  addStream(stream: string, offset: number): void {
    const key = Buffer.from(stream)
    this.add(key, 0, key.length, streamKeyHash(key, 0, key.length), offset)
  }

  /** One event, at `offset`, of the stream whose key is at bytes [from, to) and has this streamKeyHash. Answers the stream's slot. */
  add(bytes: Buffer, from: number, to: number, hash: number, offset: number): number {
    if (this.baseOffset < 0) this.baseOffset = offset
    const relative = offset - this.baseOffset
    if (relative < 0 || relative > relativeMax) throw misplaced(offset)
    if (offset > this.lastOffset) this.lastOffset = offset
    this.events++
    const slot = this.keys.find(bytes, from, to, hash)
    if (slot < 0) return this.#addSlot(this.keys.add(bytes, from, to, hash), relative)
    const facts = this.#facts
    const at = slot * SLOT_WORDS
    const count = facts[at + COUNT]!
    if (relative <= facts[at + NEWEST_OFFSET]!) throw misplaced(offset)
    let place = facts[at + NEWEST]! + 1
    if (count <= sliceEntriesMax ? (count & (count - 1)) === 0 : count % sliceEntriesMax === 0) {
      const next = this.#slice(Math.min(count, sliceEntriesMax))
      this.#arena[place] = next
      place = next
    }
    this.#arena[place] = relative
    facts[at + COUNT] = count + 1
    facts[at + NEWEST] = place
    facts[at + NEWEST_OFFSET] = relative
    return slot
  }

  /** The stream with this key and streamKeyHash, new here, has no event any more; the one that comes next has version `nextVersion`. Its last one was below `baseOffset` + 1. */
  addGone(bytes: Buffer, from: number, to: number, hash: number, nextVersion: number): void {
    const slot = this.keys.add(bytes, from, to, hash)
    const at = slot * SLOT_WORDS
    if (at === this.#facts.length) this.#facts = grown(this.#facts)
    this.#facts.fill(0, at, at + SLOT_WORDS)
    this.declareFirstVersion(slot, nextVersion)
  }

  /** All records with a key of a batch that begins at `baseOffset`. */
  addBatch(keys: BatchKeys, baseOffset: number): void {
    const { bytes, count } = keys
    for (let first = 0; first < count; first += warmedMax) {
      const past = Math.min(count, first + warmedMax)
      this.#warm(keys, first, past)
      for (let at = first; at < past; at++) {
        const start = keys.start(at)
        if (start >= 0) this.add(bytes, start, keys.end(at), keys.hash(at), baseOffset + at)
      }
    }
  }

  /** The slot of a stream, for the calls below; -1 when it has no events here. Stays valid. */
  slotOf(stream: string): number {
    return this.keys.findStream(stream)
  }

  /** 0: the stream is known by its next version alone. */
  count(slot: number): number {
    return this.#facts[slot * SLOT_WORDS + COUNT]!
  }

  firstOffset(slot: number): number {
    return this.baseOffset + this.#arena[this.#facts[slot * SLOT_WORDS + FIRST]!]!
  }

  newestOffset(slot: number): number {
    return this.baseOffset + this.#facts[slot * SLOT_WORDS + NEWEST_OFFSET]!
  }

  /** Says which version the first event here has; the first one to say so is right. */
  declareFirstVersion(slot: number, version: number): void {
    if (this.#firstVersions === undefined || slot >= this.#firstVersions.length) this.#growFirstVersions()
    if (this.#firstVersions![slot] === 0) this.#firstVersions![slot] = version + 1
  }

  /** The version of the newest event here, where that of the first one was declared; else -1. */
  newestVersion(slot: number): number {
    const first = this.firstVersion(slot)
    return first < 0 ? -1 : first + this.count(slot) - 1
  }

  /** The declared version of the first event here, or -1. */
  firstVersion(slot: number): number {
    const versions = this.#firstVersions
    return versions === undefined || slot >= versions.length ? -1 : versions[slot]! - 1
  }

  /** Appends the offsets at places [from, to) of a stream to `into`. */
  read(slot: number, from: number, to: number, into: number[]): void {
    const arena = this.#arena
    const base = this.baseOffset
    let slice = this.#facts[slot * SLOT_WORDS + FIRST]!
    for (let first = 0; first < to; ) {
      const entries = sliceEntries(first)
      const end = Math.min(to, first + entries)
      for (let place = Math.max(from, first); place < end; place++) into.push(base + arena[slice + place - first]!)
      first += entries
      if (first < to) slice = arena[slice + entries]!
    }
  }

  /** Whether a stream's offsets are exactly the next ones that `others` has. */
  hasOffsets(slot: number, others: { nextOffset(): number }): boolean {
    let isSame = true
    this.eachOffset(slot, (offset) => {
      if (isSame) isSame = offset === others.nextOffset()
    })
    return isSame
  }

  /** Visits the offsets of a stream, in order. */
  eachOffset(slot: number, visit: (offset: number) => void): void {
    const arena = this.#arena
    const base = this.baseOffset
    const count = this.count(slot)
    let slice = this.#facts[slot * SLOT_WORDS + FIRST]!
    for (let first = 0; first < count; ) {
      const entries = sliceEntries(first)
      const end = Math.min(entries, count - first)
      for (let place = slice; place < slice + end; place++) visit(base + arena[place]!)
      first += entries
      if (first < count) slice = arena[slice + entries]!
    }
  }

  /** Number of a stream's events here with offset < `limit`. */
  countBelow(slot: number, limit: number): number {
    const count = this.count(slot)
    if (limit > this.newestOffset(slot)) return count
    const relative = limit - this.baseOffset
    let slice = this.#facts[slot * SLOT_WORDS + FIRST]!
    for (let first = 0; ; ) {
      const entries = sliceEntries(first)
      const end = Math.min(entries, count - first)
      if (first + end >= count || this.#arena[slice + end - 1]! >= relative) {
        return first + countWordsBelow(this.#arena, slice, slice + end, relative)
      }
      first += entries
      slice = this.#arena[slice + entries]!
    }
  }

  /** The slots in the order of their keys' bytes; to be asked for when no more streams will come. */
  sortedSlots(clock: Yielding): Promise<Uint32Array> {
    this.#sorted ??= sortSlots(this.keys, clock)
    return this.#sorted
  }

  /** Stream names, in the order they came first. */
  *names(): Generator<string> {
    for (let slot = 0; slot < this.keys.size; slot++) yield this.keys.stream(slot)
  }

  /**
   * Brings what `add` will need for these hashes into the processor's caches. With a million streams each look at a bucket, a key, a slot's facts
   * and the arena waits 100 ns for memory, one after the other; here the looks of many records do not depend on each other and wait together.
   * No result depends on it; the answer is there so that the loops are not optimized away. (1.2 M adds over 1 M streams: 0.42 µs each, without 0.53.)
   */
  #warm(added: BatchKeys, first: number, past: number): number {
    const { keys } = this
    const [facts, arena, guesses] = [this.#facts, this.#arena, guessed]
    const count = past - first
    let sum = 0
    for (let at = 0; at < count; at++) guesses[at] = keys.guess(added.hash(first + at))
    for (let at = 0; at < count; at++) sum += facts[guesses[at]! * SLOT_WORDS]! + keys.endOf(guesses[at]!)
    for (let at = 0; at < count; at++) {
      sum += arena[facts[guesses[at]! * SLOT_WORDS + NEWEST]!]! + keys.byteOf(guesses[at]!)
    }
    return sum
  }

  #addSlot(slot: number, relative: number): number {
    const at = slot * SLOT_WORDS
    if (at === this.#facts.length) this.#facts = grown(this.#facts)
    const place = this.#slice(1)
    this.#arena[place] = relative
    this.#facts[at + COUNT] = 1
    this.#facts[at + FIRST] = place
    this.#facts[at + NEWEST] = place
    this.#facts[at + NEWEST_OFFSET] = relative
    return slot
  }

  /** As many as there are facts, so that both grow at the same time. */
  #growFirstVersions(): void {
    const larger = new Float64Array(this.#facts.length / SLOT_WORDS)
    if (this.#firstVersions !== undefined) larger.set(this.#firstVersions)
    this.#firstVersions = larger
  }

  /** The same for what `read` and the keys will be asked for of slots[first … past). */
  warmSlots(slots: Uint32Array, first: number, past: number): number {
    const { keys } = this
    const [facts, arena] = [this.#facts, this.#arena]
    let sum = 0
    for (let at = first; at < past; at++) sum += facts[slots[at]! * SLOT_WORDS]! + keys.endOf(slots[at]!)
    for (let at = first; at < past; at++)
      sum += arena[facts[slots[at]! * SLOT_WORDS + FIRST]!]! + keys.byteOf(slots[at]!)
    return sum
  }

  /** Room for a slice of `entries` and the word after it. */
  #slice(entries: number): number {
    const place = this.#arenaEnd
    this.#arenaEnd += entries + 1
    while (this.#arenaEnd > this.#arena.length) this.#arena = grown(this.#arena)
    assert(this.#arenaEnd < relativeMax, 'recent postings: more than 2^32 words')
    return place
  }
}

/** Not assert(): here, a million times a second, its rest arguments would cost as much as all else. */
function misplaced(offset: number): Error {
  return new Error(
    `recent postings: found offset ${offset}, wanted one after the stream's last and within 2^32 of the first`,
  )
}

/** Entries of the slice whose first entry is at place `first` of its stream. */
function sliceEntries(first: number): number {
  return first === 0 ? 1 : Math.min(first, sliceEntriesMax)
}

function countWordsBelow(words: Uint32Array, from: number, to: number, limit: number): number {
  let [low, high] = [from, to]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (words[middle]! < limit) low = middle + 1
    else high = middle
  }
  return low - from
}
