/**
 * The walk over the keys of a batch's records: where each key lies, without making anything per record. What brokers do before an
 * append to know its streams, and at recovery. Total: any bytes are walked to their end or refused as invalidBatch.
 */
import { BATCH_HEADER_BYTES } from './batch-header.ts'
import { PlayheadError } from './errors.ts'
import { skipHeaders } from './record.ts'
import { VarintReader } from './varint.ts'

/**
 * Stands on one record after the other of `records` (uncompressed, from byte `from` to the end). Checks the whole layout: lengths, headers, offset
 * deltas rising from 0 up to `lastOffsetDelta`, no bytes left over. It may have stood on some records before it throws.
 *
 * const cursor = new KeyCursor(records, recordCount)
 * while (cursor.next()) look(cursor.offsetDelta, cursor.keyStart, cursor.keyEnd)
 */
export class KeyCursor {
  offsetDelta = -1
  /** Where the key lies in `records`; -1 and -1 = null. */
  keyStart = -1
  keyEnd = -1
  readonly #reader: VarintReader
  readonly #recordCount: number
  readonly #lastOffsetDelta: number
  readonly #from: number
  #visited = 0

  constructor(records: Buffer, recordCount: number, lastOffsetDelta = recordCount - 1, from = 0) {
    this.#reader = new VarintReader(records, from, records.length)
    this.#from = from
    this.#recordCount = recordCount
    this.#lastOffsetDelta = lastOffsetDelta
  }

  /** Moves to the next record; false after the last one. Throws invalidBatch. */
  next(): boolean {
    const reader = this.#reader
    reader.end = reader.bytes.length
    if (this.#visited === this.#recordCount) return this.#checkEnd()
    this.#visited++
    const bodyBytes = reader.length(1)
    const end = reader.at + bodyBytes
    reader.end = end
    reader.at++ // attributes: unused by the format
    reader.next() // timestamp delta
    const offsetDelta = reader.next()
    if (offsetDelta <= this.offsetDelta || offsetDelta > this.#lastOffsetDelta) {
      const wanted = `a larger one up to ${this.#lastOffsetDelta}`
      throw reader.invalid(`offset delta ${offsetDelta} after ${this.offsetDelta}`, wanted)
    }
    this.offsetDelta = offsetDelta
    const keyBytes = reader.skip(-1)
    this.keyEnd = keyBytes < 0 ? -1 : reader.at
    this.keyStart = keyBytes < 0 ? -1 : reader.at - keyBytes
    reader.skip(-1)
    const headerCount = reader.next()
    if (headerCount !== 0) skipHeaders(reader, headerCount)
    if (reader.at !== end) throw reader.invalid(`${end - reader.at} bytes too many`, 'the end of the record')
    return true
  }

  #checkEnd(): false {
    const { at, bytes } = this.#reader
    if (at === bytes.length) return false
    throw new PlayheadError(
      'invalidBatch',
      `record batch: found ${bytes.length - at} bytes after ${this.#recordCount} records (byte ${BATCH_HEADER_BYTES + at - this.#from} on), wanted none`,
    )
  }
}

/** Calls `visit` for each record that a KeyCursor stands on. */
export function walkKeys(
  records: Buffer,
  recordCount: number,
  visit: (offsetDelta: number, keyStart: number, keyEnd: number) => void,
  lastOffsetDelta = recordCount - 1,
): void {
  const cursor = new KeyCursor(records, recordCount, lastOffsetDelta)
  while (cursor.next()) visit(cursor.offsetDelta, cursor.keyStart, cursor.keyEnd)
}
