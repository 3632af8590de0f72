import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FrameMemory } from '../../protocol/frame-memory.ts'
import { KiB, MiB } from '../../protocol/limits.ts'
import { GroupMemory } from '../../storage/group-memory.ts'

test('group memory: groups lie one behind the other in a piece, and nothing is written over what is held', () => {
  const memory = new GroupMemory(new FrameMemory(1 * MiB))
  const rooms = Array.from({ length: 500 }, (_, place) => {
    const room = memory.take(1000)
    room.bytes.fill(place % 251)
    room.piece.hold()
    return room
  })
  for (const [place, { bytes }] of rooms.entries()) assert.ok(bytes.equals(Buffer.alloc(1000, place % 251)))
  assert.ok(new Set(rooms.map(({ piece }) => piece)).size < 10)
})

test('group memory: a busy log gets larger pieces, up to 256 KiB, and those that nobody holds any more are used again', () => {
  const memory = new GroupMemory(new FrameMemory(4 * MiB))
  const sizes = new Set<number>()
  const used = new Set<ArrayBufferLike>()
  for (let group = 0; group < 10_000; group++) {
    const { bytes } = memory.take(10 * KiB)
    sizes.add(bytes.buffer.byteLength)
    if (group >= 1000) used.add(bytes.buffer)
  }
  assert.deepEqual([Math.min(...sizes), Math.max(...sizes)], [16 * KiB, 256 * KiB])
  assert.ok(used.size <= 2)
})

test('group memory: a group that is larger than a piece gets one of its own', () => {
  const memory = new GroupMemory(new FrameMemory(4 * MiB))
  assert.equal(memory.take(1 * MiB + 1).bytes.length, 1 * MiB + 1)
})

test('group memory: an idle log holds nothing and begins with small pieces again', () => {
  const memory = new GroupMemory(new FrameMemory(4 * MiB))
  for (let group = 0; group < 1000; group++) memory.take(10 * KiB)
  memory.letGo()
  const { bytes, piece } = memory.take(100)
  assert.equal(bytes.buffer.byteLength, 4 * KiB)
  memory.letGo()
  assert.throws(() => piece.hold(), /nobody may hold/)
})
