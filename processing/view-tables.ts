/**
 * ViewTables: what one view keeps in its store, and the rules of its commits. Per version: a record (where it stands) and its states;
 * per view: which version answers. Invariants: a version's states are exactly its first `events` events folded, up to its `offsets`;
 * only one derivation of a version can go on, because each commit names the revision it goes on from; the version that answers only rises,
 * and never to one that has seen less than the one before it. Called by derivation.ts and view.ts, calls a view-store.ts.
 *
 *   key    | kind u8 | name length u8 | name | version u32 BE | key of the state |     format: kind only; live: up to the name;
 *   value  | msgpack | crc32 u32 LE over key and msgpack |                            record: up to the version; state: all of it
 */
import { crc32 } from 'node:zlib'
import { Packr } from 'msgpackr'
import { PlayheadError } from '../protocol/errors.ts'
import type { ViewStore, ViewTransaction } from './view-store.ts'

const FORMAT = 0
const LIVE = 1
const RECORD = 2
const STATE = 3
const CRC_BYTES = 4
const formatVersion = 1
const removalsPerTransaction = 1_000

/** Maps, sets, dates and undefined in a state come back as what they were. Only our own bytes are ever decoded with it. */
const packr = new Packr({ structuredClone: true })

/** Where one version of a view stands. */
export interface VersionRecord {
  readonly topic: string
  readonly topicId: string
  /** Per partition, the next offset to apply. */
  readonly offsets: readonly number[]
  /** Events applied since its beginning. */
  readonly events: number
  /** Counts its commits. */
  readonly revision: number
}

export interface ViewCommit {
  readonly version: number
  /** The record this commit goes on from; undefined = the version's first commit. */
  readonly from: VersionRecord | undefined
  readonly to: Omit<VersionRecord, 'revision'>
  /** States that changed since `from`, by key. */
  readonly states: ReadonlyMap<string, unknown>
  /** `swap`: become the version that answers, unless the one that does has seen more. */
  readonly live: 'stay' | 'swap'
}

export class ViewTables {
  readonly #store: ViewStore
  readonly #name: string

  constructor(store: ViewStore, name: string) {
    this.#store = store
    this.#name = name
  }

  /** The version that answers; undefined when none has caught up yet. */
  live(): number | undefined {
    return this.#read(this.#store, this.#key(LIVE)) as number | undefined
  }

  record(version: number): VersionRecord | undefined {
    return this.#read(this.#store, this.#key(RECORD, version)) as VersionRecord | undefined
  }

  state(version: number, key: string): unknown {
    return this.#read(this.#store, this.#key(STATE, version, key))
  }

