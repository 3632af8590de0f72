/**
 * Keys of a log's derived state in the checkpoint store, and the value that a stream's head has there. docs/formats/cache.md has the words.
 *
 *   prefix = topic id (16 bytes) | u32 BE partition
 *   prefix 'h' name                             head block: heads of streams from that name on, as head-block.ts draws it
 *                                               head: varints lastVersion, firstVersion, lastOffset, tailCount | tail: packed offsets
 *   prefix 'i'                                  varints indexedTo, reachesTo, hasStreams (0 or 1)
 *   prefix 'p' u16 BE bytes, stream, u64 BE v   chunk: varint count, packed offsets of versions v, v + 1 …
 *
 * Everything else that a log keeps there has a kind byte below 'h' (Log owns those).
 * Invariant: a head's tail holds the newest events, the chunks hold all before it without gap, so a stream of few events is only there.
 * Neighbours: StreamIndex reads and writes these.
 */
import assert from 'node:assert/strict'
import { readI64BE, writeI64BE } from '../protocol/bytes.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { unpackOffsets, VarintReader, varintBytesMax, writeVarint } from './postings.ts'

const HEAD = 0x68
const STATE = 0x69
const CHUNK = 0x70
export const logPrefixBytes = 20

/** A stream as the checkpoint store knows it. Events after lastOffset are not in the store yet. */
export interface StreamHead {
  readonly lastVersion: number
  /** The first version whose offset is known; events before it are gone from the log. One more than the last: all of them are. */
  readonly firstVersion: number
  /** No event of the stream below this offset is missing here; that of the last event, unless all are gone. */
  readonly lastOffset: number
}

export interface StoredHead extends StreamHead {
  /** How many of the newest events are in `tail`; the others are in chunks. */
  readonly tailCount: number
  readonly tail: Buffer
}

export interface IndexState {
  /** Events below this offset are in the store. */
  readonly indexedTo: number
  /** Events below this offset may be in the store: a write that ended halfway reached so far. */
  readonly reachesTo: number
  /** There are head blocks in the store. */
  readonly hasStreams: boolean
}

/** Before every key of one log. `topicId`: 16 bytes. */
export function logPrefix(topicId: Buffer, partition: number): Buffer {
  assert(topicId.length === 16, 'a topic id has 16 bytes')
  const prefix = Buffer.alloc(logPrefixBytes)
  topicId.copy(prefix)
  prefix.writeUInt32BE(partition, 16)
  return prefix
}

/** The key of the head block whose first name this is; also what a stream's block is looked for with. */
export function headBlockKey(prefix: Buffer, name: Buffer): Buffer {
  const key = Buffer.allocUnsafe(prefix.length + 1 + name.length)
  prefix.copy(key)
  key[prefix.length] = HEAD
  name.copy(key, prefix.length + 1)
  return key
}

/** Of the whole index of a log but its state: every head, every chunk. */
export function indexRanges(prefix: Buffer): { from: Buffer; to: Buffer }[] {
  return [HEAD, CHUNK].map((kind) => ({ from: Buffer.from([...prefix, kind]), to: Buffer.from([...prefix, kind + 1]) }))
}

export function stateKey(prefix: Buffer): Buffer {
  return Buffer.from([...prefix, STATE])
}

export function chunkKey(prefix: Buffer, stream: string, firstVersion: number): Buffer {
  const bytes = Buffer.byteLength(stream)
  const key = Buffer.allocUnsafe(prefix.length + 3 + bytes + 8)
  prefix.copy(key)
  key[prefix.length] = CHUNK
  key.writeUInt16BE(bytes, prefix.length + 1)
  key.write(stream, prefix.length + 3)
  writeI64BE(key, prefix.length + 3 + bytes, firstVersion)
  return key
}

export function versionOfChunkKey(key: Buffer): number {
  return readI64BE(key, key.length - 8)
}

export function encodeState(state: IndexState): Buffer {
  const bytes = Buffer.alloc(3 * varintBytesMax)
  const end = writeVarint(bytes, writeVarint(bytes, 0, state.indexedTo), state.reachesTo)
  return bytes.subarray(0, writeVarint(bytes, end, state.hasStreams ? 1 : 0))
}

export function decodeState(bytes: Buffer): IndexState {
  const reader = new VarintReader(bytes)
  return { indexedTo: reader.next(), reachesTo: reader.next(), hasStreams: reader.next() === 1 }
}

export function encodeHead(head: StoredHead): Buffer {
  const bytes = Buffer.allocUnsafe(4 * varintBytesMax + head.tail.length)
  let at = writeVarint(bytes, 0, head.lastVersion)
  at = writeVarint(bytes, at, head.firstVersion)
  at = writeVarint(bytes, at, head.lastOffset)
  at = writeVarint(bytes, at, head.tailCount)
  return bytes.subarray(0, at + head.tail.copy(bytes, at))
}

export function decodeHead(bytes: Buffer): StoredHead {
  const reader = new VarintReader(bytes)
  const lastVersion = reader.next()
  const firstVersion = reader.next()
  const lastOffset = reader.next()
  const tailCount = reader.next()
  if (firstVersion > lastVersion + 1 || tailCount > lastVersion + 1 - firstVersion) {
    throw new PlayheadError(
      'damagedData',
      `stream head: found versions ${firstVersion} to ${lastVersion} with ${tailCount} in the tail`,
    )
  }
  return { lastVersion, firstVersion, lastOffset, tailCount, tail: bytes.subarray(reader.at) }
}

/** The offsets of a head's tail; their versions end with lastVersion. */
export function tailOffsets(head: StoredHead): number[] {
  const offsets: number[] = []
  unpackOffsets(head.tail, 0, head.tail.length, head.tailCount, offsets)
  return offsets
}

/** The version of the event at `offset`; -1 where it is not one of the tail's. */
export function versionInTail(head: StoredHead, offset: number): number {
  const place = tailOffsets(head).indexOf(offset)
  return place < 0 ? -1 : head.lastVersion + 1 - head.tailCount + place
}
