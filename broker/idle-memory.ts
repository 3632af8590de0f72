/**
 * IdleMemory: collects what the runtime by itself leaves lying for minutes. While the broker has nothing to do, the whole heap's free memory goes back to the
 * system; while it has little to do, garbage is collected once it has grown large beside what is in use: a runtime that finds that it
 * need not collect lets a small heap grow to several times its size (docs/decisions/0040).
 * Both stop the event loop for as long as the whole heap takes to collect (some tens of ms for what a broker has), so both come seldom, never while
 * much is asked and never to a large heap. Made by main.ts, as a process has one heap.
 */
import type { Clock, Timer } from '../platform/clock.ts'
import { MiB } from '../protocol/limits.ts'

const lookMs = 5_000
/** Of one processor: what a broker that nobody asks anything uses. */
const idleShareMax = 0.02
/** The same of one that may be interrupted for garbage. */
const calmShareMax = 0.4
/** Between two such interruptions, so that all together take less than a hundredth of the time. */
const garbagePauseMs = 10_000
/** Less is not worth the interruption. */
const grownBytesMin = 8 * MiB
/** Of garbage, while there is work: so many bytes, and such a share of what was in use without it. */
const garbageBytesMin = 12 * MiB
const garbageShareMin = 0.15
/** Of what is in use: a larger heap would take too long. */
const usedBytesMax = 128 * MiB

export interface Heap {
  /** Since the last call: how much of one processor the process used. Not of the time: that would be much whenever others want the processors, too. */
  takeProcessorShare(): number
  usedBytes(): number
  /** The same with what lies outside of the heap and is held from it. */
  reachBytes(): number
  /** Taken from the system, whether in use or not. */
  heldBytes(): number
  collectGarbage(): void
  /** Everything that can be given back. */
  giveBack(): void
}

export class IdleMemory implements Disposable {
  readonly #heap: Heap
  readonly #clock: Clock
  #timer: Timer
  /** After the last time that it was given back. */
  #heldBytes = 0
  /** The least of all looks since garbage was collected here; the runtime's own collections are seen in it, too. */
  #reachBytes = Infinity
  /** When garbage was collected here. */
  #collectedMs = -Infinity

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
    const share = heap.takeProcessorShare()
    this.#reachBytes = Math.min(this.#reachBytes, heap.reachBytes())
    if (heap.usedBytes() > usedBytesMax) return
    if (share <= idleShareMax) this.#giveBack()
    else if (share <= calmShareMax) this.#collectGarbage()
  }

  #giveBack(): void {
    if (this.#heap.heldBytes() < this.#heldBytes + grownBytesMin) return
    this.#heap.giveBack()
    this.#heldBytes = this.#heap.heldBytes()
    this.#reachBytes = this.#heap.reachBytes()
  }

  #collectGarbage(): void {
    const grownBytes = this.#heap.reachBytes() - this.#reachBytes
    if (grownBytes < Math.max(garbageBytesMin, this.#reachBytes * garbageShareMin)) return
    if (this.#clock.monotonicMs() < this.#collectedMs + garbagePauseMs) return
    this.#collectedMs = this.#clock.monotonicMs()
    this.#heap.collectGarbage()
    this.#reachBytes = this.#heap.reachBytes()
  }
}

/** Undefined when the runtime was started without a way to collect (bin/playhead gives `--expose-gc`). */
export function processHeap(clock: Clock): Heap | undefined {
  const { gc } = globalThis
  if (gc === undefined) return undefined
  let before = { cpu: process.cpuUsage(), atMs: clock.monotonicMs() }
  return {
    takeProcessorShare() {
      const now = { cpu: process.cpuUsage(), atMs: clock.monotonicMs() }
      const usedMs = (now.cpu.user + now.cpu.system - before.cpu.user - before.cpu.system) / 1_000
      const share = usedMs / (now.atMs - before.atMs)
      before = now
      return share
    },
    usedBytes: () => process.memoryUsage().heapUsed,
    reachBytes() {
      const { heapUsed, external } = process.memoryUsage()
      return heapUsed + external
    },
    heldBytes: () => process.memoryUsage().heapTotal,
    collectGarbage: () => gc({ type: 'major', execution: 'sync' }),
    giveBack: () => gc({ type: 'major', execution: 'sync', flavor: 'last-resort' }),
  }
}
