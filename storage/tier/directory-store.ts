/**
 * DirectoryStore: a tier in a directory, such as a mounted share: `file:///path`. An object is a file under its key.
 * Invariants: an object is whole or not there (written beside, synced, then named); `putIfAbsent` gives the file its name with `link`, which
 * refuses a name that is taken.
 * Neighbours: tier-location.ts opens it.
 */
import { formatUuid, uuidV7 } from '../../protocol/uuid.ts'
import type { Clock } from '../../platform/clock.ts'
import { isMissing } from '../../platform/file-system.ts'
import type { FileSystem } from '../../platform/file-system.ts'
import type { Random } from '../../platform/random.ts'
import { directoryOf } from '../small-file.ts'
import type { ObjectFound, ObjectStore, ObjectUpload } from './object-store.ts'
import { tierUnavailable } from './object-store.ts'
import { beganMs } from './tier-manifest.ts'

/** What is being written, under names that tell when that was begun: a crash leaves it until orphans are looked for. */
const unfinishedDirectory = 'unfinished'

export class DirectoryStore implements ObjectStore {
  readonly location: string
  readonly #fileSystem: FileSystem
  readonly #clock: Clock
  readonly #random: Random
  readonly #directory: string

  constructor(fileSystem: FileSystem, clock: Clock, random: Random, directory: string) {
    this.#fileSystem = fileSystem
    this.#clock = clock
    this.#random = random
    this.#directory = directory
    this.location = `file://${directory}`
  }

