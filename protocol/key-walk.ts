/**
 * The walk over the keys of a batch's records: where each key lies, without making anything per record. What brokers do before an
 * append to know its streams, and at recovery. Total: any bytes are walked to their end or refused as invalidBatch.
 */
import { BATCH_HEADER_BYTES } from './batch-header.ts'
import { PlayheadError } from './errors.ts'
import { skipHeaders } from './record.ts'
import { VarintReader } from './varint.ts'

/**
 * Calls `visit` for each of the `recordCount` records in `records` (uncompressed, without the batch header) with its offset delta and
 * the place of its key, -1 and -1 = null. Checks the whole layout: lengths, headers, offset deltas rising from 0 up to
 * `lastOffsetDelta`, no bytes left over. It may have visited some records before it throws.
 */
export function walkKeys(
  records: Buffer,
  recordCount: number,
  visit: (offsetDelta: number, keyStart: number, keyEnd: number) => void,
  lastOffsetDelta = recordCount - 1,
): void {
  const reader = new VarintReader(records, 0, records.length)
  let previous = -1
  for (let index = 0; index < recordCount; index++) {
    reader.end = records.length
    const bodyBytes = reader.length(1)
    const end = reader.at + bodyBytes
    reader.end = end
    reader.at++ // attributes: unused by the format
    reader.next() // timestamp delta
    const offsetDelta = reader.next()
    if (offsetDelta <= previous || offsetDelta > lastOffsetDelta) {
      throw reader.invalid(`offset delta ${offsetDelta} after ${previous}`, `a larger one up to ${lastOffsetDelta}`)
    }
    previous = offsetDelta
    const keyBytes = reader.skip(-1)
    const keyEnd = keyBytes < 0 ? -1 : reader.at
    const keyStart = keyBytes < 0 ? -1 : keyEnd - keyBytes
    reader.skip(-1)
    const headerCount = reader.next()
    if (headerCount !== 0) skipHeaders(reader, headerCount)
    if (reader.at !== end) throw reader.invalid(`${end - reader.at} bytes too many`, 'the end of the record')
    visit(offsetDelta, keyStart, keyEnd)
  }
  if (reader.at !== records.length) {
    throw new PlayheadError(
      'invalidBatch',
      `record batch: found ${records.length - reader.at} bytes after ${recordCount} records (byte ${BATCH_HEADER_BYTES + reader.at} on), wanted none`,
    )
  }
}
