/**
 * The writing side of sidecars: turns what is known of a sealed segment into the bytes of its `.idx` file. Invariant: streams and blocks are
 * in byte order, and every part is behind a checksum. Runs in the background of appends, so it yields to the event loop as it goes.
 * Neighbours: Log calls it when it seals, recovery when a sidecar is missing; sidecar-format.ts draws the bytes, sidecar.ts reads them.
 */
import type { Yielding } from '../platform/clock.ts'
import { crc32c } from '../protocol/crc32c.ts'
import { MergedStreams, type StreamPart } from './merged-streams.ts'
import { packOffsets, varintBytesMax, writeVarint } from './postings.ts'
import type { RecentPostings } from './recent-postings.ts'
import {
  DIRECTORY_ENTRY_BYTES,
  encodeFooter,
  encodeSectionHeader,
  encodeSidecarHeader,
  POSTINGS_HEADER_BYTES,
  POSTINGS_HEADER_CRC,
  PostingsKind,
  SectionKind,
  type SegmentSummary,
} from './sidecar-format.ts'

/** A block ends with the stream that takes it past this, so finding a stream reads about so much. */
const blockBytesMin = 16 * 1024
/** Streams written between two yields to the event loop: less than a millisecond where their versions are known, up to 16 ms where each is looked up. */
const streamsPerTurn = 512

export interface SidecarInput {
  readonly summary: SegmentSummary
  /** OffsetIndex.encode() and TimeIndex.encode() of the segment. */
  readonly offsets: Buffer
  readonly times: Buffer
  /** ProducerState.snapshot() as it was at the segment's end. */
  readonly producers: Buffer
  /** Every event of the segment with a stream, in one table or several that follow each other. They must not grow any more. */
  readonly tables: readonly RecentPostings[]
  /** The version of a stream's first event in the segment, for all its parts. Not asked where the tables know; streams come in order. */
  readonly versionOf: (parts: readonly StreamPart[]) => number
  readonly clock: Yielding
}

/** The parts of the file, in order. */
export async function writeSidecar(input: SidecarInput): Promise<Buffer[]> {
  const { summary, clock } = input
  const postings = await encodePostings(input)
  const parts = [
    encodeSidecarHeader(),
    ...section(SectionKind.offsets, [input.offsets]),
    ...section(SectionKind.times, [input.times]),
    ...section(SectionKind.producers, [input.producers]),
    ...section(SectionKind.postings, postings.parts),
  ]
  let bodyBytes = 0
  let bodyChecksum = 0
  for (const [place, part] of parts.entries()) {
    bodyBytes += part.length
    bodyChecksum = crc32c(part, bodyChecksum)
    if (place % 256 === 255) await clock.yield()
  }
  parts.push(encodeFooter({ ...summary, streams: postings.streams, bodyBytes, bodyChecksum }))
  return parts
}

function section(kind: SectionKind, parts: readonly Buffer[]): Buffer[] {
  let [length, crc] = [0, 0]
  for (const part of parts) {
    length += part.length
    crc = crc32c(part, crc)
  }
  return [encodeSectionHeader(kind, length, crc), ...parts]
}

interface EncodedPostings {
  readonly parts: Buffer[]
  readonly streams: number
}

async function encodePostings({ tables, versionOf, clock }: SidecarInput): Promise<EncodedPostings> {
  const merged = await MergedStreams.of(tables, clock)
  const directory: Buffer[] = []
  const blocks: Buffer[] = []
  const block = new BlockWriter()
  let firstName: Buffer = noName
  let [streams, blockStart] = [0, 0]
  const endBlock = () => {
    if (block.bytes === 0) return
    const bytes = block.take()
    directory.push(directoryEntry(blockStart, bytes, firstName))
    blocks.push(bytes)
    blockStart += bytes.length
  }
  for (let parts = merged.next(); parts !== undefined; parts = merged.next()) {
    const { table, slot } = parts[0]!
    if (block.bytes === 0) firstName = table.keys.key(slot)
    const declared = table.firstVersion(slot)
    const firstVersion = declared >= 0 ? declared : versionOf(parts)
    block.add(parts, firstVersion)
    if (block.bytes >= blockBytesMin) endBlock()
    streams++
    if (streams % streamsPerTurn === 0) await clock.yield()
  }
  endBlock()
  const directoryBytes = Buffer.concat(directory)
  const header = Buffer.alloc(POSTINGS_HEADER_BYTES)
  header[0] = PostingsKind.stream
  header.writeUInt32LE(blocks.length, 4)
  header.writeUInt32LE(directoryBytes.length, 8)
  const crc = crc32c(directoryBytes, crc32c(header.subarray(0, POSTINGS_HEADER_CRC)))
  header.writeUInt32LE(crc, POSTINGS_HEADER_CRC)
  return { parts: [header, directoryBytes, ...blocks], streams }
}

const noName = Buffer.alloc(0)

function directoryEntry(position: number, block: Buffer, firstName: Buffer): Buffer {
  const entry = Buffer.alloc(DIRECTORY_ENTRY_BYTES + firstName.length)
  entry.writeUInt32LE(position, 0)
  entry.writeUInt32LE(block.length, 4)
  entry.writeUInt32LE(crc32c(block), 8)
  entry.writeUInt16LE(firstName.length, 12)
  firstName.copy(entry, DIRECTORY_ENTRY_BYTES)
  return entry
}

/** The streams of one block, written one behind the other; nothing is made per stream. */
class BlockWriter {
  bytes = 0
  #buffer = Buffer.allocUnsafeSlow(2 * blockBytesMin)
  #packed = Buffer.allocUnsafeSlow(blockBytesMin)

  add(parts: readonly StreamPart[], firstVersion: number): void {
    const offsets: number[] = []
    for (const { table, slot } of parts) table.read(slot, 0, table.count(slot), offsets)
    const { table, slot } = parts[0]!
    if (offsets.length * varintBytesMax > this.#packed.length)
      this.#packed = Buffer.allocUnsafeSlow(offsets.length * varintBytesMax)
    const packedBytes = packOffsets(offsets, 0, offsets.length, -1, this.#packed, 0)
    const nameBytes = table.keys.keyBytes(slot)
    this.#makeRoom(4 * varintBytesMax + nameBytes + packedBytes)
    let at = writeVarint(this.#buffer, this.bytes, nameBytes)
    at = table.keys.copyKey(slot, this.#buffer, at)
    at = writeVarint(this.#buffer, at, firstVersion)
    at = writeVarint(this.#buffer, at, offsets.length)
    at = writeVarint(this.#buffer, at, packedBytes)
    this.bytes = at + this.#packed.copy(this.#buffer, at, 0, packedBytes)
  }

  /** What is written so far; the next block begins. */
  take(): Buffer {
    const block = Buffer.from(this.#buffer.subarray(0, this.bytes))
    this.bytes = 0
    return block
  }

  #makeRoom(bytes: number): void {
    if (this.bytes + bytes <= this.#buffer.length) return
    const larger = Buffer.allocUnsafeSlow(2 * (this.bytes + bytes))
    this.#buffer.copy(larger, 0, 0, this.bytes)
    this.#buffer = larger
  }
}
