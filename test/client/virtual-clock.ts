/**
 * VirtualClock: time that passes only when nothing else is going on. What is under way in memory is let go on for some turns of the event loop; then
 * the next timer is due, whenever that is. Used with MemoryTransport, so that hours of waiting take no time and tries can be counted.
 */
import type { Clock, Timer } from '../../platform/clock.ts'

/** Enough for a request and its reply, with all that they set going, to come to rest. */
const turnsAtRest = 30

export class VirtualClock implements Clock {
  #nowMs = 0
  readonly #timers = new Set<{ readonly atMs: number; readonly callback: () => void }>()

  now(): number {
    return 1_700_000_000_000 + this.#nowMs
  }

  monotonicMs(): number {
    return this.#nowMs
  }

  after(delayMs: number, callback: () => void): Timer {
    const timer = { atMs: this.#nowMs + Math.max(0, delayMs), callback }
    this.#timers.add(timer)
    return { cancel: () => void this.#timers.delete(timer) }
  }

  yield(): Promise<void> {
    return new Promise((resolve) => setImmediate(resolve))
  }

  /** Lets time pass until `main` has settled, and answers as it does. */
  async run<T>(main: Promise<T>): Promise<T> {
    const state = { isSettled: false }
    const settled = () => (state.isSettled = true)
    main.then(settled, settled)
    for (;;) {
      for (let turn = 0; turn < turnsAtRest && !state.isSettled; turn++) await this.yield()
      if (state.isSettled) return main
      const next = [...this.#timers].toSorted((a, b) => a.atMs - b.atMs)[0]
      if (next === undefined) throw new Error('nothing is left to happen, and what is waited for has not')
      this.#timers.delete(next)
      this.#nowMs = next.atMs
      next.callback()
    }
  }
}
