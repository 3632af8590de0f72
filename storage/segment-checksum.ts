/**
 * SegmentChecksum: the CRC-32C of a segment file from its first byte on, kept up as the file is written, so that sealing need not read it
 * again. What a batch's own checksum covers is not gone over: that checksum was found to hold when the batch arrived, and if its bytes have changed
 * since, the file will not have this checksum. Neighbours: Appender tells it what it writes, sealing.ts puts it in the sidecar.
 */
import { crc32c, crc32cOfBoth } from '../protocol/crc32c.ts'
import { BATCH_CHECKED_FROM, batchChecksum } from '../protocol/record-batch.ts'

export class SegmentChecksum {
  #value = 0
  #bytes = 0

  /** Of everything up to `endPosition`; undefined when it does not reach exactly so far. */
  at(endPosition: number): number | undefined {
    return this.#bytes === endPosition ? this.#value : undefined
  }

  /** Takes the next bytes of the file. */
  add(bytes: Buffer): void {
    this.#value = crc32c(bytes, this.#value)
    this.#bytes += bytes.length
  }

  /** The same for bytes that are exactly one valid batch. */
  addBatch(batch: Buffer): void {
    this.add(batch.subarray(0, BATCH_CHECKED_FROM))
    const rest = batch.length - BATCH_CHECKED_FROM
    this.#value = crc32cOfBoth(this.#value, batchChecksum(batch), rest)
    this.#bytes += rest
  }
}
