/**
 * StoredPostings: the part of a log's stream index that is in the checkpoint store, read one stream at a time. All synchronous.
 * Invariant: it answers what was written or throws `damagedData`, and condemns the store; a head that cannot be read is never taken for a stream that
 * does not exist.
 * Neighbours: StreamIndex asks it, IndexCapture writes what it reads, index-keys.ts has the layout.
 */
import { isPlayheadError } from '../protocol/errors.ts'
import type { CheckpointEntry, CheckpointStore } from './checkpoint-store.ts'
import { damagedIndex } from './damaged-index.ts'
import { decodeHeadBlock } from './head-block.ts'
import { HeadBlocks } from './head-blocks.ts'
import { HeadsInOrder } from './heads-in-order.ts'
import { chunkKey, headBlockKey, type StoredHead, tailOffsets, versionOfChunkKey } from './index-keys.ts'
import type { StreamPart } from './merged-streams.ts'
import { countBelow, eachPacked, unpackOffsets, VarintReader } from './postings.ts'

/** Chunks, and blocks, fetched at a time. */
const chunksPerRange = 16
const chunksPerWalk = 64
const blocksPerRange = 8

interface Chunk {
  readonly firstVersion: number
  readonly offsets: number[]
}

export class StoredPostings {
  readonly #store: CheckpointStore
  readonly #prefix: Buffer
  readonly blocks: HeadBlocks

  constructor(store: CheckpointStore, prefix: Buffer) {
    this.blocks = new HeadBlocks(store, prefix)
    this.#store = store
    this.#prefix = prefix
  }

  /** Only to be asked when there are streams in the store. */
  head(stream: string): StoredHead | undefined {
    return this.#sound(() => this.#head(stream))
  }

