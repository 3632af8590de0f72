import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BatchMemory } from '../../protocol/batch-memory.ts'
import { RecordBatch, RecordBatchBuilder, checkBatch } from '../../protocol/record-batch.ts'

const slabBytes = 64 * 1024
const value = Buffer.alloc(1000, 'v')

function fill(builder: RecordBatchBuilder, count: number): void {
  for (let index = 0; index < count; index++) builder.append({ key: `${index}`, value, timestamp: index })
}

test('batch memory: a batch in a slab stays as it is while the next is built, and its slab is used again once given back', () => {
  const memory = new BatchMemory(slabBytes, 1_000_000)
  const builder = new RecordBatchBuilder(memory)
  fill(builder, 50)
  const first = builder.build()
  const before = Buffer.from(first)
  fill(builder, 50)
  const second = builder.build()
  assert.equal(first.buffer.byteLength, slabBytes)
  assert.notEqual(second.buffer, first.buffer)
  assert.deepEqual(first, before)
  checkBatch(first, 0, first.length)
  const slab = first.buffer
  memory.give(first)
  fill(builder, 50) // into the slab that was taken before the first came back
  builder.build()
  fill(builder, 50)
  const fourth = builder.build()
  assert.equal(fourth.buffer, slab)
  assert.equal([...new RecordBatch(fourth)].length, 50)
})

test('batch memory: a small batch, a compressed one and one larger than a slab have memory of their own, which is not taken for a slab', () => {
  const memory = new BatchMemory(slabBytes, 1_000_000)
  const builder = new RecordBatchBuilder(memory)
  fill(builder, 3)
  const small = builder.build()
  fill(builder, 50)
  const compressed = builder.build({ compression: 'zstd' })
  fill(builder, 100)
  const large = builder.build()
  for (const batch of [small, compressed, large]) {
    checkBatch(batch, 0, batch.length)
    assert.notEqual(batch.buffer.byteLength, slabBytes)
    memory.give(batch)
    assert.notEqual(memory.take().buffer, batch.buffer)
  }
})

test('batch memory: keeps no more than it may', () => {
  const memory = new BatchMemory(slabBytes, 2 * slabBytes)
  const slabs = [memory.take(), memory.take(), memory.take()]
  for (const slab of slabs) memory.give(slab)
  const again = new Set([memory.take(), memory.take(), memory.take()].map(({ buffer }) => buffer))
  assert.equal(slabs.filter(({ buffer }) => again.has(buffer)).length, 2)
})
