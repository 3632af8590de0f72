/**
 * A head block: the heads of some dozens of streams that are neighbours by name, in one value of the checkpoint store. A capture rewrites a block once
 * for all of its streams: a store that takes 200,000 values a second takes heads of millions.
 *
 * Block        | varint next name bytes + 1 | next name | entry … entry |    entries in the order of the names' bytes; 0 = there is no next block
 * Entry        | varint name bytes | name | varint head bytes | head as index-keys.ts draws it |
 *
 * Its key holds a name too: every stream from that one on, up to the name in the next block's key, is in this block or nowhere. The first
 * block's name is empty. The next name is in the block as well, so that a block that cannot be found is never taken for streams that do not exist.
 * Neighbours: StoredPostings looks streams up in blocks, IndexCapture merges what is new into them.
 */
import { decodeHead, encodeHead, type StoredHead } from './index-keys.ts'
import { compareKeys } from './key-order.ts'
import type { KeyTable } from './key-table.ts'
import { damagedIndex } from './damaged-index.ts'
import { VarintReader, varintBytesMax, writeVarint } from './postings.ts'

/** A block larger than this is cut. With the store's own header it then fills two pages. */
const blockBytesMax = 8000
/** What a block is cut to while more comes: room to grow. */
const pieceBytes = 6000

/** Stands on one entry of a block after the other. */
export class HeadEntries {
  readonly bytes: Buffer
  /** Of the entry, its name and its head. */
  start = 0
  nameStart = 0
  nameEnd = 0
  headStart = 0
  end = 0
  /** There is no entry any more. */
  done = false
  readonly #reader: VarintReader

  /** `from`: where the first entry begins. */
  constructor(bytes: Buffer, from = 0) {
    this.bytes = bytes
    this.end = from
    this.#reader = new VarintReader(bytes)
  }

  /** Moves to the next entry; false, and at the end, after the last one. Throws damagedData. */
  next(): boolean {
    const reader = this.#reader
    this.start = this.end
    if (this.start >= this.bytes.length) {
      this.done = true
      return false
    }
    reader.at = this.start
    const nameBytes = reader.next()
    this.nameStart = reader.at
    this.nameEnd = reader.at + nameBytes
    if (this.nameEnd > this.bytes.length) throw damagedIndex('some streams', 'found a name that is cut off')
    reader.at = this.nameEnd
    const headBytes = reader.next()
    this.headStart = reader.at
    this.end = reader.at + headBytes
    if (this.end > this.bytes.length) throw damagedIndex(`'${this.stream}'`, 'found a head that is cut off')
    return true
  }

  get stream(): string {
    return this.bytes.toString('utf8', this.nameStart, this.nameEnd)
  }

  get name(): Buffer {
    return this.bytes.subarray(this.nameStart, this.nameEnd)
  }

  get head(): StoredHead {
    return decodeHead(this.bytes.subarray(this.headStart, this.end))
  }

  /** This entry and those behind it. */
  get rest(): Buffer {
    return this.bytes.subarray(this.start)
  }

  /** Moves on to the entry of `name`, from before the first; false when there is none. */
  find(name: Buffer): boolean {
    while (this.next()) {
      const order = compareKeys(this.bytes, this.nameStart, this.nameEnd, name, 0, name.length)
      if (order >= 0) return order === 0
    }
    return false
  }
}

export interface HeadBlock {
  /** In the key of the next block; undefined when there is none. */
  readonly nextName: Buffer | undefined
  /** Before the first of them. */
  readonly entries: HeadEntries
}

/** Throws damagedData. */
export function decodeHeadBlock(value: Buffer): HeadBlock {
  const reader = new VarintReader(value)
  const nameEnd = reader.next() - 1 + reader.at
  if (nameEnd > value.length) throw damagedIndex('some streams', 'found a name that is cut off')
  if (nameEnd < reader.at) return { nextName: undefined, entries: new HeadEntries(value, reader.at) }
  return { nextName: value.subarray(reader.at, nameEnd), entries: new HeadEntries(value, nameEnd) }
}

