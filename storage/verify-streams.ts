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
import { MergeHeap } from './merge-heap.ts'
import { type PostingsEntries, Sidecar } from './sidecar.ts'
import type { LogDigest } from './verify-cache.ts'
import type { PostingsFile } from './verify-segment.ts'
import { deleteIt } from './verify-sidecar.ts'

export interface StreamComparison {
  readonly fileSystem: FileSystem
  readonly clock: Clock
  /** Of all segments, in order. */
  readonly postings: readonly PostingsFile[]
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
  try {
    for (const [order, file] of comparison.postings.entries()) {
      lines.push(await Line.open(comparison.fileSystem, file, order))
    }
    const digestPath = comparison.digest?.digestPath
    assert((digestPath === undefined) === (comparison.digest === undefined), 'compared with a digest, not with a sum')
    if (digestPath !== undefined) digest = await DigestReader.open(comparison.fileSystem, digestPath)
    const begun: Line[] = []
    for (const line of lines) if (await line.nextBlock()) begun.push(line)
    await new Comparison(comparison, begun, digest).run()
  } finally {
    for (const line of lines) await line.close()
    await digest?.close()
  }
}

/** The streams of one postings file. */
class Line {
  readonly path: string
  readonly kind: PostingsFile['kind']
  readonly order: number
  entries!: PostingsEntries
  readonly #sidecar: Sidecar
  readonly #blocks: AsyncGenerator<PostingsEntries>

  private constructor(sidecar: Sidecar, { path, kind }: PostingsFile, order: number) {
    this.#sidecar = sidecar
    this.#blocks = sidecar.blocks()
    this.path = path
    this.kind = kind
    this.order = order
  }

  static async open(fileSystem: FileSystem, file: PostingsFile, order: number): Promise<Line> {
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

  /** `lines`: each on its first stream. */
  constructor(options: StreamComparison, lines: Line[], digest: DigestReader | undefined) {
    this.#options = options
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
    if (this.#digest !== undefined) throw unknownStream(this.#digest)
  }

  /** Takes in the stream on which `first` stands, from all lines that have it. */
  async #stream(first: PostingsEntries): Promise<void> {
    const { bytes, nameStart, nameEnd } = first
    const head = this.#headOf(bytes, nameStart, nameEnd)
    this.#version = 0
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
  #headOf(bytes: Buffer, nameStart: number, nameEnd: number): StreamHead | undefined {
    const digest = this.#digest
    if (digest === undefined) return undefined
    const order = compareKeys(digest.bytes, digest.nameStart, digest.nameEnd, bytes, nameStart, nameEnd)
    if (order < 0) throw unknownStream(digest)
    return order === 0 ? digest.head : undefined
  }

  #take({ entries, kind, path }: Line, head: StreamHead | undefined): void {
    if (kind === 'sidecar' && entries.firstVersion !== this.#version) {
      const found = `found stream '${entries.stream}' from version ${entries.firstVersion}, wanted ${this.#version}`
      this.#options.damaged(path, `${found}; ${deleteIt}`)
    }
    this.#version += entries.count
    if (this.#options.digest === undefined) return
    const coveredTo = head?.lastOffset ?? -1
    for (let left = entries.count; left > 0; left--) {
      const offset = entries.nextOffset()
      if (offset <= coveredTo) {
        this.#covered++
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
    if (firstVersion !== 0 || lastVersion !== wanted || lastOffset !== this.#lastOffset) {
      const found = `versions ${firstVersion} to ${lastVersion} and offset ${lastOffset}`
      throw damagedIndex(`'${stream}'`, `found ${found}, wanted 0 to ${wanted} and ${this.#lastOffset}`)
    }
    if (this.#digest!.sum !== this.#sum) throw damagedIndex(`'${stream}'`, 'found other offsets than the log has')
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
