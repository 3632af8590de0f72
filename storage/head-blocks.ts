/**
 * HeadBlocks: which head block of a log a stream is in. Invariant: a block that cannot be read is damage, never a stream that is not there.
 * Neighbours: StoredPostings reads one stream, IndexCapture walks along with BlockWalk; head-block.ts draws a block.
 */
import { afterPrefix, type CheckpointEntry, type CheckpointStore, type RangeOptions } from './checkpoint-store.ts'
import { damagedIndex } from './damaged-index.ts'
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

  /** The block that a stream with this headBlockKey is in; undefined when there is no block at all. */
  blockOf(key: Buffer): CheckpointEntry | undefined {
    const past = Buffer.concat([key, oneZero])
    return this.#range(this.#first, past, { limit: 1, direction: 'backwards' })[0]
  }

  /** Blocks from the one with this key on. */
  from(key: Buffer, limit: number): CheckpointEntry[] {
    return this.#range(key, this.#end, { limit })
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
