/**
 * DyingFileSystem: files of a process that is killed at its n-th change: that change does not take place, and nothing after it. What was changed
 * before stays, as the page cache does when a process dies.
 */
import type { File, FileSystem } from '../../../platform/file-system.ts'

export class DyingFileSystem implements FileSystem {
  readonly #inner: FileSystem
  #diesAt = Infinity
  changes = 0
  isDead = false

  constructor(inner: FileSystem) {
    this.#inner = inner
  }

  /** At the n-th change from now on, the first being 1. */
  dieAt(change: number): void {
    this.#diesAt = this.changes + change
  }

  async open(path: string, mode: 'read' | 'write' | 'create'): Promise<File> {
    this.#look()
    if (mode === 'create') this.#change()
    const file = await this.#inner.open(path, mode)
    const change = () => this.#change()
    const look = () => this.#look()
    return {
      path,
      read: async (target, position) => {
        look()
        return file.read(target, position)
      },
      write: async (parts, position) => {
        change()
        await file.write(parts, position)
      },
      append: async (parts, position) => {
        change()
        await file.append(parts, position)
      },
      sync: async () => {
        change()
        await file.sync()
      },
      allocate: async (from, to) => {
        change()
        await file.allocate(from, to)
      },
      truncate: async (sizeBytes) => {
        change()
        await file.truncate(sizeBytes)
      },
      sizeBytes: () => file.sizeBytes(),
      close: () => file.close(),
    }
  }

  async list(directory: string): Promise<string[]> {
    this.#look()
    return this.#inner.list(directory)
  }

  async exists(path: string): Promise<boolean> {
    this.#look()
    return this.#inner.exists(path)
  }

  async makeDirectory(path: string): Promise<void> {
    this.#change()
    await this.#inner.makeDirectory(path)
  }

  async rename(from: string, to: string): Promise<void> {
    this.#change()
    await this.#inner.rename(from, to)
  }

  async link(from: string, to: string): Promise<void> {
    this.#change()
    await this.#inner.link(from, to)
  }

  async remove(path: string): Promise<void> {
    this.#change()
    await this.#inner.remove(path)
  }

  async removeDirectory(path: string): Promise<void> {
    this.#change()
    await this.#inner.removeDirectory(path)
  }

  async syncDirectory(path: string): Promise<void> {
    this.#change()
    await this.#inner.syncDirectory(path)
  }

  #change(): void {
    this.#look()
    this.changes++
    if (this.changes < this.#diesAt) return
    this.isDead = true
    this.#look()
  }

  #look(): void {
    if (this.isDead) throw new Error('killed')
  }
}
