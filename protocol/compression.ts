/**
 * Compression of a batch's records, which are one blob behind the header: none, gzip and zstd, by node:zlib. Every decompression is
 * bounded: a few bytes that would become gigabytes are refused as batchTooLarge. Snappy and lz4 are known by name only.
 */
import { promisify } from 'node:util'
import { gunzip, gunzipSync, gzipSync, zstdCompressSync, zstdDecompress, zstdDecompressSync } from 'node:zlib'
import { BATCH_HEADER_BYTES, batchBytes, codec, unsupportedCompression } from './batch-header.ts'
import type { Codec, Compression } from './batch-header.ts'
import { PlayheadError } from './errors.ts'

const gunzipAsync = promisify(gunzip)
const zstdDecompressAsync = promisify(zstdDecompress)

/**
 * The records of the batch that stands at `at`, off the event loop; a slice where nothing is compressed. Throws unsupportedCompression,
 * batchTooLarge (more than `decompressedBytesMax`), invalidBatch (not what the codec says).
 */
export async function decompressRecords(bytes: Buffer, at: number, decompressedBytesMax: number): Promise<Buffer> {
  const records = bytes.subarray(at + BATCH_HEADER_BYTES, at + batchBytes(bytes, at))
  const name = codec(bytes, at)
  const options = { maxOutputLength: decompressedBytesMax }
  try {
    if (name === 'gzip') return await gunzipAsync(records, options)
    if (name === 'zstd') return await zstdDecompressAsync(records, options)
  } catch (error) {
    throw decompressionError(error, name, decompressedBytesMax)
  }
  return uncompressed(records, name, decompressedBytesMax)
}

/** The same while the caller waits: for clients, and for small batches. */
export function decompressRecordsSync(bytes: Buffer, at: number, decompressedBytesMax: number): Buffer {
  const records = bytes.subarray(at + BATCH_HEADER_BYTES, at + batchBytes(bytes, at))
  const name = codec(bytes, at)
  const options = { maxOutputLength: decompressedBytesMax }
  try {
    if (name === 'gzip') return gunzipSync(records, options)
    if (name === 'zstd') return zstdDecompressSync(records, options)
  } catch (error) {
    throw decompressionError(error, name, decompressedBytesMax)
  }
  return uncompressed(records, name, decompressedBytesMax)
}

/** What takes the place of the records in a batch of this codec. */
export function compressRecords(records: Buffer, compression: Compression): Buffer {
  if (compression === 'gzip') return gzipSync(records)
  if (compression === 'zstd') return zstdCompressSync(records)
  return records
}

function uncompressed(records: Buffer, name: Codec, decompressedBytesMax: number): Buffer {
  if (name !== 'none') throw unsupportedCompression(name)
  if (records.length > decompressedBytesMax) throw tooLarge(decompressedBytesMax)
  return records
}

function decompressionError(error: unknown, name: Codec, decompressedBytesMax: number): PlayheadError {
  if (error instanceof RangeError) return tooLarge(decompressedBytesMax) // ERR_BUFFER_TOO_LARGE
  const reason = error instanceof Error ? error.message : String(error)
  return new PlayheadError(
    'invalidBatch',
    `record batch: found records that are not ${name} (${reason}), wanted what the header says`,
  )
}

function tooLarge(decompressedBytesMax: number): PlayheadError {
  return new PlayheadError(
    'batchTooLarge',
    `record batch: found records of more than ${decompressedBytesMax} bytes once decompressed, wanted at most that; send smaller batches`,
    { limit: decompressedBytesMax },
  )
}
