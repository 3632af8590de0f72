/**
 * RecordFilter: a batch without some of its records, as compaction writes it. Offsets, times and the producer's numbers stay as they were; each record
 * with a key that is kept carries its version in front of its other headers, since the events that it would be counted by may be gone.
 * Invariant: what comes out is a valid batch with the same base offset and last offset delta, and at least one record.
 * Neighbours: record.ts draws a record; storage's compaction says which to keep, versionsIn reads the versions back.
 */
import {
  BATCH_HEADER_BYTES,
  baseOffset,
  baseTimestamp,
  batchBytes,
  codec,
  isAppendTime,
  maxTimestamp,
  recordCount,
  refillBatch,
} from './batch-header.ts'
import type { Compression } from './batch-header.ts'
import { readI64BE, writeI64BE } from './bytes.ts'
import { compressRecords } from './compression.ts'
import { VARINT_BYTES_MAX, varintBytes, VarintReader, writeVarint } from './varint.ts'

/** What becomes of a record, beside the version that it is kept with. */
export const REMOVED = -2
/** For records without a key, which have no version. */
export const UNCHANGED = -1

/** A version, REMOVED or UNCHANGED. A negative `keyStart`: there is no key; negative `valueBytes`: there is no value. */
export type KeepRecord = (
  offset: number,
  records: Buffer,
  keyStart: number,
  keyEnd: number,
  valueBytes: number,
) => number

/** | name length 1 | 'v' | value length 8 | i64 big-endian | */
const VERSION_HEADER_BYTES = 11
const NAME_LENGTH = 0x02
const NAME = 0x76
const VALUE_LENGTH = 0x10

/** Whether the records of a batch carry their versions already. */
export type Versions = 'written' | 'missing'

export class RecordFilter {
  #out = Buffer.allocUnsafeSlow(64 * 1024)
  #end = 0
  #maxTimestampDelta = 0

  /**
   * The batch at `at`, `records` being what stands behind its header, decompressed. Undefined: nothing is left of it. The answer is the batch itself where
   * nothing changes, else memory that is used again with the next call.
   */
  filter(bytes: Buffer, at: number, records: Buffer, versions: Versions, keep: KeepRecord): Buffer | undefined {
    const end = at + batchBytes(bytes, at)
    this.#end = BATCH_HEADER_BYTES
    this.#maxTimestampDelta = -Infinity
    this.#makeRoom(records.length + recordCount(bytes, at) * (VERSION_HEADER_BYTES + VARINT_BYTES_MAX))
    const kept = this.#records(baseOffset(bytes, at), recordCount(bytes, at), records, versions, keep)
    if (kept === 0) return undefined
    if (kept === recordCount(bytes, at) && versions === 'written') return bytes.subarray(at, end)
    bytes.copy(this.#out, 0, at, at + BATCH_HEADER_BYTES)
    const timestamp = isAppendTime(bytes, at)
      ? maxTimestamp(bytes, at)
      : baseTimestamp(bytes, at) + this.#maxTimestampDelta
    const name = codec(bytes, at)
    let batch = this.#out.subarray(0, this.#end)
    if (name !== 'none') {
      const compressed = compressRecords(batch.subarray(BATCH_HEADER_BYTES), name as Compression)
      batch = Buffer.concat([batch.subarray(0, BATCH_HEADER_BYTES), compressed])
    }
    refillBatch(batch, kept, timestamp)
    return batch
  }

  /** Answers how many are kept. */
  #records(base: number, count: number, records: Buffer, versions: Versions, keep: KeepRecord): number {
    const reader = new VarintReader(records, 0, records.length)
    let kept = 0
    for (let left = count; left > 0; left--) {
      const start = reader.at
      const bodyBytes = reader.length(1)
      const bodyAt = reader.at
      const end = bodyAt + bodyBytes
      reader.at++ // attributes
      const timestampDelta = reader.next()
      const offset = base + reader.next()
      const keyBytes = reader.skip(-1)
      const keyEnd = reader.at
      const valueBytes = reader.skip(-1)
      const version = keep(offset, records, keyBytes < 0 ? -1 : keyEnd - keyBytes, keyEnd, valueBytes)
      if (version !== REMOVED) {
        kept++
        if (timestampDelta > this.#maxTimestampDelta) this.#maxTimestampDelta = timestampDelta
        if (version === UNCHANGED || versions === 'written') this.#end += records.copy(this.#out, this.#end, start, end)
        else this.#addVersion(records, bodyAt, reader, end, version)
      }
      reader.at = end
    }
    return kept
  }

  /** The record with its version as the first header; the reader stands on the count of headers. */
  #addVersion(records: Buffer, bodyAt: number, reader: VarintReader, end: number, version: number): void {
    const fieldsEnd = reader.at
    const headerCount = reader.next()
    const out = this.#out
    const bodyBytes = fieldsEnd - bodyAt + varintBytes(headerCount + 1) + VERSION_HEADER_BYTES + end - reader.at
    let at = writeVarint(out, this.#end, bodyBytes)
    at += records.copy(out, at, bodyAt, fieldsEnd)
    at = writeVarint(out, at, headerCount + 1)
    out[at] = NAME_LENGTH
    out[at + 1] = NAME
    out[at + 2] = VALUE_LENGTH
    writeI64BE(out, at + 3, version)
    at += VERSION_HEADER_BYTES
    this.#end = at + records.copy(out, at, reader.at, end)
  }

  #makeRoom(bytes: number): void {
    if (BATCH_HEADER_BYTES + bytes <= this.#out.length) return
    this.#out = Buffer.allocUnsafeSlow(2 * (BATCH_HEADER_BYTES + bytes))
  }
}

/** Visits each record with a key and the version that it carries, of a batch that a RecordFilter has written; -1 where it carries none. */
export function versionsIn(
  bytes: Buffer,
  at: number,
  records: Buffer,
  visit: (keyStart: number, keyEnd: number, offset: number, version: number) => void,
): void {
  const reader = new VarintReader(records, 0, records.length)
  const base = baseOffset(bytes, at)
  for (let left = recordCount(bytes, at); left > 0; left--) {
    const end = reader.length(1) + reader.at
    reader.at++ // attributes
    reader.next() // timestamp delta
    const offset = base + reader.next()
    const keyBytes = reader.skip(-1)
    const keyEnd = reader.at
    reader.skip(-1)
    if (keyBytes >= 0) {
      const isVersion = reader.next() > 0 && hasVersion(records, reader.at, end)
      visit(keyEnd - keyBytes, keyEnd, offset, isVersion ? readI64BE(records, reader.at + 3) : -1)
    }
    reader.at = end
  }
}

function hasVersion(records: Buffer, at: number, end: number): boolean {
  const isThere = at + VERSION_HEADER_BYTES <= end
  return isThere && records[at] === NAME_LENGTH && records[at + 1] === NAME && records[at + 2] === VALUE_LENGTH
}