/** A block of these entries. */
export function encodeHeadBlock(nextName: Buffer | undefined, entries: Buffer): Buffer {
  const start = Buffer.allocUnsafe(varintBytesMax)
  const end = writeVarint(start, 0, nextName === undefined ? 0 : nextName.length + 1)
  return Buffer.concat([start.subarray(0, end), nextName ?? noName, entries])
}

const noName = Buffer.alloc(0)

/** Entries written one behind the other, and cut into blocks. */
export class BlockBuilder {
  #bytes = Buffer.allocUnsafeSlow(4 * blockBytesMax)
  #end = 0
  /** Where the first entry ends at which a block may be cut off; 0 = nowhere yet. */
  #cutAt = 0

  get isEmpty(): boolean {
    return this.#end === 0
  }

  /** Whether there is so much that a block may be taken away and there is another one's worth behind it. */
  get hasPiece(): boolean {
    return this.#cutAt > 0 && this.#end - this.#cutAt >= pieceBytes
  }

  get isTooLarge(): boolean {
    return this.#end > blockBytesMax
  }

  /** The name of the first entry. */
  get firstName(): Buffer {
    const entries = new HeadEntries(this.#bytes.subarray(0, this.#end))
    entries.next()
    return Buffer.from(entries.name)
  }

  copy(entries: HeadEntries): void {
    const length = entries.end - entries.start
    this.#makeRoom(length)
    entries.bytes.copy(this.#bytes, this.#end, entries.start, entries.end)
    this.#added(length)
  }

  add(keys: KeyTable, slot: number, head: StoredHead): void {
    const bytes = encodeHead(head)
    this.addEncoded(keys, slot, bytes, bytes.length)
  }

  /** The same with the head as index-keys.ts draws it, at bytes [0, end). */
  addEncoded(keys: KeyTable, slot: number, head: Buffer, end: number): void {
    const nameBytes = keys.keyBytes(slot)
    this.#makeRoom(2 * varintBytesMax + nameBytes + end)
    let at = writeVarint(this.#bytes, this.#end, nameBytes)
    at = keys.copyKey(slot, this.#bytes, at)
    at = writeVarint(this.#bytes, at, end)
    at += head.copy(this.#bytes, at, 0, end)
    this.#added(at - this.#end)
  }

  /** Takes the entries at the front that make a block; of what is only a little too large for one, half. */
  takePiece(): Buffer {
    const wanted = this.hasPiece ? pieceBytes : this.#end / 2
    const entries = new HeadEntries(this.#bytes.subarray(0, this.#end))
    while (entries.next() && entries.end < wanted);
    const piece = Buffer.from(this.#bytes.subarray(0, entries.end))
    this.#bytes.copyWithin(0, entries.end, this.#end)
    this.#end -= piece.length
    this.#cutAt = this.#end >= pieceBytes ? pieceBytes : 0
    return piece
  }

  /** All entries, which stay, and `rest` behind them. */
  with(rest: Buffer): Buffer {
    return Buffer.concat([this.#bytes.subarray(0, this.#end), rest])
  }

  /** All entries; the builder is empty. */
  take(): Buffer {
    const block = Buffer.from(this.#bytes.subarray(0, this.#end))
    this.#end = 0
    this.#cutAt = 0
    return block
  }

  #added(bytes: number): void {
    this.#end += bytes
    if (this.#cutAt === 0 && this.#end >= pieceBytes) this.#cutAt = this.#end
  }

  #makeRoom(bytes: number): void {
    if (this.#end + bytes <= this.#bytes.length) return
    const larger = Buffer.allocUnsafeSlow(2 * (this.#end + bytes))
    this.#bytes.copy(larger, 0, 0, this.#end)
    this.#bytes = larger
  }
}
