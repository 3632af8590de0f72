/**
 * TailExtension: the usual case of a head that gets new events, made without an object per stream: there are few, and they stay in its tail. A save of
 * a million streams is mostly this. Invariant: what it writes is what index-keys.ts reads as the head that extendHead answers, or another that says
 * the same.
 * Neighbours: BlockMerge tries it before extendHead; head-block.ts puts the bytes into a block.
 */
import type { HeadEntries } from './head-block.ts'
import { tailBytesMax } from './head-extension.ts'
import type { StreamPart } from './merged-streams.ts'
import { packOffsets, VarintReader, varintBytesMax, writeVarint } from './postings.ts'
import { covered } from './stream-extent.ts'

/** As the condition for a tail that stays reckons. */
const bytesPerEvent = 3
const eventsMax = Math.floor(tailBytesMax / bytesPerEvent)
const factsBytesMax = 4 * varintBytesMax

export class TailExtension {
  /** Of the new head. */
  lastVersion = -1
  firstVersion = 0
  lastOffset = -1
  /** The new head's bytes up to `end`. */
  readonly bytes = Buffer.allocUnsafeSlow(factsBytesMax + tailBytesMax + eventsMax * varintBytesMax)
  end = 0
  readonly #offsets: number[] = []
  readonly #tail = Buffer.allocUnsafeSlow(tailBytesMax + eventsMax * varintBytesMax)
  #tailCount = 0
  #tailEnd = 0

  /** `old`: stands on the stream's entry, if there is one. False: it is none of the usual cases, and nothing is said. */
  extend(old: HeadEntries | undefined, parts: readonly StreamPart[]): boolean {
    if (!this.#begin(old)) return false
    const before = this.lastOffset
    const offsets = this.#offsets
    offsets.length = 0
    for (const { table, slot } of parts) {
      const count = table.count(slot)
      const from = covered(table, slot, before)
      if (count === 0 || offsets.length + count - from > eventsMax) return false
      table.read(slot, from, count, offsets)
    }
    if (offsets.length === 0 || this.#tailEnd + offsets.length * bytesPerEvent > tailBytesMax) return false
    if (old === undefined) this.#declare(parts[0]!)
    this.#tailEnd = packOffsets(offsets, 0, offsets.length, before, this.#tail, this.#tailEnd)
    this.#tailCount += offsets.length
    this.lastVersion += offsets.length
    this.lastOffset = offsets.at(-1)!
    this.#write()
    return true
  }

  /** Takes over what is stored. */
  #begin(old: HeadEntries | undefined): boolean {
    this.lastVersion = -1
    this.firstVersion = 0
    this.lastOffset = -1
    this.#tailCount = 0
    this.#tailEnd = 0
    if (old === undefined) return true
    const reader = new VarintReader(old.bytes, old.headStart, old.end)
    this.lastVersion = reader.next()
    this.firstVersion = reader.next()
    this.lastOffset = reader.next()
    this.#tailCount = reader.next()
    const tailBytes = old.end - reader.at
    const isUsual =
      this.#tailCount > 0 && this.#tailCount <= this.lastVersion + 1 - this.firstVersion && tailBytes <= tailBytesMax
    if (!isUsual) return false
    copyBytes(old.bytes, reader.at, old.end, this.#tail, 0)
    this.#tailEnd = tailBytes
    return true
  }

  /** A stream that is not stored may have had events that are gone. */
  #declare({ table, slot }: StreamPart): void {
    this.firstVersion = Math.max(0, table.firstVersion(slot))
    this.lastVersion = this.firstVersion - 1
  }

  #write(): void {
    let at = writeVarint(this.bytes, 0, this.lastVersion)
    at = writeVarint(this.bytes, at, this.firstVersion)
    at = writeVarint(this.bytes, at, this.lastOffset)
    at = writeVarint(this.bytes, at, this.#tailCount)
    this.end = copyBytes(this.#tail, 0, this.#tailEnd, this.bytes, at)
  }
}

/** Of so few bytes that a call into native code would cost more. Answers the position after them. */
function copyBytes(from: Buffer, start: number, end: number, to: Buffer, at: number): number {
  for (let place = start; place < end; place++) to[at++] = from[place]!
  return at
}
