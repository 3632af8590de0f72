/** Batches that Kafka's own client library wrote or read: see test/golden/kafka/README.md. */
import assert from 'node:assert/strict'
import { readFileSync, readdirSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { crc32c } from '../../protocol/crc32c.ts'
import {
  RecordBatch,
  checkBatch,
  encodeRecordBatch,
  encodeSparseBatch,
  splitBatches,
  stampBatch,
  walkKeys,
} from '../../protocol/record-batch.ts'
import { decompressRecords } from '../../protocol/compression.ts'
import type { LogRecord, RecordInput } from '../../protocol/record.ts'

const directory = fileURLToPath(new URL('../golden/kafka/', import.meta.url))

interface KafkaRecord {
  readonly offset: number
  readonly timestamp: number
  readonly key: string | null
  readonly value: string | null
  readonly headers: readonly [string, string | null][]
}

interface KafkaBatch {
  readonly baseOffset: number
  readonly nextOffset: number
  readonly sizeBytes: number
  readonly leaderEpoch: number
  readonly codec: string
  readonly control: boolean
  readonly maxTimestamp: number
  readonly producerId: number
  readonly producerEpoch: number
  readonly baseSequence: number
  readonly recordCount: number
  readonly crc: number
  readonly records: readonly KafkaRecord[]
}

const bytesOf = (base64: string | null): Buffer | null => (base64 === null ? null : Buffer.from(base64, 'base64'))

function expectedRecords(batch: KafkaBatch): LogRecord[] {
  return batch.records.map(({ offset, timestamp, key, value, headers }) => ({
    offset,
    timestamp,
    key: bytesOf(key),
    value: bytesOf(value),
    headers: headers.map(([name, content]) => ({
      key: Buffer.from(name, 'base64').toString(),
      value: bytesOf(content),
    })),
  }))
}

function golden(name: string): { bytes: Buffer; expected: KafkaBatch[] } {
  const expected = JSON.parse(readFileSync(`${directory}${name}.json`, 'utf8')) as KafkaBatch[]
  return { bytes: readFileSync(`${directory}${name}.bin`), expected }
}

const names = readdirSync(directory)
  .filter((name) => name.endsWith('.bin'))
  .map((name) => name.slice(0, -4))

test('golden: all the batches are there', () => {
  const wanted = [
    'none',
    'gzip',
    'zstd',
    'snappy',
    'lz4',
    'idempotent',
    'gzip-many',
    'zstd-many',
    'sparse',
    'append-time',
    'control',
  ]
  assert.deepEqual(names.toSorted(), [...wanted, 'ours-none', 'ours-gzip', 'ours-zstd'].toSorted())
})

for (const name of names) {
  test(`golden: ${name}.bin has the header that Kafka reads`, () => {
    const { bytes, expected } = golden(name)
    const batches = splitBatches(bytes)
    assert.equal(batches.length, expected.length)
    for (const [index, batch] of batches.entries()) {
      const {
        baseOffset,
        nextOffset,
        leaderEpoch,
        codec,
        maxTimestamp,
        producerId,
        producerEpoch,
        baseSequence,
        recordCount,
        isControl,
      } = batch
      const {
        records: _,
        appendTime: __,
        lastSequence: ___,
        ...wanted
      } = expected[index] as KafkaBatch & Record<string, unknown>
      const crc = crc32c(batch.bytes.subarray(21))
      const sizeBytes = batch.bytes.length
      const found = {
        baseOffset,
        nextOffset,
        sizeBytes,
        leaderEpoch,
        codec,
        control: isControl,
        maxTimestamp,
        producerId,
        producerEpoch,
        baseSequence,
        recordCount,
        crc,
      }
      assert.deepEqual(found, wanted)
    }
  })

  test(`golden: ${name}.bin decodes record for record as Kafka does`, async () => {
    const { bytes, expected } = golden(name)
    for (const [index, batch] of splitBatches(bytes).entries()) {
      if (name === 'snappy' || name === 'lz4') {
        assert.throws(() => [...batch], { code: 'unsupportedCompression' })
        await assert.rejects(decompressRecords(bytes, 0, 1 << 20), { code: 'unsupportedCompression' })
        assert.throws(() => checkBatch(bytes, 0, bytes.length), { code: 'unsupportedCompression' })
        continue
      }
      const wanted = expectedRecords(expected[index] as KafkaBatch)
      assert.deepEqual([...batch], wanted)
      const records = await decompressRecords(batch.bytes, 0, 1 << 20)
      const keys: (string | null)[] = []
      walkKeys(
        records,
        batch.recordCount,
        (_, start, end) => keys.push(start < 0 ? null : records.toString('base64', start, end)),
        batch.nextOffset - batch.baseOffset - 1,
      )
      assert.deepEqual(
        keys,
        expected[index]?.records.map(({ key }) => key),
      )
    }
  })
}

for (const name of ['none', 'idempotent', 'ours-none']) {
  test(`golden: encoding the records of ${name}.bin gives the same bytes`, () => {
    const { bytes, expected } = golden(name)
    const { producerId, producerEpoch, baseSequence } = expected[0] as KafkaBatch
    const inputs: RecordInput[] = expectedRecords(expected[0] as KafkaBatch)
    const asText = inputs.map((input) => ({
      ...input,
      key: input.key?.toString() ?? null,
      value: input.value?.toString() ?? null,
    }))
    for (const records of [inputs, asText]) {
      assert.deepEqual(encodeRecordBatch(records, { producerId, producerEpoch, baseSequence }), bytes)
    }
  })
}

test('golden: encoding the records of sparse.bin gives the same bytes', () => {
  const { bytes, expected } = golden('sparse')
  const batch = encodeSparseBatch(expectedRecords(expected[0] as KafkaBatch))
  stampBatch(batch, 0, new RecordBatch(batch).baseOffset, 5)
  assert.deepEqual(batch, bytes)
})

for (const name of ['none', 'gzip', 'zstd', 'idempotent', 'gzip-many', 'zstd-many']) {
  test(`golden: ${name}.bin is taken from a producer as it is`, () => {
    const { bytes } = golden(name)
    checkBatch(bytes, 0, bytes.length)
  })
}

for (const name of ['sparse', 'append-time', 'control']) {
  test(`golden: ${name}.bin, which only a broker writes, is refused from a producer`, () => {
    const { bytes } = golden(name)
    assert.throws(() => checkBatch(bytes, 0, bytes.length), { code: 'invalidBatch' })
  })
}
