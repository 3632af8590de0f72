/**
 * AgeClock: the time by which the age of events is told. No further than this run has lasted: a clock set to next year must not remove what is a day
 * old. Neighbours: Retention and Compaction.
 */
import type { Clock } from '../platform/clock.ts'

export class AgeClock {
  readonly #clock: Clock
  /** Of the wall clock and the monotonic one, at the same moment. */
  readonly #start: { readonly wallMs: number; readonly monotonicMs: number }

  constructor(clock: Clock) {
    this.#clock = clock
    this.#start = { wallMs: clock.now(), monotonicMs: clock.monotonicMs() }
  }

  /** ms since the epoch. */
  now(): number {
    return Math.min(this.#clock.now(), this.#start.wallMs + this.#clock.monotonicMs() - this.#start.monotonicMs)
  }
}
