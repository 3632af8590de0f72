/**
 * SimulatedProcess: one run of a broker or a client. Once it has ended nothing calls it back: no timer, no file, no socket.
 * Its clocks are the scheduler's, the wall clock with the skew of the day; its randomness comes from the seed.
 */
import type { Clock } from '../../platform/clock.ts'
import type { Random } from '../../platform/random.ts'
import type { Scheduler } from './scheduler.ts'

/** Virtual time 0 on the wall clock: 2026-01-01. */
const epochMs = 1_767_225_600_000

export class SimulatedProcess {
  readonly name: string
  readonly scheduler: Scheduler
  readonly clock: Clock
  readonly random: Random
  isAlive = true
  /** What it has asked of the kernel and not been answered. */
  readonly calls = new Set<() => void>()
  /** The wall clock is wrong by this much. */
  wallSkewMs = 0

  constructor(scheduler: Scheduler, name: string) {
    this.name = name
    this.scheduler = scheduler
    this.clock = this.#makeClock()
    const { random } = scheduler
    this.random = {
      bytes: (count) => Buffer.from(Array.from({ length: count }, () => random.below(256))),
      integer52: () => random.below(2 ** 26) * 2 ** 26 + random.below(2 ** 26),
    }
  }

  /** `kill`: the machine goes on, and finishes some of the calls under way before the process is gone. `power`: it does not. */
  end(how: 'kill' | 'power'): void {
    this.isAlive = false
    this.scheduler.note(`${how} ${this.name}`)
    for (const call of this.calls) if (how === 'kill' && this.scheduler.oneIn(2)) call()
    this.calls.clear()
  }

  /** Calls back in a later turn, if it still lives then. */
  after(delayMs: number, what: string, callback: () => void): { cancel(): void } {
    return this.scheduler.after(delayMs, `${this.name} ${what}`, () => {
      if (this.isAlive) callback()
    })
  }

  #makeClock(): Clock {
    const { scheduler } = this
    return {
      now: () => Math.floor(epochMs + scheduler.nowMs + this.wallSkewMs),
      monotonicMs: () => scheduler.nowMs,
      // A timer is late by up to a millisecond, never early.
      after: (delayMs, callback) => this.after(Math.max(0, delayMs) + scheduler.between(0, 1), 'timer', callback),
      yield: () => new Promise((resolve) => this.after(scheduler.between(0, 0.01), 'yield', resolve)),
    }
  }
}
