/**
 * Heads: the last versions of streams whose newest events have been removed from a log, so that a stream goes on after its last version although
 * nothing is left that says which that was. `<20-digit end offset>.heads`: of each stream in it, the newest event below that offset had this version.
 * A primary fact: nothing else has it once the events are gone. What it says stays true for ever, so one more than needed does no harm.
 *
 * File          | header 64 | block … block |                                                                             little-endian
 * Header        0          8         12          16         32           40        48       52      60    64
 *               | PLAYLAST | version | partition | topic id | end offset | streams | blocks | zeros | crc |       crc: of bytes 0..59
 * Block         | u32 bytes | u32 crc | entry … entry |       crc: of the entries
 * Entry         | varint name bytes | name | varint last version |       entries in the order of the names' bytes, over all blocks
 *
 * Neighbours: Retention and Compaction write them before they remove anything, recovery.ts puts them into an index that lacks them, verify reads them.
 */
import assert from 'node:assert/strict'
import { readU64LE, writeU64LE } from '../protocol/bytes.ts'
import { crc32c } from '../protocol/crc32c.ts'
import { PlayheadError } from '../protocol/errors.ts'
import type { Clock } from '../platform/clock.ts'
import type { File, FileSystem } from '../platform/file-system.ts'
import { compareKeys } from './key-order.ts'
import { RecentPostings } from './recent-postings.ts'
import { streamKeyHash } from '../protocol/murmur2.ts'
import { VarintReader, varintBytesMax, writeVarint } from './postings.ts'
import { temporarySuffix } from './small-file.ts'
import type { LogIdentity } from './storage-context.ts'

const HEADER_BYTES = 64
const HEADER_CRC = 60
const BLOCK_HEADER_BYTES = 8
const blockBytesMin = 64 * 1024
const blockBytesMax = 1024 * 1024
const formatVersion = 1
const MAGIC = Buffer.from('PLAYLAST', 'latin1')
const suffix = '.heads'

/** Stands on one stream after the other, in the order of their names. */
export interface HeadLine {
  readonly bytes: Buffer
  readonly nameStart: number
  readonly nameEnd: number
  readonly lastVersion: number
  /** Moves to the next stream; false after the last one. Throws damagedData. */
  next(): boolean | Promise<boolean>
  close(): Promise<void>
}

export interface HeadsIdentity {
  readonly topicId: Buffer
  readonly partition: number
}

export interface HeadsFile {
  readonly path: string
  readonly endOffset: number
}

export function headsFileName(endOffset: number): string {
  return `${String(endOffset).padStart(20, '0')}${suffix}`
}

/** Undefined for any other file. */
export function endOffsetOfHeads(name: string): number | undefined {
  const digits = /^(\d{20})\.heads$/.exec(name)?.[1]
  const endOffset = digits === undefined ? NaN : Number(digits)
  return Number.isSafeInteger(endOffset) ? endOffset : undefined
}

/** In the order of their ends. */
export async function findHeads(fileSystem: FileSystem, directory: string): Promise<HeadsFile[]> {
  if (!(await fileSystem.exists(directory))) return []
  const found: HeadsFile[] = []
  for (const name of await fileSystem.list(directory)) {
    const endOffset = endOffsetOfHeads(name)
    if (endOffset !== undefined) found.push({ path: `${directory}/${name}`, endOffset })
  }
  return found
}

/** Reads one file, block by block. */
export class HeadsReader implements HeadLine {
  readonly streams: number
  readonly endOffset: number
  bytes: Buffer = nothing
  nameStart = 0
  nameEnd = 0
  lastVersion = 0
  readonly #file: File
  #reader = new VarintReader(nothing)
  #blocksLeft: number
  #position = HEADER_BYTES

  private constructor(file: File, endOffset: number, streams: number, blocks: number) {
    this.#file = file
    this.endOffset = endOffset
    this.streams = streams
    this.#blocksLeft = blocks
  }

