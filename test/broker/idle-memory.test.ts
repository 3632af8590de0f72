import assert from 'node:assert/strict'
import { test } from 'node:test'
import { IdleMemory } from '../../broker/idle-memory.ts'
import type { Heap } from '../../broker/idle-memory.ts'
import { MiB } from '../../protocol/limits.ts'
import { sleep } from '../../platform/clock.ts'
import { VirtualClock } from '../client/virtual-clock.ts'

class HeapUnderTest implements Heap {
  utilization = 0
  used = 30 * MiB
  held = 66 * MiB
  collections = 0

  takeUtilization = () => this.utilization
  usedBytes = () => this.used
  heldBytes = () => this.held

  collect(): void {
    this.collections++
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

test('idle memory: nothing is interrupted while there is work, or where much is in use', async () => {
  const { clock, heap } = start()
  heap.utilization = 0.03
  await clock.run(sleep(clock, 60_000))
  assert.equal(heap.collections, 0)
  heap.utilization = 0
  heap.used = 129 * MiB
  heap.held = 300 * MiB
  await clock.run(sleep(clock, 60_000))
  assert.equal(heap.collections, 0)
})

test('idle memory: nothing is looked at behind its end', async () => {
  const { clock, heap, idle } = start()
  idle[Symbol.dispose]()
  await clock.run(sleep(clock, 60_000))
  assert.equal(heap.collections, 0)
})
