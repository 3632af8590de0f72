/**
 * GroupMemory: where the small batches of one log are copied, group behind group, on their way to the file and for as long as the tail cache has them.
 * A log that stays busy gets larger pieces, an idle one holds none: what a quiet log keeps alive is of the size of what it holds.
 * Invariant: nothing is copied over bytes that anyone holds. Neighbours: Appender fills it, TailCache holds the pieces, FrameMemory hands them out again.
 */
import type { FrameMemory, FramePiece } from '../protocol/frame-memory.ts'
import { KiB } from '../protocol/limits.ts'

const pieceBytesMin = 4 * KiB
const pieceBytesMax = 256 * KiB

export interface GroupRoom {
  readonly bytes: Buffer
  /** What they lie in. Held until the next call of `take` or `letGo`; who keeps them for longer holds it. */
  readonly piece: FramePiece
}

export class GroupMemory {
  readonly #memory: FrameMemory
  #piece: FramePiece | undefined
  #at = 0
  #nextBytes = pieceBytesMin

  constructor(memory: FrameMemory) {
    this.#memory = memory
  }

  take(bytes: number): GroupRoom {
    if (this.#piece === undefined || this.#piece.bytes.length - this.#at < bytes) {
      this.#piece?.letGo()
      this.#piece = this.#memory.take(Math.max(bytes, this.#nextBytes))
      this.#at = 0
      this.#nextBytes = Math.min(2 * this.#nextBytes, pieceBytesMax)
    }
    const from = this.#at
    this.#at += bytes
    return { bytes: this.#piece.bytes.subarray(from, this.#at), piece: this.#piece }
  }

  /** The log is idle: nothing of it is being written. */
  letGo(): void {
    this.#piece?.letGo()
    this.#piece = undefined
    this.#nextBytes = pieceBytesMin
  }
}
