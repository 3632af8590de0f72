/**
 * Verification of what ties the segments of a log together: the versions of its streams, and the cache's digest of them. Reads the postings of all
 * segments side by side in the order of the streams, so that memory does not grow with streams or events: a block of each file at a time.
 * Neighbours: verify-log.ts has checked each of the files against its segment; cache-digest.ts is read along.
 */
import assert from 'node:assert/strict'
import type { Clock } from '../platform/clock.ts'
import type { FileSystem } from '../platform/file-system.ts'
import { DigestReader, withOffset } from './cache-digest.ts'
import { compareKeys } from './key-order.ts'
import { damagedIndex } from './damaged-index.ts'
import type { StreamHead } from './index-keys.ts'
import { compareLines, HeadsReader } from './heads.ts'
import type { HeadLine, HeadsFile, HeadsIdentity } from './heads.ts'
import { MergeHeap } from './merge-heap.ts'
import { type PostingsEntries, Sidecar } from './sidecar.ts'
import type { LogDigest } from './verify-cache.ts'
import type { PostingsFile } from './verify-segment.ts'
import { deleteIt } from './verify-sidecar.ts'

/** What was removed from the log, as far as something says so. */
export interface RemovedEvents {
  readonly heads: readonly HeadsFile[]
  readonly identity: HeadsIdentity
  /** Whether anything was: then the cache may have more than the log. */
  readonly isTrimmed: boolean
  /** Below it events may be missing before any other of their stream. */
  readonly rewrittenTo: number
}

export interface StreamComparison {
  readonly fileSystem: FileSystem
  readonly clock: Clock
  /** Of all segments, in order. */
  readonly postings: readonly (PostingsFile & { readonly baseOffset: number })[]
  readonly removed: RemovedEvents
  /** Undefined when there is nothing to compare with. */
  readonly digest: LogDigest | undefined
  /** Told of a sidecar that begins a stream with another version. */
  readonly damaged: (path: string, reason: string) => void
}

const streamsPerTurn = 4096

/** Throws damagedData for the first thing that differs between log and digest. */
export async function compareStreams(comparison: StreamComparison): Promise<void> {
  const lines: Line[] = []
  let digest: DigestReader | undefined
  let heads: RemovedHeads | undefined
  try {
    for (const [order, file] of comparison.postings.entries()) {
      lines.push(await Line.open(comparison.fileSystem, file, order))
    }
    const digestPath = comparison.digest?.digestPath
    assert((digestPath === undefined) === (comparison.digest === undefined), 'compared with a digest, not with a sum')
    if (digestPath !== undefined) digest = await DigestReader.open(comparison.fileSystem, digestPath)
    const begun: Line[] = []
    for (const line of lines) if (await line.nextBlock()) begun.push(line)
    heads = await RemovedHeads.open(comparison.fileSystem, comparison.removed)
    await new Comparison(comparison, begun, heads, digest).run()
  } finally {
    for (const line of lines) await line.close()
    await heads?.close()
    await digest?.close()
  }
}

/** The streams of one postings file. */
class Line {
  readonly path: string
  readonly kind: PostingsFile['kind']
  readonly baseOffset: number
  readonly order: number
  entries!: PostingsEntries
  readonly #sidecar: Sidecar
  readonly #blocks: AsyncGenerator<PostingsEntries>

  private constructor(sidecar: Sidecar, file: StreamComparison['postings'][number], order: number) {
    const { path, kind, baseOffset } = file
    this.baseOffset = baseOffset
    this.#sidecar = sidecar
    this.#blocks = sidecar.blocks()
    this.path = path
    this.kind = kind
    this.order = order
  }

  static async open(fileSystem: FileSystem, file: StreamComparison['postings'][number], order: number): Promise<Line> {
    return new Line(await Sidecar.open(fileSystem, file.path), file, order)
  }

  /** Moves to the first stream of the next block; false when there is none. */
  async nextBlock(): Promise<boolean> {
    for (;;) {
      const { value, done } = await this.#blocks.next()
      if (done === true) return false
      this.entries = value
      if (value.next()) return true
    }
  }

  close(): Promise<void> {
    return this.#sidecar[Symbol.asyncDispose]()
  }
}

/** The last versions of streams that have lost events, asked for in the order of their names. */
class RemovedHeads {
  readonly #lines: HeadsReader[]
  readonly #standing: HeadsReader[]

