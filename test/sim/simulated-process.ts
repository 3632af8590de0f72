/**
 * SimulatedProcess: one run of a broker or a client. Once it has ended nothing calls it back: no timer, no file, no socket; while it stands still what
 * would is kept for later.
 * Its clocks are the scheduler's, the wall clock with the skew of the day; its randomness comes from the seed.
 */
import type { Clock } from '../../platform/clock.ts'
import type { Random } from '../../platform/random.ts'
import type { Scheduler } from './scheduler.ts'

/** Virtual time 0 on the wall clock: 2026-01-01. */
const epochMs = 1_767_225_600_000
/** Between two of the things that a process finds to do when it goes on. */
const wakeStepMs = 0.000_1

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
  /** What would have called it back while it stood still, in order; undefined: it does not. */
  #held: (() => void)[] | undefined

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
    this.#held = undefined
    this.scheduler.note(`${how} ${this.name}`)
    for (const call of this.calls) if (how === 'kill' && this.scheduler.oneIn(2)) call()
    this.calls.clear()
  }

  /** Calls back in a later turn, if it still lives then. */
  after(delayMs: number, what: string, callback: () => void): { cancel(): void } {
    const later = { isCancelled: false }
    const call = () => {
      if (!this.isAlive || later.isCancelled) return
      if (this.#held === undefined) callback()
      else this.#held.push(call)
    }
    const planned = this.scheduler.after(delayMs, `${this.name} ${what}`, call)
    const cancel = () => {
      later.isCancelled = true
      planned.cancel()
    }
    return { cancel }
  }

  get isPaused(): boolean {
    return this.#held !== undefined
  }

  /** Stands still, as under SIGSTOP: time passes without it. */
  pause(): void {
    this.#held ??= []
  }

  /** Goes on where it stood: all that it has missed comes now, in order. */
  resume(): void {
    const held = this.#held ?? []
    this.#held = undefined
    for (const [place, call] of held.entries()) this.scheduler.after(place * wakeStepMs, `${this.name} woke`, call)
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
