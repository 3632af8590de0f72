/**
 * FailedAttempts: how often passwords were tried and wrong, by whatever is counted: an address and a user, or an address. Beyond a number it is refused at
 * once, before anything is looked at, until time has passed: guessing costs the guesser time and the broker nothing. Tokens are not counted: they
 * cannot be guessed, and one client with an old token must not shut out those that share its address.
 * Invariant: memory is bounded; when there are too many the one that failed longest ago is forgotten.
 */
import type { Clock } from '../../platform/clock.ts'
import { PlayheadError } from '../../protocol/errors.ts'

/** One more is free after each of these times. */
const attemptEachMs = 3_000
const countedMax = 10_000

export class FailedAttempts {
  readonly #clock: Clock
  /** So many at once. */
  readonly #attemptsMax: number
  /** When there will be no failure left that counts, the least recent first. */
  readonly #clearAtMs = new Map<string, number>()

  constructor(clock: Clock, attemptsMax: number) {
    this.#clock = clock
    this.#attemptsMax = attemptsMax
  }

  /** Throws overloaded while there were too many. */
  check(counted: string): void {
    const leftMs = (this.#clearAtMs.get(counted) ?? 0) - this.#clock.monotonicMs()
    if (leftMs <= (this.#attemptsMax - 1) * attemptEachMs) return
    throw new PlayheadError(
      'overloaded',
      `authentication: found ${this.#attemptsMax} wrong passwords from this address, wanted fewer; try again in ${Math.ceil(attemptEachMs / 1000)} s`,
    )
  }

  failed(counted: string): void {
    const nowMs = this.#clock.monotonicMs()
    const clearAtMs = Math.max(this.#clearAtMs.get(counted) ?? 0, nowMs) + attemptEachMs
    this.#clearAtMs.delete(counted)
    this.#clearAtMs.set(counted, clearAtMs)
    if (this.#clearAtMs.size <= countedMax) return
    const [oldest] = this.#clearAtMs.keys()
    if (oldest !== undefined) this.#clearAtMs.delete(oldest)
  }
}
