/**
 * onAbort: one listener per AbortSignal however many wait for it. The runtime goes through all listeners of a signal to add or remove one, so
 * with a thousand appends under way on one signal that alone took a quarter of a client's time.
 */
const waitersOf = new WeakMap<AbortSignal, Set<() => void>>()

/** Calls `callback` once if the signal aborts, not if it has already. Answers how to take it back; undefined for no signal. */
export function onAbort(signal: AbortSignal | undefined, callback: () => void): (() => void) | undefined {
  if (signal === undefined) return undefined
  const waiters = waitersOf.get(signal) ?? listen(signal)
  // Of its own: a callback given twice is called twice.
  const waiter = () => callback()
  waiters.add(waiter)
  return () => void waiters.delete(waiter)
}

function listen(signal: AbortSignal): Set<() => void> {
  const waiters = new Set<() => void>()
  waitersOf.set(signal, waiters)
  const abort = () => {
    const called = [...waiters]
    waiters.clear()
    for (const waiter of called) waiter()
  }
  signal.addEventListener('abort', abort, { once: true })
  return waiters
}
