/** IndexMemory over real indexes: when it is full, how much haste there is, and what is forgotten; Haste: how many slices share a turn. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../platform/clock.ts'
import type { Clock } from '../../platform/clock.ts'
import { Haste } from '../../storage/haste.ts'
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

test('index memory: of what is kept for sidecars, the largest is forgotten when all together is more than the limit', async () => {
  const [large, small] = [indexWith(0, 20_000), indexWith(1, 1_000)]
  const kept = () => [large, small].map(({ segmentTables }) => segmentTables[0]!.keptBytes)
  const memory = new IndexMemory(large.dirtyBytes)
  for (const index of [large, small]) memory.add(index)
  memory.look()
  assert.deepEqual(kept(), [0, 0]) // not saved: it counts once
  for (const [index, end] of [[large, 20_000] as const, [small, 1_000] as const]) await index.capture(end).write([])
  const [largeBytes, smallBytes] = kept()
  assert(largeBytes! + smallBytes! > memory.limitBytes, `found ${largeBytes} and ${smallBytes}`)
  memory.look()
  assert.deepEqual(kept(), [0, smallBytes])
  assert.equal(large.nextSegment()?.all, undefined)
  assert.equal(small.nextSegment()?.all?.length, 1)
})

test('index memory: a log with one event in each of many saves does not keep a table for each', async () => {
  const index = indexWith(0, 1)
  for (let offset = 1; offset < 200; offset++) {
    index.add('a', offset)
    await index.capture(offset + 1).write([])
  }
  assert.equal(index.nextSegment()?.all, undefined)
})

test('haste: so many slices go into one turn', async () => {
  for (const [slices, yields, wanted] of [
    [1, 6, 6],
    [3, 8, 3],
    [32, 31, 1],
  ] as const) {
    const clock = new CountingClock()
    const yielding = new Haste(clock.clock).yielding(() => slices)
    for (let each = 0; each < yields; each++) await yielding.yield()
    assert.equal(clock.turns, wanted, `${slices} slices`)
  }
})

test('haste: no more slices begin in a turn in which all together have worked for 40 ms', async () => {
  const clock = new CountingClock()
  const haste = new Haste(clock.clock)
  const longest = { ms: 0 }
  const work = async () => {
    const yielding = haste.yielding(() => 32)
    for (let slice = 0; slice < 100; slice++) {
      await yielding.yield()
      clock.nowMs += 5
      longest.ms = Math.max(longest.ms, clock.nowMs - clock.turnStartMs)
    }
  }
  await Promise.all([work(), work(), work()])
  assert(longest.ms <= 40 + 3 * 5, `found ${longest.ms} ms`)
  assert(clock.turns < 60, `found ${clock.turns} turns of 1,500 ms`)
})

/** Counts turns, and stands still in between. */
class CountingClock {
  turns = 0
  nowMs = 1000
  turnStartMs = 1000
  readonly clock: Clock = {
    ...systemClock,
    monotonicMs: () => this.nowMs,
    yield: async () => {
      await systemClock.yield()
      this.turns++
      this.turnStartMs = this.nowMs
    },
  }
}