  /** Up to `limit` states after key `after` (undefined = from the first), in byte order of the keys. */
  states(version: number, after: string | undefined, limit: number): [key: string, state: unknown][] {
    const first = this.#key(STATE, version, after)
    // A zero byte makes the smallest key after `after`.
    const from = after === undefined ? first : Buffer.concat([first, Buffer.alloc(1)])
    const keyAt = this.#key(STATE, version).length
    const entries = this.#store.range(from, this.#key(STATE, version + 1), limit)
    return entries.map(([key, value]) => [key.toString('utf8', keyAt), this.#decode(key, value)])
  }

  /** One transaction: states, record and, at a swap, the live version; all or nothing. Throws viewSuperseded and viewInUse. */
  async commit(commit: ViewCommit): Promise<{ record: VersionRecord; live: number | undefined }> {
    const changed: [Buffer, Buffer][] = []
    for (const [key, state] of commit.states) changed.push(this.#stateEntry(commit.version, key, state))
    const record: VersionRecord = { ...commit.to, revision: (commit.from?.revision ?? 0) + 1 }
    return this.#store.transaction((transaction) => {
      this.#checkFormat(transaction)
      const live = this.#read(transaction, this.#key(LIVE)) as number | undefined
      this.#checkTurn(transaction, commit, live)
      for (const [key, value] of changed) transaction.put(key, value)
      transaction.put(...this.#entry(this.#key(RECORD, commit.version), record))
      if (commit.live === 'stay' || live === commit.version) return { record, live }
      if (live !== undefined && this.#hasSeenMore(transaction, live, record)) return { record, live }
      transaction.put(...this.#entry(this.#key(LIVE), commit.version))
      return { record, live: commit.version }
    })
  }

  /** Removes records and states of versions below `version`. May be interrupted anywhere and run again. */
  async dropBefore(version: number): Promise<void> {
    for (const kind of [RECORD, STATE]) {
      for (;;) {
        const old = this.#store.range(this.#key(kind, 0), this.#key(kind, version), removalsPerTransaction)
        if (old.length === 0) break
        await this.#store.transaction((transaction) => {
          for (const [key] of old) transaction.remove(key)
        })
      }
    }
  }

  /** Throws unsupportedFormat when a newer release wrote this store. */
  checkFormat(): void {
    this.#checkFormat({ get: (key) => this.#store.get(key), put: () => {} })
  }

  #checkFormat(store: Pick<ViewTransaction, 'get' | 'put'>): void {
    const key = Buffer.of(FORMAT)
    const found = this.#read(store, key) as number | undefined
    if (found === undefined) store.put(...this.#entry(key, formatVersion))
    else if (found !== formatVersion) {
      throw new PlayheadError(
        'unsupportedFormat',
        `view store: found format ${found}, wanted ${formatVersion}; use the release that wrote it, or a new directory`,
      )
    }
  }

  #checkTurn(transaction: ViewTransaction, commit: ViewCommit, live: number | undefined): void {
    const { version, from } = commit
    if (live !== undefined && live > version) throw superseded(this.#name, version, live)
    const found = this.#read(transaction, this.#key(RECORD, version)) as VersionRecord | undefined
    if (found?.revision !== from?.revision) throw inUse(this.#name, version)
  }

  /** Swapping to a version that has seen less than the live one would make the view go back in time. */
  #hasSeenMore(transaction: ViewTransaction, live: number, record: VersionRecord): boolean {
    const answering = this.#read(transaction, this.#key(RECORD, live)) as VersionRecord | undefined
    if (answering === undefined || answering.topicId !== record.topicId) return false
    return answering.offsets.some((offset, partition) => offset > (record.offsets[partition] ?? 0))
  }

  #key(kind: number, version?: number, key?: string): Buffer {
    const name = Buffer.from(this.#name)
    const parts = [Buffer.of(kind, name.length), name]
    if (version !== undefined) {
      const number = Buffer.alloc(4)
      number.writeUInt32BE(version)
      parts.push(number)
    }
    if (key !== undefined) parts.push(Buffer.from(key))
    return Buffer.concat(parts)
  }

  #stateEntry(version: number, key: string, state: unknown): [key: Buffer, value: Buffer] {
    try {
      return this.#entry(this.#key(STATE, version, key), state)
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      throw new PlayheadError(
        'viewFailed',
        `view ${this.#name} version ${version}: found a state of key ${JSON.stringify(key)} that cannot be kept (${reason}), ` +
          'wanted plain values, arrays, objects, dates, maps and sets; correct the function and derive again',
        { view: this.#name, key },
      )
    }
  }

  #entry(key: Buffer, value: unknown): [key: Buffer, value: Buffer] {
    const packed = packr.pack(value)
    const bytes = Buffer.alloc(packed.length + CRC_BYTES)
    packed.copy(bytes)
    bytes.writeUInt32LE(crc32(packed, crc32(key)), packed.length)
    return [key, bytes]
  }

  #read(from: Pick<ViewStore, 'get'>, key: Buffer): unknown {
    const value = from.get(key)
    return value === undefined ? undefined : this.#decode(key, value)
  }

  #decode(key: Buffer, value: Buffer): unknown {
    const packed = value.subarray(0, Math.max(0, value.length - CRC_BYTES))
    if (value.length < CRC_BYTES || value.readUInt32LE(packed.length) !== crc32(packed, crc32(key))) {
      throw new PlayheadError(
        'damagedData',
        `view ${this.#name}: found an entry with a wrong checksum, wanted intact state; ` +
          'views are derived: delete the store and derive them again',
        { view: this.#name },
      )
    }
    return packr.unpack(packed)
  }
}

export function superseded(name: string, version: number, live: number): PlayheadError {
  return new PlayheadError(
    'viewSuperseded',
    `view ${name}: found version ${live} live, wanted to derive version ${version}; ` +
      `versions only rise: to go back, derive the old function as version ${live + 1}`,
    { view: name, version, live },
  )
}

export function inUse(name: string, version: number): PlayheadError {
  return new PlayheadError(
    'viewInUse',
    `view ${name} version ${version}: found another derivation of it going on, wanted to be the only one; ` +
      'let one derive and the others ask',
    { view: name, version },
  )
}
