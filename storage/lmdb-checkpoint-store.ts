/**
 * LmdbCheckpointStore: derived state in LMDB, in a directory of its own that may be deleted whenever no broker runs.
 * Invariants: a value is stored behind a checksum of its key and itself, so what LMDB or the disk mixed up reads as absent; nothing here is
 * in doubt after a crash, because commits are synced before they are visible (`overlappingSync: false`: the default was seen to crash the
 * process when opened after a power cut); and no cursor outlives the call that made it.
 * LMDB is native code reading mapped files: damage to them can end the process. So it is opened under a marker: a start that finds an opening
 * that never ended, or several runs that ended before their first write, wipes the directory and begins empty.
 * Neighbours: checkpoint-store.ts declares what it does, LogStore opens it, docs/formats/cache.md draws its keys and values.
 */
import assert from 'node:assert/strict'
import { open, type RootDatabase } from 'lmdb'
import type { FileSystem } from '../platform/file-system.ts'
import { WarmReads } from '../platform/warm-reads.ts'
import { lmdbFileProblem, lmdbRoomProblem } from '../platform/lmdb-file.ts'
import { crc32c, crc32cTypeScript } from '../protocol/crc32c.ts'
import { PlayheadError } from '../protocol/errors.ts'
import {
  type CheckpointEntry,
  type CheckpointPut,
  type CheckpointStats,
  type CheckpointStore,
  checkpointKeyBytesMax,
  type RangeOptions,
} from './checkpoint-store.ts'
import { readSmallFile, writeSmallFile } from './small-file.ts'

/** Of what is in the directory as a whole: keys, values, LMDB itself. Another one is wiped, whether older or newer: it can be rebuilt. */
export const cacheFormatVersion = 3
/**
 * Runs in a row that may end without a single write before we take the files for what ended them. Many, because who kills a broker again and
 * again within its first seconds should not pay with a cache that is made anew.
 */
const fruitlessRunsMax = 10
const checksumBytes = 4
/** Keys removed in one transaction. */
const removalsPerWrite = 2048

export interface LmdbCheckpointStoreOptions {
  /** Made if it is not there. Everything in it belongs to the store. */
  readonly directory: string
  readonly fileSystem: FileSystem
  /** Told when the directory is wiped, and why. */
  readonly report: (level: 'info' | 'warn', message: string) => void
  /**
   * The disk has failed under LMDB, and nothing it answers from now on is to be believed: it was seen to say "absent" for what is there, by which
   * a stream's versions began anew. Or LMDB has spoilt the memory of the process. Whoever holds the store must end the process at once; the next one opens what was committed last.
   */
  readonly onFatal?: (error: Error) => void
}

interface Marker {
  readonly state: 'opening' | 'running' | 'closed' | 'condemned'
  readonly fruitlessRuns: number
}

type Database = RootDatabase<Buffer, Buffer>

export class LmdbCheckpointStore implements CheckpointStore {
  readonly stats: CheckpointStats = { gets: 0, puts: 0, transactions: 0, failedTransactions: 0, badValues: 0 }
  readonly #database: Database
  readonly #options: LmdbCheckpointStoreOptions
  /** Of the mapped file: its pages are read from the disk when they are first touched. */
  readonly #warmReads = new WarmReads()
  #fruitless: boolean
  /** The marker is being written. */
  #marking: Promise<void> | undefined
  #closing: Promise<void> | undefined
  #condemned = false

  private constructor(database: Database, options: LmdbCheckpointStoreOptions) {
    this.#database = database
    this.#options = options
    this.#fruitless = true
  }

  /** Throws `storageFailed` when not even an empty store can be opened. */
  static async open(options: LmdbCheckpointStoreOptions): Promise<LmdbCheckpointStore> {
    const { directory, fileSystem, report } = options
    await fileSystem.makeDirectory(directory)
    const found = await findMarker(fileSystem, directory)
    let runs = found === undefined || typeof found === 'string' ? 0 : found.fruitlessRuns
    const problem = lmdbFileProblem(directory)
    let reason = whyWipe(found) ?? (problem === undefined ? undefined : `found ${problem}`)
    if (reason === undefined && found === undefined && (await fileSystem.list(directory)).length > 0)
      reason = 'it has no marker'
    for (let attempt = 0; ; attempt++) {
      if (reason !== undefined) {
        report('warn', `cache ${directory}: ${reason}; wiped, it is rebuilt from the logs`)
        await fileSystem.removeDirectory(directory)
        await fileSystem.makeDirectory(directory)
        runs = 0
      }
      await writeMarker(fileSystem, directory, { state: 'opening', fruitlessRuns: runs })
      try {
        const database = openDatabase(directory)
        await writeMarker(fileSystem, directory, { state: 'running', fruitlessRuns: runs + 1 })
        return new LmdbCheckpointStore(database, options)
      } catch (error) {
        reason = `it cannot be opened (${error instanceof Error ? error.message : String(error)})`
        if (attempt > 0)
          throw new PlayheadError('storageFailed', `cache ${directory}: ${reason}, not even when empty; check the disk`)
      }
    }
  }