  private constructor(lines: HeadsReader[], standing: HeadsReader[]) {
    this.#lines = lines
    this.#standing = standing
  }

  static async open(fileSystem: FileSystem, { heads, identity }: RemovedEvents): Promise<RemovedHeads> {
    const lines: HeadsReader[] = []
    try {
      for (const { path } of heads) lines.push(await HeadsReader.open(fileSystem, path, identity))
      const standing: HeadsReader[] = []
      for (const line of lines) if (await line.next()) standing.push(line)
      return new RemovedHeads(lines, standing)
    } catch (error) {
      for (const line of lines) await line.close()
      throw error
    }
  }

  /** What is known of the stream, by where it counts from. */
  async of(
    name: Pick<HeadLine, 'bytes' | 'nameStart' | 'nameEnd'>,
  ): Promise<{ endOffset: number; lastVersion: number }[]> {
    const found: { endOffset: number; lastVersion: number }[] = []
    for (const line of this.#standing.slice()) {
      for (let isThere = true; isThere; ) {
        const order = compareLines(line, name)
        if (order === 0) found.push({ endOffset: line.endOffset, lastVersion: line.lastVersion })
        if (order >= 0) break
        isThere = await line.next()
        if (!isThere) this.#standing.splice(this.#standing.indexOf(line), 1)
      }
    }
    return found
  }

  async close(): Promise<void> {
    for (const line of this.#lines) await line.close()
  }
}

class Comparison {
  readonly #options: StreamComparison
  /** Of one stream, the line of the first segment comes first. */
  readonly #lines: MergeHeap<Line>
  /** Undefined when there is none, or when all its streams came by. */
  #digest: DigestReader | undefined
  readonly #indexedTo: number
  /** Of the stream that comes by: events, those that the cache covers, the last of these, and their sum. */
  #version = 0
  #covered = 0
  #lastOffset = -1
  #sum = 0
  /** The version after the last of those that the cache covers. */
  #coveredVersion = 0
  #removed: { endOffset: number; lastVersion: number }[] = []
  readonly #heads: RemovedHeads

  /** `lines`: each on its first stream. */
  constructor(options: StreamComparison, lines: Line[], heads: RemovedHeads, digest: DigestReader | undefined) {
    this.#options = options
    this.#heads = heads
    this.#lines = new MergeHeap(lines, comesBefore)
    this.#digest = digest
    this.#indexedTo = options.digest?.indexedTo ?? 0
  }

  async run(): Promise<void> {
    await this.#nextInDigest()
    let count = 0
    for (let line = this.#lines.first; line !== undefined; line = this.#lines.first) {
      await this.#stream(line.entries)
      count++
      if (count % streamsPerTurn === 0) await this.#options.clock.yield()
    }
    while (this.#digest !== undefined) await this.#removedStream(this.#digest)
  }

  /** A stream that the digest has and no segment: its last version must be written down. */
  async #removedStream(digest: DigestReader): Promise<void> {
    let lastVersion = -1
    for (const removed of await this.#heads.of(digest)) lastVersion = Math.max(lastVersion, removed.lastVersion)
    if (lastVersion < 0) throw unknownStream(digest)
    if (digest.head.lastVersion !== lastVersion)
      throw damagedIndex(`'${digest.stream}'`, `found version ${digest.head.lastVersion}, wanted ${lastVersion}`)
    await this.#nextInDigest()
  }

  /** Takes in the stream on which `first` stands, from all lines that have it. */
  async #stream(first: PostingsEntries): Promise<void> {
    const { bytes, nameStart, nameEnd } = first
    const head = await this.#headOf(bytes, nameStart, nameEnd)
    this.#removed = await this.#heads.of(first)
    this.#version = 0
    this.#coveredVersion = 0
    this.#covered = 0
    this.#lastOffset = -1
    this.#sum = 0
    for (let line = this.#lines.first; line !== undefined; line = this.#lines.first) {
      const { entries } = line
      if (compareKeys(bytes, nameStart, nameEnd, entries.bytes, entries.nameStart, entries.nameEnd) !== 0) break
      this.#take(line, head)
      if (entries.next() || (await line.nextBlock())) this.#lines.moved()
      else this.#lines.drop()
    }
    if (head === undefined) return
    this.#compareHead(bytes.toString('utf8', nameStart, nameEnd), head)
    await this.#nextInDigest()
  }

