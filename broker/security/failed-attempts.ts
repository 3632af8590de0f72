/**
 * FailedAttempts: how often each address has failed to say who it is. Beyond a number it is refused at once, before anything is looked at, until time
 * has passed: guessing passwords costs the guesser time and the broker nothing.
 * Invariant: memory is bounded; when there are too many addresses the one that failed longest ago is forgotten.
 */
import type { Clock } from '../../platform/clock.ts'
import { PlayheadError } from '../../protocol/errors.ts'

/** So many at once, and one more after each of these times. */
const attemptsMax = 20
const attemptEachMs = 3_000
const addressesMax = 10_000

export class FailedAttempts {
  readonly #clock: Clock
  /** When the address will have no failure left that counts, by address, the least recent first. */
  readonly #clearAtMs = new Map<string, number>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Throws overloaded while the address has failed too often. */
  check(address: string): void {
    const leftMs = (this.#clearAtMs.get(address) ?? 0) - this.#clock.monotonicMs()
    if (leftMs <= (attemptsMax - 1) * attemptEachMs) return
    throw new PlayheadError(
      'overloaded',
      `authentication: found ${attemptsMax} failures from this address, wanted fewer; try again in ${Math.ceil(attemptEachMs / 1000)} s`,
    )
  }

  failed(address: string): void {
    const nowMs = this.#clock.monotonicMs()
    const clearAtMs = Math.max(this.#clearAtMs.get(address) ?? 0, nowMs) + attemptEachMs
    this.#clearAtMs.delete(address)
    this.#clearAtMs.set(address, clearAtMs)
    if (this.#clearAtMs.size <= addressesMax) return
    const [oldest] = this.#clearAtMs.keys()
    if (oldest !== undefined) this.#clearAtMs.delete(oldest)
  }
}