  get(key: Buffer): Buffer | undefined {
    this.stats.gets++
    try {
      const stored = this.#warmReads.measured(() => this.#database.get(key))
      return stored === undefined ? undefined : this.#unwrap(key, stored)
    } catch (error) {
      return this.#unreadable(error)
    }
  }

  get isWarm(): boolean {
    return this.#warmReads.areLikely
  }

  async prefetch(keys: readonly Buffer[]): Promise<void> {
    if (keys.length === 0) return
    try {
      await this.#database.prefetch([...keys])
    } catch {
      // a hint only: the get that follows says what is wrong
    }
  }

  range(from: Buffer, to: Buffer, { limit, direction = 'forwards' }: RangeOptions): CheckpointEntry[] {
    if (limit <= 0 || Buffer.compare(from, to) >= 0) return []
    const bounds =
      direction === 'forwards'
        ? { start: from, end: to }
        : { start: to, end: from, exclusiveStart: true, inclusiveEnd: true, reverse: true }
    const entries: CheckpointEntry[] = []
    const read = () => {
      for (const { key, value: stored } of this.#database.getRange({ ...bounds, limit })) {
        const value = this.#unwrap(key, stored)
        if (value !== undefined) entries.push({ key, value })
      }
    }
    try {
      // Of many it is not known how long they take in memory.
      if (limit === 1) this.#warmReads.measured(read)
      else read()
    } catch (error) {
      this.#unreadable(error)
    }
    return entries
  }

  async write(puts: readonly CheckpointPut[]): Promise<void> {
    if (puts.length === 0) return
    let bytes = 0
    for (const { key, value } of puts) {
      assert(key.length > 0 && key.length <= checkpointKeyBytesMax, `key of ${key.length} bytes`)
      bytes += key.length + (value?.length ?? 0)
    }
    this.stats.transactions++
    this.stats.puts += puts.length
    const { directory } = this.#options
    const problem = lmdbRoomProblem(directory, puts.length, bytes)
    if (problem !== undefined) {
      this.stats.failedTransactions++
      throw writeFailed(directory, problem)
    }
    try {
      await this.#database.batch(() => {
        // Their promises are not looked at: those of a batch say nothing, the batch's own says all.
        for (const { key, value } of puts) {
          if (value === null) void this.#database.remove(key)
          else void this.#database.put(key, wrap(key, value))
        }
      })
    } catch (error) {
      this.stats.failedTransactions++
      const cause = await causeOf(error)
      const failure = writeFailed(directory, textOf(cause))
      if (isDiskFailure(failure) || spoilsMemory(failure)) this.#options.onFatal?.(failure)
      else if (isLmdbError(cause)) this.condemn()
      throw failure
    }
    this.#database.resetReadTxn() // whoever waited for this write sees it in the next get
    await this.#provenGood()
  }

  async removeRange(from: Buffer, to: Buffer): Promise<void> {
    for (;;) {
      // Not through range(): that would leave out, and so keep, what has a bad checksum.
      const keys = this.#keys(from, to)
      if (keys.length === 0) return
      await this.write(keys.map((key) => ({ key, value: null })))
    }
  }

  #keys(from: Buffer, to: Buffer): Buffer[] {
    try {
      return [...this.#database.getKeys({ start: from, end: to, limit: removalsPerWrite })]
    } catch (error) {
      this.#unreadable(error)
      throw writeFailed(this.#options.directory, textOf(error))
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await this.#marking
    await this.#database.close()
    const state = this.#condemned ? 'condemned' : 'closed'
    await writeMarker(this.#options.fileSystem, this.#options.directory, { state, fruitlessRuns: 0 })
  }

  get isCondemned(): boolean {
    return this.#condemned
  }

  condemn(): void {
    if (this.#condemned) return
    this.#condemned = true
    const { fileSystem, directory, report } = this.#options
    report(
      'warn',
      `cache ${directory}: found what was not written so; it is wiped at the next start and rebuilt from the logs`,
    )
    const write = () => writeMarker(fileSystem, directory, { state: 'condemned', fruitlessRuns: 0 })
    // A marker that cannot be written: whoever finds it next condemns it again.
    this.#marking = (this.#marking ?? Promise.resolve()).then(write).catch(() => undefined)
  }

  /** The first write has gone through all of LMDB: opening it again is not what will end the process. */
  async #provenGood(): Promise<void> {
    if (!this.#fruitless || this.#closing !== undefined || this.#condemned) return
    this.#fruitless = false
    const { fileSystem, directory } = this.#options
    this.#marking = writeMarker(fileSystem, directory, { state: 'running', fruitlessRuns: 0 }).catch(() => {
      this.#fruitless = true // the write itself is done all the same; the next one tries again
    })
    await this.#marking
  }

  /** LMDB has met a page that is none. What it should have held counts like a value with a bad checksum. */
  #unreadable(error: unknown): undefined {
    if (!isLmdbError(error)) throw error
    this.stats.badValues++
    this.condemn()
    return undefined
  }

  #unwrap(key: Buffer, stored: Buffer): Buffer | undefined {
    if (stored.length >= checksumBytes) {
      const value = stored.subarray(checksumBytes)
      if (stored.readUInt32LE(0) === checksumOf(key, value)) return value
    }
    this.stats.badValues++
    this.condemn()
    return undefined
  }
}