  #head(stream: string): StoredHead | undefined {
    const name = Buffer.from(stream)
    const block = this.blocks.blockOf(headBlockKey(this.#prefix, name))
    if (block === undefined) throw this.blocks.missing()
    const { entries } = decodeHeadBlock(block.value)
    return entries.find(name) ? entries.head : undefined
  }

  /** `head` for streams that are asked for in the order of their names. */
  headsInOrder(): (part: StreamPart) => StoredHead | undefined {
    const heads = new HeadsInOrder(this.blocks, this.#prefix)
    return (part) => this.#sound(() => heads.headOf(part))
  }

  /** Only to be asked when there are streams in the store: names in order that begin with `prefix` and come after `after`, `limit` of them at most. */
  names(prefix: string, after: string | undefined, limit: number): string[] {
    return this.#sound(() => this.#names(prefix, after, limit))
  }

  #names(prefix: string, after: string | undefined, limit: number): string[] {
    const [first, past] = [Buffer.from(prefix), after === undefined ? undefined : Buffer.from(after)]
    const start = past !== undefined && Buffer.compare(past, first) > 0 ? past : first
    const names: string[] = []
    const block = this.blocks.blockOf(headBlockKey(this.#prefix, start))
    if (block === undefined) throw this.blocks.missing()
    let from: Buffer | undefined = block.key
    while (from !== undefined && names.length < limit) {
      const blocks = this.blocks.from(from, blocksPerRange)
      for (const { value } of blocks) {
        for (const { entries } = decodeHeadBlock(value); names.length < limit && entries.next(); ) {
          const { name } = entries
          if (Buffer.compare(name, start) < 0 || (past !== undefined && Buffer.compare(name, past) <= 0)) continue
          if (Buffer.compare(name.subarray(0, first.length), first) > 0) return names
          names.push(entries.stream)
        }
      }
      from = this.blocks.nextKey(blocks.at(-1)!)
    }
    return names
  }

  /** Appends the offsets of versions [from, to) of a stream to `into`; they must lie within firstVersion … lastVersion of `head`. */
  read(stream: string, head: StoredHead, from: number, to: number, into: number[]): void {
    this.#sound(() => this.#read(stream, head, from, to, into))
  }

  #read(stream: string, head: StoredHead, from: number, to: number, into: number[]): void {
    const tailFirst = head.lastVersion + 1 - head.tailCount
    if (from < tailFirst) this.#readChunks(stream, from, Math.min(to, tailFirst), into)
    if (to > tailFirst) {
      const tail = tailOffsets(head)
      for (let version = Math.max(from, tailFirst); version < to; version++) into.push(tail[version - tailFirst]!)
    }
  }

  /** Visits the offsets of all versions that `head` names, in order; one look into the store for some dozens of chunks. */
  eachOffset(stream: string, head: StoredHead, visit: (offset: number) => void): void {
    const tailFirst = head.lastVersion + 1 - head.tailCount
    const end = chunkKey(this.#prefix, stream, tailFirst)
    for (let version = head.firstVersion; version < tailFirst; ) {
      const entries = this.#store.range(chunkKey(this.#prefix, stream, version), end, { limit: chunksPerWalk })
      if (entries.length === 0) throw damagedIndex(`'${stream}'`, `found no chunk with version ${version}`)
      for (const entry of entries) {
        const firstVersion = versionOfChunkKey(entry.key)
        if (firstVersion !== version)
          throw damagedIndex(`'${stream}'`, `found version ${firstVersion} where ${version} comes next`)
        const reader = new VarintReader(entry.value)
        const count = reader.next()
        if (count === 0) throw damagedIndex(`'${stream}'`, 'found an empty chunk')
        eachPacked(reader, count, visit)
        version += count
      }
      if (version > tailFirst)
        throw damagedIndex(`'${stream}'`, `found version ${tailFirst} in a chunk and in the head`)
    }
    eachPacked(new VarintReader(head.tail), head.tailCount, visit)
  }

  /** The first version of a stream whose offset is not below `limit`; lastVersion + 1 when there is none. */
  floorVersion(stream: string, head: StoredHead, limit: number): number {
    return this.#sound(() => this.#floorVersion(stream, head, limit))
  }

  #floorVersion(stream: string, head: StoredHead, limit: number): number {
    if (limit > head.lastOffset) return head.lastVersion + 1
    const tailFirst = head.lastVersion + 1 - head.tailCount
    const inTail = countBelow(tailOffsets(head), limit)
    if (inTail > 0) return tailFirst + inTail
    let [low, high] = [head.firstVersion, tailFirst]
    while (low < high) {
      const { firstVersion, offsets } = this.#chunkWith(stream, (low + high) >>> 1)
      if (offsets[0]! >= limit) high = firstVersion
      else if (offsets.at(-1)! < limit) low = firstVersion + offsets.length
      else return firstVersion + countBelow(offsets, limit)
    }
    return Math.max(low, head.firstVersion)
  }

  #sound<T>(look: () => T): T {
    try {
      return look()
    } catch (error) {
      if (isPlayheadError(error, 'damagedData')) this.#store.condemn()
      throw error
    }
  }

  #readChunks(stream: string, from: number, to: number, into: number[]): void {
    let version = from
    let chunk = this.#chunkWith(stream, from)
    const end = chunkKey(this.#prefix, stream, to)
    for (;;) {
      const last = Math.min(to, chunk.firstVersion + chunk.offsets.length)
      for (; version < last; version++) into.push(chunk.offsets[version - chunk.firstVersion]!)
      if (version >= to) return
      const entries = this.#store.range(chunkKey(this.#prefix, stream, version), end, { limit: chunksPerRange })
      if (entries.length === 0) throw damagedIndex(`'${stream}'`, `found no chunk with version ${version}`)
      for (const entry of entries) {
        chunk = decodeChunk(stream, entry)
        if (chunk.firstVersion !== version)
          throw damagedIndex(`'${stream}'`, `found version ${chunk.firstVersion} after ${version - 1}`)
        if (entry === entries.at(-1)) break
        for (const offset of chunk.offsets) into.push(offset)
        version += chunk.offsets.length
      }
    }
  }

  #chunkWith(stream: string, version: number): Chunk {
    const from = chunkKey(this.#prefix, stream, 0)
    const to = chunkKey(this.#prefix, stream, version + 1)
    const [entry] = this.#store.range(from, to, { limit: 1, direction: 'backwards' })
    const chunk = entry === undefined ? undefined : decodeChunk(stream, entry)
    if (chunk === undefined || chunk.firstVersion + chunk.offsets.length <= version) {
      throw damagedIndex(`'${stream}'`, `found no chunk with version ${version}`)
    }
    return chunk
  }
}

/** The value of a chunk: a varint count, then packed offsets. */
function decodeChunk(stream: string, { key, value }: CheckpointEntry): Chunk {
  const reader = new VarintReader(value)
  const count = reader.next()
  const offsets: number[] = []
  unpackOffsets(value, reader.at, value.length, count, offsets)
  if (count === 0) throw damagedIndex(`'${stream}'`, 'found an empty chunk')
  return { firstVersion: versionOfChunkKey(key), offsets }
}
