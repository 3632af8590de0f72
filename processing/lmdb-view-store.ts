/**
 * LmdbViewStore: view state in a directory, kept across restarts and shared between processes of one machine: one derives, others ask.
 * Invariant: a transaction is on the disk when its promise resolves, all of it or none of it; a power cut loses nothing that resolved.
 * Implements view-store.ts; called by view-tables.ts. Everything here is derived: the directory may be deleted.
 */
import { open } from 'lmdb'
import type { RootDatabase } from 'lmdb'
import { lmdbFileProblem, lmdbRoomProblem } from '../platform/lmdb-file.ts'
import { PlayheadError, isPlayheadError } from '../protocol/errors.ts'
import type { ViewStore, ViewStoreEntry, ViewTransaction } from './view-store.ts'

/** What a transaction is taken for before it has run; views commit every few thousand events. */
const putsPerTransaction = 4_096
const bytesPerTransaction = 4 * 1024 * 1024

class LmdbViewStore implements ViewStore {
  readonly #directory: string
  readonly #database: RootDatabase<Buffer, Buffer>
  #closed = false

  constructor(directory: string, database: RootDatabase<Buffer, Buffer>) {
    this.#directory = directory
    this.#database = database
  }

  get(key: Buffer): Buffer | undefined {
    this.#checkOpen()
    return this.#database.get(key)
  }

  range(from: Buffer, before: Buffer, limit: number): ViewStoreEntry[] {
    this.#checkOpen()
    const entries: ViewStoreEntry[] = []
    // Read to its end here and now: a cursor that outlives its turn of the event loop may crash the process.
    for (const { key, value } of this.#database.getRange({ start: from, end: before, limit }))
      entries.push([key, value])
    return entries
  }

  async transaction<T>(change: (transaction: ViewTransaction) => T): Promise<T> {
    this.#checkOpen()
    const database = this.#database
    const problem = lmdbRoomProblem(this.#directory, putsPerTransaction, bytesPerTransaction)
    if (problem !== undefined) throw diskFull(this.#directory, problem)
    try {
      // A child transaction, because lmdb does not undo a plain asynchronous one whose function throws.
      return await database.childTransaction(() =>
        change({
          get: (key) => database.get(key),
          put: (key, value) => database.putSync(key, value),
          remove: (key) => {
            database.removeSync(key)
          },
        }),
      )
    } catch (error) {
      throw isPlayheadError(error) ? error : writeFailure(this.#directory, error)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#database.close()
  }

  #checkOpen(): void {
    if (this.#closed) {
      throw new PlayheadError('closed', `view store ${this.#directory}: found closed, wanted open; open it again`)
    }
  }
}

/**
 * A store in `directory`, which is made when it is missing. Several processes may have it open; of one version of a view, one derives
 * at a time and the others may ask. Close it with `await using` or `store[Symbol.asyncDispose]()`.
 * Throws `damagedData` when what is there is no readable store.
 * @example
 * await using store = lmdbViewStore('/var/lib/shop/views')
 * const revenue = view({ name: 'revenue', version: 1, topic, initial, apply, store })
 */
export function lmdbViewStore(directory: string): ViewStore {
  const problem = lmdbFileProblem(directory)
  if (problem !== undefined) throw unreadable(directory, problem)
  try {
    // overlappingSync off: with it, a store that a power cut interrupted was seen to crash the process that opened it again.
    const database = open<Buffer, Buffer>({
      path: directory,
      noSubdir: false,
      encoding: 'binary',
      keyEncoding: 'binary',
      overlappingSync: false,
    })
    return new LmdbViewStore(directory, database)
  } catch (error) {
    throw unreadable(directory, reasonOf(error))
  }
}

function unreadable(directory: string, found: string): PlayheadError {
  return new PlayheadError(
    'damagedData',
    `view store ${directory}: found ${found}, wanted a readable store; ` +
      'views are derived: delete the directory and derive them again',
    { directory },
  )
}

function writeFailure(directory: string, error: unknown): unknown {
  const reason = reasonOf(error)
  return /no space|ENOSPC/i.test(reason) ? diskFull(directory, reason) : error
}

function diskFull(directory: string, found: string): PlayheadError {
  return new PlayheadError(
    'diskFull',
    `view store ${directory}: found ${found}; free some space, nothing of this commit was kept`,
  )
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
