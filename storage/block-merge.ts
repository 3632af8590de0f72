/**
 * BlockMerge: the streams of a capture merged into the head blocks that are in the store, in order, a slice at a time. Invariant: a slice is whole:
 * written in one transaction it leaves every stream, old or new, with a head and the chunks that the head rests on. So a capture may end after
 * any slice.
 * Neighbours: IndexCapture writes the slices; head-block.ts and head-blocks.ts know the blocks, MergedStreams what is new.
 */
import type { Yielding } from '../platform/clock.ts'
import type { CheckpointPut } from './checkpoint-store.ts'
import { BlockBuilder, decodeHeadBlock, encodeHeadBlock, HeadEntries } from './head-block.ts'
import { BlockWalk } from './head-blocks.ts'
import type { HeadCache } from './head-cache.ts'
import { extendHead, goneHead } from './head-extension.ts'
import { headBlockKey, type StoredHead, type StreamHead } from './index-keys.ts'
import type { MergedStreams, StreamPart } from './merged-streams.ts'
import type { StoredPostings } from './stored-postings.ts'
import { covered } from './stream-extent.ts'
import { TailExtension } from './tail-extension.ts'

/** Streams merged between two yields to the event loop: about 2 ms. */
const streamsPerTurn = 1024
/** Entries that are only copied, and events, that cost as much as a stream. */
const copiesPerStream = 8
const eventsPerStream = 32
/** Events of one stream packed at a time. */
const eventsPerTurn = 16_384
/** Values of one transaction, about. */
const sliceBytesMax = 2 * 1024 * 1024

export interface Slice {
  readonly puts: CheckpointPut[]
  /** As they are in `puts`, for the cache of heads; not all when nobody wanted any, because then names need not be made. */
  readonly heads: [string, StreamHead][]
  headsLeftOut: boolean
}

export interface MergeTarget {
  readonly prefix: Buffer
  readonly stored: StoredPostings
  readonly heads: HeadCache
  readonly clock: Yielding
  /** Whether the store has head blocks for certain: then none is damage. */
  readonly hasStreams: boolean
}

/** The block that is being merged: its old entries from where the merge is, and the key of what comes out next. */
interface OpenBlock {
  readonly old: HeadEntries
  readonly nextKey: Buffer | undefined
  outKey: Buffer
}

export class BlockMerge {
  readonly #target: MergeTarget
  readonly #merged: MergedStreams
  readonly #walk: BlockWalk
  readonly #out = new BlockBuilder()
  readonly #extension = new TailExtension()
  #next: StreamPart[] | undefined
  #open: OpenBlock | undefined
  #work = 0

  constructor(target: MergeTarget, merged: MergedStreams) {
    this.#target = target
    this.#merged = merged
    this.#walk = new BlockWalk(target.stored.blocks)
    this.#next = merged.next()
  }

