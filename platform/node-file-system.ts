/**
 * nodeFileSystem: FileSystem over node:fs, callbacks and file descriptors only (the promise API costs more per hop).
 * Invariants: a write resolves only when every byte has been taken by the kernel, `sync` is one fdatasync, errors keep Node's `code`, and no
 * sync of a file resolves once another one has failed.
 * Neighbours: file-system.ts declares the seam; storage calls it.
 */
import fs from 'node:fs'
import path from 'node:path'
import { closeDescriptor } from './descriptor.ts'
import { DirectReader } from './direct-reader.ts'
import { DirectWriter } from './direct-writer.ts'
import { appendBlockBytes, blocksEnd, SyncFailure } from './file-system.ts'
import type { File, FileSystem } from './file-system.ts'
import { WarmReads } from './warm-reads.ts'

/** Zeros are written in parts of this size, each synced for itself, so that an append's own sync never waits for a whole step. */
const allocationPartBytes = 4 * 1024 * 1024
let zeros: Buffer | undefined

/** Copied at once; what is larger costs more time than a trip through the thread pool. */
const readNowBytesMax = 128 * 1024
/** Of all files: it is the event loop of the process that waits. */
const warmReads = new WarmReads()

const openFlags = { read: 'r', write: 'r+', create: 'wx+' } as const

class NodeFile implements File {
  readonly path: string
  #descriptor: number | undefined
  readonly #syncing = new Set<Promise<void>>()
  #syncError: Error | undefined
  /** For appends past the page cache, from the first of them on; undefined = not here. */
  #opening: Promise<DirectWriter | undefined> | undefined
  #direct: DirectWriter | undefined
  /** The file system has refused a direct write: there are none any more. The writer stays open until the end, as it may be in use. */
  #refusesDirect = false
  /** For reads past the page cache, from the first of them on; undefined = not here. */
  #openingReader: Promise<DirectReader | undefined> | undefined

  constructor(filePath: string, descriptor: number) {
    this.path = filePath
    this.#descriptor = descriptor
  }

  get #fd(): number {
    if (this.#descriptor === undefined) throw new Error(`${this.path} is closed`)
    return this.#descriptor
  }

