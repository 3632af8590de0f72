/**
 * LocalMetadataStore: the metadata store of a broker that stands alone: one small file, replaced as a whole for everything that has arrived
 * since the last time. Requests take effect in the order of the calls and are answered once their file is durable.
 * Invariants: nothing is answered that a power cut could take back; leases end with the process, since nobody else could hold one.
 * Neighbours: metadata-table.ts holds the entries, storage/small-file.ts draws the file.
 */
import type { Clock, Timer } from '../platform/clock.ts'
import type { FileSystem } from '../platform/file-system.ts'
import type { Random } from '../platform/random.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { MiB } from '../protocol/limits.ts'
import { formatUuid, uuidV7 } from '../protocol/uuid.ts'
import { refusalOf } from '../storage/disk-space.ts'
import { damagedFile, readSmallFile, writeSmallFile } from '../storage/small-file.ts'
import { MetadataTable } from './metadata-table.ts'
import { checkTransaction } from './metadata-store.ts'
import type {
  Lease,
  MetadataEntry,
  MetadataRange,
  MetadataStore,
  OnHint,
  StoreMark,
  Transaction,
  TransactionResult,
  Watch,
} from './metadata-store.ts'

const fileFormat = 1
/** Some 200,000 partitions; a broker that stands alone has far fewer. */
const fileBytesMax = 64 * MiB

export interface LocalMetadataOptions {
  /** The directory must be there. */
  readonly path: string
  readonly fileSystem: FileSystem
  readonly clock: Clock
  readonly random: Random
}

/** One request in its turn: takes effect on the table at once, and is answered when that is durable. */
interface Request {
  apply(): void
  answer(): void
  /** It has taken effect in memory, and whether the disk has it is not known. */
  fail(error: Error): void
}

interface LocalLease {
  readonly ttlMs: number
  timer: Timer
}

export class LocalMetadataStore implements MetadataStore {
  readonly #options: LocalMetadataOptions
  readonly #storeId: string
  readonly #table: MetadataTable
  readonly #leases = new Map<string, LocalLease>()
  readonly #watches = new Set<{ readonly prefix: string; readonly onHint: OnHint }>()
  #requests: Request[] = []
  #working: Promise<void> | undefined
  /** Of what the file holds for certain. */
  #durableRevision: number
  /** Keys to tell of once they are durable. */
  #changed: string[] = []
  #closed = false

  private constructor(options: LocalMetadataOptions, storeId: string, table: MetadataTable, durableRevision: number) {
    this.#options = options
    this.#storeId = storeId
    this.#table = table
    this.#durableRevision = durableRevision
  }

  /** Throws damagedData or unsupportedFormat naming the file. */
  static async open(options: LocalMetadataOptions): Promise<LocalMetadataStore> {
    const { path, fileSystem, clock, random } = options
    const found = readFacts(path, await readSmallFile(fileSystem, path, fileBytesMax))
    if (found === undefined) {
      const storeId = formatUuid(uuidV7(random.bytes(10), Math.max(0, clock.now())))
      return new LocalMetadataStore(options, storeId, new MetadataTable(0), -1)
    }
    const table = new MetadataTable(found.revision, found.entries)
    const leftBehind = found.entries.filter(({ leaseId }) => leaseId !== undefined)
    table.apply({ compares: [], changes: leftBehind.map(({ key }) => ({ kind: 'delete', key })) })
    return new LocalMetadataStore(options, found.storeId, table, found.revision)
  }

  get(key: string): Promise<StoreMark & { readonly entry: MetadataEntry | undefined }> {
    return this.#read(() => ({ ...this.#mark(), entry: this.#table.get(key) }))
  }

  range(prefix: string): Promise<MetadataRange> {
    return this.#read(() => ({ ...this.#mark(), entries: this.#table.range(prefix) }))
  }

