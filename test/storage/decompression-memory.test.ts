import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KiB, MiB } from '../../protocol/limits.ts'
import { DecompressionMemory } from '../../storage/decompression-memory.ts'
import { encodeRecordBatch } from '../../protocol/record-batch.ts'
import { batchOf } from '../hostile/batch-mutation.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { StoreUnderTest } from './store-under-test.ts'

const small = batchOf(Buffer.alloc(100 * KiB, 7), 1, 'gzip')
const bomb = batchOf(Buffer.alloc(8 * MiB), 1, 'zstd')

test('decompression memory: what is held stays below its limit, whatever comes at once, in order of arrival (3 MiB, 40 batches of 100 KiB)', async () => {
  const memory = new DecompressionMemory(3 * MiB)
  const order: number[] = []
  let heldMax = 0
  await Promise.all(
    Array.from({ length: 40 }, async (_, index) => {
      const { records, letGo } = await memory.decompress(small, MiB)
      order.push(index)
      heldMax = Math.max(heldMax, memory.takenBytes)
      assert.equal(records.length, 100 * KiB)
      await new Promise((resolve) => setImmediate(resolve))
      letGo()
    }),
  )
  assert.ok(heldMax >= MiB && heldMax <= 3 * MiB, `${heldMax}`)
  assert.equal(order.length, 40)
  assert.equal(memory.takenBytes, 0)
})

test('decompression memory: bombs are decompressed one at a time, and in the end nothing is held (8 of 8 MiB in 9 MiB)', async () => {
  const memory = new DecompressionMemory(9 * MiB)
  let open = 0
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      const { letGo } = await memory.decompress(bomb, 64 * MiB)
      assert.equal(++open, 1)
      await new Promise((resolve) => setImmediate(resolve))
      open--
      letGo()
    }),
  )
  assert.equal(memory.takenBytes, 0)
})

test('decompression memory: what is refused holds nothing, and one that is larger than all of it goes alone', async () => {
  const memory = new DecompressionMemory(MiB)
  await assert.rejects(memory.decompress(bomb, 4 * MiB), { code: 'batchTooLarge' })
  const broken = Buffer.from(bomb)
  broken[61]! ^= 0xff
  await assert.rejects(memory.decompress(broken, 64 * MiB), { code: 'invalidBatch' })
  assert.equal(memory.takenBytes, 0)
  const { records, letGo } = await memory.decompress(bomb, 64 * MiB)
  assert.equal(records.length, 8 * MiB)
  assert.equal(memory.takenBytes, 8 * MiB)
  letGo()
  assert.equal(memory.takenBytes, 0)
})

test('decompression memory: appends of one log that need more than all of it, each, take effect one after the other (12 of 8 MiB in 9 MiB)', async () => {
  await using directory = await TemporaryDirectory.make()
  const settings = { decompressionBytesTotalMax: 9 * MiB }
  await using opened = await StoreUnderTest.open(directory.path, { settings })
  const log = await opened.createLog()
  const batch = encodeRecordBatch([{ key: 'a', value: Buffer.alloc(8 * MiB), timestamp: 0 }], { compression: 'zstd' })
  const appends = Array.from({ length: 12 }, () =>
    log.append({ batch: Buffer.from(batch), expected: [], wantVersions: true, acks: 'all' }),
  )
  assert.deepEqual(
    (await Promise.all(appends)).map(({ baseOffset, versions }) => [baseOffset, ...versions]),
    Array.from({ length: 12 }, (_, index) => [index, index]),
  )
})
