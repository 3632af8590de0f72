/**
 * The writing side of sidecars: turns what is known of a sealed segment into the bytes of its `.idx` file. Invariant: streams and blocks are
 * in byte order, and every part is behind a checksum. Runs in the background of appends, so it yields to the event loop as it goes.
 * Neighbours: Log calls it when it seals, recovery when a sidecar is missing; sidecar-format.ts draws the bytes, sidecar.ts reads them.
 */
import type { Clock } from '../platform/clock.ts'
import { crc32c } from '../protocol/crc32c.ts'
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
import { sortNames } from './stream-names.ts'

/** A block ends with the stream that takes it past this, so finding a stream reads about so much. */
const blockBytesMin = 16 * 1024
const streamsPerTurn = 512

export interface SidecarInput {
  readonly summary: SegmentSummary
  /** OffsetIndex.encode() and TimeIndex.encode() of the segment. */
  readonly offsets: Buffer
  readonly times: Buffer
  /** ProducerState.snapshot() as it was at the segment's end. */
  readonly producers: Buffer
  /** Every event of the segment with a stream. */
  readonly postings: RecentPostings
  /** The version of the event of `stream` at `offset`, which is the stream's first one in the segment: StreamIndex.versionAt. */
  readonly versionAt: (stream: string, offset: number) => number
  readonly clock: Clock
}

/** The parts of the file, in order. */
export async function writeSidecar(input: SidecarInput): Promise<Buffer[]> {
  const { summary, postings, clock } = input
  const parts = [
    encodeSidecarHeader(),
    ...section(SectionKind.offsets, [input.offsets]),
    ...section(SectionKind.times, [input.times]),
    ...section(SectionKind.producers, [input.producers]),
    ...section(SectionKind.postings, await encodePostings(input)),
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

async function encodePostings({ postings, versionAt, clock }: SidecarInput): Promise<Buffer[]> {
  const names = await sortNames([...postings.names()], 'bytes', clock)
  const directory: Buffer[] = []
  const blocks: Buffer[] = []
  let block: Buffer[] = []
  let [blockBytes, blockStart] = [0, 0]
  let firstName = ''
  const endBlock = () => {
    if (block.length === 0) return
    const bytes = Buffer.concat(block, blockBytes)
    directory.push(directoryEntry(blockStart, bytes, firstName))
    blocks.push(bytes)
    blockStart += bytes.length
    block = []
    blockBytes = 0
  }
  for (const [place, name] of names.entries()) {
    if (block.length === 0) firstName = name
    const slot = postings.slotOf(name)
    const entry = encodeStream(postings, slot, name, versionAt(name, postings.firstOffset(slot)))
    block.push(entry)
    blockBytes += entry.length
    if (blockBytes >= blockBytesMin) endBlock()
    if (place % streamsPerTurn === streamsPerTurn - 1) await clock.yield()
  }
  endBlock()
  const directoryBytes = Buffer.concat(directory)
  const header = Buffer.alloc(POSTINGS_HEADER_BYTES)
  header[0] = PostingsKind.stream
  header.writeUInt32LE(blocks.length, 4)
  header.writeUInt32LE(directoryBytes.length, 8)
  const crc = crc32c(directoryBytes, crc32c(header.subarray(0, POSTINGS_HEADER_CRC)))
  header.writeUInt32LE(crc, POSTINGS_HEADER_CRC)
  return [header, directoryBytes, ...blocks]
}

function directoryEntry(position: number, block: Buffer, firstName: string): Buffer {
  const entry = Buffer.alloc(DIRECTORY_ENTRY_BYTES + Buffer.byteLength(firstName))
  entry.writeUInt32LE(position, 0)
  entry.writeUInt32LE(block.length, 4)
  entry.writeUInt32LE(crc32c(block), 8)
  entry.writeUInt16LE(entry.length - DIRECTORY_ENTRY_BYTES, 12)
  entry.write(firstName, DIRECTORY_ENTRY_BYTES)
  return entry
}

function encodeStream(postings: RecentPostings, slot: number, name: string, firstVersion: number): Buffer {
  const count = postings.count(slot)
  const offsets: number[] = []
  postings.read(slot, 0, count, offsets)
  const packed = Buffer.allocUnsafe(count * varintBytesMax)
  const packedBytes = packOffsets(offsets, 0, count, -1, packed, 0)
  const nameBytes = Buffer.byteLength(name)
  const entry = Buffer.allocUnsafe(4 * varintBytesMax + nameBytes + packedBytes)
  let at = writeVarint(entry, 0, nameBytes)
  at += entry.write(name, at)
  at = writeVarint(entry, at, firstVersion)
  at = writeVarint(entry, at, count)
  at = writeVarint(entry, at, packedBytes)
  return Buffer.from(entry.subarray(0, at + packed.copy(entry, at, 0, packedBytes)))
}
