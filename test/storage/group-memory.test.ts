import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FrameMemory } from '../../protocol/frame-memory.ts'
import { KiB, MiB } from '../../protocol/limits.ts'
import { ByteBudget } from '../../storage/byte-budget.ts'
import { GroupMemory } from '../../storage/group-memory.ts'
import { TailCache, TailCacheBudget } from '../../storage/tail-cache.ts'

/** Makes memories of logs that share theirs. */
function sharing(bytesMax = 8 * MiB): () => GroupMemory {
  const [frames, budget] = [new FrameMemory(4 * MiB), new ByteBudget(bytesMax)]
  return () => new GroupMemory(frames, budget)
}

test('group memory: groups lie one behind the other, and nothing is written over what is held', () => {
  const memory = sharing()()
  const rooms = Array.from({ length: 500 }, (_, place) => {
    const room = memory.take(1000)
    room.bytes.fill(place % 251)
    room.piece?.hold()
    return room
  })
  for (const [place, { bytes }] of rooms.entries()) assert.ok(bytes.equals(Buffer.alloc(1000, place % 251)))
  assert.ok(new Set(rooms.map(({ piece }) => piece)).size < 12)
})

test('group memory: a busy log gets larger pieces, up to 512 KiB, and those that nobody holds any more are used again', () => {
  const memory = sharing()()
  const sizes: number[] = []
  const used = new Set<ArrayBufferLike>()
  for (let group = 0; group < 10_000; group++) {
    const { bytes } = memory.take(10 * KiB)
    sizes.push(bytes.buffer.byteLength)
    if (group >= 1000) used.add(bytes.buffer)
  }
  assert.deepEqual([sizes[0], Math.max(...sizes)], [10 * KiB, 512 * KiB])
  assert.ok(used.size <= 2)
})

test('group memory: a group that would leave half a piece empty gets memory of exactly its size', () => {
  const memory = sharing()()
  for (let group = 0; group < 100; group++) memory.take(10 * KiB)
  const { bytes, piece } = memory.take(257 * KiB)
  assert.deepEqual([bytes.buffer.byteLength, piece], [257 * KiB, undefined])
})

test('group memory: a log lets go of its piece at each pause, and if it writes little between them, soon has nothing but what it wrote', () => {
  const memory = sharing()()
  for (let group = 0; group < 1000; group++) memory.take(10 * KiB)
  const { piece } = memory.take(10 * KiB)
  memory.letGo()
  assert.throws(() => piece?.hold(), /nobody may hold/)
  const sizes = Array.from({ length: 5 }, () => {
    const { bytes } = memory.take(100)
    memory.letGo()
    return bytes.buffer.byteLength
  })
  assert.deepEqual(sizes, [128 * KiB, 32 * KiB, 8 * KiB, 100, 100])
})

test('group memory: logs that are busy at once fill no more than their budget; the others have memory of exactly their groups', () => {
  const makeMemory = sharing(1 * MiB)
  const memories = Array.from({ length: 1000 }, () => makeMemory())
  const current = new Map<GroupMemory, ArrayBufferLike>()
  for (let round = 0; round < 300; round++) {
    for (const memory of memories) {
      const { bytes, piece } = memory.take(1000)
      if (piece === undefined) current.delete(memory)
      else current.set(memory, bytes.buffer)
    }
  }
  let filling = 0
  for (const { byteLength } of current.values()) filling += byteLength
  assert.ok(filling > 512 * KiB && filling <= 1 * MiB, `${filling} bytes`)
})

for (const [logs, groupBytes] of [
  [1, 140 * KiB],
  [1, 270 * KiB],
  [300, 150],
  [1000, 1000],
] as const) {
  test(`group memory: a tail cache of 4 MiB holds three quarters of that (${logs} logs, groups of ${groupBytes} bytes)`, () => {
    const makeMemory = sharing(512 * KiB)
    const tails = new TailCacheBudget(4 * MiB)
    const all = Array.from({ length: logs }, () => ({
      memory: makeMemory(),
      tail: new TailCache(tails, 4 * MiB),
    }))
    const rounds = Math.ceil((8 * MiB) / groupBytes / logs)
    for (let round = 0; round < rounds; round++) {
      tails.read()
      for (const { memory, tail } of all) {
        const { bytes, piece } = memory.take(groupBytes)
        piece?.hold()
        tail.add({ baseOffset: round, nextOffset: round + 1, bytes, framed: false, piece })
      }
    }
    let held = 0
    for (const { tail } of all) if (tail.firstOffset < rounds) held += (rounds - tail.firstOffset) * groupBytes
    assert.ok(held > 3 * MiB, `${held} bytes`)
  })
}
