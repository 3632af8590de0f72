/**
 * SimulatedDisk: a FileSystem in memory that loses what a power cut may lose. The fault model:
 * - bytes written and not synced: each 512-byte sector by itself is kept or not, in any mixture;
 * - a size that grew or shrank and was not synced: the old one or the new one;
 * - names made, moved and removed, and not followed by a sync of their directory: a prefix of them, in order, is kept;
 * - calls under way when the power goes never answer; handles from before are dead.
 * Everything takes a random number of turns, so that calls overlap as they do in life.
 */
import { systemClock } from '../../platform/clock.ts'
import type { Clock, Timer } from '../../platform/clock.ts'
import { blocksEnd } from '../../platform/file-system.ts'
import type { File, FileSystem } from '../../platform/file-system.ts'
import type { SeededRandom } from './seeded-random.ts'

const sectorBytes = 512

interface Inode {
  /** What a power cut leaves, and what everybody sees. */
  durable: Buffer
  current: Buffer
  /** Sectors written and not synced, with a number that grows with every write of the sector. */
  readonly dirty: Map<number, number>
  /** The number of the write that is durable. */
  readonly durableWrites: Map<number, number>
  writes: number
}

interface NameChange {
  readonly directory: string
  apply(names: Map<string, Inode>): void
}

export class SimulatedDisk {
  readonly #random: SeededRandom
  #durableNames = new Map<string, Inode>()
  #names = new Map<string, Inode>()
  #directories = new Set<string>(['/'])
  #pending: NameChange[] = []
  #generation = 0
  readonly #timers = new Set<Timer>()
  /** The next sync of a log fails: as on Linux, its pages count as clean afterwards although they are not on disk. */
  failNextSync = false
  /** Free bytes; Infinity = no limit. */
  freeBytes = Infinity

  constructor(random: SeededRandom) {
    this.#random = random
  }

