/**
 * Deadline: how long one call of the client may take, and the signal that ends it earlier. Every wait of the client goes through
 * one, so that nothing waits for ever and nothing outlives its caller. Neighbours: retry.ts asks it between attempts.
 */
import { onAbort } from '../platform/abort.ts'
import { PlayheadError } from '../protocol/errors.ts'
import type { Clock } from '../platform/clock.ts'
import { sleep } from '../platform/clock.ts'

export class Deadline {
  readonly clock: Clock
  readonly timeoutMs: number
  readonly signal: AbortSignal | undefined
  readonly #endsAtMs: number

  /** `timeoutMs` from now on. Throws the signal's reason when it has aborted already. */
  constructor(clock: Clock, timeoutMs: number, signal?: AbortSignal) {
    signal?.throwIfAborted()
    this.clock = clock
    this.timeoutMs = timeoutMs
    this.signal = signal
    this.#endsAtMs = clock.monotonicMs() + timeoutMs
  }

  get remainingMs(): number {
    return Math.max(0, this.#endsAtMs - this.clock.monotonicMs())
  }

  /** Settles as `promise` does, or rejects when time is up (`unavailable`, naming `what`) or the signal aborts. Keeps nothing behind. */
  wait<T>(promise: Promise<T>, what: string): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const signal = this.signal
      const leave = onAbort(signal, () => end(() => reject(signal?.reason)))
      const timer = this.clock.after(this.remainingMs, () => end(() => reject(this.expired(what))))
      const end = (settle: () => void) => {
        timer.cancel()
        leave?.()
        settle()
      }
      if (signal?.aborted) end(() => reject(signal.reason))
      promise.then(
        (value) => end(() => resolve(value)),
        (error: unknown) => end(() => reject(error)),
      )
    })
  }

  sleep(delayMs: number): Promise<void> {
    return sleep(this.clock, Math.min(delayMs, this.remainingMs), this.signal)
  }

  expired(what: string): PlayheadError {
    return new PlayheadError(
      'unavailable',
      `${what}: found no progress within ${this.timeoutMs} ms; check that the broker runs, or allow more time with timeoutMs`,
      { timeoutMs: this.timeoutMs, outcome: 'unknown' },
    )
  }
}
