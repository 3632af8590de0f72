/**
 * onAbort: one listener per AbortSignal however many wait for it. The runtime goes through all listeners of a signal to add or remove one, so
 * with a thousand appends under way on one signal that alone took a quarter of a client's time. The last one to leave takes the listener
 * off: the runtime keeps a signal that depends on others alive for as long as it has one.
 */
class Waiters {
  readonly #signal: AbortSignal
  readonly #waiting = new Set<() => void>()

  constructor(signal: AbortSignal) {
    this.#signal = signal
    signal.addEventListener('abort', this.#abort)
  }

  add(waiter: () => void): void {
    this.#waiting.add(waiter)
  }

  leave(waiter: () => void): void {
    if (!this.#waiting.delete(waiter) || this.#waiting.size > 0) return
    this.#signal.removeEventListener('abort', this.#abort)
    waitersOf.delete(this.#signal)
  }

  /** One that throws must not keep the others from hearing: the runtime treats listeners so, too. */
  readonly #abort = (): void => {
    for (const waiter of this.#waiting) {
      this.leave(waiter)
      try {
        waiter()
      } catch (error) {
        process.nextTick(() => {
          throw error
        })
      }
    }
  }
}

const waitersOf = new WeakMap<AbortSignal, Waiters>()

/** Calls `callback` once if the signal aborts, not if it has already. Answers how to take it back; undefined for no signal. */
export function onAbort(signal: AbortSignal | undefined, callback: () => void): (() => void) | undefined {
  if (signal === undefined) return undefined
  let waiters = waitersOf.get(signal)
  if (waiters === undefined) {
    waiters = new Waiters(signal)
    waitersOf.set(signal, waiters)
  }
  // Of its own: a callback given twice is called twice.
  const waiter = () => callback()
  waiters.add(waiter)
  return () => waiters.leave(waiter)
}

/** @throws what the promise rejects with, or the signal's reason if that comes first */
export async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted()
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  // Taken off again: a race against one lasting promise would keep something of every wait.
  const leave = onAbort(signal, () => reject(signal.reason))
  try {
    return await Promise.race([promise, aborted])
  } finally {
    leave?.()
  }
}
