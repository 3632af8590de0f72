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
import { versionsIn } from '../protocol/record-filter.ts'

/**
 * Where the keys of a batch lie and what they hash to, record by record; without a string or an object for any of them. Their places lie in an
 * array that many batches share: one of its own costs more than all else about a batch of one event.
 */
export class BatchKeys {
  /** The keys lie in here: in the batch itself, or in what was decompressed of it. */
  readonly bytes: Buffer
  /** Records; 0 when none of them has a key. */
  readonly count: number
  /** The starts of all records' keys in `bytes` from `startsAt` on, then their ends, then their hashes; start and end are -1 without a key. */
  readonly #places: Int32Array
  readonly #startsAt: number

  private constructor(bytes: Buffer, count: number, places: Places) {
    this.bytes = bytes
    this.count = count
    this.#places = places.array
    this.#startsAt = places.at
  }

  /**
   * Throws invalidBatch, invalidStream. `bytes`: with the records from byte `from` to the end; `count`: of the records, whose offset deltas must be
   * 0, 1, 2 …
   */
  static of(bytes: Buffer, from: number, count: number): BatchKeys {
    const cursor = new KeyCursor(bytes, count, count - 1, from)
    let places: Places | undefined
    while (cursor.next()) {
      const { keyStart, keyEnd, offsetDelta } = cursor
      if (keyStart < 0) continue
      places ??= takePlaces(count)
      const { array } = places
      const at = places.at + offsetDelta
      array[at] = keyStart
      array[at + count] = keyEnd
      array[at + 2 * count] = streamKeyHash(bytes, keyStart, keyEnd)
    }
    return places === undefined ? noKeys : new BatchKeys(bytes, count, places)
  }

  /** For `noKeys`. */
  static none(): BatchKeys {
    return new BatchKeys(Buffer.alloc(0), 0, { array: new Int32Array(0), at: 0 })
  }

  /** Of a record's key in `bytes`; -1 without one. */
  start(record: number): number {
    return this.#places[this.#startsAt + record]!
  }

  end(record: number): number {
    return this.#places[this.#startsAt + this.count + record]!
  }

  /** The streamKeyHash of a record's key. */
  hash(record: number): number {
    return this.#places[this.#startsAt + 2 * this.count + record]!
  }

  /** Whether this is one record, of that stream; nothing is made of its bytes. Told from ASCII only: any other name is `false`. */
  isOnly(stream: string): boolean {
    const { bytes, count } = this
    if (count !== 1) return false
    const start = this.start(0)
    if (start < 0 || this.end(0) - start !== stream.length) return false
    for (let at = 0; at < stream.length; at++) {
      const byte = bytes[start + at]!
      if (byte > 0x7f || byte !== stream.charCodeAt(at)) return false
    }
    return true
  }

  /** The stream of a record, null without a key. */
  stream(record: number): string | null {
    const start = this.start(record)
    return start < 0 ? null : this.bytes.toString('utf8', start, this.end(record))
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

const noKeys = BatchKeys.none()

/** From `at` on there is room for starts, ends and hashes. */
interface Places {
  readonly array: Int32Array
  readonly at: number
}

const sharedPlaces = 3 * 4096
/** Batches with more records than this have an array of their own. */
const sharingRecordsMax = 256
let shared = new Int32Array(0)
let sharedEnd = 0

/** Room for the places of `count` records, -1 where their starts and ends go. What is shared lives as long as any of its batches. */
function takePlaces(count: number): Places {
  if (count > sharingRecordsMax) return { array: new Int32Array(3 * count).fill(-1, 0, 2 * count), at: 0 }
  if (sharedEnd + 3 * count > shared.length) {
    shared = new Int32Array(sharedPlaces)
    sharedEnd = 0
  }
  const at = sharedEnd
  sharedEnd += 3 * count
  shared.fill(-1, at, at + 2 * count)
  return { array: shared, at }
}

/** The keys of the valid batch at `at`; undefined where they are not to be had at once, or some of its offsets are missing: eachKey has those. */
export function keysOf(bytes: Buffer, at: number): BatchKeys | undefined {
  const count = recordCount(bytes, at)
  if (codec(bytes, at) !== 'none' || lastOffsetDelta(bytes, at) !== count - 1) return undefined
  return BatchKeys.of(bytes.subarray(0, at + batchBytes(bytes, at)), at + BATCH_HEADER_BYTES, count)
}

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

export type KeyVersionVisitor = (
  bytes: Buffer,
  keyStart: number,
  keyEnd: number,
  offset: number,
  version: number,
) => void

/** The same for a batch that compaction has written, with the version that each record carries; -1 = none. */
export function eachKeyVersion(
  bytes: Buffer,
  at: number,
  decompressedBytesMax: number,
  visit: KeyVersionVisitor,
): Promise<void> | undefined {
  const walk = (records: Buffer) =>
    versionsIn(bytes, at, records, (keyStart, keyEnd, offset, version) =>
      visit(records, keyStart, keyEnd, offset, version),
    )
  if (codec(bytes, at) !== 'none') return decompressRecords(bytes, at, decompressedBytesMax).then(walk)
  walk(bytes.subarray(at + BATCH_HEADER_BYTES, at + batchBytes(bytes, at)))
  return undefined
}
