/**
 * Turn: what a producer does once a turn of the event loop, or only so much of. What has been sent can only leave, and answers can only come,
 * between two turns; and the wall clock need not be read for every record. Called by Producer.
 */
import type { Clock } from '../platform/clock.ts'
import { MiB } from '../protocol/limits.ts'

/** Few enough that a record's time is right to well under a millisecond. */
const recordsPerClockReading = 64
/** Measured with 100 B records: 1.15 to 1.25 times the rate, a seventh of the latency (docs/decisions/0014). */
const bytesMax = MiB

export class Turn {
  readonly #clock: Clock
  /** Resolves with the next turn; undefined = nothing has to be put back then. */
  #ending: Promise<void> | undefined
  #nowMs = 0
  /** Records that may still take `#nowMs` for their time. */
  #readings = 0
  #bytes = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The wall clock, read once a turn and then every few records: reading it costs as much as encoding a record. */
  nowMs(): number {
    if (this.#readings === 0) {
      this.#readings = recordsPerClockReading
      this.#nowMs = this.#clock.now()
      this.#ending ??= this.#end()
    }
    this.#readings--
    return this.#nowMs
  }

  took(bytes: number): void {
    this.#bytes += bytes
  }

  /** What to await before more is taken; undefined = nothing. */
  untilNext(): Promise<void> | undefined {
    if (this.#bytes < bytesMax) return undefined
    this.#ending ??= this.#end()
    return this.#ending
  }

  async #end(): Promise<void> {
    await this.#clock.yield()
    this.#ending = undefined
    this.#readings = 0
    this.#bytes = 0
  }
}