  async read(target: Buffer, position: number): Promise<number> {
    let done = 0
    while (done < target.length) {
      const count = await readSome(this.#fd, target, done, position + done)
      if (count === 0) break
      done += count
    }
    return done
  }

  readNow(target: Buffer, position: number): number | undefined {
    const descriptor = this.#fd
    if (target.length > readNowBytesMax) return undefined
    return warmReads.ifLikely(() => {
      let done = 0
      while (done < target.length) {
        const count = fs.readSync(descriptor, target, done, target.length - done, position + done)
        if (count === 0) break
        done += count
      }
      return done
    })
  }

  async readDirect(target: Buffer, position: number): Promise<number | undefined> {
    const descriptor = this.#fd
    this.#openingReader ??= DirectReader.open(descriptor)
    return await (await this.#openingReader)?.read(target, position)
  }

  async append(parts: readonly Buffer[], position: number): Promise<void> {
    if (await this.#directly((direct) => direct.append(parts, position))) return
    await this.write(parts, position)
    await this.sync()
  }

  /** False where it cannot be done: some file systems show only at a direct write that they cannot do it, or want larger blocks. */
  async #directly(write: (direct: DirectWriter) => Promise<void>): Promise<boolean> {
    const direct = await this.#directWriter()
    if (direct === undefined) return false
    try {
      await write(direct)
      return true
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EINVAL') throw error
      this.#refusesDirect = true
      return false
    }
  }

  #directWriter(): Promise<DirectWriter | undefined> | undefined {
    if (this.#refusesDirect) return undefined
    this.#opening ??= this.#openDirect()
    return this.#opening
  }

  async #openDirect(): Promise<DirectWriter | undefined> {
    this.#direct = await DirectWriter.open(this.path, (target, position) => this.read(target, position))
    return this.#direct
  }

  async write(parts: readonly Buffer[], position: number): Promise<void> {
    this.#direct?.forget()
    await writeAll(this.#fd, parts, position)
  }

  /** The kernel tells of lost bytes once per open file: the sync that was told may be another one, still on its way back to us. */
  async sync(): Promise<void> {
    await this.#fdatasync()
    await Promise.all(this.#syncing)
    if (this.#syncError !== undefined) throw this.#syncError
  }

  #fdatasync(): Promise<void> {
    const descriptor = this.#fd
    const syncing = new Promise<void>((resolve, reject) => {
      fs.fdatasync(descriptor, (error) => {
        this.#syncing.delete(syncing)
        if (!error) return resolve()
        this.#syncError ??= error
        reject(error)
      })
    })
    this.#syncing.add(syncing)
    return syncing
  }

  async allocate(from: number, to: number): Promise<void> {
    const sizeBefore = await this.sizeBytes()
    try {
      const blocksFrom = Math.min(to, blocksEnd(from))
      const blocksTo = Math.max(blocksFrom, to - (to % appendBlockBytes))
      await this.#writeZeros(from, blocksFrom)
      const isDone = await this.#directly((direct) => direct.writeZeros(blocksFrom, blocksTo))
      if (!isDone) await this.#writeZeros(blocksFrom, blocksTo)
      await this.#writeZeros(blocksTo, to)
    } catch (error) {
      // Nothing may come before the owner hears of it: its next sync would be told that all is well.
      if (error instanceof SyncFailure) throw error
      // What was got so far goes back: it would only take the last free space from others.
      await this.truncate(sizeBefore).catch(() => undefined)
      throw error
    }
  }

  async #writeZeros(from: number, to: number): Promise<void> {
    for (let at = from; at < to; at += allocationPartBytes) {
      zeros ??= Buffer.alloc(allocationPartBytes)
      await writeAll(this.#fd, [zeros.subarray(0, Math.min(allocationPartBytes, to - at))], at)
      await this.#syncPart()
    }
  }

  async #syncPart(): Promise<void> {
    try {
      await this.sync()
    } catch (error) {
      throw new SyncFailure(`${this.path}: ${String(error)}`, { cause: error })
    }
  }

  truncate(sizeBytes: number): Promise<void> {
    this.#direct?.forget()
    return new Promise((resolve, reject) => {
      fs.ftruncate(this.#fd, sizeBytes, (error) => (error ? reject(error) : resolve()))
    })
  }

  sizeBytes(): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.fstat(this.#fd, (error, stats) => (error ? reject(error) : resolve(stats.size)))
    })
  }

  async close(): Promise<void> {
    const [opening, openingReader] = [this.#opening, this.#openingReader]
    this.#opening = undefined
    this.#openingReader = undefined
    const descriptor = this.#descriptor
    this.#descriptor = undefined
    try {
      await Promise.all([opening, openingReader].map(async (direct) => (await direct)?.close()))
    } finally {
      if (descriptor !== undefined) await closeDescriptor(descriptor)
    }
  }
}

/** What is made here is the broker's: no other user of the machine reads events, verifiers or tokens. */
const privateFile = 0o600
const privateDirectory = 0o700

export const nodeFileSystem: FileSystem = {
  open(filePath, mode) {
    return new Promise((resolve, reject) => {
      fs.open(filePath, openFlags[mode], privateFile, (error, descriptor) =>
        error ? reject(error) : resolve(new NodeFile(filePath, descriptor)),
      )
    })
  },

  list(directory) {
    return new Promise((resolve, reject) => {
      fs.readdir(directory, (error, names) => (error ? reject(error) : resolve(names.toSorted())))
    })
  },

  exists(filePath) {
    return new Promise((resolve, reject) => {
      fs.stat(filePath, (error) => {
        if (!error) resolve(true)
        else if (error.code === 'ENOENT' || error.code === 'ENOTDIR') resolve(false)
        else reject(error)
      })
    })
  },

  async makeDirectory(directory) {
    const missing: string[] = []
    for (let at = path.resolve(directory); !(await this.exists(at)); at = path.dirname(at)) missing.push(at)
    for (const each of missing.toReversed()) {
      await makeOneDirectory(each)
      await this.syncDirectory(path.dirname(each))
    }
  },

  rename(from, to) {
    return new Promise((resolve, reject) => {
      fs.rename(from, to, (error) => (error ? reject(error) : resolve()))
    })
  },

  link(from, to) {
    return new Promise((resolve, reject) => {
      fs.link(from, to, (error) => (error ? reject(error) : resolve()))
    })
  },

  remove(filePath) {
    return new Promise((resolve, reject) => {
      fs.unlink(filePath, (error) => (error ? reject(error) : resolve()))
    })
  },

  removeDirectory(directory) {
    return new Promise((resolve, reject) => {
      fs.rm(directory, { recursive: true, force: true }, (error) => (error ? reject(error) : resolve()))
    })
  },

  async syncDirectory(directory) {
    const descriptor = await new Promise<number>((resolve, reject) => {
      fs.open(directory, 'r', (error, opened) => (error ? reject(error) : resolve(opened)))
    })
    try {
      await new Promise<void>((resolve, reject) => {
        fs.fsync(descriptor, (error) => (error ? reject(error) : resolve()))
      })
    } finally {
      fs.closeSync(descriptor)
    }
  },
}

function readSome(descriptor: number, target: Buffer, at: number, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.read(descriptor, target, at, target.length - at, position, (error, count) =>
      error ? reject(error) : resolve(count),
    )
  })
}

async function writeAll(descriptor: number, parts: readonly Buffer[], position: number): Promise<void> {
  let rest = parts
  let at = position
  let restBytes = totalBytes(parts)
  while (restBytes > 0) {
    const count = await writeSome(descriptor, rest, at)
    if (count === 0) throw new Error(`the kernel took none of ${restBytes} bytes`)
    at += count
    restBytes -= count
    if (restBytes > 0) rest = dropBytes(rest, count)
  }
}

function writeSome(descriptor: number, parts: readonly Buffer[], position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const done = (error: Error | null, count: number) => (error ? reject(error) : resolve(count))
    const only = parts[0]
    if (parts.length === 1 && only) fs.write(descriptor, only, 0, only.length, position, done)
    else fs.writev(descriptor, parts, position, done)
  })
}

function totalBytes(parts: readonly Buffer[]): number {
  let bytes = 0
  for (const part of parts) bytes += part.length
  return bytes
}

function dropBytes(parts: readonly Buffer[], count: number): Buffer[] {
  const rest: Buffer[] = []
  let toDrop = count
  for (const part of parts) {
    if (toDrop >= part.length) toDrop -= part.length
    else {
      rest.push(toDrop === 0 ? part : part.subarray(toDrop))
      toDrop = 0
    }
  }
  return rest
}

function makeOneDirectory(directory: string): Promise<void> {
  return new Promise((resolve, reject) => {
    fs.mkdir(directory, privateDirectory, (error) => (error && error.code !== 'EEXIST' ? reject(error) : resolve()))
  })
}
