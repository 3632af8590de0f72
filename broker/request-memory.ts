/**
 * RequestMemory: the bytes of requests that are arriving or unanswered, of all connections together. Invariant: above the limit no
 * connection is read from but those whose request is counted already; when answers have brought it down, those that were stopped go on,
 * the one that has waited longest first. While anybody waits, a connection that has not ended a request `stallMsMax` after it began is
 * closed: one writer that sleeps, or sends a byte now and then, must not starve those that write. Called by ClientConnection.
 */
import type { Clock, Timer } from '../platform/clock.ts'

/** A connection whose request has begun to arrive and is counted. */
export interface RequestHolder {
  /** Since when we have read it; undefined = we do not read from it now. */
  readonly arrivingSinceMs: number | undefined
  /** It takes too long, and others wait for the memory it holds. */
  stalled(): void
}

export interface RequestMemoryOptions {
  readonly clock: Clock
  readonly bytesMax: number
  readonly stallMsMax: number
}

export class RequestMemory {
  readonly #options: RequestMemoryOptions
  readonly #waiting = new Set<() => void>()
  readonly #arriving = new Set<RequestHolder>()
  #takenBytes = 0
  #watch: Timer | undefined

  constructor(options: RequestMemoryOptions) {
    this.#options = options
  }

  get takenBytes(): number {
    return this.#takenBytes
  }

  get full(): boolean {
    return this.#takenBytes >= this.#options.bytesMax
  }

  get waitingCount(): number {
    return this.#waiting.size
  }

  take(bytes: number): void {
    this.#takenBytes += bytes
  }

  give(bytes: number): void {
    this.#takenBytes -= bytes
    for (const goOn of this.#waiting) {
      if (this.full) return
      this.forget(goOn)
      goOn()
    }
  }

  /** Calls `goOn` once when there is room; several calls with the same function are one. */
  wait(goOn: () => void): void {
    this.#waiting.add(goOn)
    this.#watch ??= this.#options.clock.after(this.#options.stallMsMax, () => this.#closeStalled())
  }

  forget(goOn: () => void): void {
    this.#waiting.delete(goOn)
    if (this.#waiting.size > 0) return
    this.#watch?.cancel()
    this.#watch = undefined
  }

  /** The holder's request has begun to arrive, and is counted. */
  arriving(holder: RequestHolder): void {
    this.#arriving.add(holder)
  }

  /** It is there, or will not come. */
  arrived(holder: RequestHolder): void {
    this.#arriving.delete(holder)
  }

  #closeStalled(): void {
    this.#watch = undefined
    const { clock, stallMsMax } = this.#options
    const overdueMs = clock.monotonicMs() - stallMsMax
    for (const holder of this.#arriving) {
      if (holder.arrivingSinceMs !== undefined && holder.arrivingSinceMs <= overdueMs) holder.stalled()
    }
    if (this.#waiting.size > 0) this.#watch ??= clock.after(stallMsMax, () => this.#closeStalled())
  }
}
