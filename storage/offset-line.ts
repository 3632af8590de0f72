/**
 * OffsetLine: who waits for an offset to be reached, without a limit of time or number: appends, which are bounded elsewhere. Invariant: each is
 * answered exactly once. Called by Appender, and by replication for what replicas have.
 */
interface Waiter {
  /** Released when everything below this is reached. */
  readonly offset: number
  resolve(): void
  reject(error: Error): void
}

export class OffsetLine {
  /** In order of their offsets. */
  readonly #waiters: Waiter[] = []

  wait(offset: number): Promise<void> {
    return new Promise((resolve, reject) => {
      let at = this.#waiters.length
      while (at > 0 && (this.#waiters[at - 1]?.offset ?? 0) > offset) at--
      const waiter = { offset, resolve, reject }
      if (at === this.#waiters.length) this.#waiters.push(waiter)
      else this.#waiters.splice(at, 0, waiter)
    })
  }

  /** Answers everyone who waits for `offset` or less. */
  release(offset: number): void {
    let count = 0
    while ((this.#waiters[count]?.offset ?? Infinity) <= offset) count++
    if (count === 0) return
    for (const waiter of this.#waiters.splice(0, count)) waiter.resolve()
  }

  /** Everyone who waits gets this error. */
  fail(error: Error): void {
    for (const waiter of this.#waiters.splice(0)) waiter.reject(error)
  }
}
