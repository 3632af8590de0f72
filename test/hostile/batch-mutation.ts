/**
 * Mutations of record batches: header fields set to edge numbers, records changed beneath their compression, lengths and counts that lie;
 * the CRC made right afterwards, or nothing behind it would ever be looked at. Neighbours: byte-mutation.ts.
 */
import { gunzipSync, gzipSync, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { crc32c } from '../../protocol/crc32c.ts'
import { BATCH_CHECKED_FROM, BATCH_HEADER_BYTES, codec, encodeRecordBatch } from '../../protocol/record-batch.ts'
import type { Compression } from '../../protocol/record-batch.ts'
import type { RecordInput } from '../../protocol/record.ts'
import { mutateBytes } from './byte-mutation.ts'
import { extremeNumbers } from './dice.ts'
import type { Dice } from './dice.ts'

const BATCH_LENGTH = 8
const CRC = 17
const ATTRIBUTES = 21

/** Place and width of each number behind the CRC, and of the few before it. */
const fields: readonly (readonly [at: number, bytes: 1 | 2 | 4 | 8])[] = [
  [0, 8],
  [BATCH_LENGTH, 4],
  [12, 4],
  [16, 1],
  [ATTRIBUTES, 2],
  [23, 4],
  [27, 8],
  [35, 8],
  [43, 8],
  [51, 2],
  [53, 4],
  [57, 4],
]

/** Batches of every codec: with and without keys, headers, producer; of one record and of many. */
export function plainBatches(timestamp: number): Buffer[] {
  const one: RecordInput = { key: 'customer-17850', value: '{"sku":"85123A"}', timestamp }
  const headers = [
    { key: 'type', value: 'ItemAdded' },
    { key: 'id', value: Buffer.alloc(16, 7) },
    { key: 'tag', value: 'gift' },
    { key: 'note', value: null },
  ]
  const many = Array.from({ length: 12 }, (_, index) => ({
    key: index % 3 === 0 ? null : `customer-${index}`,
    value: index % 4 === 0 ? null : 'x'.repeat(index * 20),
    headers: index % 2 === 0 ? headers : undefined,
    timestamp: timestamp + index,
  }))
  const producer = { producerId: 8_114_222_333_444, producerEpoch: 0, baseSequence: 41 }
  return (['none', 'gzip', 'zstd'] as const).flatMap((compression) => [
    encodeRecordBatch([one], { compression }),
    encodeRecordBatch([{ ...one, headers }], { compression, ...producer }),
    encodeRecordBatch(many, { compression }),
  ])
}

/** A changed copy; nearly always with a right length and CRC. */
export function mutateBatch(batch: Buffer, dice: Dice, others: readonly Buffer[]): Buffer {
  let mutated = Buffer.from(batch)
  if (!dice.oneIn(3)) mutated = withRecords(mutated, dice, others)
  if (dice.oneIn(2)) setField(mutated, dice)
  return dice.oneIn(16) ? mutateBytes(mutated, dice, others) : sealed(mutated, dice)
}

function setField(bytes: Buffer, dice: Dice): void {
  const [at, width] = dice.pick(fields)
  const number = dice.pick(extremeNumbers)
  if (width === 1) bytes[at] = number & 0xff
  else if (width === 2) bytes.writeUInt16BE(number & 0xffff, at)
  else if (width === 4) bytes.writeInt32BE(number | 0, at)
  else bytes.writeBigInt64BE(BigInt(number), at)
}

function withRecords(batch: Buffer, dice: Dice, others: readonly Buffer[]): Buffer<ArrayBuffer> {
  const name = codec(batch)
  const stored = batch.subarray(BATCH_HEADER_BYTES)
  const otherRecords = others.map((other) => other.subarray(BATCH_HEADER_BYTES))
  // Half of the time what the codec made is changed itself.
  const records =
    name === 'none' || dice.oneIn(2)
      ? mutateBytes(stored, dice, otherRecords)
      : compressed(mutateBytes(decompressed(stored, name), dice, []), name)
  return Buffer.concat([batch.subarray(0, BATCH_HEADER_BYTES), records])
}

function decompressed(records: Buffer, name: string): Buffer {
  return name === 'gzip' ? gunzipSync(records) : zstdDecompressSync(records)
}

function compressed(records: Buffer, name: string): Buffer {
  return name === 'gzip' ? gzipSync(records, { level: 1 }) : zstdCompressSync(records)
}

function sealed(bytes: Buffer, dice: Dice): Buffer {
  if (bytes.length < BATCH_HEADER_BYTES) return bytes
  if (!dice.oneIn(10)) bytes.writeInt32BE(bytes.length - BATCH_LENGTH - 4, BATCH_LENGTH)
  return reseal(bytes)
}

/** In place: the CRC that the bytes have. */
function reseal(bytes: Buffer): Buffer {
  bytes.writeUInt32BE(crc32c(bytes.subarray(BATCH_CHECKED_FROM)), CRC)
  return bytes
}

/** A batch whose records, once decompressed, are these: what a bomb is made of. `count`: the records that it claims. */
export function batchOf(records: Buffer, count: number, compression: Compression): Buffer {
  const batch = encodeRecordBatch([{ key: null, value: 'x', timestamp: 0 }], { compression: 'none' })
  const stored = compression === 'none' ? records : compressed(records, compression)
  const bytes = Buffer.concat([batch.subarray(0, BATCH_HEADER_BYTES), stored])
  bytes.writeInt32BE(bytes.length - BATCH_LENGTH - 4, BATCH_LENGTH)
  bytes.writeInt16BE({ none: 0, gzip: 1, zstd: 4 }[compression], ATTRIBUTES)
  bytes.writeInt32BE(count - 1, 23)
  bytes.writeInt32BE(count, 57)
  return reseal(bytes)
}
