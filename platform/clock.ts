/**
 * Clock: the seam to time. Wall time is for timestamps only; waits and measurements use the monotonic clock.
 * Neighbours: systemClock below is the real one; the simulator has a virtual one.
 */
import { onAbort } from './abort.ts'

export interface Timer {
  cancel(): void
}

export interface Clock {
  /** Wall time in ms since the epoch. May jump. */
  now(): number
  /** Monotonic time in ms, from an arbitrary origin. */
  monotonicMs(): number
  /** Calls back once after `delayMs`. A running timer keeps the process alive: its owner cancels it when it ends. */
  after(delayMs: number, callback: () => void): Timer
  /** Resolves in a later turn of the event loop, so that sockets and files get their turn in long work. */
  yield(): Promise<void>
}

/** All that long work in slices needs of a clock. */
export type Yielding = Pick<Clock, 'yield'>

/** The longest wait that the runtime's timers take; they would call back at once from a longer one. */
const timerMsMax = 0x7fff_ffff

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, callback) {
    let leftMs = delayMs
    const start = (): NodeJS.Timeout => {
      const stepMs = Math.min(leftMs, timerMsMax)
      leftMs -= stepMs
      return setTimeout(leftMs > 0 ? () => (timer = start()) : callback, stepMs)
    }
    let timer = start()
    return { cancel: () => clearTimeout(timer) }
  },
  yield: () => new Promise((resolve) => setImmediate(resolve)),
}

/** Resolves after `delayMs`, or rejects with the signal's reason as soon as it aborts. Keeps nothing behind. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason)
    const leave = onAbort(signal, () => {
      timer.cancel()
      reject(signal?.reason)
    })
    const timer = clock.after(delayMs, () => {
      leave?.()
      resolve()
    })
  })
}

/** Resolves with the work, or without it after `waitMs`. */
export async function within(clock: Clock, waitMs: number, work: Promise<unknown>): Promise<void> {
  const overdue = Promise.withResolvers<void>()
  const timer = clock.after(waitMs, overdue.resolve)
  await Promise.race([work, overdue.promise])
  timer.cancel()
}
