/**
 * Verification of the cache: whether what it says of a log is what the log says. It may lag; it may not differ.
 * It is looked at in a copy, since LMDB writes to a file it opens, if only to say who reads it.
 * Neighbours: verify-log.ts tells it every event as it comes by.
 */
import type { FileSystem } from '../platform/file-system.ts'
import { lmdbFileProblem } from '../platform/lmdb-file.ts'
import { MiB } from '../protocol/limits.ts'
import type { CheckpointStore } from './checkpoint-store.ts'
import { damagedIndex } from './damaged-index.ts'
import { decodeState, logPrefix, type StoredHead, stateKey } from './index-keys.ts'
import { LmdbCheckpointStore } from './lmdb-checkpoint-store.ts'
import { readCheckpoint } from './recovery-checkpoint.ts'
import { StoredPostings } from './stored-postings.ts'
import type { Findings } from './verify-findings.ts'
import type { StreamLedger } from './verify-streams.ts'

const copyBytes = 4 * MiB
const headsPerRange = 1024
const versionsPerRead = 16_384

export class CacheCopy {
  readonly #store: LmdbCheckpointStore
  readonly #file: string

  private constructor(store: LmdbCheckpointStore, file: string) {
    this.#store = store
    this.#file = file
  }

  /** Undefined when there is no cache, or none that the next start would keep. */
  static async open(
    fileSystem: FileSystem,
    directory: string,
    scratchDirectory: string | undefined,
    findings: Findings,
  ): Promise<CacheCopy | undefined> {
    const file = `${directory}/data.mdb`
    if (!(await fileSystem.exists(file))) return undefined
    if (scratchDirectory === undefined) {
      findings.note(`${directory}: not looked at`)
      return undefined
    }
    const problem = lmdbFileProblem(directory)
    if (problem !== undefined) {
      findings.damaged(file, 0, `found ${problem}; ${wipe}`)
      return undefined
    }
    const copy = `${scratchDirectory}/cache`
    await fileSystem.makeDirectory(copy)
    for (const name of ['data.mdb', 'marker.json']) {
      if (await fileSystem.exists(`${directory}/${name}`))
        await copyFile(fileSystem, `${directory}/${name}`, `${copy}/${name}`)
    }
    let wiped: string | undefined
    const report = (_: string, message: string) => {
      wiped = message.replace(copy, directory)
    }
    const store = await LmdbCheckpointStore.open({ directory: copy, fileSystem, report })
    if (wiped === undefined) return new CacheCopy(store, file)
    findings.note(`${wiped} (at the next start)`)
    await store.close()
    return undefined
  }

  log(topicId: Buffer, partition: number): LogCacheCheck {
    return new LogCacheCheck(this.#store, logPrefix(topicId, partition), this.#file)
  }

  close(): Promise<void> {
    return this.#store.close()
  }
}

/** What is wrong with the cache is never worse than this. */
const wipe = 'the cache must be wiped: delete its directory, it is rebuilt from the logs'

/** Of one stream: the stored head, and what came by of the events that it covers. */
interface CoveredEvents {
  readonly head: StoredHead | undefined
  count: number
  lastOffset: number
  hash: number
}

export class LogCacheCheck {
  readonly file: string
  readonly #store: CheckpointStore
  readonly #prefix: Buffer
  readonly #stored: StoredPostings
  readonly #indexedTo: number
  readonly #reachesTo: number
  /** By place in the ledger. */
  readonly #streams: CoveredEvents[] = []
  #failure: unknown

  constructor(store: CheckpointStore, prefix: Buffer, file: string) {
    this.file = file
    this.#store = store
    this.#prefix = prefix
    this.#stored = new StoredPostings(store, prefix)
    const badValues = store.stats.badValues
    const state = store.get(stateKey(prefix))
    if (store.stats.badValues !== badValues)
      this.#failure = damagedIndex('the log', 'found a state with a bad checksum')
    const { indexedTo, reachesTo } = state === undefined ? { indexedTo: 0, reachesTo: 0 } : decodeState(state)
    this.#indexedTo = indexedTo
    this.#reachesTo = reachesTo
  }

  /** Everything below it was durable when the recovery checkpoint was written; 0 when there is none of this log. */
  durableOffset(salt: Buffer): number {
    const facts = readCheckpoint(this.#store, this.#prefix)?.facts
    return facts?.salt === salt.toString('hex') ? facts.nextOffset : 0
  }

  /** The next event of a stream, whose place in the ledger is `place`. */
  event(place: number, stream: string, offset: number): void {
    if (this.#reachesTo === 0 || this.#failure !== undefined) return
    try {
      const covered = (this.#streams[place] ??= { head: this.#stored.head(stream), count: 0, lastOffset: -1, hash: 0 })
      if (offset <= (covered.head?.lastOffset ?? -1)) {
        covered.count++
        covered.lastOffset = offset
        covered.hash = mix(covered.hash, offset)
      } else if (offset < this.#indexedTo) {
        throw damagedIndex(
          `'${stream}'`,
          `found nothing at offset ${offset}, although it covers offsets below ${this.#indexedTo}`,
        )
      }
    } catch (error) {
      this.#failure = error // one is enough: all of it is to be wiped
    }
  }

  /** Throws `damagedData` for the first thing that differs. `end`: of the log. */
  async finish(streams: StreamLedger, end: number): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    if (this.#reachesTo > end)
      throw damagedIndex('the log', `found offsets up to ${this.#reachesTo}, wanted at most ${end}`)
    for (const [stream, place] of streams) {
      const covered = this.#streams[place]
      if (covered?.head !== undefined) this.#compare(stream, covered.head, covered)
    }
    this.#compareNames(streams)
  }

  #compare(stream: string, head: StoredHead, { count, lastOffset, hash }: CoveredEvents): void {
    if (head.firstVersion !== 0 || head.lastVersion !== count - 1 || head.lastOffset !== lastOffset) {
      const found = `versions ${head.firstVersion} to ${head.lastVersion} and offset ${head.lastOffset}`
      throw damagedIndex(`'${stream}'`, `found ${found}, wanted 0 to ${count - 1} and ${lastOffset}`)
    }
    let stored = 0
    for (let from = 0; from < count; from += versionsPerRead) {
      const offsets: number[] = []
      this.#stored.read(stream, head, from, Math.min(count, from + versionsPerRead), offsets)
      for (const offset of offsets) stored = mix(stored, offset)
    }
    if (stored !== hash) throw damagedIndex(`'${stream}'`, 'found other offsets than the log has')
  }

  #compareNames(streams: StreamLedger): void {
    for (let after: string | undefined; ; ) {
      const names = this.#stored.names('', after, headsPerRange)
      for (const stream of names) {
        if (!streams.has(stream)) throw damagedIndex(`'${stream}'`, 'found a stream that the log does not have')
      }
      if (names.length < headsPerRange) return
      after = names.at(-1)
    }
  }
}

/** A running hash of offsets, in order. */
function mix(hash: number, offset: number): number {
  return Math.imul(hash ^ (offset >>> 0) ^ Math.floor(offset / 2 ** 32), 0x01000193) | 0
}

async function copyFile(fileSystem: FileSystem, from: string, to: string): Promise<void> {
  const source = await fileSystem.open(from, 'read')
  const target = await fileSystem.open(to, 'create')
  try {
    const slice = Buffer.allocUnsafeSlow(copyBytes)
    for (let at = 0; ; ) {
      const count = await source.read(slice, at)
      if (count === 0) return
      await target.write([slice.subarray(0, count)], at)
      at += count
    }
  } finally {
    await source.close()
    await target.close()
  }
}
