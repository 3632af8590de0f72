/**
 * BlockCache: blocks of the tier's objects on the local disk, within a bound: those that are likely to be wanted again (indexes, and what is read
 * out of order), so that a replay of years does not drive them out, nor the log's own writes. One file of slots that are each as long as a block, the block
 * not used for the longest replaced first: a block is kept by one call to the system, and one after the other, so that a cold read of many segments
 * does not wait for what it leaves behind.
 * Invariant: a slot is not written while somebody reads it.
 * Derived: emptied at every start, and whoever reads compares sums, so nothing here needs to survive or to be right.
 * Neighbours: TierBlocks.
 */
import type { File, FileSystem } from '../../platform/file-system.ts'
import { tierBlockBytes } from './block-sums.ts'

/** On their way to the disk. */
const writingBytesMax = 16 * 1024 * 1024

interface CachedBlock {
  readonly slot: number
  readonly sizeBytes: number
  readers: number
}

/** Slots that follow each other, for bytes that follow each other. */
interface SlotRun {
  readonly slot: number
  count: number
}

export class BlockCache {
  readonly #fileSystem: FileSystem
  readonly #path: string
  readonly #slotsMax: number
  /** By object and place, the least recently used first. */
  readonly #blocks = new Map<string, CachedBlock>()
  readonly #freeSlots: number[] = []
  /** From this one on no slot was ever used. */
  #freshSlot = 0
  #bytes = 0
  #file: Promise<File> | undefined
  #writing: Promise<void> = Promise.resolve()
  #writingBytes = 0
  /** A disk that refuses is not asked again: the cache is there to save time. */
  #failed = false

  private constructor(fileSystem: FileSystem, path: string, bytesMax: number) {
    this.#fileSystem = fileSystem
    this.#path = path
    this.#slotsMax = Math.floor(bytesMax / tierBlockBytes)
  }

  /** Whatever an earlier run left there is removed. */
  static async open(fileSystem: FileSystem, directory: string, bytesMax: number): Promise<BlockCache> {
    await fileSystem.removeDirectory(directory)
    if (bytesMax > 0) await fileSystem.makeDirectory(directory)
    return new BlockCache(fileSystem, `${directory}/blocks`, bytesMax)
  }

  get usedBytes(): number {
    return this.#bytes
  }

  /** Whether all blocks of these bytes are here. */
  holds(key: string, position: number, lengthBytes: number): boolean {
    return placesOf(position, lengthBytes).every((place) => this.#blocks.has(nameOf(key, place)))
  }

  /** Fills `target`; false when not all of it is here. */
  async read(key: string, position: number, target: Buffer): Promise<boolean> {
    const blocks: CachedBlock[] = []
    for (const place of placesOf(position, target.length)) {
      const name = nameOf(key, place)
      const block = this.#blocks.get(name)
      if (block === undefined) return false
      this.#blocks.delete(name)
      this.#blocks.set(name, block)
      blocks.push(block)
    }
    for (const block of blocks) block.readers++
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
      for (const block of blocks) block.readers--
    }
  }

  /**
   * Keeps the bytes, which must not change until `done` is called, while whoever wanted them goes on. What cannot be kept, or not fast enough, is
   * read again.
   */
  write(key: string, position: number, bytes: Buffer, done: () => void): void {
    if (this.#failed || this.#writingBytes > writingBytesMax) return done()
    this.#writingBytes += bytes.length
    this.#writing = this.#writing
      .then(() => this.#write(key, position, bytes))
      .finally(() => {
        this.#writingBytes -= bytes.length
        done()
      })
  }

  /** When nothing is on its way to the disk any more. Nothing may be asked from then on. */
  async close(): Promise<void> {
    await this.#writing
    const file = await this.#file?.catch(() => undefined)
    await file?.close()
  }

  /** Never rejects. */
  async #write(key: string, position: number, bytes: Buffer): Promise<void> {
    const places = placesOf(position, bytes.length).filter((place) => !this.#blocks.has(nameOf(key, place)))
    const slots = this.#takeSlots(places.length)
    if (slots === undefined) return
    try {
      this.#file ??= this.#fileSystem.open(this.#path, 'create')
      const file = await this.#file
      let done = 0
      for (const { slot, count } of runsOf(slots)) {
        const parts = places.slice(done, done + count).map((place) => blockIn(bytes, position, place))
        await file.write(parts, slot * tierBlockBytes)
        done += count
      }
      for (const [at, place] of places.entries()) {
        const sizeBytes = blockIn(bytes, position, place).length
        this.#blocks.set(nameOf(key, place), { slot: slots[at]!, sizeBytes, readers: 0 })
        this.#bytes += sizeBytes
      }
    } catch {
      this.#failed = true
      this.#freeSlots.push(...slots)
    }
  }

  /** So many, in order where it can be; undefined when there are not so many that nobody reads. */
  #takeSlots(count: number): number[] | undefined {
    const slots: number[] = []
    while (slots.length < count) {
      const slot = this.#freshSlot < this.#slotsMax ? this.#freshSlot++ : (this.#freeSlots.pop() ?? this.#evicted())
      if (slot === undefined) {
        this.#freeSlots.push(...slots)
        return undefined
      }
      slots.push(slot)
    }
    return slots
  }

  /** The slot of the block that was not used for the longest, which is here no more. */
  #evicted(): number | undefined {
    for (const [name, { slot, sizeBytes, readers }] of this.#blocks) {
      if (readers > 0) continue
      this.#blocks.delete(name)
      this.#bytes -= sizeBytes
      return slot
    }
    return undefined
  }
}

function nameOf(key: string, place: number): string {
  return `${key}#${place}`
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
