/**
 * listen: one listener per AbortSignal however many wait for it. The runtime goes through all listeners of a signal to add or remove one, so
 * with a thousand appends under way on one signal that alone took a quarter of a client's time. The last one to leave takes the listener
 * off: the runtime keeps a signal that depends on others alive for as long as it has one.
 */

export interface AbortListener {
  onAbort(reason: unknown): void
}

class Listeners {
  readonly #signal: AbortSignal
  readonly #listening = new Set<AbortListener>()

  constructor(signal: AbortSignal) {
    this.#signal = signal
    signal.addEventListener('abort', this.#abort)
  }

  add(listener: AbortListener): void {
    this.#listening.add(listener)
  }

  leave(listener: AbortListener): void {
    if (!this.#listening.delete(listener) || this.#listening.size > 0) return
    this.#signal.removeEventListener('abort', this.#abort)
    listenersOf.delete(this.#signal)
  }

  /** One that throws must not keep the others from hearing: the runtime treats listeners so, too. */
  readonly #abort = (): void => {
    for (const listener of this.#listening) {
      this.leave(listener)
      try {
        listener.onAbort(this.#signal.reason)
      } catch (error) {
        process.nextTick(() => {
          throw error
        })
      }
    }
  }
}

const listenersOf = new WeakMap<AbortSignal, Listeners>()

/** Calls `onAbort` once if the signal aborts, not if it has already. Who listens twice is called once. */
export function listen(signal: AbortSignal, listener: AbortListener): void {
  let listeners = listenersOf.get(signal)
  if (listeners === undefined) {
    listeners = new Listeners(signal)
    listenersOf.set(signal, listeners)
  }
  listeners.add(listener)
}

/** Takes it back; nothing if it does not listen any more. */
export function unlisten(signal: AbortSignal, listener: AbortListener): void {
  listenersOf.get(signal)?.leave(listener)
}

/** The same with a function. Answers how to take it back; undefined for no signal. */
export function onAbort(signal: AbortSignal | undefined, callback: () => void): (() => void) | undefined {
  if (signal === undefined) return undefined
  const listener = { onAbort: () => callback() }
  listen(signal, listener)
  return () => unlisten(signal, listener)
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
