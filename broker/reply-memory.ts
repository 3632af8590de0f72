/**
 * ReplyMemory: the reply bytes under way to all connections together. Invariant: they stay below `bytesMax` (or are one reply); who would go
 * above waits, and while anybody waits, a connection that has taken nothing for `stallMsMax` is closed: one reader that sleeps must not
 * starve those that read. Called by the ReplyBudget of each connection.
 */
import type { Clock, Timer } from '../platform/clock.ts'

/** One connection's part in it. */
export interface ReplyHolder {
  /** Since when its socket holds bytes that it has not taken; undefined = it holds none. */
  readonly holdsSinceMs: number | undefined
  /** There is room again: who waits may ask once more. */
  admit(): void
  /** It takes nothing, and others wait for the memory it holds. */
  stalled(): void
}

export interface ReplyMemoryOptions {
  readonly clock: Clock
  readonly bytesMax: number
  readonly stallMsMax: number
}

export class ReplyMemory {
  readonly #options: ReplyMemoryOptions
  readonly #holders = new Set<ReplyHolder>()
  readonly #waiting = new Set<ReplyHolder>()
  #takenBytes = 0
  #watch: Timer | undefined

  constructor(options: ReplyMemoryOptions) {
    this.#options = options
  }

  get takenBytes(): number {
    return this.#takenBytes
  }

  now(): number {
    return this.#options.clock.monotonicMs()
  }

  add(holder: ReplyHolder): void {
    this.#holders.add(holder)
  }

  remove(holder: ReplyHolder): void {
    this.#holders.delete(holder)
    this.#waiting.delete(holder)
    if (this.#waiting.size === 0) this.#unwatch()
  }

  /** Takes the bytes, or answers false and calls the holder's `admit` when there is room. */
  take(bytes: number, holder: ReplyHolder): boolean {
    if (this.#takenBytes === 0 || this.#takenBytes + bytes <= this.#options.bytesMax) {
      this.#takenBytes += bytes
      return true
    }
    this.#waiting.add(holder)
    this.#watch ??= this.#options.clock.after(this.#options.stallMsMax, () => this.#closeStalled())
    return false
  }

  /** Takes bytes that are there already and cannot wait: small replies that nobody reserved for. */
  force(bytes: number): void {
    this.#takenBytes += bytes
  }

  give(bytes: number): void {
    this.#takenBytes -= bytes
    for (const holder of this.#waiting) {
      this.#waiting.delete(holder)
      holder.admit()
      // Refused again: it stands at the end of the line now, and nobody behind it would fare better.
      if (this.#waiting.has(holder)) break
    }
    if (this.#waiting.size === 0) this.#unwatch()
  }

  #closeStalled(): void {
    this.#watch = undefined
    const nowMs = this.now()
    const { stallMsMax, clock } = this.#options
    for (const holder of this.#holders) {
      if (holder.holdsSinceMs !== undefined && nowMs - holder.holdsSinceMs >= stallMsMax) holder.stalled()
    }
    if (this.#waiting.size > 0) this.#watch ??= clock.after(stallMsMax, () => this.#closeStalled())
  }

  #unwatch(): void {
    this.#watch?.cancel()
    this.#watch = undefined
  }
}
