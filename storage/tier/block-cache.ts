/**
 * BlockCache: blocks of the tier's objects on the local disk, within a bound: those that are likely to be wanted again (indexes, and what is read
 * out of order), so that a replay of years does not drive them out, nor the log's own writes. One file of slots that are each as long as a block, the block
 * not used for the longest replaced first: a block is kept by one call to the system, and one after the other, so that a cold read of many segments
 * does not wait for what it leaves behind.
 * Invariants: a slot is not written while somebody reads it; the file is not closed under anybody who reads or writes.
 * A disk that refuses gets back all that was taken: room is needed for appends first.
 * Derived: emptied at every start, and whoever reads compares sums, so nothing here needs to survive or to be right.
 * Neighbours: TierBlocks.
 */
import type { Clock } from '../../platform/clock.ts'
import type { File, FileSystem } from '../../platform/file-system.ts'
import { blockName, tierBlockBytes } from './block-sums.ts'

/** On their way to the disk. */
const writingBytesMax = 16 * 1024 * 1024
/** For so long a disk that refused is not asked again. */
const refusedMs = 60_000

interface CachedBlock {
  readonly slot: number
  readers: number
  /** Its slot is free once nobody reads it. */
  isForgotten: boolean
}

/** Slots that follow each other, for bytes that follow each other. */
interface SlotRun {
  readonly slot: number
  count: number
}

export class BlockCache {
  readonly #fileSystem: FileSystem
  readonly #clock: Clock
  readonly #path: string
  readonly #slotsMax: number
  /** By object and place, the least recently used first. */
  readonly #blocks = new Map<string, CachedBlock>()
  readonly #freeSlots: number[] = []
  /** From this one on no slot was ever used. */
  #freshSlot = 0
  /** Of blocks that somebody reads. */
  #readSlots = 0
  readonly #reads = new Set<Promise<boolean>>()
  #file: Promise<File> | undefined
  #writing: Promise<void> = Promise.resolve()
  #writingBytes = 0
  #refusedUntilMs = Number.NEGATIVE_INFINITY
  #closing: Promise<void> | undefined

  private constructor(fileSystem: FileSystem, clock: Clock, path: string, bytesMax: number) {
    this.#fileSystem = fileSystem
    this.#clock = clock
    this.#path = path
    this.#slotsMax = Math.floor(bytesMax / tierBlockBytes)
  }

  /** Whatever an earlier run left there is removed. */
  static async open(fileSystem: FileSystem, clock: Clock, directory: string, bytesMax: number): Promise<BlockCache> {
    await fileSystem.removeDirectory(directory)
    if (bytesMax > 0) await fileSystem.makeDirectory(directory)
    return new BlockCache(fileSystem, clock, `${directory}/blocks`, bytesMax)
  }

  /** The disk that is taken: whole slots, also by those that have nothing in them any more. */
  get usedBytes(): number {
    return this.#freshSlot * tierBlockBytes
  }

