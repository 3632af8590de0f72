/** EventIds: ids for events whose sender names none. Randomness is fetched for many at once: a call for each costs as much as the rest of the id. */
import type { Clock } from '../../platform/clock.ts'
import type { Random } from '../../platform/random.ts'
import { uuidV7 } from '../../protocol/uuid.ts'

const randomBytesEach = 10
const idsPerFill = 256

export class EventIds {
  readonly #random: Random
  readonly #clock: Clock
  #fill: Buffer = Buffer.alloc(0)
  #at = 0

  constructor({ random, clock }: { readonly random: Random; readonly clock: Clock }) {
    this.#random = random
    this.#clock = clock
  }

  /** 16 bytes, and the time they were made at. */
  next(): { id: Buffer; timestampMs: number } {
    if (this.#at === this.#fill.length) {
      this.#fill = this.#random.bytes(idsPerFill * randomBytesEach)
      this.#at = 0
    }
    const timestampMs = this.#clock.now()
    const id = uuidV7(this.#fill.subarray(this.#at, (this.#at += randomBytesEach)), timestampMs)
    return { id, timestampMs }
  }
}
