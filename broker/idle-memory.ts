/**
 * IdleMemory: gives the heap's free memory back to the system while the broker has nothing to do: the runtime does so by itself only much later, if at all. It
 * stops the event loop for as long as the whole heap takes to collect (some tens of ms for what a broker has), so it comes in quiet moments, after
 * the heap has grown, and never to a large heap. Made by main.ts, as a process has one heap.
 */
import { performance } from 'node:perf_hooks'
import type { Clock, Timer } from '../platform/clock.ts'
import { MiB } from '../protocol/limits.ts'

const lookMs = 10_000
/** Share of the time between two looks in which a broker that nobody asks anything works. */
const idleUtilizationMax = 0.02
/** Less is not worth the interruption. */
const grownBytesMin = 8 * MiB
/** Of what is in use: a larger heap would take too long. */
const usedBytesMax = 128 * MiB

export interface Heap {
  /** Since the last call: the share of time in which the process worked, 0 to 1. */
  takeUtilization(): number
  usedBytes(): number
  /** Taken from the system, whether in use or not. */
  heldBytes(): number
  /** Everything that can be given back. */
  collect(): void
}

export class IdleMemory implements Disposable {
  readonly #heap: Heap
  readonly #clock: Clock
  #timer: Timer
  /** After the last collection. */
  #heldBytes = 0

  constructor(heap: Heap, clock: Clock) {
    this.#heap = heap
    this.#clock = clock
    this.#timer = clock.after(lookMs, () => this.#look())
  }

  [Symbol.dispose](): void {
    this.#timer.cancel()
  }

  #look(): void {
    this.#timer = this.#clock.after(lookMs, () => this.#look())
    const heap = this.#heap
    if (heap.takeUtilization() > idleUtilizationMax) return
    if (heap.usedBytes() > usedBytesMax || heap.heldBytes() < this.#heldBytes + grownBytesMin) return
    heap.collect()
    this.#heldBytes = heap.heldBytes()
  }
}

/** Undefined when the runtime was started without a way to collect (bin/playhead gives `--expose-gc`). */
export function processHeap(): Heap | undefined {
  const { gc } = globalThis
  if (gc === undefined) return undefined
  let before = performance.eventLoopUtilization()
  return {
    takeUtilization() {
      const now = performance.eventLoopUtilization()
      const { utilization } = performance.eventLoopUtilization(now, before)
      before = now
      return utilization
    },
    usedBytes: () => process.memoryUsage().heapUsed,
    heldBytes: () => process.memoryUsage().heapTotal,
    collect: () => gc({ type: 'major', execution: 'sync', flavor: 'last-resort' }),
  }
}
