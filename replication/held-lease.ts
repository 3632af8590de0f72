/**
 * HeldLease: a lease of the metadata store and the loop that keeps it, for as long as its holder is really alive. Says when it is over for good,
 * and since when that can no longer be known: clocks decide nothing here, others find out from the store.
 * Invariant: it is kept only while `isAlive` says so, so that a process whose work stands still does not look alive.
 * Neighbours: Session registers a broker with one, Controller campaigns with the same.
 */
import { sleep } from '../platform/clock.ts'
import type { Clock } from '../platform/clock.ts'
import type { MetadataStore } from './metadata-store.ts'

export interface HeldLeaseOptions {
  readonly store: MetadataStore
  readonly clock: Clock
  readonly ttlMs: number
  /** Whether the work that the lease stands for has moved lately. */
  readonly isAlive: () => boolean
  /** The store says that it is gone: whatever was put with it is gone, too. Called once, unless it was given back. */
  readonly onLost: () => void
}

/** Fewer would make a lost answer or two the end of it. */
const keepsPerTtl = 4

export class HeldLease {
  readonly leaseId: string
  readonly ttlMs: number
  readonly #options: HeldLeaseOptions
  readonly #ended = new AbortController()
  readonly #keeping: Promise<void>
  #keptMs: number
  #isLost = false

  private constructor(options: HeldLeaseOptions, granted: { leaseId: string; ttlMs: number }, sentMs: number) {
    this.#options = options
    this.leaseId = granted.leaseId
    this.ttlMs = granted.ttlMs
    this.#keptMs = sentMs
    this.#keeping = this.#keep()
  }

  /** Rejects as MetadataStore.grantLease does. */
  static async grant(options: HeldLeaseOptions): Promise<HeldLease> {
    const sentMs = options.clock.monotonicMs()
    return new HeldLease(options, await options.store.grantLease(options.ttlMs), sentMs)
  }

  get isLost(): boolean {
    return this.#isLost
  }

  /** The store may have let it go: it was last kept, counted from the sending, longer ago than it lasts. */
  get isDoubtful(): boolean {
    return this.#isLost || this.#options.clock.monotonicMs() - this.#keptMs >= this.ttlMs
  }

  /** Gives it back; if the store cannot be reached it ends by itself. */
  async close(): Promise<void> {
    if (this.#ended.signal.aborted) return
    this.#ended.abort()
    await this.#keeping
    if (!this.#isLost) await this.#options.store.revokeLease(this.leaseId).catch(() => undefined)
  }

  async #keep(): Promise<void> {
    const { clock, store, isAlive, onLost } = this.#options
    const { signal } = this.#ended
    while (await this.#pause()) {
      if (!isAlive()) continue
      const sentMs = clock.monotonicMs()
      // Whatever goes wrong with the asking, the lease may be there still: only the store's word ends it.
      const isThere = await store.keepLease(this.leaseId).catch(() => undefined)
      if (isThere === true) this.#keptMs = sentMs
      if (isThere !== false || signal.aborted) continue
      this.#isLost = true
      this.#ended.abort()
      onLost()
      return
    }
  }

  #pause(): Promise<boolean> {
    const { signal } = this.#ended
    return sleep(this.#options.clock, this.ttlMs / keepsPerTtl, signal).then(
      () => true,
      () => false,
    )
  }
}