  async transact(transaction: Transaction): Promise<TransactionResult> {
    checkTransaction(transaction)
    try {
      return await this.#read(() => {
        const changed = this.#table.apply(transaction)
        this.#changed.push(...(changed ?? []))
        return { outcome: changed === undefined ? 'refused' : 'done', ...this.#mark() }
      })
    } catch (error) {
      if (error instanceof PlayheadError && error.code === 'closed') throw error
      return { outcome: 'unknown', reason: error instanceof Error ? error.message : String(error) }
    }
  }

  grantLease(ttlMs: number): Promise<Lease> {
    return this.#read(() => {
      const leaseId = this.#options.random.bytes(8).toString('hex')
      this.#table.addLease(leaseId)
      this.#leases.set(leaseId, { ttlMs, timer: this.#expiry(leaseId, ttlMs) })
      return { ...this.#mark(), leaseId, ttlMs }
    })
  }

  keepLease(leaseId: string): Promise<boolean> {
    return this.#read(() => {
      const lease = this.#leases.get(leaseId)
      if (lease === undefined) return false
      lease.timer.cancel()
      lease.timer = this.#expiry(leaseId, lease.ttlMs)
      return true
    })
  }

  revokeLease(leaseId: string): Promise<void> {
    return this.#read(() => this.#endLease(leaseId))
  }

  watch(prefix: string, onHint: OnHint): Watch {
    const watch = { prefix, onHint }
    this.#watches.add(watch)
    this.#options.clock.after(0, () => this.#watches.has(watch) && onHint(undefined))
    return { close: () => this.#watches.delete(watch) }
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#watches.clear()
    for (const { timer } of this.#leases.values()) timer.cancel()
    await this.#working
  }

  #mark(): StoreMark {
    return { storeId: this.#storeId, revision: this.#table.revision }
  }

  #expiry(leaseId: string, ttlMs: number): Timer {
    return this.#options.clock.after(ttlMs, () => {
      if (!this.#closed) void this.#read(() => this.#endLease(leaseId)).catch(() => undefined) // written with the next request
    })
  }

  #endLease(leaseId: string): void {
    this.#leases.get(leaseId)?.timer.cancel()
    this.#leases.delete(leaseId)
    this.#changed.push(...this.#table.endLease(leaseId))
  }

  /** What `take` answers in its turn, once all that it has seen is durable. */
  #read<T>(take: () => T): Promise<T> {
    if (this.#closed)
      return Promise.reject(new PlayheadError('closed', 'metadata store: found it closed, wanted it open'))
    return new Promise((resolve, reject) => {
      let taken: T
      this.#requests.push({
        apply: () => (taken = take()),
        answer: () => resolve(taken),
        fail: reject,
      })
      this.#working ??= this.#work()
    })
  }

  async #work(): Promise<void> {
    await Promise.resolve() // what arrives in this turn goes together
    while (this.#requests.length > 0) {
      const requests = this.#requests
      this.#requests = []
      for (const request of requests) request.apply()
      try {
        await this.#makeDurable()
      } catch (error) {
        const failure = this.#failureOf(error)
        for (const request of requests) request.fail(failure)
        continue
      }
      for (const request of requests) request.answer()
      this.#tell()
    }
    // In the same turn as the look at what is left: what comes after it begins anew.
    this.#working = undefined
  }

  /** A file that could not be written is written again for the next request, whatever that is: what was answered as unknown may still happen. */
  async #makeDurable(): Promise<void> {
    const { path, fileSystem } = this.#options
    const { revision } = this.#table
    if (revision === this.#durableRevision) return
    const entries = this.#table.range('')
    await writeSmallFile(fileSystem, path, { format: fileFormat, storeId: this.#storeId, revision, entries })
    this.#durableRevision = revision
  }

  #failureOf(error: unknown): Error {
    const refusal = refusalOf(error, this.#options.path)
    if (refusal instanceof PlayheadError) return refusal
    const message = `${this.#options.path}: found ${String(error)}, wanted it written; try again`
    return new PlayheadError('unavailable', message, { file: this.#options.path })
  }

  #tell(): void {
    const changed = this.#changed
    this.#changed = []
    for (const key of changed) {
      for (const { prefix, onHint } of this.#watches) if (key.startsWith(prefix)) onHint(key)
    }
  }
}

interface LocalFacts {
  readonly storeId: string
  readonly revision: number
  readonly entries: readonly MetadataEntry[]
}

function readFacts(path: string, value: Readonly<Record<string, unknown>> | undefined): LocalFacts | undefined {
  if (value === undefined) return undefined
  const { format, storeId, revision, entries } = value
  if (typeof format === 'number' && format > fileFormat) {
    const message = `${path}: found format version ${format}, wanted at most ${fileFormat}; use the release that wrote it, or a newer one`
    throw new PlayheadError('unsupportedFormat', message, { file: path, format })
  }
  if (typeof storeId !== 'string' || typeof revision !== 'number' || !Array.isArray(entries)) {
    throw damagedFile(path, 'fields that are missing or of another kind', 'those that Playhead wrote')
  }
  return { storeId, revision, entries: entries.map((entry: unknown) => readEntry(path, entry)) }
}

function readEntry(path: string, entry: unknown): MetadataEntry {
  if (typeof entry === 'object' && entry !== null) {
    const { key, value, createRevision, modRevision, leaseId }: Record<string, unknown> = { ...entry }
    const hasRevisions = typeof createRevision === 'number' && typeof modRevision === 'number'
    const hasLease = leaseId === undefined || typeof leaseId === 'string'
    if (typeof key === 'string' && typeof value === 'string' && hasRevisions && hasLease) {
      return { key, value, createRevision, modRevision, leaseId }
    }
  }
  throw damagedFile(path, 'an entry with fields that are missing or of another kind', 'those that Playhead wrote')
}
