/**
 * ReplyBudget: the reply bytes under way to one connection, those that its socket holds and those that reads in progress may add.
 * Invariant: a slow consumer holds at most `bytesMax`, or one reply if that is larger; its own reads wait, in order, nobody else's.
 * Called by ClientConnection, takes from ReplyMemory. The queue is bounded by the connection's requests in flight.
 */
import { PlayheadError } from '../protocol/errors.ts'
import type { ReplyHolder, ReplyMemory } from './reply-memory.ts'

export interface ReplyBudgetOptions {
  readonly memory: ReplyMemory
  readonly bytesMax: number
  /** The connection is to be closed: it takes nothing, and others wait for the memory it holds. */
  readonly onStalled: () => void
}

export class ReplyBudget implements ReplyHolder {
  readonly #memory: ReplyMemory
  readonly #bytesMax: number
  readonly #onStalled: () => void
  /** For reads in progress. */
  #reservedBytes = 0
  /** In the socket since it was empty last. */
  #heldBytes = 0
  #holdsSinceMs: number | undefined
  #waiting: { readonly bytes: number; readonly admit: () => void; readonly refuse: (error: Error) => void }[] = []
  #closed = false

  constructor({ memory, bytesMax, onStalled }: ReplyBudgetOptions) {
    this.#memory = memory
    this.#bytesMax = bytesMax
    this.#onStalled = onStalled
    memory.add(this)
  }

  /** The socket holds more than it should: no further request is to be read from it. */
  get exceeded(): boolean {
    return this.#heldBytes > this.#bytesMax
  }

  get holdsSinceMs(): number | undefined {
    return this.#holdsSinceMs
  }

  /** Undefined when there is room now; else a promise that resolves once there is, or rejects with closed once the connection is gone. */
  reserve(bytes: number): Promise<void> | undefined {
    if (this.#closed) return Promise.reject(gone())
    if (this.tryReserve(bytes)) return undefined
    return new Promise((admit, refuse) => this.#waiting.push({ bytes, admit, refuse }))
  }

  /** Takes the bytes if nobody waits and there is room now. */
  tryReserve(bytes: number): boolean {
    return !this.#closed && this.#waiting.length === 0 && this.#take(bytes)
  }

  /** Gives back what was reserved and is not needed. */
  release(bytes: number): void {
    if (this.#closed) return
    this.#reservedBytes -= bytes
    this.#memory.give(bytes)
    this.admit()
  }

  /** A reply went to the socket; what was reserved for it is free again. */
  sent(replyBytes: number, reservedBytes: number): void {
    if (this.#closed) return
    this.#heldBytes += replyBytes
    this.#holdsSinceMs ??= this.#memory.now()
    this.#reservedBytes -= reservedBytes
    this.#memory.force(replyBytes)
    this.#memory.give(reservedBytes)
    this.admit()
  }

  /** The socket has taken all that it held. */
  drained(): void {
    const bytes = this.#heldBytes
    this.#heldBytes = 0
    this.#holdsSinceMs = undefined
    this.#memory.give(bytes)
    this.admit()
  }

  admit(): void {
    for (let next = this.#waiting[0]; next && this.#take(next.bytes); next = this.#waiting[0]) {
      this.#waiting.shift()
      next.admit()
    }
  }

  stalled(): void {
    this.#onStalled()
  }

  /** The connection is gone: whoever waits is refused. All of them reading at once, for nobody, would need the memory that nobody counts. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    const waiting = this.#waiting
    this.#waiting = []
    this.#memory.remove(this)
    this.#memory.give(this.#reservedBytes + this.#heldBytes)
    for (const { refuse } of waiting) refuse(gone())
  }

  #take(bytes: number): boolean {
    const taken = this.#reservedBytes + this.#heldBytes
    if (taken > 0 && taken + bytes > this.#bytesMax) return false
    if (!this.#memory.take(bytes, this)) return false
    this.#reservedBytes += bytes
    return true
  }
}

function gone(): PlayheadError {
  return new PlayheadError('closed', 'connection: found it closed before its reply was read, wanted it open')
}
