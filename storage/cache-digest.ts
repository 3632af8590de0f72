/**
 * CacheDigest: what the cache says of the streams of one log, as a file that verification reads along with the log: of each stream, in the order of
 * the names, its head and a sum over the offsets that it has. So whoever opens the cache, which is native code on mapped files and may end with its
 * process, need not be the one who reads the log.
 *
 * Entry        | varint name bytes | name | varints: first version, last version, last offset, sum of offsets |
 *
 * Neighbours: verify-cache.ts writes it, verify-streams.ts compares.
 */
import type { File, FileSystem } from '../platform/file-system.ts'
import { MiB, streamNameBytesMax } from '../protocol/limits.ts'
import type { StreamHead } from './index-keys.ts'
import { VarintReader, varintBytesMax, writeVarint } from './postings.ts'

const sliceBytes = MiB
const entryBytesMax = 5 * varintBytesMax + streamNameBytesMax

/** A sum over offsets, in any order: `sum` with one more. Two sets of a stream's events hardly ever have the same. */
export function withOffset(sum: number, offset: number): number {
  let mixed = Math.imul((offset | 0) ^ Math.imul(Math.floor(offset / 2 ** 32), 0x9e37_79b1), 0x85eb_ca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2_ae35)
  return (sum + (mixed ^ (mixed >>> 16))) >>> 0
}

export class DigestWriter {
  readonly #file: File
  readonly #slice = Buffer.allocUnsafeSlow(sliceBytes)
  #at = 0
  #position = 0

  private constructor(file: File) {
    this.#file = file
  }

  static async create(fileSystem: FileSystem, path: string): Promise<DigestWriter> {
    return new DigestWriter(await fileSystem.open(path, 'create'))
  }

  /** Names must come in the order of their bytes. */
  async add(name: Buffer, { firstVersion, lastVersion, lastOffset }: StreamHead, sum: number): Promise<void> {
    const slice = this.#slice
    let at = writeVarint(slice, this.#at, name.length)
    at += name.copy(slice, at)
    for (const value of [firstVersion, lastVersion, lastOffset, sum]) at = writeVarint(slice, at, value)
    this.#at = at
    if (at + entryBytesMax > slice.length) await this.#flush()
  }

  async close(): Promise<void> {
    try {
      await this.#flush()
    } finally {
      await this.#file.close()
    }
  }

  async #flush(): Promise<void> {
    await this.#file.write([this.#slice.subarray(0, this.#at)], this.#position)
    this.#position += this.#at
    this.#at = 0
  }
}

/** Stands on one stream after the other. */
export class DigestReader {
  readonly bytes = Buffer.allocUnsafeSlow(sliceBytes)
  nameStart = 0
  nameEnd = 0
  head: StreamHead = { firstVersion: 0, lastVersion: 0, lastOffset: 0 }
  sum = 0
  readonly #file: File
  readonly #reader = new VarintReader(this.bytes)
  /** Of the bytes that are in use. */
  #end = 0
  /** In the file, behind those. */
  #position = 0

  private constructor(file: File) {
    this.#file = file
  }

  static async open(fileSystem: FileSystem, path: string): Promise<DigestReader> {
    return new DigestReader(await fileSystem.open(path, 'read'))
  }

  /** Moves to the next stream; false after the last one. Where it stood before is gone. */
  async next(): Promise<boolean> {
    const reader = this.#reader
    if (this.#end - reader.at < entryBytesMax) await this.#fill()
    if (reader.at === this.#end) return false
    const nameBytes = reader.next()
    this.nameStart = reader.at
    this.nameEnd = reader.at + nameBytes
    reader.at = this.nameEnd
    const [firstVersion, lastVersion, lastOffset] = [reader.next(), reader.next(), reader.next()]
    this.head = { firstVersion, lastVersion, lastOffset }
    this.sum = reader.next()
    return true
  }

  get stream(): string {
    return this.bytes.toString('utf8', this.nameStart, this.nameEnd)
  }

  close(): Promise<void> {
    return this.#file.close()
  }

  async #fill(): Promise<void> {
    const reader = this.#reader
    const rest = this.#end - reader.at
    this.bytes.copyWithin(0, reader.at, this.#end)
    reader.at = 0
    const count = await this.#file.read(this.bytes.subarray(rest), this.#position)
    this.#position += count
    this.#end = rest + count
  }
}
