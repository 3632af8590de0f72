/**
 * Pace: when each record is due at a set rate. Latency counts from then, whenever the record really left: a broker that stalls is charged
 * for all the records that should have come meanwhile (no coordinated omission).
 */
import { untilAborted } from '../../platform/abort.ts'

/** Timers may be late by more than a millisecond: the last stretch is waited for turn by turn, which costs processor time but no latency. */
const timerGrainMs = 2
/** A timer of more than 2^31 - 1 ms would fire at once. */
const timerMsMax = 2 ** 30

export class Pace {
  readonly #startedMs: number
  readonly #everyMs: number

  /** `startedMs`: monotonic; `rate`: records a second. */
  constructor(startedMs: number, rate: number) {
    this.#startedMs = startedMs
    this.#everyMs = 1000 / rate
  }

  /** Monotonic time at which the record with this sequence is to be sent, ms. */
  dueMs(sequence: number): number {
    return this.#startedMs + sequence * this.#everyMs
  }

  /** Resolves at `dueMs`. @throws the signal's reason */
  async wait(dueMs: number, signal: AbortSignal): Promise<void> {
    for (let leftMs = dueMs - performance.now(); leftMs > 0; leftMs = dueMs - performance.now()) {
      signal.throwIfAborted()
      if (leftMs > timerGrainMs) await sleep(Math.min(leftMs - timerGrainMs, timerMsMax), signal)
      else await new Promise((resolve) => setImmediate(resolve))
    }
  }
}

async function sleep(delayMs: number, signal: AbortSignal): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const slept = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, delayMs)
  })
  try {
    await untilAborted(slept, signal)
  } finally {
    clearTimeout(timer)
  }
}
