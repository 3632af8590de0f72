/**
 * Haste: how work in slices of about 2 ms shares the event loop with appends. Where there is time, each slice has a turn of its own; the more haste, the
 * more slices go into one turn. A turn in which appends are taken in lasts tens of milliseconds on a loaded broker, so one slice each would be a tenth of its time.
 * Invariant: all such work of a broker together begins no slice in a turn in which it has worked for `turnMsMax`, except the first of each.
 * Neighbours: IndexMemory says how much haste a save has, Sealing how much a sidecar.
 */
import type { Clock, Yielding } from '../platform/clock.ts'

const turnMsMax = 40
const inTime = Promise.resolve()

export class Haste {
  readonly #clock: Clock
  /** That all who have yielded wait for. */
  #nextTurn: Promise<void> | undefined
  #turnStartMs = -Infinity

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** For one piece of work. `slices`: how many of them may go into one turn. */
  yielding(slices: () => number): Yielding {
    let done = 0
    return {
      yield: () => {
        done++
        if (done < slices() && this.#clock.monotonicMs() - this.#turnStartMs < turnMsMax) return inTime
        done = 0
        this.#nextTurn ??= this.#yield()
        return this.#nextTurn
      },
    }
  }

  async #yield(): Promise<void> {
    try {
      await this.#clock.yield()
    } finally {
      this.#nextTurn = undefined
      this.#turnStartMs = this.#clock.monotonicMs()
    }
  }
}
