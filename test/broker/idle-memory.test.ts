import assert from 'node:assert/strict'
import { test } from 'node:test'
import { IdleMemory } from '../../broker/idle-memory.ts'
import type { Heap } from '../../broker/idle-memory.ts'
import { MiB } from '../../protocol/limits.ts'
import { sleep } from '../../platform/clock.ts'
import { VirtualClock } from '../client/virtual-clock.ts'

class HeapUnderTest implements Heap {
  share = 0
  used = 30 * MiB
  garbage = 0
  outside = 100 * MiB
  held = 66 * MiB
  collections = 0
  garbageCollections = 0

  takeProcessorShare = () => this.share
  usedBytes = () => this.used + this.garbage
  reachBytes = () => this.used + this.garbage + this.outside
  heldBytes = () => this.held

  collectGarbage(): void {
    this.garbageCollections++
    this.garbage = 0
  }

  giveBack(): void {
    this.collections++
    this.garbage = 0
    this.held = this.used
  }
}

function start(): { clock: VirtualClock; heap: HeapUnderTest; idle: IdleMemory } {
  const clock = new VirtualClock()
  const heap = new HeapUnderTest()
  return { clock, heap, idle: new IdleMemory(heap, clock) }
}

test('idle memory: what the start left is given back once, and again only when the heap has grown', async () => {
  const { clock, heap } = start()
  await clock.run(sleep(clock, 60_000))
  assert.deepEqual([heap.collections, heap.held], [1, 30 * MiB])
  heap.held = 37 * MiB
  await clock.run(sleep(clock, 60_000))
  assert.equal(heap.collections, 1)
  heap.held = 50 * MiB
  await clock.run(sleep(clock, 60_000))
  assert.deepEqual([heap.collections, heap.held], [2, 30 * MiB])
})

test('idle memory: of a broker that has a little to do garbage is collected once it is 15 % of the rest', async () => {
  const { clock, heap } = start()
  heap.share = 0.3
  await clock.run(sleep(clock, 15_000))
  for (const [garbage, collections] of [
    [19 * MiB, 0],
    [21 * MiB, 1],
    [12 * MiB, 1],
    [22 * MiB, 2],
  ] as const) {
    heap.garbage = garbage
    await clock.run(sleep(clock, 10_000))
    assert.equal(heap.garbageCollections, collections)
  }
  heap.outside = 10 * MiB
  await clock.run(sleep(clock, 10_000))
  heap.garbage = 11 * MiB
  await clock.run(sleep(clock, 10_000))
  assert.equal(heap.garbageCollections, 2, 'more than 15 %, but less than is worth it')
  assert.equal(heap.collections, 0, 'nothing is given back while there is work')
})

test('idle memory: garbage is collected every ten seconds at most', async () => {
  const { clock, heap } = start()
  heap.share = 0.3
  await clock.run(sleep(clock, 6_000))
  const collections: number[] = []
  for (let look = 0; look < 6; look++) {
    heap.garbage = 60 * MiB
    await clock.run(sleep(clock, 5_000))
    collections.push(heap.garbageCollections)
  }
  assert.deepEqual(collections, [1, 1, 2, 2, 3, 3])
})

test('idle memory: what the runtime collects by itself is no garbage any more', async () => {
  const { clock, heap } = start()
  heap.share = 0.3
  heap.garbage = 40 * MiB
  await clock.run(sleep(clock, 15_000))
  heap.garbage = 0
  await clock.run(sleep(clock, 10_000))
  heap.garbage = 19 * MiB
  await clock.run(sleep(clock, 10_000))
  assert.equal(heap.garbageCollections, 0)
  heap.garbage = 30 * MiB
  await clock.run(sleep(clock, 10_000))
  assert.equal(heap.garbageCollections, 1)
})

test('idle memory: nothing is interrupted while there is much work, or where much is in use', async () => {
  const { clock, heap } = start()
  heap.share = 0.5
  await clock.run(sleep(clock, 15_000))
  heap.garbage = 60 * MiB
  await clock.run(sleep(clock, 60_000))
  assert.deepEqual([heap.collections, heap.garbageCollections], [0, 0])
  heap.share = 0
  heap.used = 129 * MiB
  heap.held = 300 * MiB
  await clock.run(sleep(clock, 60_000))
  heap.share = 0.3
  heap.garbage = 100 * MiB
  await clock.run(sleep(clock, 60_000))
  assert.deepEqual([heap.collections, heap.garbageCollections], [0, 0])
})

test('idle memory: nothing is looked at behind its end', async () => {
  const { clock, heap, idle } = start()
  idle[Symbol.dispose]()
  await clock.run(sleep(clock, 60_000))
  assert.equal(heap.collections, 0)
})
