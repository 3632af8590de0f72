/**
 * Verification of the cache: what it says of each log, written down for the comparison with the log (cache-digest.ts). It is looked at in a copy,
 * since LMDB writes to a file it opens, if only to say who reads it.
 * A job and its verdict are plain values, so that another process can do it: a damaged file can end the process that opens it.
 * Neighbours: verify.ts asks for it, verify-streams.ts compares.
 */
import type { FileSystem } from '../platform/file-system.ts'
import { lmdbFileProblem } from '../platform/lmdb-file.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { MiB } from '../protocol/limits.ts'
import { murmur2 } from '../protocol/murmur2.ts'
import { DigestWriter, withOffset } from './cache-digest.ts'
import type { CheckpointStore } from './checkpoint-store.ts'
import { damagedIndex } from './damaged-index.ts'
import { EventSum, otherKeyHash, type SummedEvents } from './event-sum.ts'
import { decodeHeadBlock, type HeadEntries } from './head-block.ts'
import { HeadBlocks } from './head-blocks.ts'
import { decodeState, headBlockKey, logPrefix, type StoredHead, stateKey } from './index-keys.ts'
import { LmdbCheckpointStore } from './lmdb-checkpoint-store.ts'
import { readCheckpoint } from './recovery-checkpoint.ts'
import { StoredPostings } from './stored-postings.ts'
import { Findings, type VerifyResult } from './verify-findings.ts'

const copyBytes = 4 * MiB
const blocksPerRange = 64

export interface CacheJob {
  readonly directory: string
  readonly scratchDirectory: string
  readonly logs: readonly CachedLog[]
  /** `sum`: over the events of each log, which is enough to say that all is well; `digest`: of each stream, to say what differs. */
  readonly wanted: 'sum' | 'digest'
}

/** A log, by what its keys in the cache begin with. */
export interface CachedLog {
  /** In hex. */
  readonly topicId: string
  readonly partition: number
}

export interface CacheVerdict {
  readonly result: VerifyResult
  /** As many as logs were asked for; none when there is no cache, or none that the next start would keep. */
  readonly logs: readonly LogDigest[]
}

/** What the cache has of a log. */
export interface LogDigest {
  /** Why it is to be wiped; then the rest says nothing. */
  readonly fault: string | undefined
  readonly indexedTo: number
  readonly reachesTo: number
  /** Undefined when only the sum was wanted. */
  readonly digestPath: string | undefined
  /** Of every event; undefined when a head is not what it is of a log from which nothing is gone, so that only the digest can tell more. */
  readonly sum: SummedEvents | undefined
  /** Of the recovery checkpoint: everything of the log with this salt (in hex) below this offset was durable. */
  readonly durable: { readonly salt: string; readonly offset: number } | undefined
}

export interface CacheSeams {
  readonly fileSystem: FileSystem
  /** Called now and then, so that nobody takes a long read for one that never ends. */
  readonly onAlive: () => void
}

/** What is wrong with a cache is never worse than this. */
export const wipeCache = 'the cache must be wiped: delete its directory, it is rebuilt from the logs'

export async function verifyCache(job: CacheJob, { fileSystem, onAlive }: CacheSeams): Promise<CacheVerdict> {
  const findings = new Findings()
  const store = await openCopy(fileSystem, job, findings)
  const logs: LogDigest[] = []
  try {
    if (store !== undefined) {
      for (const [place, log] of job.logs.entries()) {
        const digestPath = job.wanted === 'digest' ? `${job.scratchDirectory}/digest-${place}` : undefined
        logs.push(await digestLog(store, log, { fileSystem, onAlive }, digestPath))
      }
    }
  } finally {
    await store?.close()
  }
  return { result: findings.result(), logs }
}

