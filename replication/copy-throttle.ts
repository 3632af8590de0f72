/**
 * CopyThrottle: how fast this broker copies to replicas that are being added to it, all of them together: what an operator has set for every broker of the
 * cluster. What is in sync is never throttled, or appends would wait for it. Neighbours: Replicas says what is set; ReplicaFetcher pays for what came.
 */
import type { Clock } from '../platform/clock.ts'
import { RateLimit } from '../storage/rate-limit.ts'

/** Asked for at once at the least, however slow it shall be. */
const fetchBytesMin = 64 * 1024

export class CopyThrottle {
  readonly #clock: Clock
  #bytesPerSecond: number | undefined
  #limit: RateLimit
  #changed = new AbortController()

  constructor(clock: Clock) {
    this.#clock = clock
    this.#limit = new RateLimit(clock, 0)
  }

  /** undefined = as fast as it goes. Who waits under what was set before goes on. */
  set(bytesPerSecond: number | undefined): void {
    if (bytesPerSecond === this.#bytesPerSecond) return
    this.#bytesPerSecond = bytesPerSecond
    this.#limit = new RateLimit(this.#clock, bytesPerSecond ?? 0)
    const before = this.#changed
    this.#changed = new AbortController()
    before.abort()
  }

  get isSet(): boolean {
    return this.#bytesPerSecond !== undefined
  }

  /** No more at once than a second's worth, so that it is slow and not halting. */
  bytesMax(fetchBytesMax: number): number {
    return Math.min(fetchBytesMax, Math.max(this.#bytesPerSecond ?? Infinity, fetchBytesMin))
  }

  /** Resolves when the next bytes may be asked for, or `signal` aborts. */
  async copied(bytes: number, signal: AbortSignal): Promise<void> {
    const either = AbortSignal.any([signal, this.#changed.signal])
    await this.#limit.take(bytes, either).catch(() => undefined)
  }
}
