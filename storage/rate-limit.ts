/**
 * RateLimit: bytes per second, of what the tier is sent or asked for, or of what is copied to new replicas. Whoever takes more than there is waits until it
 * has come together; after a pause there is at most one second's worth at once. Neighbours: TierBlocks, SegmentUpload, CopyThrottle.
 */
import { sleep } from '../platform/clock.ts'
import type { Clock } from '../platform/clock.ts'

export class RateLimit {
  readonly #clock: Clock
  /** 0 = no limit. */
  readonly #bytesPerSecond: number
  /** When all that was taken so far has come together, by the monotonic clock. */
  #paidMs = -Infinity

  constructor(clock: Clock, bytesPerSecond: number) {
    this.#clock = clock
    this.#bytesPerSecond = bytesPerSecond
  }

  async take(bytes: number, signal?: AbortSignal): Promise<void> {
    if (this.#bytesPerSecond === 0) return
    const nowMs = this.#clock.monotonicMs()
    const fromMs = Math.max(this.#paidMs, nowMs - 1000)
    this.#paidMs = fromMs + (bytes / this.#bytesPerSecond) * 1000
    if (this.#paidMs > nowMs) await sleep(this.#clock, this.#paidMs - nowMs, signal)
  }
}