async function openCopy(
  fileSystem: FileSystem,
  { directory, scratchDirectory }: CacheJob,
  findings: Findings,
): Promise<LmdbCheckpointStore | undefined> {
  const file = cacheFile(directory)
  if (!(await fileSystem.exists(file))) return undefined
  const problem = lmdbFileProblem(directory)
  if (problem !== undefined) {
    findings.damaged(file, 0, `found ${problem}; ${wipeCache}`)
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
  if (wiped === undefined) return store
  findings.note(`${wiped} (at the next start)`)
  await store.close()
  return undefined
}

export function cacheFile(directory: string): string {
  return `${directory}/data.mdb`
}

async function digestLog(
  store: CheckpointStore,
  { topicId, partition }: CachedLog,
  seams: CacheSeams,
  digestPath: string | undefined,
): Promise<LogDigest> {
  const prefix = logPrefix(Buffer.from(topicId, 'hex'), partition)
  const facts = readCheckpoint(store, prefix)?.facts
  const durable = facts && { salt: facts.salt, offset: facts.nextOffset }
  const nothing = { indexedTo: 0, reachesTo: 0, digestPath, durable, fault: undefined, sum: undefined }
  try {
    const badValues = store.stats.badValues
    const state = store.get(stateKey(prefix))
    if (store.stats.badValues !== badValues) throw damagedIndex('the log', 'found a state with a bad checksum')
    const digest = new StreamDigest(store, prefix, seams)
    await digest.run(digestPath)
    return state === undefined ? nothing : { ...nothing, ...decodeState(state), sum: digest.sum }
  } catch (error) {
    if (!(error instanceof PlayheadError)) throw error
    return { ...nothing, fault: error.message }
  }
}

class StreamDigest {
  readonly #prefix: Buffer
  readonly #stored: StoredPostings
  readonly #blocks: HeadBlocks
  readonly #seams: CacheSeams
  readonly #sum = new EventSum()
  #isWhole = true

  constructor(store: CheckpointStore, prefix: Buffer, seams: CacheSeams) {
    this.#prefix = prefix
    this.#stored = new StoredPostings(store, prefix)
    this.#blocks = new HeadBlocks(store, prefix)
    this.#seams = seams
  }

  /** Goes over all streams; writes the digest when there is a path. Throws damagedData. */
  async run(path: string | undefined): Promise<void> {
    const writer = path === undefined ? undefined : await DigestWriter.create(this.#seams.fileSystem, path)
    try {
      for (let from: Buffer | undefined = headBlockKey(this.#prefix, noName); from !== undefined; ) {
        const blocks = this.#blocks.from(from, blocksPerRange)
        for (const { value } of blocks) {
          for (const { entries } = decodeHeadBlock(value); entries.next(); ) {
            const { head } = entries
            this.#add(entries, head)
            if (writer !== undefined) await writer.add(entries.name, head, this.#digestSum(entries.stream, head))
          }
          this.#seams.onAlive()
        }
        from = blocks.length === 0 ? undefined : this.#blocks.nextKey(blocks.at(-1)!)
      }
    } finally {
      await writer?.close()
    }
  }

  get sum(): SummedEvents | undefined {
    const { events, first, second } = this.#sum
    return this.#isWhole ? { events, first, second } : undefined
  }

  /** Every version that the head names. */
  #add(entries: HeadEntries, head: StoredHead): void {
    const { bytes, nameStart, nameEnd } = entries
    const hash = murmur2(bytes, nameStart, nameEnd)
    const otherHash = otherKeyHash(bytes, nameStart, nameEnd)
    const all = this.#sum
    const eventsBefore = all.events
    let last = -1
    this.#stored.eachOffset(entries.stream, head, (offset) => {
      all.add(hash, otherHash, offset)
      last = offset
    })
    const count = all.events - eventsBefore
    if (head.firstVersion !== 0 || head.lastVersion !== count - 1 || head.lastOffset !== last) this.#isWhole = false
  }

  #digestSum(stream: string, head: StoredHead): number {
    let sum = 0
    this.#stored.eachOffset(stream, head, (offset) => {
      sum = withOffset(sum, offset)
    })
    return sum
  }
}

const noName = Buffer.alloc(0)

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