  put(key: string, bytes: Buffer): Promise<void> {
    return this.#asking(async () => {
      const temporary = await this.#write([bytes])
      await this.#fileSystem.makeDirectory(directoryOf(this.#path(key)))
      await this.#fileSystem.rename(temporary, this.#path(key))
      await this.#fileSystem.syncDirectory(directoryOf(this.#path(key)))
    })
  }

  putIfAbsent(key: string, bytes: Buffer): Promise<'stored' | 'exists'> {
    return this.#asking(async () => {
      const temporary = await this.#write([bytes])
      await this.#fileSystem.makeDirectory(directoryOf(this.#path(key)))
      try {
        await this.#fileSystem.link(temporary, this.#path(key))
      } catch (error) {
        if (codeOf(error) !== 'EEXIST') throw error
        return 'exists'
      } finally {
        await this.#fileSystem.remove(temporary)
      }
      await this.#fileSystem.syncDirectory(directoryOf(this.#path(key)))
      return 'stored'
    })
  }

  beginUpload(key: string): Promise<ObjectUpload> {
    const parts = new Map<number, string>()
    const dropParts = async () => {
      for (const path of parts.values()) await this.#fileSystem.remove(path)
      parts.clear()
    }
    return Promise.resolve({
      token: undefined, // a directory is near: sending a segment again costs less than keeping account of its parts
      part: (number: number, bytes: Buffer) =>
        this.#asking(async () => {
          const before = parts.get(number)
          parts.set(number, await this.#write([bytes]))
          if (before !== undefined) await this.#fileSystem.remove(before)
        }),
      complete: () =>
        this.#asking(async () => {
          const inOrder = [...parts].toSorted(([a], [b]) => a - b).map(([, path]) => path)
          const whole = await this.#concatenate(inOrder)
          await this.#fileSystem.makeDirectory(directoryOf(this.#path(key)))
          await this.#fileSystem.rename(whole, this.#path(key))
          await this.#fileSystem.syncDirectory(directoryOf(this.#path(key)))
          await dropParts()
        }),
      abort: () => this.#asking(dropParts),
    })
  }

  resumeUpload(): Promise<undefined> {
    return Promise.resolve(undefined)
  }

  read(key: string, position: number, target: Buffer): Promise<number | undefined> {
    return this.#asking(() => this.#reading(key, (file) => file.read(target, position)))
  }

  get(key: string): Promise<Buffer | undefined> {
    return this.#asking(() =>
      this.#reading(key, async (file) => {
        const bytes = Buffer.allocUnsafeSlow(await file.sizeBytes())
        return bytes.subarray(0, await file.read(bytes, 0))
      }),
    )
  }

  sizeBytes(key: string): Promise<number | undefined> {
    return this.#asking(() => this.#reading(key, (file) => file.sizeBytes()))
  }

  async *list(prefix: string): AsyncGenerator<ObjectFound> {
    const folder = prefix.slice(0, prefix.lastIndexOf('/') + 1)
    yield* this.#listFolder(folder, prefix)
  }

  remove(key: string): Promise<void> {
    return this.#asking(async () => {
      try {
        await this.#fileSystem.remove(this.#path(key))
      } catch (error) {
        if (!isMissing(error)) throw error
      }
    })
  }

  async removeUnfinished(beforeMs: number): Promise<number> {
    let removed = 0
    for (const name of await this.#namesIn(`${this.#directory}/${unfinishedDirectory}`)) {
      if (beganMs(name) >= beforeMs) continue
      await this.remove(`${unfinishedDirectory}/${name}`)
      removed++
    }
    return removed
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  #path(key: string): string {
    return `${this.#directory}/${key}`
  }

  async #write(parts: readonly Buffer[]): Promise<string> {
    const directory = `${this.#directory}/${unfinishedDirectory}`
    await this.#fileSystem.makeDirectory(directory)
    const id = uuidV7(this.#random.bytes(10), Math.max(0, this.#clock.now()))
    const path = `${directory}/${formatUuid(id)}`
    const file = await this.#fileSystem.open(path, 'create')
    try {
      await file.write(parts, 0)
      await file.sync()
    } finally {
      await file.close()
    }
    return path
  }

  async #concatenate(paths: readonly string[]): Promise<string> {
    const whole = await this.#write([])
    const file = await this.#fileSystem.open(whole, 'write')
    try {
      let at = 0
      for (const path of paths) {
        const part = await this.#fileSystem.open(path, 'read')
        try {
          const bytes = Buffer.allocUnsafeSlow(await part.sizeBytes())
          await part.read(bytes, 0)
          await file.write([bytes], at)
          at += bytes.length
        } finally {
          await part.close()
        }
      }
      await file.sync()
    } finally {
      await file.close()
    }
    return whole
  }

  async #reading<T>(key: string, use: (file: Awaited<ReturnType<FileSystem['open']>>) => Promise<T>) {
    let file
    try {
      file = await this.#fileSystem.open(this.#path(key), 'read')
    } catch (error) {
      if (isMissing(error)) return undefined
      throw error
    }
    try {
      return await use(file)
    } finally {
      await file.close()
    }
  }

  async *#listFolder(folder: string, prefix: string): AsyncGenerator<ObjectFound> {
    for (const name of await this.#namesIn(`${this.#directory}/${folder}`)) {
      const key = `${folder}${name}`
      if (folder === '' && name === unfinishedDirectory) continue
      if (!key.startsWith(prefix) && !prefix.startsWith(`${key}/`)) continue
      if (await this.#isDirectory(key)) yield* this.#listFolder(`${key}/`, prefix)
      else {
        const sizeBytes = await this.sizeBytes(key)
        if (sizeBytes !== undefined) yield { key, sizeBytes }
      }
    }
  }

  #namesIn(directory: string): Promise<string[]> {
    return this.#asking(async () => {
      try {
        return await this.#fileSystem.list(directory)
      } catch (error) {
        if (isMissing(error)) return []
        throw error
      }
    })
  }

  /** Keys that end in a name with a dot are objects: no folder of the tier has one. */
  async #isDirectory(key: string): Promise<boolean> {
    const name = key.slice(key.lastIndexOf('/') + 1)
    if (name.includes('.')) return false
    try {
      await this.#fileSystem.list(this.#path(key))
      return true
    } catch (error) {
      if (['ENOTDIR', 'ENOENT'].includes(codeOf(error))) return false
      throw error
    }
  }

  async #asking<T>(ask: () => Promise<T>): Promise<T> {
    try {
      return await ask()
    } catch (error) {
      if (codeOf(error) === '') throw error
      throw tierUnavailable(this.location, error instanceof Error ? error.message : String(error))
    }
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''
}
