/**
 * RecentPostings: stream -> offsets in memory, for events added since a moment, in the order they were added. Made for a million adds a second:
 * one map lookup and one or two stores into a flat array for each, no object per stream or event.
 * Invariant: within a stream offsets ascend (across streams they may come in any order), and all lie in [baseOffset, baseOffset + 2^32).
 * Neighbours: StreamIndex keeps one growing and some frozen ones; SidecarBuilder collects a segment in one.
 *
 * The arena is a flat array of u32 words. A stream's offsets (relative to baseOffset) lie in slices of 1, 1, 2, 4 … 1,024, 1,024 … entries,
 * each followed by one word: the place of the next slice.
 *   | entry … entry | next |
 */
import assert from 'node:assert/strict'

const sliceEntriesMax = 1024
const relativeMax = 0xffff_ffff
/** A map entry and the object header of its key, measured on V8 with a million streams, rounded up. */
const streamBytesBase = 88

/** Of each stream: count of events | arena place of the first | arena place of the newest | relative offset of the newest. */
const SLOT_WORDS = 4
const COUNT = 0
const FIRST = 1
const NEWEST = 2
const NEWEST_OFFSET = 3

export class RecentPostings {
  /** No offset is below it: the first one added, unless it was given; -1 before that. */
  baseOffset: number
  /** The highest offset; -1 while empty. */
  lastOffset = -1
  events = 0
  readonly #slots = new Map<string, number>()
  /** Versions of the first event here, where the owner said so. */
  readonly #firstVersions = new Map<number, number>()
  /** SLOT_WORDS for each stream, side by side because they are used together. */
  #facts = new Uint32Array(16 * SLOT_WORDS)
  #arena = new Uint32Array(64)
  #arenaEnd = 0
  #nameBytes = 0

  /** `baseOffset`: when the first offset to come may not be the lowest one. */
  constructor(baseOffset = -1) {
    this.baseOffset = baseOffset
  }

  get streams(): number {
    return this.#slots.size
  }

  /** An estimate, in bytes. */
  get memoryBytes(): number {
    const arrays = this.#arena.byteLength + this.#facts.byteLength
    return arrays + this.#nameBytes + this.#slots.size * streamBytesBase + this.#firstVersions.size * 48
  }

  /** Whether `add` can take this offset; when not, it is time for the next RecentPostings. */
  fits(offset: number): boolean {
    return this.baseOffset < 0 || offset - this.baseOffset <= relativeMax
  }

  add(stream: string, offset: number): void {
    if (this.baseOffset < 0) this.baseOffset = offset
    const relative = offset - this.baseOffset
    if (relative < 0 || relative > relativeMax) throw misplaced(offset)
    if (offset > this.lastOffset) this.lastOffset = offset
    this.events++
    const slot = this.#slots.get(stream)
    if (slot === undefined) return this.#addStream(stream, relative)
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
  }

  /** The place of a stream here, for the calls below; -1 when it has no events here. Stays valid. */
  slotOf(stream: string): number {
    return this.#slots.get(stream) ?? -1
  }

  count(slot: number): number {
    return this.#facts[slot * SLOT_WORDS + COUNT]!
  }

  firstOffset(slot: number): number {
    return this.baseOffset + this.#arena[this.#facts[slot * SLOT_WORDS + FIRST]!]!
  }

  newestOffset(slot: number): number {
    return this.baseOffset + this.#facts[slot * SLOT_WORDS + NEWEST_OFFSET]!
  }

  /** Says which version the first event here has, for a stream whose beginning is not known otherwise. */
  declareFirstVersion(slot: number, version: number): void {
    if (!this.#firstVersions.has(slot)) this.#firstVersions.set(slot, version)
  }

  /** The declared version of the first event here, or -1. */
  firstVersion(slot: number): number {
    return this.#firstVersions.size === 0 ? -1 : (this.#firstVersions.get(slot) ?? -1)
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

  /** Stream names, in the order they came first. */
  names(): MapIterator<string> {
    return this.#slots.keys()
  }

  /** The same without the events at or past `offset`. */
  below(offset: number): RecentPostings {
    const kept = new RecentPostings(this.baseOffset)
    for (const [stream, slot] of this.#slots) {
      const offsets: number[] = []
      this.read(slot, 0, this.countBelow(slot, offset), offsets)
      for (const each of offsets) kept.add(stream, each)
      const declared = this.firstVersion(slot)
      if (offsets.length > 0 && declared >= 0) kept.declareFirstVersion(kept.slotOf(stream), declared)
    }
    return kept
  }

  #addStream(stream: string, relative: number): void {
    const slot = this.#slots.size
    this.#slots.set(stream, slot)
    this.#nameBytes += stream.length
    const at = slot * SLOT_WORDS
    if (at === this.#facts.length) this.#facts = grown(this.#facts)
    const place = this.#slice(1)
    this.#arena[place] = relative
    this.#facts[at + COUNT] = 1
    this.#facts[at + FIRST] = place
    this.#facts[at + NEWEST] = place
    this.#facts[at + NEWEST_OFFSET] = relative
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

function grown(words: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(words.length * 2)
  larger.set(words)
  return larger
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
