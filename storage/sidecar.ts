/**
 * Sidecar: the reading side of a `.idx` file. Invariant: nothing is answered that is not behind a checksum that holds; whatever does not
 * hold is `damagedData` naming the file, and the owner has it rebuilt from the segment.
 * Neighbours: sidecar-format.ts draws the bytes, sidecar-writer.ts makes them; recovery reads footers and sections, and postings when the
 * cache was wiped.
 */
import type { File, FileSystem } from '../platform/file-system.ts'
import { crc32c } from '../protocol/crc32c.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { isUnreadable } from './unreadable.ts'
import { unpackOffsets, VarintReader } from './postings.ts'
import {
  DIRECTORY_ENTRY_BYTES,
  decodeFooter,
  FOOTER_BYTES,
  decodeSectionHeader,
  type Footer,
  isSidecarHeader,
  POSTINGS_HEADER_BYTES,
  PostingsKind,
  POSTINGS_HEADER_CRC,
  SECTION_HEADER_BYTES,
  type SectionHeader,
  SectionKind,
  SIDECAR_HEADER_BYTES,
} from './sidecar-format.ts'

/** The events of one stream in one segment: offsets[i] is that of version firstVersion + i. */
export interface StreamPostings {
  readonly stream: string
  readonly firstVersion: number
  readonly offsets: number[]
}

interface Section extends SectionHeader {
  readonly position: number
}

interface Block {
  readonly position: number
  readonly bytes: number
  readonly crc: number
  readonly firstName: Buffer
}

/** Stands on one stream of a block of postings after the other. */
export class PostingsEntries {
  readonly bytes: Buffer
  nameStart = 0
  nameEnd = 0
  firstVersion = 0
  /** Events. */
  count = 0
  readonly #path: string
  readonly #reader: VarintReader
  #offsetsEnd = 0
  #lastOffset = -1

  constructor(path: string, bytes: Buffer) {
    this.#path = path
    this.bytes = bytes
    this.#reader = new VarintReader(bytes)
  }

