/**
 * DiskFileSystem: the FileSystem that one process has on a simulated Disk. Every call takes its time, so that calls overlap and a
 * crash finds some of them half done: a call of a killed process happens or not, and never answers; a power cut undoes what was not synced.
 * Invariant: nothing answers a process that has ended.
 */
import type { File, FileSystem } from '../../platform/file-system.ts'
import { blocksEnd, SyncFailure } from '../../platform/file-system.ts'
import { coded, Directory } from './disk.ts'
import type { Disk, DiskCall } from './disk.ts'
import { Inode } from './inode.ts'
import type { SimulatedProcess } from './simulated-process.ts'

/** Usual time of a call, ms: from, to. */
const durations: Record<DiskCall, readonly [number, number]> = {
  open: [0.005, 0.05],
  read: [0.005, 0.2],
  write: [0.005, 0.1],
  sync: [0.1, 0.5],
  allocate: [0.1, 1],
  rename: [0.005, 0.05],
  remove: [0.005, 0.05],
  syncDirectory: [0.1, 0.5],
}
/** One call in so many takes a hundred times as long. */
const slowOneIn = 200

export class DiskFileSystem implements FileSystem {
  readonly #disk: Disk
  readonly #process: SimulatedProcess

  constructor(disk: Disk, process: SimulatedProcess) {
    this.#disk = disk
    this.#process = process
  }

