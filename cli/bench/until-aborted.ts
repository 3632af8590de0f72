/** Waiting for a promise, or for the signal, whichever comes first. */
import { onAbort } from '../../platform/abort.ts'

/** @throws what the promise rejects with, or the signal's reason */
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
