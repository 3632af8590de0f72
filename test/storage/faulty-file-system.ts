/** FaultyFileSystem: a FileSystem whose calls a test can watch, delay and fail, over real files. */
import type { File, FileSystem } from '../../platform/file-system.ts'
import { nodeFileSystem } from '../../platform/node-file-system.ts'

/** Called before the real thing; may wait, and may throw instead of it. */
export interface Faults {
  sync?(path: string): Promise<void> | void
  write?(path: string, bytes: number): Promise<void> | void
  allocate?(path: string, bytes: number): Promise<void> | void
  read?(path: string, bytes: number): Promise<void> | void
}

export class FaultyFileSystem implements FileSystem {
  faults: Faults
  readonly #inner: FileSystem

  constructor(faults: Faults = {}, inner: FileSystem = nodeFileSystem) {
    this.faults = faults
    this.#inner = inner
  }

  async open(path: string, mode: 'read' | 'write' | 'create'): Promise<File> {
    const file = await this.#inner.open(path, mode)
    const faults = () => this.faults
    const faulty: File = {
      path,
      async read(target, position) {
        await faults().read?.(path, target.length)
        return file.read(target, position)
      },
      async write(parts, position) {
        await faults().write?.(
          path,
          parts.reduce((sum, part) => sum + part.length, 0),
        )
        await file.write(parts, position)
      },
      async append(parts, position) {
        if (faults().write === undefined && faults().sync === undefined) return file.append(parts, position)
        await faulty.write(parts, position)
        await faulty.sync()
      },
      async sync() {
        await faults().sync?.(path)
        await file.sync()
      },
      async allocate(from, to) {
        await faults().allocate?.(path, to - from)
        await file.allocate(from, to)
      },
      truncate: (sizeBytes) => file.truncate(sizeBytes),
      sizeBytes: () => file.sizeBytes(),
      close: () => file.close(),
    }
    return faulty
  }

  list(directory: string): Promise<string[]> {
    return this.#inner.list(directory)
  }

  exists(path: string): Promise<boolean> {
    return this.#inner.exists(path)
  }

  makeDirectory(path: string): Promise<void> {
    return this.#inner.makeDirectory(path)
  }

  rename(from: string, to: string): Promise<void> {
    return this.#inner.rename(from, to)
  }

  link(from: string, to: string): Promise<void> {
    return this.#inner.link(from, to)
  }

  remove(path: string): Promise<void> {
    return this.#inner.remove(path)
  }

  removeDirectory(path: string): Promise<void> {
    return this.#inner.removeDirectory(path)
  }

  syncDirectory(path: string): Promise<void> {
    return this.#inner.syncDirectory(path)
  }
}

/** The disk's room, or the user's on it, is used up. */
export function noSpace(path: string, code: 'ENOSPC' | 'EDQUOT' = 'ENOSPC'): Error {
  return Object.assign(new Error(`${code}: no space left on device, ${path}`), { code })
}