function openDatabase(directory: string): Database {
  return open<Buffer, Buffer>({
    path: directory,
    noSubdir: false,
    encoding: 'binary',
    keyEncoding: 'binary',
    overlappingSync: false,
    maxDbs: 1,
    // With it lmdb makes promises for itself that nobody listens to, and a full disk would end the process by an unhandled rejection.
    eventTurnBatching: false,
  })
}

/** value: u32 LE CRC-32C of key and value | value. */
function wrap(key: Buffer, value: Buffer): Buffer {
  const stored = Buffer.allocUnsafe(checksumBytes + value.length)
  stored.writeUInt32LE(checksumOf(key, value), 0)
  value.copy(stored, checksumBytes)
  return stored
}

/** Below this the call into native code costs more than it saves (measured: 0.25 µs for it, 0.16 µs for 40 bytes in TypeScript). */
const nativeBytesMin = 96

function checksumOf(key: Buffer, value: Buffer): number {
  const keySum = key.length < nativeBytesMin ? crc32cTypeScript(key) : crc32c(key)
  return value.length < nativeBytesMin ? crc32cTypeScript(value, keySum) : crc32c(value, keySum)
}

/** LMDB's own errors: what it found in its file, or that the file is full. Not those of the disk. */
function isLmdbError(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? Number(error.code) : 0
  return code >= lmdbErrorMin && code <= lmdbErrorMax
}

const lmdbErrorMin = -30_799
const lmdbErrorMax = -30_770

/** lmdb tells the cause in a promise of its own, which nobody else listens to. */
async function causeOf(error: unknown): Promise<unknown> {
  if (!(error instanceof Error && 'commitError' in error)) return error
  try {
    await error.commitError
    return error
  } catch (commitError) {
    return commitError
  }
}

/** Not for want of room: LMDB gives such a transaction up and is as it was. It tells of both in the words of strerror, and its own. */
function isDiskFailure(failure: PlayheadError): boolean {
  return /Input\/output error|MDB_PANIC/.test(failure.message)
}

/**
 * lmdb 3.5 says which write has failed in a text that may be longer than the 100 bytes it has taken for it (mdb_page_flush): then what lies behind them in
 * memory is not what it was, and the process must end before it stumbles over that. The room on the disk is looked at before; a quota cannot be.
 */
function spoilsMemory(failure: PlayheadError): boolean {
  const [told = ''] =
    /Attempting to write page at position \d+, size \d+, blocks \d+, buffer sizes(?: -?\d+){3}/.exec(failure.message) ??
    []
  return told.length >= 100
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function writeFailed(directory: string, found: string): PlayheadError {
  return new PlayheadError(
    'storageFailed',
    `cache ${directory}: a write failed (${found}); the logs are not affected, check the disk`,
  )
}

function markerPath(directory: string): string {
  return `${directory}/marker.json`
}

async function writeMarker(fileSystem: FileSystem, directory: string, { state, fruitlessRuns }: Marker): Promise<void> {
  await writeSmallFile(fileSystem, markerPath(directory), { format: cacheFormatVersion, state, fruitlessRuns })
}

/** Undefined when there is none; a text when it says that the directory is to be wiped. */
async function findMarker(fileSystem: FileSystem, directory: string): Promise<Marker | string | undefined> {
  try {
    const found = await readSmallFile(fileSystem, markerPath(directory))
    if (found === undefined) return undefined
    const { format, state, fruitlessRuns } = found
    if (format !== cacheFormatVersion) return `found format ${String(format)}, wanted ${cacheFormatVersion}`
    if (
      (state === 'opening' || state === 'running' || state === 'closed' || state === 'condemned') &&
      typeof fruitlessRuns === 'number'
    ) {
      return { state, fruitlessRuns }
    }
    return 'its marker is not one of ours'
  } catch (error) {
    if (error instanceof PlayheadError) return 'its marker is damaged'
    throw error
  }
}

function whyWipe(found: Marker | string | undefined): string | undefined {
  if (found === undefined || typeof found === 'string') return found
  if (found.state === 'opening') return 'the last start ended while opening it'
  if (found.state === 'condemned') return 'the last run found in it what was not written so'
  if (found.fruitlessRuns >= fruitlessRunsMax)
    return `the last ${found.fruitlessRuns} runs ended before they wrote to it`
  return undefined
}
