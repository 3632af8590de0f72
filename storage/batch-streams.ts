/**
 * The streams of a batch's records, from its keys: BatchKeys for appends on their way in, eachKey for batches read again by sealing, recovery and
 * verification. Invariant: every key that comes out of here is a stream name.
 * Neighbours: key-walk.ts finds the keys, murmur2.ts checks and hashes them, RecentPostings takes them.
 */
import {
  BATCH_HEADER_BYTES,
  baseOffset,
  batchBytes,
  codec,
  KeyCursor,
  lastOffsetDelta,
  recordCount,
} from '../protocol/record-batch.ts'
import { decompressRecords } from '../protocol/compression.ts'
import { streamKeyHash } from '../protocol/murmur2.ts'

/** Where the keys of a batch lie and what they hash to, record by record; without a string or an object for any of them. */
export class BatchKeys {
  /** Without the batch header, decompressed. */
  readonly records: Buffer
  /** Records; 0 when none of them has a key. */
  readonly count: number
  /** Of each record, in `records`; -1 and -1 without a key. */
  readonly starts: Int32Array
  readonly ends: Int32Array
  readonly hashes: Int32Array

  private constructor(records: Buffer, count: number, arrays: Int32Array) {
    const each = arrays.length / 3
    this.records = records
    this.count = count
    this.starts = arrays.subarray(0, each)
    this.ends = arrays.subarray(each, 2 * each)
    this.hashes = arrays.subarray(2 * each)
  }

  /** Throws invalidBatch, invalidStream. `count`: of the records, whose offset deltas must be 0, 1, 2 … */
  static of(records: Buffer, count: number): BatchKeys {
    const cursor = new KeyCursor(records, count)
    let keys: BatchKeys | undefined
    while (cursor.next()) {
      const { keyStart, keyEnd, offsetDelta } = cursor
      if (keyStart < 0 && keys === undefined) continue
      keys ??= new BatchKeys(records, count, new Int32Array(3 * count).fill(-1, 0, 2 * count))
      if (keyStart < 0) continue
      keys.starts[offsetDelta] = keyStart
      keys.ends[offsetDelta] = keyEnd
      keys.hashes[offsetDelta] = streamKeyHash(records, keyStart, keyEnd)
    }
    return keys ?? new BatchKeys(noBytes, 0, noPlaces)
  }

  /** Whether this is one record, of that stream; nothing is made of its bytes. Told from ASCII only: any other name is `false`. */
  isOnly(stream: string): boolean {
    const { records, count } = this
    const start = this.starts[0]!
    if (count !== 1 || start < 0 || this.ends[0]! - start !== stream.length) return false
    for (let at = 0; at < stream.length; at++) {
      const byte = records[start + at]!
      if (byte > 0x7f || byte !== stream.charCodeAt(at)) return false
    }
    return true
  }

  /** The stream of a record, null without a key. */
  stream(record: number): string | null {
    const start = this.starts[record]!
    return start < 0 ? null : this.records.toString('utf8', start, this.ends[record])
  }

  /** Each stream that has records here, once. */
  streams(): Set<string> {
    const streams = new Set<string>()
    for (let record = 0; record < this.count; record++) {
      const stream = this.stream(record)
      if (stream !== null) streams.add(stream)
    }
    return streams
  }
}

const noBytes = Buffer.alloc(0)
const noPlaces = new Int32Array(0)

export type KeyVisitor = (bytes: Buffer, keyStart: number, keyEnd: number, hash: number, offset: number) => void

/** Calls `visit` for each record with a key of the valid batch at `at`, `hash` being its streamKeyHash; waits only if it is compressed. */
export function eachKey(
  bytes: Buffer,
  at: number,
  decompressedBytesMax: number,
  visit: KeyVisitor,
): Promise<void> | undefined {
  const base = baseOffset(bytes, at)
  const count = recordCount(bytes, at)
  const lastDelta = lastOffsetDelta(bytes, at)
  const walk = (records: Buffer) => {
    const cursor = new KeyCursor(records, count, lastDelta)
    while (cursor.next()) {
      const { keyStart, keyEnd, offsetDelta } = cursor
      if (keyStart >= 0) visit(records, keyStart, keyEnd, streamKeyHash(records, keyStart, keyEnd), base + offsetDelta)
    }
  }
  if (codec(bytes, at) !== 'none') return decompressRecords(bytes, at, decompressedBytesMax).then(walk)
  walk(bytes.subarray(at + BATCH_HEADER_BYTES, at + batchBytes(bytes, at)))
  return undefined
}
