/** Record batches of 100-byte records: encoding, walking keys, decoding. */
import { ReplayBatch } from '../../client/replay-batch.ts'
import { BatchMemory } from '../../protocol/batch-memory.ts'
import { crc32c } from '../../protocol/crc32c.ts'
import { partitionOf } from '../../protocol/murmur2.ts'
import { BATCH_HEADER_BYTES, RecordBatch, RecordBatchBuilder, walkKeys } from '../../protocol/record-batch.ts'
import { bench } from '../harness.ts'
import type { Bench } from '../harness.ts'

const value = Buffer.alloc(100, 'v')
const recordsPerBatch = 500

function fill(builder: RecordBatchBuilder): void {
  for (let index = 0; index < recordsPerBatch; index++) {
    builder.append({ key: `customer-${index}`, value, timestamp: 1_700_000_000_000 + index })
  }
}

const memory = new BatchMemory(72 * 1024, 1024 * 1024)
const recycling = new RecordBatchBuilder(memory)
const window = { fromOffset: 0, untilOffset: Number.POSITIVE_INFINITY, types: undefined }
const builder = new RecordBatchBuilder()
fill(builder)
const batch = builder.build()

export const benches: readonly Bench[] = [
  bench('record batch: encode 100 B records', { smoke: 5_000, full: 2_000_000 }, (count) => {
    let hash = 0
    for (let done = 0; done < count; done += recordsPerBatch) {
      fill(builder)
      hash = (hash * 31 + builder.build().readUInt32BE(17)) | 0
    }
    return hash
  }),
  bench('record batch: encode 100 B records into recycled memory', { smoke: 5_000, full: 2_000_000 }, (count) => {
    let hash = 0
    for (let done = 0; done < count; done += recordsPerBatch) {
      fill(recycling)
      const built = recycling.build()
      hash = (hash * 31 + built.readUInt32BE(17)) | 0
      memory.give(built)
    }
    return hash
  }),
  bench('record batch: walk keys of 100 B records', { smoke: 5_000, full: 10_000_000 }, (count) => {
    const records = batch.subarray(BATCH_HEADER_BYTES)
    let hash = 0
    for (let done = 0; done < count; done += recordsPerBatch) {
      walkKeys(records, recordsPerBatch, (offsetDelta, keyStart, keyEnd) => {
        hash = (hash * 31 + offsetDelta + keyStart + keyEnd) | 0
      })
    }
    return hash
  }),
  bench('record batch: decode 100 B records', { smoke: 5_000, full: 2_000_000 }, (count) => {
    let hash = 0
    for (let done = 0; done < count; done += recordsPerBatch) {
      for (const record of new RecordBatch(batch)) hash = (hash * 31 + (record.value?.length ?? 0) + record.offset) | 0
    }
    return hash
  }),
  bench('replay batch: values of 100 B records, nothing else decoded', { smoke: 5_000, full: 5_000_000 }, (count) => {
    let hash = 0
    for (let done = 0; done < count; done += recordsPerBatch) {
      const replayed = new ReplayBatch(0, new RecordBatch(batch), window)
      for (const record of replayed) hash = (hash * 31 + (record.value?.length ?? 0)) | 0
    }
    return hash
  }),
  bench('replay batch: offsets of 100 B records', { smoke: 5_000, full: 10_000_000 }, (count) => {
    let hash = 0
    for (let done = 0; done < count; done += recordsPerBatch) {
      for (const record of new ReplayBatch(0, new RecordBatch(batch), window)) hash = (hash * 31 + record.offset) | 0
    }
    return hash
  }),
  bench('crc32c: 64 KiB', { smoke: 10, full: 100_000 }, (count) => {
    const bytes = Buffer.alloc(64 * 1024, 7)
    let hash = 0
    for (let done = 0; done < count; done++) hash = (hash * 31 + crc32c(bytes)) | 0
    return hash
  }),
  bench('partition of a stream name', { smoke: 1_000, full: 2_000_000 }, (count) => {
    let hash = 0
    for (let done = 0; done < count; done++) hash = (hash * 31 + partitionOf(`customer-${done}`, 64, 'key')) | 0
    return hash
  }),
]
