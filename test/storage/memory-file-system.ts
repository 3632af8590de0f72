/**
 * MemoryFileSystem: a FileSystem of plain files in memory, each call done at once: for tests that open the same few files a hundred thousand times.
 * A copy shares nothing with the original. What a power cut does is SimulatedDisk's business.
 */
import type { File, FileSystem } from '../../platform/file-system.ts'

interface Inode {
  bytes: Buffer
}

export class MemoryFileSystem implements FileSystem {
  readonly #files = new Map<string, Inode>()
  readonly #directories = new Set<string>(['/'])

  copy(): MemoryFileSystem {
    const copy = new MemoryFileSystem()
    for (const [path, { bytes }] of this.#files) copy.#files.set(path, { bytes: Buffer.from(bytes) })
    for (const path of this.#directories) copy.#directories.add(path)
    return copy
  }

  /** Paths of files, sorted. */
  get paths(): string[] {
    return [...this.#files.keys()].toSorted()
  }

  bytes(path: string): Buffer {
    return this.#inode(path).bytes
  }

  async open(path: string, mode: 'read' | 'write' | 'create'): Promise<File> {
    if (mode === 'create') {
      if (this.#files.has(path)) throw failure('EEXIST', path)
      if (!this.#directories.has(parentOf(path))) throw failure('ENOENT', path)
      this.#files.set(path, { bytes: Buffer.alloc(0) })
    }
    return new MemoryFile(path, this.#inode(path))
  }

  async list(directory: string): Promise<string[]> {
    if (!this.#directories.has(directory)) throw failure('ENOENT', directory)
    const all = [...this.#files.keys(), ...this.#directories]
    return all
      .filter((path) => path !== '/' && parentOf(path) === directory)
      .map(nameOf)
      .toSorted()
  }

  async exists(path: string): Promise<boolean> {
    return this.#files.has(path) || this.#directories.has(path)
  }

  async makeDirectory(path: string): Promise<void> {
    for (let at = path; at !== '/'; at = parentOf(at)) this.#directories.add(at)
  }

  async rename(from: string, to: string): Promise<void> {
    if (this.#files.has(from)) {
      this.#files.set(to, this.#inode(from))
      this.#files.delete(from)
      return
    }
    if (!this.#directories.delete(from)) throw failure('ENOENT', from)
    this.#directories.add(to)
    for (const [path, inode] of this.#files) {
      if (!path.startsWith(`${from}/`)) continue
      this.#files.delete(path)
      this.#files.set(to + path.slice(from.length), inode)
    }
  }

  async link(from: string, to: string): Promise<void> {
    if (this.#files.has(to)) throw failure('EEXIST', to)
    this.#files.set(to, this.#inode(from))
  }

  async remove(path: string): Promise<void> {
    if (!this.#files.delete(path)) throw failure('ENOENT', path)
  }

  async removeDirectory(path: string): Promise<void> {
    for (const each of this.#files.keys()) if (each.startsWith(`${path}/`)) this.#files.delete(each)
    for (const each of this.#directories) {
      if (each === path || each.startsWith(`${path}/`)) this.#directories.delete(each)
    }
  }

  async syncDirectory(): Promise<void> {}

  #inode(path: string): Inode {
    const inode = this.#files.get(path)
    if (inode === undefined) throw failure('ENOENT', path)
    return inode
  }
}

class MemoryFile implements File {
  readonly path: string
  readonly #inode: Inode

  constructor(path: string, inode: Inode) {
    this.path = path
    this.#inode = inode
  }

  async read(target: Buffer, position: number): Promise<number> {
    return this.#inode.bytes.copy(target, 0, Math.min(position, this.#inode.bytes.length))
  }

  async write(parts: readonly Buffer[], position: number): Promise<void> {
    const added = Buffer.concat(parts)
    this.#grow(position + added.length)
    added.copy(this.#inode.bytes, position)
  }

  append(parts: readonly Buffer[], position: number): Promise<void> {
    return this.write(parts, position)
  }

  async sync(): Promise<void> {}

  async allocate(_from: number, to: number): Promise<void> {
    this.#grow(to)
  }

  async truncate(sizeBytes: number): Promise<void> {
    this.#inode.bytes = Buffer.from(this.#inode.bytes.subarray(0, sizeBytes))
    this.#grow(sizeBytes)
  }

  async sizeBytes(): Promise<number> {
    return this.#inode.bytes.length
  }

  async close(): Promise<void> {}

  #grow(sizeBytes: number): void {
    const { bytes } = this.#inode
    if (sizeBytes > bytes.length) this.#inode.bytes = Buffer.concat([bytes, Buffer.alloc(sizeBytes - bytes.length)])
  }
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/')) || '/'
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

function failure(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${path}`), { code })
}