  /** Before the first stream. Throws damagedData when it is not a sound file of this log, unsupportedFormat when a newer release wrote it. */
  static async open(fileSystem: FileSystem, path: string, identity: HeadsIdentity): Promise<HeadsReader> {
    const file = await fileSystem.open(path, 'read')
    try {
      const header = Buffer.alloc(HEADER_BYTES)
      const count = await file.read(header, 0)
      if (count < HEADER_BYTES || header.readUInt32LE(HEADER_CRC) !== crc32c(header.subarray(0, HEADER_CRC)))
        throw damaged(path, 'found a header that does not hold')
      if (!header.subarray(0, 8).equals(MAGIC)) throw damaged(path, 'found another kind of file')
      const version = header.readUInt32LE(8)
      if (version > formatVersion) {
        const message = `${path}: found format version ${version}, wanted at most ${formatVersion}; use the release that wrote it, or a newer one`
        throw new PlayheadError('unsupportedFormat', message, { file: path, format: version })
      }
      const isOurs = header.readUInt32LE(12) === identity.partition && header.subarray(16, 32).equals(identity.topicId)
      if (!isOurs) throw damaged(path, 'found the heads of another log')
      return new HeadsReader(file, readU64LE(header, 32), readU64LE(header, 40), header.readUInt32LE(48))
    } catch (error) {
      await file.close()
      throw error
    }
  }

