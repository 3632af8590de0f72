/**
 * Pace: when each record is due at a set rate. Latency counts from then, whenever the record really left: a broker that stalls is charged
 * for all the records that should have come meanwhile (no coordinated omission). Neighbours: Ticker wakes it.
 */
import { Ticker } from './ticker.ts'

/** Ticks may be late, and come at times of their own at a high rate: the last stretch is waited for turn by turn. */
const turnByTurnMs = 0.1
/** Ticks come this long before what is due: so late is who sleeps, as a rule. */
const aheadMs = 0.06

interface Waiter {
  readonly dueMs: number
  readonly resolve: () => void
  readonly reject: (reason: unknown) => void
}

export class Pace {
  readonly #everyMs: number
  readonly #ticker: Ticker
  readonly #signal: AbortSignal
  readonly #onAbort = () => this.#giveUp()
  /** In the order in which they are due. */
  readonly #waiters: Waiter[] = []
  #startedMs = 0
  #isServing = false

  private constructor(rate: number, ticker: Ticker, signal: AbortSignal) {
    this.#everyMs = 1000 / rate
    this.#ticker = ticker
    this.#signal = signal
  }

  /** `rate`: records a second. */
  static async open(rate: number, signal: AbortSignal): Promise<Pace> {
    return new Pace(rate, await Ticker.open(), signal)
  }

  /** The first record is due now, at `startedMs`: `performance.now()`. */
  begin(startedMs: number): void {
    this.#startedMs = startedMs
    this.#ticker.begin(startedMs - aheadMs, this.#everyMs)
    this.#signal.addEventListener('abort', this.#onAbort, { once: true })
  }

  /** When the record with this sequence is to be sent, `performance.now()`. */
  dueMs(sequence: number): number {
    return this.#startedMs + sequence * this.#everyMs
  }

  /** Resolves at `dueMs`, which is no earlier than that of the wait before. @throws the signal's reason */
  async wait(dueMs: number): Promise<void> {
    this.#signal.throwIfAborted()
    const waited = new Promise<void>((resolve, reject) => this.#waiters.push({ dueMs, resolve, reject }))
    if (!this.#isServing) void this.#serve()
    await waited
  }

  /** Ends the ticker. */
  stop(): void {
    this.#ticker.stop()
    this.#signal.removeEventListener('abort', this.#onAbort)
  }

  async #serve(): Promise<void> {
    this.#isServing = true
    for (;;) {
      const seen = this.#ticker.count // before the look at the clock: a tick that comes between them is not missed
      const nowMs = performance.now()
      while ((this.#waiters[0]?.dueMs ?? Infinity) <= nowMs) this.#waiters.shift()?.resolve()
      const [first] = this.#waiters
      if (first === undefined) break
      if (first.dueMs - nowMs > turnByTurnMs && !this.#ticker.isOver) await this.#ticker.after(seen)
      else await new Promise((resolve) => setImmediate(resolve))
    }
    this.#isServing = false
  }

  #giveUp(): void {
    for (const { reject } of this.#waiters.splice(0)) reject(this.#signal.reason)
    this.stop()
  }
}