  /** A clock until the next power cut or end of the process, after which it calls nobody back. */
  clock(): Clock {
    const generation = this.#generation
    return {
      ...systemClock,
      after: (delayMs, callback) => {
        const timer = systemClock.after(delayMs, () => {
          this.#timers.delete(timer)
          callback()
        })
        if (generation === this.#generation) this.#timers.add(timer)
        else timer.cancel()
        return timer
      },
      yield: async () => {
        await systemClock.yield()
        if (generation !== this.#generation) await new Promise(() => undefined)
      },
    }
  }

  /** The file system until the next power cut. */
  mount(): FileSystem {
    return new Mounted(this, this.#generation)
  }

  /** Cuts the power, and gives back what is left on the disk. */
  cutPower(): void {
    this.#nextGeneration()
    const kept = this.#random.below(this.#pending.length + 1)
    for (const change of this.#pending.slice(0, kept)) change.apply(this.#durableNames)
    this.#pending = []
    for (const inode of new Set(this.#durableNames.values())) this.#settle(inode)
    for (const path of this.#durableNames.keys()) if (path.endsWith('/lock')) this.#durableNames.delete(path)
    this.#names = new Map(this.#durableNames)
  }

  /** Ends the process alone: the page cache stays, calls under way never answer. */
  endProcess(): void {
    this.#nextGeneration()
    for (const path of this.#names.keys()) if (path.endsWith('/lock')) this.#names.delete(path)
  }

  #nextGeneration(): void {
    this.#generation++
    for (const timer of this.#timers) timer.cancel()
    this.#timers.clear()
  }

  #settle(inode: Inode): void {
    const { durable, current } = inode
    const bytes = Buffer.alloc(this.#random.below(2) === 0 ? durable.length : current.length)
    durable.copy(bytes)
    for (const sector of inode.dirty.keys()) {
      if (this.#random.below(2) === 0)
        current.copy(bytes, sector * sectorBytes, sector * sectorBytes, (sector + 1) * sectorBytes)
    }
    inode.durable = bytes
    inode.current = Buffer.from(bytes)
    inode.dirty.clear()
  }

  /** Some turns of the event loop; never answers when the power goes meanwhile. */
  async turns(generation: number): Promise<void> {
    for (let left = this.#random.below(3); left >= 0; left--) await new Promise((resolve) => setImmediate(resolve))
    if (generation !== this.#generation) await new Promise(() => undefined)
  }

  changeName(directory: string, apply: (names: Map<string, Inode>) => void): void {
    apply(this.#names)
    this.#pending.push({ directory, apply })
  }

  /** Names of the directory, with all changes before them: an ordered journal. */
  syncNames(directory: string): void {
    const last = this.#pending.findLastIndex((change) => change.directory === directory)
    for (const change of this.#pending.splice(0, last + 1)) change.apply(this.#durableNames)
  }

  find(path: string): Inode | undefined {
    return this.#names.get(path)
  }

  under(directory: string): string[] {
    const inside = [...this.#names.keys(), ...this.#directories].filter((path) => path.startsWith(`${directory}/`))
    return [...new Set(inside.map((path) => path.slice(directory.length + 1).split('/')[0] ?? ''))].toSorted()
  }

  hasDirectory(path: string): boolean {
    return this.#directories.has(path) || [...this.#names.keys()].some((each) => each.startsWith(`${path}/`))
  }

  /** Directories are made durably: losing one would only lose names in it that were not synced either. */
  addDirectory(path: string): void {
    this.#directories.add(path)
  }

  renameDirectory(from: string, to: string): void {
    const move = (names: Map<string, Inode>) => {
      for (const [path, inode] of names) {
        if (!path.startsWith(`${from}/`)) continue
        names.delete(path)
        names.set(to + path.slice(from.length), inode)
      }
    }
    this.changeName(to.slice(0, to.lastIndexOf('/')), move)
    for (const path of this.#directories) {
      if (path !== from && !path.startsWith(`${from}/`)) continue
      this.#directories.delete(path)
      this.#directories.add(to + path.slice(from.length))
    }
  }

  removeDirectory(path: string): void {
    this.changeName(path, (names) => {
      for (const each of names.keys()) if (each.startsWith(`${path}/`)) names.delete(each)
    })
    for (const each of this.#directories)
      if (each === path || each.startsWith(`${path}/`)) this.#directories.delete(each)
  }
}

class Mounted implements FileSystem {
  readonly #disk: SimulatedDisk
  readonly #generation: number

  constructor(disk: SimulatedDisk, generation: number) {
    this.#disk = disk
    this.#generation = generation
  }

  async open(path: string, mode: 'read' | 'write' | 'create'): Promise<File> {
    await this.#turns()
    let inode = this.#disk.find(path)
    if (mode === 'create') {
      if (inode !== undefined) throw coded('EEXIST', path)
      const made: Inode = {
        durable: Buffer.alloc(0),
        current: Buffer.alloc(0),
        dirty: new Map(),
        durableWrites: new Map(),
        writes: 0,
      }
      this.#disk.changeName(parent(path), (names) => names.set(path, made))
      inode = made
    }
    if (inode === undefined) throw coded('ENOENT', path)
    return new SimulatedFile(this.#disk, this.#generation, path, inode)
  }

  async list(directory: string): Promise<string[]> {
    await this.#turns()
    if (!this.#disk.hasDirectory(directory)) throw coded('ENOENT', directory)
    return this.#disk.under(directory)
  }

  async exists(path: string): Promise<boolean> {
    await this.#turns()
    return this.#disk.find(path) !== undefined || this.#disk.hasDirectory(path)
  }

  async makeDirectory(path: string): Promise<void> {
    await this.#turns()
    this.#disk.addDirectory(path)
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#turns()
    const inode = this.#disk.find(from)
    if (inode === undefined && this.#disk.hasDirectory(from)) return this.#disk.renameDirectory(from, to)
    if (inode === undefined) throw coded('ENOENT', from)
    this.#disk.changeName(parent(to), (names) => {
      const moved = names.get(from)
      names.delete(from)
      if (moved !== undefined) names.set(to, moved)
    })
  }

  async link(from: string, to: string): Promise<void> {
    await this.#turns()
    const inode = this.#disk.find(from)
    if (inode === undefined) throw coded('ENOENT', from)
    if (this.#disk.find(to) !== undefined) throw coded('EEXIST', to)
    this.#disk.changeName(parent(to), (names) => names.set(to, inode))
  }

  async remove(path: string): Promise<void> {
    await this.#turns()
    if (this.#disk.find(path) === undefined) throw coded('ENOENT', path)
    this.#disk.changeName(parent(path), (names) => names.delete(path))
  }

  async removeDirectory(path: string): Promise<void> {
    await this.#turns()
    this.#disk.removeDirectory(path)
  }

  async syncDirectory(path: string): Promise<void> {
    await this.#turns()
    this.#disk.syncNames(path)
  }

  #turns(): Promise<void> {
    return this.#disk.turns(this.#generation)
  }
}

class SimulatedFile implements File {
  readonly path: string
  readonly #disk: SimulatedDisk
  readonly #generation: number
  readonly #inode: Inode

  constructor(disk: SimulatedDisk, generation: number, path: string, inode: Inode) {
    this.#disk = disk
    this.#generation = generation
    this.path = path
    this.#inode = inode
  }

  async read(target: Buffer, position: number): Promise<number> {
    await this.#turns()
    return this.#inode.current.copy(target, 0, position, position + target.length)
  }

  /** Sector by sector in two halves, so that a power cut can fall between them. */
  async write(parts: readonly Buffer[], position: number): Promise<void> {
    const bytes = Buffer.concat([...parts])
    const half = Math.floor(bytes.length / 2)
    await this.#turns()
    this.#put(bytes.subarray(0, half), position)
    await this.#turns()
    this.#put(bytes.subarray(half), position + half)
  }

  async append(parts: readonly Buffer[], position: number): Promise<void> {
    const end = position + parts.reduce((sum, part) => sum + part.length, 0)
    const padding = Buffer.alloc(blocksEnd(end) - end)
    if (end + padding.length > this.#inode.current.length)
      throw new Error(`${this.path}: appended beyond what was allocated`)
    await this.write([...parts, padding], position)
    await this.sync()
  }

  async sync(): Promise<void> {
    const inode = this.#inode
    const bytes = Buffer.from(inode.current)
    const dirty = [...inode.dirty]
    await this.#turns()
    if (this.#disk.failNextSync && this.path.endsWith('.log')) {
      this.#disk.failNextSync = false
      inode.dirty.clear()
      throw coded('EIO', this.path)
    }
    const durable = Buffer.alloc(Math.min(Math.max(inode.durable.length, bytes.length), inode.current.length))
    inode.durable.copy(durable)
    for (const [sector, write] of dirty) {
      if (inode.dirty.get(sector) === write) inode.dirty.delete(sector)
      if ((inode.durableWrites.get(sector) ?? 0) > write) continue // a later sync was faster
      inode.durableWrites.set(sector, write)
      bytes.copy(durable, sector * sectorBytes, sector * sectorBytes, (sector + 1) * sectorBytes)
    }
    inode.durable = durable
  }

  async allocate(from: number, to: number): Promise<void> {
    const grownBytes = to - this.#inode.current.length
    if (from < this.#inode.current.length || grownBytes < 0)
      throw new Error(`${this.path}: allocated what is there already, from byte ${from}`)
    if (grownBytes > this.#disk.freeBytes) throw coded('ENOSPC', this.path)
    this.#disk.freeBytes -= grownBytes
    await this.write([Buffer.alloc(to - from)], from)
    await this.sync()
  }

  async truncate(sizeBytes: number): Promise<void> {
    await this.#turns()
    const inode = this.#inode
    const current = Buffer.alloc(sizeBytes)
    inode.current.copy(current)
    inode.current = current
    for (const sector of inode.dirty.keys()) if (sector * sectorBytes >= sizeBytes) inode.dirty.delete(sector)
  }

  async sizeBytes(): Promise<number> {
    await this.#turns()
    return this.#inode.current.length
  }

  async close(): Promise<void> {
    await this.#turns()
  }

  #put(bytes: Buffer, position: number): void {
    const inode = this.#inode
    const end = position + bytes.length
    if (end > inode.current.length) {
      const larger = Buffer.alloc(end)
      inode.current.copy(larger)
      inode.current = larger
    }
    bytes.copy(inode.current, position)
    for (let sector = Math.floor(position / sectorBytes); sector * sectorBytes < end; sector++) {
      inode.dirty.set(sector, ++inode.writes)
    }
  }

  #turns(): Promise<void> {
    return this.#disk.turns(this.#generation)
  }
}

function parent(path: string): string {
  return path.slice(0, path.lastIndexOf('/'))
}

function coded(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${path}`), { code })
}
