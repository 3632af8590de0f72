/**
 * Inode: the bytes of one simulated file, as everybody sees them and as a power cut would leave them. Unsynced writes are kept sector by
 * sector with every content the sector has had since its last sync; a crash picks any of them for each sector by itself, now and then half of one.
 * Neighbours: disk.ts holds the names, disk-file-system.ts calls in.
 */
import type { SeededRandom } from '../storage/seeded-random.ts'

export const sectorBytes = 512
const pageBytes = 4096
/** One dirty sector in so many is torn inside by a crash. */
const tornOneIn = 16

interface DirtySector {
  /** Number of contents that are durable or overtaken: the first of `contents` is this one plus one. */
  settled: number
  contents: Buffer[]
}

export class Inode {
  #current: Buffer = Buffer.alloc(0)
  #size = 0
  #durable: Buffer = Buffer.alloc(0)
  #durableSize = 0
  /** Changes of the size so far, and how many of them are durable. */
  #sizeChanges = 0
  #durableSizeChanges = 0
  readonly #dirty = new Map<number, DirtySector>()
  /** Pages that cannot be read: EIO. */
  readonly badPages = new Set<number>()

  get sizeBytes(): number {
    return this.#size
  }

  /** What everybody sees; not to be kept. */
  get currentBytes(): Buffer {
    return this.#current.subarray(0, this.#size)
  }

  /** What a power cut surely leaves; not to be kept. */
  get durableBytes(): Buffer {
    return this.#durable.subarray(0, this.#durableSize)
  }

  get durableSizeBytes(): number {
    return this.#durableSize
  }

  read(target: Buffer, position: number): number {
    if (position >= this.#size) return 0
    if (this.badPages.size > 0) this.#checkPages(position, Math.min(this.#size, position + target.length))
    return this.#current.copy(target, 0, position, Math.min(this.#size, position + target.length))
  }

  write(bytes: Buffer, position: number): void {
    if (bytes.length === 0) return
    const end = position + bytes.length
    const from = Math.min(position, this.#size)
    this.#current = roomFor(this.#current, end)
    if (position > this.#size) this.#current.fill(0, this.#size, position)
    bytes.copy(this.#current, position)
    this.#resize(Math.max(this.#size, end))
    this.#touch(from, end)
  }

  truncate(sizeBytes: number): void {
    if (sizeBytes > this.#size) return this.write(Buffer.alloc(sizeBytes - this.#size), this.#size)
    this.#current.fill(0, sizeBytes, this.#size)
    this.#resize(sizeBytes)
    for (const sector of this.#dirty.keys()) if (sector * sectorBytes >= sizeBytes) this.#dirty.delete(sector)
    if (sizeBytes % sectorBytes !== 0) this.#touch(sizeBytes - 1, sizeBytes)
  }

  /** What is written now is to become durable: calling the answer makes it so. */
  beginSync(): () => void {
    const size = this.#size
    const sizeChanges = this.#sizeChanges
    const marks = Array.from(this.#dirty, ([sector, dirty]) => ({
      sector,
      dirty,
      upTo: dirty.settled + dirty.contents.length,
    }))
    return () => {
      this.#durable = roomFor(this.#durable, size)
      for (const { sector, dirty, upTo } of marks) {
        const count = upTo - dirty.settled
        if (count <= 0) continue
        dirty.contents[count - 1]!.copy(this.#durable, sector * sectorBytes)
        dirty.contents.splice(0, count)
        dirty.settled = upTo
        if (dirty.contents.length === 0 && this.#dirty.get(sector) === dirty) this.#dirty.delete(sector)
      }
      if (sizeChanges <= this.#durableSizeChanges) return // a later sync was faster
      if (size < this.#durableSize) this.#durable.fill(0, size)
      this.#durableSize = size
      this.#durableSizeChanges = sizeChanges
    }
  }

  /** A sync failed: the pages count as clean, although they are not on the disk. Each sector may have got there or not. */
  forgetDirty(random: SeededRandom): void {
    for (const dirty of this.#dirty.values()) {
      if (random.below(2) === 0) continue
      dirty.settled += dirty.contents.length
      dirty.contents = []
    }
    for (const [sector, { contents }] of this.#dirty) if (contents.length === 0) this.#dirty.delete(sector)
    this.beginSync()()
  }

  /** The power goes. */
  crash(random: SeededRandom): void {
    const sizes = [this.#durableSize, this.#size]
    const size = random.pick(sizes)
    this.#durable = roomFor(this.#durable, Math.max(this.#size, this.#durableSize))
    for (const [sector, { contents }] of this.#dirty) {
      const at = sector * sectorBytes
      const kept = random.below(contents.length + 1)
      const torn = random.below(tornOneIn) === 0
      const tornAt = random.below(sectorBytes)
      if (kept === 0) continue
      if (torn && kept > 1) contents[kept - 2]!.copy(this.#durable, at)
      contents[kept - 1]!.copy(this.#durable, at, 0, torn ? tornAt : sectorBytes)
    }
    this.#dirty.clear()
    this.#durable = roomFor(this.#durable, size)
    this.#durable.fill(0, size)
    this.#durableSize = size
    this.#size = size
    this.#durableSizeChanges = this.#sizeChanges
    this.#current = Buffer.from(this.#durable)
  }

  /** Flips one bit where the disk keeps it, and in the page cache alike. */
  flip(position: number, bit: number): void {
    this.#current[position]! ^= 1 << bit
    if (position < this.#durableSize) this.#durable[position]! ^= 1 << bit
  }

  #checkPages(from: number, end: number): void {
    for (let page = Math.floor(from / pageBytes); page * pageBytes < end; page++) {
      if (this.badPages.has(page)) throw Object.assign(new Error(`EIO: page ${page}`), { code: 'EIO' })
    }
  }

  #resize(sizeBytes: number): void {
    if (sizeBytes !== this.#size) this.#sizeChanges++
    this.#size = sizeBytes
  }

  #touch(from: number, end: number): void {
    for (let sector = Math.floor(from / sectorBytes); sector * sectorBytes < end; sector++) {
      const content = Buffer.alloc(sectorBytes)
      this.#current.copy(content, 0, sector * sectorBytes, Math.min(this.#size, (sector + 1) * sectorBytes))
      let dirty = this.#dirty.get(sector)
      if (dirty === undefined) this.#dirty.set(sector, (dirty = { settled: 0, contents: [] }))
      dirty.contents.push(content)
    }
  }
}

/** The buffer itself if it has `bytes`, in whole sectors, else a larger copy. */
function roomFor(buffer: Buffer, bytes: number): Buffer {
  const wanted = Math.ceil(bytes / sectorBytes) * sectorBytes
  if (buffer.length >= wanted) return buffer
  const larger = Buffer.alloc(Math.max(wanted, Math.min(buffer.length * 2, buffer.length + (1 << 20))))
  buffer.copy(larger)
  return larger
}
