/** IndexMemory over real indexes: when it is full, how much haste there is, and what is forgotten; hasty: how many slices share a turn. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../platform/clock.ts'
import { hasty } from '../../storage/haste.ts'
import { logPrefix } from '../../storage/index-keys.ts'
import { IndexMemory } from '../../storage/index-memory.ts'
import { MemoryCheckpointStore } from '../../storage/memory-checkpoint-store.ts'
import { StreamIndex } from '../../storage/stream-index.ts'

function indexWith(partition: number, streams: number): StreamIndex {
  const prefix = logPrefix(Buffer.alloc(16, 5), partition)
  const index = StreamIndex.open({ store: new MemoryCheckpointStore(), prefix, clock: systemClock })
  index.nextSegment()
  for (let offset = 0; offset < streams; offset++) index.add(`stream-${offset}`, offset)
  return index
}

test('index memory: a save has more haste the fuller it is above its limit, and appends wait at twice the limit', () => {
  const index = indexWith(0, 10_000)
  const { dirtyBytes } = index
  const memoryOf = (limitBytes: number) => {
    const memory = new IndexMemory(limitBytes)
    memory.add(index)
    memory.look()
    return memory
  }
  const [roomy, half, overflowing] = [dirtyBytes + 1, dirtyBytes / 1.5, dirtyBytes / 2.5].map(memoryOf)
  assert.deepEqual([roomy!.full, roomy!.overflows, roomy!.haste], [false, false, 1])
  assert.deepEqual([half!.full, half!.overflows], [true, false])
  assert(half!.haste > 10 && half!.haste < 25, `found ${half!.haste}`)
  assert.deepEqual([overflowing!.full, overflowing!.overflows, overflowing!.haste], [true, true, 32])
})

test('index memory: it is looked at when four megabytes were appended, whatever saves do', () => {
  const memory = new IndexMemory(1)
  memory.add(indexWith(0, 100))
  memory.appended(3 * 1024 * 1024)
  assert.equal(memory.overflows, false)
  memory.appended(1024 * 1024)
  assert.equal(memory.overflows, true)
})

test('index memory: of what is kept for sidecars, the largest is forgotten when all together is more than half of the limit', async () => {
  const [large, small] = [indexWith(0, 20_000), indexWith(1, 1_000)]
  const memory = new IndexMemory(2 * large.dirtyBytes)
  for (const index of [large, small]) memory.add(index)
  memory.look()
  assert.deepEqual([large.keptBytes, small.keptBytes], [0, 0]) // not saved: it counts once
  for (const [index, end] of [[large, 20_000] as const, [small, 1_000] as const]) await index.capture(end).write([])
  const kept = small.keptBytes
  assert(large.keptBytes > memory.limitBytes / 2 - kept, `found ${large.keptBytes}`)
  memory.look()
  assert.deepEqual([large.keptBytes, small.keptBytes], [0, kept])
  assert.equal(large.nextSegment(), undefined)
  assert.equal(small.nextSegment()?.length, 1)
})

test('hasty: so many slices go into one turn', async () => {
  let turns = 0
  const yields = () => Promise.resolve(void turns++)
  for (const [haste, slices, wanted] of [
    [1, 6, 6],
    [3, 7, 2],
    [32, 31, 0],
  ] as const) {
    turns = 0
    const clock = hasty({ yield: yields }, () => haste)
    for (let slice = 0; slice < slices; slice++) await clock.yield()
    assert.equal(turns, wanted, `haste ${haste}`)
  }
})