  /** What the digest has of a stream; it has nothing of any before, since all of those came by. */
  async #headOf(bytes: Buffer, nameStart: number, nameEnd: number): Promise<StreamHead | undefined> {
    for (let digest = this.#digest; digest !== undefined; digest = this.#digest) {
      const order = compareKeys(digest.bytes, digest.nameStart, digest.nameEnd, bytes, nameStart, nameEnd)
      if (order >= 0) return order === 0 ? digest.head : undefined
      await this.#removedStream(digest)
    }
    return undefined
  }

  #take({ entries, kind, path, baseOffset }: Line, head: StreamHead | undefined): void {
    for (const { endOffset, lastVersion } of this.#removed)
      if (endOffset <= baseOffset) this.#version = Math.max(this.#version, lastVersion + 1)
    const { heads, rewrittenTo } = this.#options.removed
    // Of a segment that is on its way out, what stood before it is written down nowhere any more: newer heads count behind it.
    const isLeaving = heads.some(({ endOffset }) => endOffset > baseOffset)
    const mayMiss = (isLeaving || baseOffset < rewrittenTo) && entries.firstVersion > this.#version
    if (kind === 'sidecar' && mayMiss) this.#version = entries.firstVersion
    if (kind === 'sidecar' && entries.firstVersion !== this.#version) {
      const found = `found stream '${entries.stream}' from version ${entries.firstVersion}, wanted ${this.#version}`
      this.#options.damaged(path, `${found}; ${deleteIt}`)
    }
    const firstVersion = this.#version
    this.#version += entries.count
    if (this.#options.digest === undefined) return
    const coveredTo = head?.lastOffset ?? -1
    for (let place = 0; place < entries.count; place++) {
      const offset = entries.nextOffset()
      if (offset <= coveredTo) {
        this.#covered++
        this.#coveredVersion = firstVersion + place + 1
        this.#lastOffset = offset
        this.#sum = withOffset(this.#sum, offset)
      } else if (offset < this.#indexedTo) {
        const found = `found nothing at offset ${offset}, although it covers offsets below ${this.#indexedTo}`
        throw damagedIndex(`'${entries.stream}'`, found)
      } else return
    }
  }

  #compareHead(stream: string, { firstVersion, lastVersion, lastOffset }: StreamHead): void {
    const wanted = this.#covered - 1
    if (this.#options.removed.isTrimmed) return this.#compareTrimmed(stream, lastVersion, lastOffset)
    if (firstVersion !== 0 || lastVersion !== wanted || lastOffset !== this.#lastOffset) {
      const found = `versions ${firstVersion} to ${lastVersion} and offset ${lastOffset}`
      throw damagedIndex(`'${stream}'`, `found ${found}, wanted 0 to ${wanted} and ${this.#lastOffset}`)
    }
    if (this.#digest!.sum !== this.#sum) throw damagedIndex(`'${stream}'`, 'found other offsets than the log has')
  }

  /** The cache still has what was removed: only the end of the stream must be the same. */
  #compareTrimmed(stream: string, lastVersion: number, lastOffset: number): void {
    let wanted = this.#coveredVersion - 1
    for (const removed of this.#removed) wanted = Math.max(wanted, removed.lastVersion)
    const isThere = this.#coveredVersion - 1 === wanted
    if (lastVersion === wanted && (!isThere || lastOffset === this.#lastOffset)) return
    const found = `found version ${lastVersion} at offset ${lastOffset}`
    throw damagedIndex(`'${stream}'`, `${found}, wanted ${wanted}${isThere ? ` at ${this.#lastOffset}` : ''}`)
  }

  async #nextInDigest(): Promise<void> {
    if (this.#digest !== undefined && !(await this.#digest.next())) this.#digest = undefined
  }
}

function comesBefore(line: Line, other: Line): boolean {
  const [a, b] = [line.entries, other.entries]
  const order = compareKeys(a.bytes, a.nameStart, a.nameEnd, b.bytes, b.nameStart, b.nameEnd)
  return order === 0 ? line.order < other.order : order < 0
}

function unknownStream(digest: DigestReader): Error {
  return damagedIndex(`'${digest.stream}'`, 'found a stream that the log does not have')
}
