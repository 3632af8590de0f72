/**
 * BlockCache: blocks of the tier's objects on the local disk, within a bound: those that are likely to be wanted again (indexes, and what is read
 * out of order), so that a replay of years does not drive them out, nor the log's own writes. One file per object, with holes; an object's blocks
 * go together, those not used for the longest first.
 * Derived: emptied at every start, and whoever reads compares sums, so nothing here needs to survive or to be right.
 * Neighbours: TierBlocks.
 */
import type { File, FileSystem } from '../../platform/file-system.ts'
import { tierBlockBytes } from './block-sums.ts'

/** On their way to the disk. */
const writingBytesMax = 16 * 1024 * 1024

interface CachedObject {
  readonly path: string
  /** The file is there. */
  readonly made: Promise<void>
  readonly places: Set<number>
  bytes: number
  users: number
}

export class BlockCache {
  readonly #fileSystem: FileSystem
  readonly #directory: string
  readonly #bytesMax: number
  /** By key, the least recently used first. */
  readonly #objects = new Map<string, CachedObject>()
  #bytes = 0
  #nextNumber = 0
  readonly #writing = new Set<Promise<void>>()
  #writingBytes = 0
  /** A disk that refuses is not asked again: the cache is there to save time. */
  #failed = false

  private constructor(fileSystem: FileSystem, directory: string, bytesMax: number) {
    this.#fileSystem = fileSystem
    this.#directory = directory
    this.#bytesMax = bytesMax
  }

  /** Whatever an earlier run left there is removed. */
  static async open(fileSystem: FileSystem, directory: string, bytesMax: number): Promise<BlockCache> {
    await fileSystem.removeDirectory(directory)
    if (bytesMax > 0) await fileSystem.makeDirectory(directory)
    return new BlockCache(fileSystem, directory, bytesMax)
  }

  get usedBytes(): number {
    return this.#bytes
  }

  /** False when not all of it is here. */
  async read(key: string, position: number, target: Buffer): Promise<boolean> {
    const object = this.#objects.get(key)
    if (object === undefined) return false
    for (const place of placesOf(position, target.length)) if (!object.places.has(place)) return false
    this.#objects.delete(key)
    this.#objects.set(key, object)
    try {
      return await this.#using(object, 'read', async (file) => (await file.read(target, position)) === target.length)
    } catch {
      return false
    }
  }

  /** Keeps the bytes, which must not change any more, while whoever wanted them goes on. What cannot be kept, or not fast enough, is read again. */
  write(key: string, position: number, bytes: Buffer): void {
    if (this.#failed || bytes.length > this.#bytesMax || this.#writingBytes > writingBytesMax) return
    this.#writingBytes += bytes.length
    const writing = this.#write(key, position, bytes).finally(() => {
      this.#writingBytes -= bytes.length
      this.#writing.delete(writing)
    })
    this.#writing.add(writing)
  }

  /** Resolves when nothing is on its way to the disk. */
  async settled(): Promise<void> {
    await Promise.all(this.#writing)
  }

  /** Never rejects. */
  async #write(key: string, position: number, bytes: Buffer): Promise<void> {
    const object = this.#objects.get(key) ?? this.#begin(key)
    try {
      await this.#using(object, 'write', (file) => file.write([bytes], position))
      for (const place of placesOf(position, bytes.length)) {
        if (object.places.has(place)) continue
        object.places.add(place)
        const blockBytes = Math.min(tierBlockBytes, position + bytes.length - place * tierBlockBytes)
        object.bytes += blockBytes
        this.#bytes += blockBytes
      }
      await this.#dropOldest()
    } catch {
      this.#failed = object.bytes === 0
    }
  }

  #begin(key: string): CachedObject {
    const path = `${this.#directory}/${this.#nextNumber++}`
    const made = this.#make(path)
    made.catch(() => undefined) // whoever writes hears
    const object = { path, made, places: new Set<number>(), bytes: 0, users: 0 }
    this.#objects.set(key, object)
    return object
  }

  async #make(path: string): Promise<void> {
    const file = await this.#fileSystem.open(path, 'create')
    await file.close()
  }

  async #using<T>(object: CachedObject, mode: 'read' | 'write', use: (file: File) => Promise<T>): Promise<T> {
    object.users++
    try {
      await object.made
      const file = await this.#fileSystem.open(object.path, mode)
      try {
        return await use(file)
      } finally {
        await file.close()
      }
    } finally {
      object.users--
    }
  }

  async #dropOldest(): Promise<void> {
    for (const [key, object] of this.#objects) {
      if (this.#bytes <= this.#bytesMax) return
      if (object.users > 0) continue
      this.#objects.delete(key)
      this.#bytes -= object.bytes
      await this.#fileSystem.remove(object.path)
    }
  }
}

function placesOf(position: number, lengthBytes: number): number[] {
  const first = Math.floor(position / tierBlockBytes)
  const end = Math.ceil((position + lengthBytes) / tierBlockBytes)
  return Array.from({ length: end - first }, (_, place) => first + place)
}