  /** What the next transaction has to write; undefined when there is nothing left. */
  async slice(): Promise<Slice | undefined> {
    if (this.#next === undefined) return undefined
    const slice: Slice = { puts: [], heads: [], headsLeftOut: false }
    let bytes = 0
    while (this.#next !== undefined && bytes < sliceBytesMax) {
      const parts: readonly StreamPart[] = this.#next
      const before = slice.puts.length
      const open = (this.#open ??= this.#openBlock(parts[0]!))
      await this.#mergeStream(open, parts, slice)
      this.#next = this.#merged.next()
      if (this.#next === undefined || isBehind(this.#next[0]!, open.nextKey, this.#target.prefix)) {
        this.#closeBlock(open, slice)
      }
      for (let place = before; place < slice.puts.length; place++) bytes += slice.puts[place]!.value!.length
      if (this.#work >= streamsPerTurn) await this.#yield()
    }
    if (this.#open !== undefined) this.#putUnfinished(this.#open, slice)
    return slice
  }

  #openBlock({ table, slot }: StreamPart): OpenBlock {
    const { prefix } = this.#target
    const { block, nextKey } = this.#walk.seek(headBlockKey(prefix, table.keys.key(slot)))
    if (block === undefined && this.#target.hasStreams) throw this.#target.stored.blocks.missing()
    const old = block === undefined ? new HeadEntries(nothing) : decodeHeadBlock(block.value).entries
    old.next()
    return { old, nextKey, outKey: block?.key ?? headBlockKey(prefix, nothing) }
  }

  async #mergeStream(open: OpenBlock, parts: readonly StreamPart[], slice: Slice): Promise<void> {
    const { old } = open
    const { table, slot } = parts[0]!
    let order = 1
    while (!old.done) {
      order = table.keys.compareName(slot, old.bytes, old.nameStart, old.nameEnd)
      if (order <= 0) break
      this.#copyOld(open, slice)
    }
    const isKnown = !old.done && order === 0
    if (this.#extension.extend(isKnown ? old : undefined, parts)) {
      this.#work++
      declareVersions(parts, this.#extension.lastVersion)
      this.#out.addEncoded(table.keys, slot, this.#extension.bytes, this.#extension.end)
      return this.#added(open, isKnown, parts[0]!, this.#extension, slice)
    }
    const known = isKnown ? old.head : undefined
    let head = known
    for (const part of parts) {
      const count = part.table.count(part.slot)
      if (count === 0 && saysMore(part, head))
        head = goneHead(part.table.firstVersion(part.slot), part.table.newestOffset(part.slot))
      let from = head === undefined ? 0 : covered(part.table, part.slot, head.lastOffset)
      while (from < count) {
        const to = Math.min(count, from + eventsPerTurn)
        head = extendHead(this.#target.prefix, head, part, { from, to }, slice.puts)
        this.#work += (to - from) / eventsPerStream
        from = to
        if (from < count && this.#work >= streamsPerTurn) await this.#yield()
      }
    }
    this.#work++
    const newest = parts.at(-1)!
    if (head?.lastOffset === newest.table.newestOffset(newest.slot)) declareVersions(parts, head.lastVersion)
    if (head === undefined || head === known) return // its entry is copied with those behind it
    this.#out.add(table.keys, slot, head)
    this.#added(open, isKnown, parts[0]!, head, slice)
  }

  /** The stream's new entry is written, in place of its old one if it is known. */
  #added(open: OpenBlock, isKnown: boolean, part: StreamPart, head: StreamHead, slice: Slice): void {
    if (isKnown) open.old.next()
    this.#noteHead(part, head, slice)
    if (this.#out.hasPiece) this.#putPiece(open, slice)
  }

  #copyOld(open: OpenBlock, slice: Slice): void {
    this.#out.copy(open.old)
    open.old.next()
    this.#work += 1 / copiesPerStream
    if (this.#out.hasPiece) this.#putPiece(open, slice)
  }

  #closeBlock(open: OpenBlock, slice: Slice): void {
    while (!open.old.done) this.#copyOld(open, slice)
    while (this.#out.isTooLarge) this.#putPiece(open, slice)
    slice.puts.push({ key: open.outKey, value: encodeHeadBlock(this.#nameOf(open.nextKey), this.#out.take()) })
    this.#open = undefined
  }

  #putPiece(open: OpenBlock, slice: Slice): void {
    const piece = this.#out.takePiece()
    const nextName = this.#out.firstName
    slice.puts.push({ key: open.outKey, value: encodeHeadBlock(nextName, piece) })
    open.outKey = headBlockKey(this.#target.prefix, nextName)
  }

  /** The slice ends inside a block: what is not cut off yet and what is not looked at yet are one block until the next slice writes them again. */
  #putUnfinished({ old, outKey, nextKey }: OpenBlock, slice: Slice): void {
    slice.puts.push({ key: outKey, value: encodeHeadBlock(this.#nameOf(nextKey), this.#out.with(old.rest)) })
  }

  #nameOf(key: Buffer | undefined): Buffer | undefined {
    return key?.subarray(headBlockKey(this.#target.prefix, nothing).length)
  }

  #noteHead({ table, slot }: StreamPart, head: StreamHead, slice: Slice): void {
    if (!this.#target.heads.isWanted) {
      slice.headsLeftOut = true
      return
    }
    const { lastVersion, firstVersion, lastOffset } = head
    slice.heads.push([table.keys.stream(slot), { lastVersion, firstVersion, lastOffset }])
  }

  async #yield(): Promise<void> {
    this.#work = 0
    await this.#target.clock.yield()
  }
}

const nothing = Buffer.alloc(0)

/** Whether a stream is in the block with this key or a later one. */
function isBehind({ table, slot }: StreamPart, key: Buffer | undefined, prefix: Buffer): boolean {
  return key !== undefined && table.keys.compareName(slot, key, prefix.length + 1, key.length) >= 0
}

/**
 * Tells tables that are not in a sidecar yet which versions they hold, so that nobody has to look them up for that. `lastVersion`: of the newest event
 * of the last part. Events before a part that says that all are gone may have any version.
 */
function declareVersions(parts: readonly StreamPart[], lastVersion: number): void {
  let version = lastVersion + 1
  for (let place = parts.length - 1; place >= 0; place--) {
    const { table, slot } = parts[place]!
    if (table.count(slot) === 0) return
    version -= table.count(slot)
    if (!table.isSealed) table.declareFirstVersion(slot, version)
  }
}

/** Whether a part without events tells of some that were removed and that the head does not have. */
function saysMore({ table, slot }: StreamPart, head: StoredHead | undefined): boolean {
  return (
    head === undefined || (table.newestOffset(slot) > head.lastOffset && table.firstVersion(slot) > head.lastVersion)
  )
}