  next(): boolean | Promise<boolean> {
    if (this.#reader.at < this.bytes.length) return this.#take()
    return this.#blocksLeft > 0 && this.#nextBlock()
  }

  async #nextBlock(): Promise<boolean> {
    const path = this.#file.path
    const header = Buffer.alloc(BLOCK_HEADER_BYTES)
    if ((await this.#file.read(header, this.#position)) < BLOCK_HEADER_BYTES)
      throw damaged(path, `found its end at byte ${this.#position}`)
    const length = header.readUInt32LE(0)
    if (length === 0 || length > blockBytesMax) throw damaged(path, `found a block of ${length} bytes`)
    const bytes = Buffer.allocUnsafeSlow(length)
    const count = await this.#file.read(bytes, this.#position + BLOCK_HEADER_BYTES)
    if (count < length || crc32c(bytes) !== header.readUInt32LE(4))
      throw damaged(path, `found a block at byte ${this.#position} that does not hold`)
    this.bytes = bytes
    this.#reader = new VarintReader(bytes)
    this.#position += BLOCK_HEADER_BYTES + length
    this.#blocksLeft--
    return this.#take()
  }

  #take(): boolean {
    const reader = this.#reader
    const nameBytes = reader.next()
    this.nameStart = reader.at
    this.nameEnd = reader.at + nameBytes
    if (nameBytes === 0 || this.nameEnd >= this.bytes.length)
      throw damaged(this.#file.path, 'found a name that is cut off')
    reader.at = this.nameEnd
    this.lastVersion = reader.next()
    return true
  }

  close(): Promise<void> {
    return this.#file.close()
  }
}

/** Heads that are in memory, in any order. */
export class ListedHeads implements HeadLine {
  bytes: Buffer = nothing
  nameStart = 0
  nameEnd = 0
  lastVersion = 0
  readonly #heads: (readonly [Buffer, number])[]
  #at = 0

  constructor(heads: readonly (readonly [Buffer, number])[]) {
    this.#heads = heads.toSorted(([a], [b]) => Buffer.compare(a, b))
  }

  next(): boolean {
    const head = this.#heads[this.#at++]
    if (head === undefined) return false
    this.bytes = head[0]
    this.nameEnd = head[0].length
    this.lastVersion = head[1]
    return true
  }

  async close(): Promise<void> {
    // holds nothing
  }
}

/** Several lines as one: each stream once, with the highest version that any of them has. */
export class MergedHeads implements HeadLine {
  bytes: Buffer = nothing
  nameStart = 0
  nameEnd = 0
  lastVersion = 0
  readonly #lines: HeadLine[]
  #standing: HeadLine[] | undefined

  constructor(lines: readonly HeadLine[]) {
    this.#lines = [...lines]
  }

  async next(): Promise<boolean> {
    if (this.#standing === undefined) await this.#begin()
    const lines = this.#standing!
    let least: HeadLine | undefined
    for (const line of lines) if (least === undefined || compareLines(line, least) < 0) least = line
    if (least === undefined) return false
    this.bytes = least.bytes
    this.nameStart = least.nameStart
    this.nameEnd = least.nameEnd
    this.lastVersion = least.lastVersion
    for (const line of lines.slice()) {
      if (compareLines(line, this) !== 0) continue
      this.lastVersion = Math.max(this.lastVersion, line.lastVersion)
      const moving = line.next()
      if (!(moving instanceof Promise ? await moving : moving)) lines.splice(lines.indexOf(line), 1)
    }
    return true
  }

  async close(): Promise<void> {
    for (const line of this.#lines) await line.close()
  }

  async #begin(): Promise<void> {
    this.#standing = []
    for (const line of this.#lines) if (await line.next()) this.#standing.push(line)
  }
}

/** The next streams of the line, about as many as `memoryBytesMax` hold, as a table for an index; an empty one at the end. */
export async function goneStreams(line: HeadLine, endOffset: number, memoryBytesMax: number): Promise<RecentPostings> {
  const table = new RecentPostings(endOffset - 1)
  while (table.memoryBytes < memoryBytesMax) {
    const moving = line.next()
    if (!(moving instanceof Promise ? await moving : moving)) break
    const { bytes, nameStart, nameEnd, lastVersion } = line
    const hash = streamKeyHash(bytes, nameStart, nameEnd)
    if (table.keys.find(bytes, nameStart, nameEnd, hash) < 0)
      table.addGone(bytes, nameStart, nameEnd, hash, lastVersion + 1)
  }
  return table
}

type Name = Pick<HeadLine, 'bytes' | 'nameStart' | 'nameEnd'>

export function compareLines(a: Name, b: Name): number {
  return compareKeys(a.bytes, a.nameStart, a.nameEnd, b.bytes, b.nameStart, b.nameEnd)
}

/**
 * Writes what the line has, in the place of a file with the same end; nothing when it has no stream. Durable, name and all, when it resolves. Closes the line.
 */
export async function writeHeads(
  { fileSystem, clock }: { readonly fileSystem: FileSystem; readonly clock: Clock },
  identity: LogIdentity,
  endOffset: number,
  line: HeadLine,
): Promise<void> {
  const path = `${identity.directory}/${headsFileName(endOffset)}`
  const temporaryPath = path + temporarySuffix
  try {
    if (!(await line.next())) return
    if (await fileSystem.exists(temporaryPath)) await fileSystem.remove(temporaryPath)
    const file = await fileSystem.open(temporaryPath, 'create')
    try {
      const { streams, blocks } = await writeBlocks(file, line, clock)
      await file.write([encodeHeader(identity, endOffset, streams, blocks)], 0)
      await file.sync()
    } finally {
      await file.close()
    }
    await fileSystem.rename(temporaryPath, path)
    await fileSystem.syncDirectory(identity.directory)
  } finally {
    await line.close()
  }
}

/** The line stands on its first stream. */
async function writeBlocks(file: File, line: HeadLine, clock: Clock): Promise<{ streams: number; blocks: number }> {
  let block = Buffer.allocUnsafeSlow(2 * blockBytesMin)
  let [at, streams, blocks, position] = [BLOCK_HEADER_BYTES, 0, 0, HEADER_BYTES]
  const flush = async () => {
    block.writeUInt32LE(at - BLOCK_HEADER_BYTES, 0)
    block.writeUInt32LE(crc32c(block.subarray(BLOCK_HEADER_BYTES, at)), 4)
    await file.write([block.subarray(0, at)], position)
    position += at
    blocks++
    at = BLOCK_HEADER_BYTES
    block = Buffer.allocUnsafeSlow(2 * blockBytesMin)
    await clock.yield()
  }
  for (let isThere = true; isThere; ) {
    const { bytes, nameStart, nameEnd, lastVersion } = line
    at = writeVarint(block, at, nameEnd - nameStart)
    at += bytes.copy(block, at, nameStart, nameEnd)
    at = writeVarint(block, at, lastVersion)
    streams++
    if (at + (nameEnd - nameStart) + 2 * varintBytesMax >= blockBytesMin) await flush()
    const moving = line.next()
    isThere = moving instanceof Promise ? await moving : moving
  }
  if (at > BLOCK_HEADER_BYTES) await flush()
  return { streams, blocks }
}

function encodeHeader(identity: HeadsIdentity, endOffset: number, streams: number, blocks: number): Buffer {
  assert(identity.topicId.length === 16)
  const header = Buffer.alloc(HEADER_BYTES)
  MAGIC.copy(header)
  header.writeUInt32LE(formatVersion, 8)
  header.writeUInt32LE(identity.partition, 12)
  identity.topicId.copy(header, 16)
  writeU64LE(header, 32, endOffset)
  writeU64LE(header, 40, streams)
  header.writeUInt32LE(blocks, 48)
  header.writeUInt32LE(crc32c(header.subarray(0, HEADER_CRC)), HEADER_CRC)
  return header
}

const nothing = Buffer.alloc(0)

function damaged(path: string, found: string): PlayheadError {
  const message = `${path}: ${found}, wanted the last versions of streams whose events are gone; restore the file from a copy`
  return new PlayheadError('damagedData', message, { file: path })
}