  /** Whether all blocks of these bytes are here. */
  holds(key: string, position: number, lengthBytes: number): boolean {
    if (this.#closing !== undefined) return false
    return placesOf(position, lengthBytes).every((place) => this.#blocks.has(blockName(key, place)))
  }

  /** Fills `target`; false when not all of it is here. */
  async read(key: string, position: number, target: Buffer): Promise<boolean> {
    if (!this.holds(key, position, target.length)) return false
    const blocks: CachedBlock[] = []
    for (const place of placesOf(position, target.length)) {
      const name = blockName(key, place)
      const block = this.#blocks.get(name)!
      this.#blocks.delete(name)
      this.#blocks.set(name, block)
      blocks.push(block)
    }
    const reading = this.#read(blocks, target)
    this.#reads.add(reading)
    try {
      return await reading
    } finally {
      this.#reads.delete(reading)
    }
  }

  /** What was found to be wrong, or could not be read, is here no more: it would stay wrong, as what is here is not written again. */
  forget(key: string, position: number, lengthBytes: number): void {
    for (const place of placesOf(position, lengthBytes)) {
      const name = blockName(key, place)
      const block = this.#blocks.get(name)
      if (block === undefined) continue
      this.#blocks.delete(name)
      block.isForgotten = true
      if (block.readers === 0) this.#freeSlots.push(block.slot)
    }
  }

  /**
   * Keeps the bytes, which must not change until `done` is called, while whoever wanted them goes on. What cannot be kept, or not fast enough, is
   * read again.
   */
  write(key: string, position: number, bytes: Buffer, done: () => void): void {
    if (this.#isRefused || this.#closing !== undefined || this.#writingBytes > writingBytesMax) return done()
    this.#writingBytes += bytes.length
    this.#writing = this.#writing
      .then(() => this.#write(key, position, bytes))
      .finally(() => {
        this.#writingBytes -= bytes.length
        done()
      })
  }

  /** Resolves when nobody reads or writes any more. From the call on nothing is here, and nothing is kept. */
  close(): Promise<void> {
    this.#closing ??= this.#end()
    return this.#closing
  }

  async #end(): Promise<void> {
    await Promise.all([this.#writing, ...this.#reads])
    const file = await this.#file?.catch(() => undefined)
    await file?.close()
  }

  /** Never rejects. Holds the blocks from the call on until it resolves. */
  async #read(blocks: readonly CachedBlock[], target: Buffer): Promise<boolean> {
    for (const block of blocks) this.#hold(block)
    try {
      const file = await this.#file
      if (file === undefined) return false
      let at = 0
      for (const { slot, count } of runsOf(blocks.map((block) => block.slot))) {
        const part = target.subarray(at, at + count * tierBlockBytes)
        if ((await file.read(part, slot * tierBlockBytes)) < part.length) return false
        at += part.length
      }
      return true
    } catch {
      return false
    } finally {
      for (const block of blocks) this.#letGo(block)
    }
  }

  /** Never rejects. */
  async #write(key: string, position: number, bytes: Buffer): Promise<void> {
    if (this.#isRefused || this.#closing !== undefined) return
    const places = placesOf(position, bytes.length).filter((place) => !this.#blocks.has(blockName(key, place)))
    // Else all that can be replaced would go, for nothing.
    if (places.length > this.#slotsMax - this.#readSlots) return
    const slots = this.#takeSlots(places.length)
    try {
      this.#file ??= this.#fileSystem.open(this.#path, 'create')
      const file = await this.#file
      let done = 0
      for (const { slot, count } of runsOf(slots)) {
        const parts = places.slice(done, done + count).map((place) => blockIn(bytes, position, place))
        await file.write(parts, slot * tierBlockBytes)
        done += count
      }
      for (const [at, place] of places.entries())
        this.#blocks.set(blockName(key, place), { slot: slots[at]!, readers: 0, isForgotten: false })
    } catch {
      await this.#giveBack()
    }
  }

  get #isRefused(): boolean {
    return this.#clock.monotonicMs() < this.#refusedUntilMs
  }

  /** The disk has refused: what was taken of it is its own again, and the cache begins anew later. Never rejects. */
  async #giveBack(): Promise<void> {
    this.#refusedUntilMs = this.#clock.monotonicMs() + refusedMs
    this.#blocks.clear() // so that nobody else begins to read
    await Promise.all(this.#reads)
    const file = await this.#file?.catch(() => undefined)
    if (file === undefined) this.#file = undefined
    else await file.truncate(0).catch(() => undefined) // its slots are written over, at the latest
    this.#freeSlots.length = 0
    this.#freshSlot = 0
  }

  /** So many, in order; there must be so many that nobody reads. */
  #takeSlots(count: number): number[] {
    const slots = Array.from({ length: count }, () => {
      const free = this.#freeSlots.pop()
      if (free !== undefined) return free
      return this.#freshSlot < this.#slotsMax ? this.#freshSlot++ : this.#evicted()
    })
    return slots.toSorted((a, b) => a - b)
  }

  /** The slot of the block that was not used for the longest, which is here no more. */
  #evicted(): number {
    for (const [name, { slot, readers }] of this.#blocks) {
      if (readers > 0) continue
      this.#blocks.delete(name)
      return slot
    }
    throw new Error('bug: found every slot of the cache read, wanted as many free ones as were counted')
  }

  #hold(block: CachedBlock): void {
    if (block.readers++ === 0) this.#readSlots++
  }

  #letGo(block: CachedBlock): void {
    if (--block.readers > 0) return
    this.#readSlots--
    if (block.isForgotten) this.#freeSlots.push(block.slot)
  }
}

function placesOf(position: number, lengthBytes: number): number[] {
  const first = Math.floor(position / tierBlockBytes)
  const end = Math.ceil((position + lengthBytes) / tierBlockBytes)
  return Array.from({ length: end - first }, (_, place) => first + place)
}

/** The block at `place`, of bytes that begin with a block at `position`. */
function blockIn(bytes: Buffer, position: number, place: number): Buffer {
  const from = place * tierBlockBytes - position
  return bytes.subarray(from, from + tierBlockBytes)
}

function runsOf(slots: readonly number[]): SlotRun[] {
  const runs: SlotRun[] = []
  for (const slot of slots) {
    const last = runs.at(-1)
    if (last !== undefined && last.slot + last.count === slot) last.count++
    else runs.push({ slot, count: 1 })
  }
  return runs
}
