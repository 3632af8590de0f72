/**
 * Ticks of a Ticker: a thread that sleeps until the next moment, to within some 0.1 ms, and wakes the one that waits. A timer of the event loop would be
 * up to a millisecond late. Neighbours: ticker.ts starts it and says when.
 */
import assert from 'node:assert/strict'
import { workerData } from 'node:worker_threads'
import { monotonicMs } from './ticker.ts'
import type { Ticking } from './ticker.ts'

const { count, times, told } = workerData as Ticking
Atomics.wait(told, 0, 0)
const [firstMs, everyMs] = times
assert(firstMs !== undefined && everyMs !== undefined)
for (let tick = 0; Atomics.load(told, 0) === 1; ) {
  const leftMs = firstMs + tick * everyMs - monotonicMs()
  if (leftMs > 0) Atomics.wait(told, 0, 1, leftMs)
  Atomics.add(count, 0, 1)
  Atomics.notify(count, 0)
  // Those that were slept through are past.
  tick = Math.max(tick + 1, Math.ceil((monotonicMs() - firstMs) / everyMs))
}