  /** `act` happens after the time of the call, unless the call fails. */
  call<T>(kind: DiskCall, path: string, act: () => T): Promise<T> {
    const { scheduler } = this.#process
    const [least, most] = durations[kind]
    const slow = scheduler.oneIn(slowOneIn) ? 100 : 1
    return new Promise((resolve, reject) => {
      const happen = () => {
        try {
          const fault = this.#disk.fault(kind, path)
          if (fault !== undefined) throw fault
          resolve(act())
        } catch (error) {
          reject(error)
        }
      }
      // A killed process is not there to hear of it.
      const alone = () => {
        try {
          act()
        } catch {}
      }
      this.#process.calls.add(alone)
      const delayMs = scheduler.between(least, most) * slow * this.#disk.slowness
      this.#process.after(delayMs, `${kind} ${labelOf(path)}`, () => {
        this.#process.calls.delete(alone)
        happen()
      })
    })
  }

  open(path: string, mode: 'read' | 'write' | 'create'): Promise<File> {
    return this.call('open', path, () => {
      if (mode === 'create') {
        if (this.#disk.find(path) !== undefined) throw coded('EEXIST', path)
        if (this.#disk.isFull) throw this.#disk.refusal(path)
        const made = new Inode()
        this.#parent(path).change((names) => names.set(nameOf(path), made))
      }
      return new DiskFile(this, this.#disk, path, this.#disk.inode(path))
    })
  }

  list(directory: string): Promise<string[]> {
    return this.call('open', directory, () => [...this.#disk.directory(directory).current.keys()].toSorted())
  }

  exists(path: string): Promise<boolean> {
    return this.call('open', path, () => this.#disk.find(path) !== undefined)
  }

  async makeDirectory(path: string): Promise<void> {
    let above = ''
    for (const name of path.split('/').slice(1)) {
      const at = `${above}/${name}`
      const parent = above
      const isMade = await this.call('open', at, () => {
        if (this.#disk.find(at) !== undefined) return false
        if (this.#disk.isFull) throw this.#disk.refusal(at)
        const made = new Directory()
        this.#disk.directory(parent).change((names) => names.set(name, made))
        return true
      })
      if (isMade) await this.syncDirectory(parent)
      above = at
    }
  }

  rename(from: string, to: string): Promise<void> {
    return this.call('rename', from, () => {
      const node = this.#disk.find(from)
      if (node === undefined) throw coded('ENOENT', from)
      const parent = this.#parent(from)
      if (parent !== this.#parent(to)) throw coded('EXDEV', to) // the product renames inside a directory only
      parent.change((names) => {
        names.delete(nameOf(from))
        names.set(nameOf(to), node)
      })
    })
  }

  link(from: string, to: string): Promise<void> {
    return this.call('rename', from, () => {
      const inode = this.#disk.inode(from)
      if (this.#disk.find(to) !== undefined) throw coded('EEXIST', to)
      this.#parent(to).change((names) => names.set(nameOf(to), inode))
    })
  }

  remove(path: string): Promise<void> {
    return this.call('remove', path, () => {
      this.#disk.inode(path)
      this.#parent(path).change((names) => names.delete(nameOf(path)))
    })
  }

  /** Name by name, so that it can end half way. */
  async removeDirectory(path: string): Promise<void> {
    const inside = await this.call('open', path, () => {
      const node = this.#disk.find(path)
      return node instanceof Directory ? [...node.current.keys()].toSorted() : undefined
    })
    if (inside === undefined) return
    for (const name of inside) {
      if (this.#disk.find(`${path}/${name}`) instanceof Directory) await this.removeDirectory(`${path}/${name}`)
      else await this.remove(`${path}/${name}`)
    }
    await this.call('remove', path, () => this.#parent(path).change((names) => names.delete(nameOf(path))))
  }

  syncDirectory(path: string): Promise<void> {
    const node = this.#disk.find(path === '' ? '/' : path)
    const finish = node instanceof Directory ? node.beginSync() : () => undefined
    return this.call('syncDirectory', path, () => {
      this.#disk.directory(path)
      finish()
    })
  }

  #parent(path: string): Directory {
    return this.#disk.directory(path.slice(0, path.lastIndexOf('/')))
  }
}

class DiskFile implements File {
  readonly path: string
  readonly #fileSystem: DiskFileSystem
  readonly #disk: Disk
  readonly #inode: Inode
  /** Once one sync has failed, none later resolves: as the seam says. */
  #failed: Error | undefined

  constructor(fileSystem: DiskFileSystem, disk: Disk, path: string, inode: Inode) {
    this.path = path
    this.#fileSystem = fileSystem
    this.#disk = disk
    this.#inode = inode
  }

  read(target: Buffer, position: number): Promise<number> {
    return this.#fileSystem.call('read', this.path, () => this.#inode.read(target, position))
  }

  /** Now and then it would have to be waited for. */
  readNow(target: Buffer, position: number): number | undefined {
    if (this.#disk.random.below(4) === 0) return undefined
    const fault = this.#disk.fault('read', this.path)
    if (fault !== undefined) throw fault
    return this.#inode.read(target, position)
  }

  /** In two parts, so that a crash, a kill or a failure can fall between them. */
  async write(parts: readonly Buffer[], position: number): Promise<void> {
    const lengthBytes = parts.reduce((sum, part) => sum + part.length, 0)
    const split = Math.floor((lengthBytes * this.#disk.random.below(1000)) / 1000)
    const put = (from: number, to: number) => () => {
      if (this.#disk.isFull && position + to > this.#inode.sizeBytes) throw this.#disk.refusal(this.path)
      this.#inode.write(Buffer.concat(parts).subarray(from, to), position + from)
    }
    await this.#fileSystem.call('open', this.path, put(0, split))
    await this.#fileSystem.call('write', this.path, put(split, lengthBytes))
  }

  async append(parts: readonly Buffer[], position: number): Promise<void> {
    const end = position + parts.reduce((sum, part) => sum + part.length, 0)
    const padding = Buffer.alloc(blocksEnd(end) - end)
    if (end + padding.length > this.#inode.sizeBytes)
      throw new Error(`${this.path}: appended beyond what was allocated`)
    await this.write([...parts, padding], position)
    await this.sync()
  }

  async sync(): Promise<void> {
    const finish = this.#inode.beginSync()
    try {
      await this.#fileSystem.call('sync', this.path, () => {
        if (this.#failed === undefined) finish()
      })
    } catch (error) {
      this.#inode.forgetDirty(this.#disk.random)
      this.#failed = error as Error
    }
    if (this.#failed !== undefined) throw this.#failed
  }

  async allocate(from: number, to: number): Promise<void> {
    if (from < this.#inode.sizeBytes) throw new Error(`${this.path}: allocated what is there already, from ${from}`)
    await this.#fileSystem.call('allocate', this.path, () => {
      if (this.#disk.isFull) throw this.#disk.refusal(this.path)
      this.#inode.write(Buffer.alloc(to - from), from)
    })
    await this.sync().catch((error: unknown) => {
      throw new SyncFailure(`${this.path}: a sync failed`, { cause: error })
    })
  }

  truncate(sizeBytes: number): Promise<void> {
    return this.#fileSystem.call('write', this.path, () => this.#inode.truncate(sizeBytes))
  }

  sizeBytes(): Promise<number> {
    return this.#fileSystem.call('open', this.path, () => this.#inode.sizeBytes)
  }

  close(): Promise<void> {
    return this.#fileSystem.call('open', this.path, () => undefined)
  }
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

/** The lock holds the pid of the simulator itself, which is not of the seed: its names stay out of the trace. */
function labelOf(path: string): string {
  return path.includes('/lock') ? 'lock' : path
}