  /** Moves to the next stream; false after the last one. Throws damagedData. */
  next(): boolean {
    const { bytes } = this
    const reader = this.#reader
    reader.at = this.#offsetsEnd
    if (reader.at >= bytes.length) return false
    const nameBytes = reader.next()
    this.nameStart = reader.at
    this.nameEnd = reader.at + nameBytes
    if (this.nameEnd > bytes.length) throw damaged(this.#path, 'found a stream name that is cut off')
    reader.at = this.nameEnd
    this.firstVersion = reader.next()
    this.count = reader.next()
    const packedBytes = reader.next()
    this.#offsetsEnd = reader.at + packedBytes
    if (this.#offsetsEnd > bytes.length || this.count > packedBytes)
      throw damaged(this.#path, `found postings of '${this.stream}' that are cut off`)
    this.#lastOffset = -1
    return true
  }

  /** The offset of the next event of the stream, to be asked for `count` times at most. Throws damagedData. */
  nextOffset(): number {
    const reader = this.#reader
    if (reader.at >= this.#offsetsEnd) throw damaged(this.#path, `found postings of '${this.stream}' that are cut off`)
    const value = reader.next()
    const offset = this.#lastOffset < 0 ? value : this.#lastOffset + value
    if (offset <= this.#lastOffset) throw damaged(this.#path, `found offset ${offset} of '${this.stream}' twice`)
    this.#lastOffset = offset
    return offset
  }

  /** Where the packed offsets of the stream begin, before any was asked for, and where they end. */
  get offsetsAt(): number {
    return this.#reader.at
  }

  get offsetsEnd(): number {
    return this.#offsetsEnd
  }

  /** Whether every byte of the stream's offsets has been read. */
  get isRead(): boolean {
    return this.#reader.at === this.#offsetsEnd
  }

  get stream(): string {
    return this.bytes.toString('utf8', this.nameStart, this.nameEnd)
  }

  /** Appends the offsets of the stream to `into`, in place of nextOffset. Throws damagedData. */
  readOffsets(into: number[]): void {
    unpackOffsets(this.bytes, this.#reader.at, this.#offsetsEnd, this.count, into)
  }
}

/** The footer of a sidecar; undefined when there is no file, or none that this release can trust: then it is to be rebuilt. */
export async function readFooter(fileSystem: FileSystem, path: string): Promise<Footer | undefined> {
  if (!(await fileSystem.exists(path))) return undefined
  const file = await fileSystem.open(path, 'read')
  try {
    return await footerOf(file)
  } catch (error) {
    if (error instanceof PlayheadError) return undefined
    throw error
  } finally {
    await file.close()
  }
}

export class Sidecar {
  readonly footer: Footer
  readonly #file: File
  readonly #sections: readonly Section[]
  #blocks: readonly Block[] | undefined

  private constructor(file: File, footer: Footer, sections: readonly Section[]) {
    this.#file = file
    this.footer = footer
    this.#sections = sections
  }

  /** Throws `damagedData` when it is not sound as far as footer and section headers go. */
  static async open(fileSystem: FileSystem, path: string): Promise<Sidecar> {
    const file = await fileSystem.open(path, 'read')
    try {
      const footer = await footerOf(file)
      if (footer === undefined) throw damaged(path, 'found no sound footer')
      return new Sidecar(file, footer, await sectionsOf(file, footer))
    } catch (error) {
      await file.close()
      throw error
    }
  }

  /** In the order of the file. */
  get sections(): readonly SectionHeader[] {
    return this.#sections
  }

  /** The bytes of a section, whole and checked; undefined when there is none of this kind. */
  async section(kind: SectionKind): Promise<Buffer | undefined> {
    const section = this.#sections.find((each) => each.kind === kind)
    if (section === undefined) return undefined
    return this.#read(section.position, section.length, section.crc, `section ${kind}`)
  }

  /** The events of one stream; undefined when it has none in this segment. Reads the directory once, and one block. */
  async find(stream: string): Promise<StreamPostings | undefined> {
    const name = Buffer.from(stream)
    const blocks = await this.#directory()
    let [low, high] = [0, blocks.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (Buffer.compare(blocks[middle]!.firstName, name) <= 0) low = middle + 1
      else high = middle
    }
    const block = blocks[low - 1]
    if (block === undefined) return undefined
    const bytes = await this.#read(block.position, block.bytes, block.crc, `postings at ${block.position}`)
    for (const postings of streamsIn(new PostingsEntries(this.#file.path, bytes))) {
      if (postings.stream === stream) return postings
    }
    return undefined
  }

  /** All streams in the order of their bytes, a block at a time. */
  async *postings(): AsyncGenerator<StreamPostings> {
    for await (const entries of this.blocks()) yield* streamsIn(entries)
  }

  /** The same for whoever makes nothing per stream: the blocks, each to be walked from before its first entry. */
  async *blocks(): AsyncGenerator<PostingsEntries> {
    for (const { position, bytes, crc } of await this.#directory()) {
      yield new PostingsEntries(this.#file.path, await this.#read(position, bytes, crc, `postings at ${position}`))
    }
  }

  /** Reads everything and compares it with the footer. Throws `damagedData`. */
  async checkBody(): Promise<void> {
    const slice = Buffer.allocUnsafeSlow(1024 * 1024)
    let crc = 0
    for (let at = 0; at < this.footer.bodyBytes; ) {
      const wanted = Math.min(slice.length, this.footer.bodyBytes - at)
      const found = await readFrom(this.#file, slice.subarray(0, wanted), at)
      if (found < wanted)
        throw damaged(
          this.#file.path,
          `found its end at ${at + found}, wanted ${this.footer.bodyBytes} bytes and a footer`,
        )
      crc = crc32c(slice.subarray(0, found), crc)
      at += found
    }
    if (crc !== this.footer.bodyChecksum)
      throw damaged(this.#file.path, `found checksum ${crc}, wanted ${this.footer.bodyChecksum}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close()
  }

  async #directory(): Promise<readonly Block[]> {
    this.#blocks ??= await this.#readDirectory()
    return this.#blocks
  }

  async #readDirectory(): Promise<Block[]> {
    const path = this.#file.path
    for (const section of this.#sections) {
      if (section.kind !== SectionKind.postings) continue
      const header = Buffer.alloc(POSTINGS_HEADER_BYTES)
      if (section.length < header.length || (await readFrom(this.#file, header, section.position)) < header.length) {
        throw damaged(path, 'found a postings section without a header')
      }
      const [count, directoryBytes, crc] = [
        header.readUInt32LE(4),
        header.readUInt32LE(8),
        header.readUInt32LE(POSTINGS_HEADER_CRC),
      ]
      if (directoryBytes > section.length - header.length)
        throw damaged(path, `found a directory of ${directoryBytes} bytes`)
      const start = section.position + header.length
      const seed = crc32c(header.subarray(0, POSTINGS_HEADER_CRC))
      const directory = await this.#read(start, directoryBytes, crc, 'the postings directory', seed)
      if (header[0] !== PostingsKind.stream) continue
      return decodeDirectory(path, directory, count, start + directoryBytes, section.position + section.length)
    }
    return []
  }

  async #read(position: number, length: number, crc: number, what: string, seed = 0): Promise<Buffer> {
    const bytes = Buffer.allocUnsafe(length)
    const found = await readFrom(this.#file, bytes, position)
    if (found < length) throw damaged(this.#file.path, `found ${found} bytes of ${what}, wanted ${length}`)
    if (crc32c(bytes, seed) !== crc) throw damaged(this.#file.path, `found a checksum of ${what} that does not hold`)
    return bytes
  }
}

/** What the disk cannot read is damage like any other. */
async function readFrom(file: File, target: Buffer, position: number): Promise<number> {
  try {
    return await file.read(target, position)
  } catch (error) {
    if (isUnreadable(error)) throw damaged(file.path, `found ${String(error)} at byte ${position}`)
    throw error
  }
}

async function footerOf(file: File): Promise<Footer | undefined> {
  const sizeBytes = await file.sizeBytes()
  if (sizeBytes < FOOTER_BYTES) return undefined
  const bytes = Buffer.alloc(FOOTER_BYTES)
  if ((await readFrom(file, bytes, sizeBytes - FOOTER_BYTES)) < FOOTER_BYTES) return undefined
  const footer = decodeFooter(bytes)
  return footer?.bodyBytes === sizeBytes - FOOTER_BYTES ? footer : undefined
}

async function sectionsOf(file: File, footer: Footer): Promise<Section[]> {
  const start = Buffer.alloc(SIDECAR_HEADER_BYTES)
  await readFrom(file, start, 0)
  if (!isSidecarHeader(start)) throw damaged(file.path, 'found another header')
  const sections: Section[] = []
  const header = Buffer.alloc(SECTION_HEADER_BYTES)
  for (let at = SIDECAR_HEADER_BYTES; at < footer.bodyBytes; ) {
    if ((await readFrom(file, header, at)) < header.length)
      throw damaged(file.path, `found its end at ${at}, inside a section`)
    const decoded = decodeSectionHeader(header)
    if (decoded === undefined) throw damaged(file.path, `found a section header at ${at} that does not hold`)
    const section = { ...decoded, position: at + header.length }
    at = section.position + section.length
    if (at > footer.bodyBytes)
      throw damaged(file.path, `found a section of ${section.length} bytes at ${section.position}`)
    sections.push(section)
  }
  return sections
}

function decodeDirectory(path: string, bytes: Buffer, count: number, start: number, end: number): Block[] {
  const blocks: Block[] = []
  let at = 0
  for (let left = count; left > 0; left--) {
    if (bytes.length - at < DIRECTORY_ENTRY_BYTES) throw damaged(path, 'found a postings directory that is too short')
    const position = start + bytes.readUInt32LE(at)
    const blockBytes = bytes.readUInt32LE(at + 4)
    const nameEnd = at + DIRECTORY_ENTRY_BYTES + bytes.readUInt16LE(at + 12)
    if (nameEnd > bytes.length || position + blockBytes > end)
      throw damaged(path, 'found a postings directory that points outside')
    const firstName = bytes.subarray(at + DIRECTORY_ENTRY_BYTES, nameEnd)
    blocks.push({ position, bytes: blockBytes, crc: bytes.readUInt32LE(at + 8), firstName })
    at = nameEnd
  }
  return blocks
}

function* streamsIn(entries: PostingsEntries): Generator<StreamPostings> {
  while (entries.next()) {
    const offsets: number[] = []
    entries.readOffsets(offsets)
    yield { stream: entries.stream, firstVersion: entries.firstVersion, offsets }
  }
}

function damaged(path: string, found: string): PlayheadError {
  return new PlayheadError('damagedData', `${path}: ${found}; delete the file, it is rebuilt from its segment`, {
    file: path,
  })
}
