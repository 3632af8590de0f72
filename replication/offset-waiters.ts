/**
 * OffsetWaiters: who waits for an offset of one partition to be reached. Invariant: waiters stand in the order in which they
 * will be released, so that a release is a walk from the front; each is answered exactly once. Called by Partition.
 */
import assert from 'node:assert/strict'
import type { Clock, Timer } from '../platform/clock.ts'
import { PlayheadError } from '../protocol/errors.ts'

interface Waiter {
  readonly offset: number
  readonly timer: Timer
  settle(reached: boolean): void
  fail(error: Error): void
}

export class OffsetWaiters {
  readonly #clock: Clock
  readonly #countMax: number
  #waiters: Waiter[] = []
  #closedBy: Error | undefined

  constructor(clock: Clock, countMax: number) {
    this.#clock = clock
    this.#countMax = countMax
  }

  get count(): number {
    return this.#waiters.length
  }

  /**
   * Resolves with true once `release` was called with `offset` or more, with false after `waitMs` or when the signal aborts.
   * Rejects with overloaded when too many wait already, and with the error given to `close`.
   */
  wait(offset: number, waitMs: number, signal?: AbortSignal): Promise<boolean> {
    if (this.#closedBy) return Promise.reject(this.#closedBy)
    if (signal?.aborted || waitMs <= 0) return Promise.resolve(false)
    if (this.#waiters.length >= this.#countMax) return Promise.reject(this.#tooMany())
    return new Promise((resolve, reject) => {
      const onAbort = () => this.#forget(waiter)
      const waiter: Waiter = {
        offset,
        timer: this.#clock.after(waitMs, () => this.#forget(waiter)),
        settle(reached) {
          waiter.timer.cancel()
          signal?.removeEventListener('abort', onAbort)
          resolve(reached)
        },
        fail(error) {
          waiter.timer.cancel()
          signal?.removeEventListener('abort', onAbort)
          reject(error)
        },
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#insert(waiter)
    })
  }

  /** Answers everyone who waits for `offset` or less. */
  release(offset: number): void {
    const waiters = this.#waiters
    let count = 0
    while (count < waiters.length && waiters[count]!.offset <= offset) count++
    if (count === 0) return
    for (const waiter of waiters.splice(0, count)) {
      assert(waiter.offset <= offset)
      waiter.settle(true)
    }
  }

  /** Everyone who waits is answered that it was not reached. */
  wake(): void {
    for (const waiter of this.#waiters.splice(0)) waiter.settle(false)
  }

  /** Nothing will be reached any more: everyone who waits, and who comes, gets this error. */
  close(error: Error): void {
    this.#closedBy = error
    const waiters = this.#waiters
    this.#waiters = []
    for (const waiter of waiters) waiter.fail(error)
  }

  #tooMany(): PlayheadError {
    return new PlayheadError(
      'overloaded',
      `waiting requests of a partition: found ${this.#waiters.length}, wanted fewer than ${this.#countMax}; try again later`,
      { limit: this.#countMax },
    )
  }

  #insert(waiter: Waiter): void {
    // Nearly everyone waits for the next offset: the place is found from the end.
    let place = this.#waiters.length
    while (place > 0 && this.#waiters[place - 1]!.offset > waiter.offset) place--
    this.#waiters.splice(place, 0, waiter)
  }

  #forget(waiter: Waiter): void {
    const place = this.#waiters.indexOf(waiter)
    if (place === -1) return
    this.#waiters.splice(place, 1)
    waiter.settle(false)
  }
}
