/**
 * HeadBlocks: which head block of a log a stream is in. Invariant: a block that cannot be read or found is damage, never a stream that is not there:
 * each block says where the next one begins.
 * Neighbours: StoredPostings reads one stream, IndexCapture walks along with BlockWalk; head-block.ts draws a block.
 */
import type { PlayheadError } from '../protocol/errors.ts'
import { afterPrefix, type CheckpointEntry, type CheckpointStore, type RangeOptions } from './checkpoint-store.ts'
import { damagedIndex } from './damaged-index.ts'
import { decodeHeadBlock } from './head-block.ts'
import { headBlockKey } from './index-keys.ts'

/** Blocks read ahead while one after the other is wanted. */
const blocksAhead = 16

export class HeadBlocks {
  readonly #store: CheckpointStore
  readonly #first: Buffer
  readonly #end: Buffer

  constructor(store: CheckpointStore, prefix: Buffer) {
    this.#store = store
    this.#first = headBlockKey(prefix, noName)
    this.#end = afterPrefix(this.#first)
  }

  /** The block that a stream with this headBlockKey is in; undefined when there is no block at all. Throws damagedData. */
  blockOf(key: Buffer): CheckpointEntry | undefined {
    const past = Buffer.concat([key, oneZero])
    const block = this.#range(this.#first, past, { limit: 1, direction: 'backwards' })[0]
    if (block === undefined) return undefined
    const nextKey = this.nextKey(block)
    if (nextKey !== undefined && Buffer.compare(nextKey, key) <= 0) throw this.missing(nextKey)
    return block
  }

  /** Blocks from the one with this key on, which must be there unless it is the first. Throws damagedData. */
  from(key: Buffer, limit: number): CheckpointEntry[] {
    const blocks = this.#range(key, this.#end, { limit })
    let wanted: Buffer | undefined = blocks.length === 0 && key.equals(this.#first) ? undefined : key
    for (const block of blocks) {
      if (wanted === undefined || !block.key.equals(wanted)) throw this.missing(wanted ?? block.key)
      wanted = this.nextKey(block)
    }
    if (blocks.length < limit && wanted !== undefined) throw this.missing(wanted)
    return blocks
  }

  /** The key of the block after this one, as it says itself; undefined when it is the last. Throws damagedData. */
  nextKey({ value }: CheckpointEntry): Buffer | undefined {
    const { nextName } = decodeHeadBlock(value)
    return nextName && Buffer.concat([this.#first, nextName])
  }

  /** The failure for a block that is not where it should be. */
  missing(key = this.#first): PlayheadError {
    this.#store.condemn()
    const name = key.toString('utf8', this.#first.length)
    return damagedIndex('some streams', `found no heads in the place of those from '${name}' on`)
  }

  #range(from: Buffer, to: Buffer, options: RangeOptions): CheckpointEntry[] {
    const badValues = this.#store.stats.badValues
    const entries = this.#store.range(from, to, options)
    if (this.#store.stats.badValues === badValues) return entries
    throw damagedIndex('some streams', 'found heads with a bad checksum')
  }
}

const noName = Buffer.alloc(0)
const oneZero = Buffer.alloc(1)

/** Finds the blocks of streams that are asked for in order, and where each ends. */
export class BlockWalk {
  readonly #blocks: HeadBlocks
  /** Blocks in order, those asked for before left out. */
  #ahead: CheckpointEntry[] = []
  /** Whether there may be more blocks behind those. */
  #more = true

  constructor(blocks: HeadBlocks) {
    this.#blocks = blocks
  }

  /** The block of the stream with this headBlockKey, and the key of the block after it; undefined when there is none. */
  seek(key: Buffer): { block: CheckpointEntry | undefined; nextKey: Buffer | undefined } {
    while (this.#ahead.length > 1 && Buffer.compare(this.#ahead[1]!.key, key) <= 0) this.#ahead.shift()
    if (this.#ahead.length < 2 && this.#more) this.#read(key)
    return { block: this.#ahead[0], nextKey: this.#ahead[1]?.key }
  }

  #read(key: Buffer): void {
    const last = this.#ahead[0]
    const block = this.#blocks.blockOf(key)
    if (block === undefined) {
      this.#more = false
      return
    }
    // The block asked for is the one after the last, or that itself: they are wanted one after the other.
    const limit = last === undefined || Buffer.compare(last.key, block.key) === 0 ? blocksAhead : 2
    this.#ahead = this.#blocks.from(block.key, limit)
    this.#more = this.#ahead.length === limit
  }
}
