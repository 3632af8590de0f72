/**
 * GroupMemory: where the small batches of one log are copied, group behind group, on their way to the file and for as long as the tail cache has them.
 * A log that has written much of late gets pieces for many groups, which are used again; anyone else memory of the collector, of exactly the size of
 * its group. A budget bounds what all logs have begun to fill.
 * Invariants: nothing is copied over bytes that anyone holds; a piece is never larger than what its log has written.
 * Neighbours: Appender fills it, TailCache holds the pieces, FrameMemory hands them out again.
 */
import type { FrameMemory, FramePiece } from '../protocol/frame-memory.ts'
import { KiB } from '../protocol/limits.ts'
import type { ByteBudget } from './byte-budget.ts'

const pieceBytesMin = 4 * KiB
const pieceBytesMax = 512 * KiB

export interface GroupRoom {
  readonly bytes: Buffer
  /** What they lie in: held until the next call of `take` or `letGo`; who keeps them for longer holds it. Undefined = memory of the collector. */
  readonly piece: FramePiece | undefined
}

export class GroupMemory {
  readonly #memory: FrameMemory
  readonly #budget: ByteBudget
  #piece: FramePiece | undefined
  #at = 0
  /** By this log; a quarter of it counts after each pause. */
  #takenBytes = 0

  /** `budget`: of pieces that logs go on filling. */
  constructor(memory: FrameMemory, budget: ByteBudget) {
    this.#memory = memory
    this.#budget = budget
  }

  take(bytes: number): GroupRoom {
    if (this.#piece === undefined || this.#piece.bytes.length - this.#at < bytes) this.#goOn(bytes)
    this.#takenBytes += bytes
    if (this.#piece === undefined) return { bytes: Buffer.allocUnsafeSlow(bytes), piece: undefined }
    const from = this.#at
    this.#at += bytes
    return { bytes: this.#piece.bytes.subarray(from, this.#at), piece: this.#piece }
  }

  /** The log is idle: nothing of it is being written. */
  letGo(): void {
    this.#end()
    this.#takenBytes = Math.min(this.#takenBytes, pieceBytesMax) >> 2
  }

  /** In a piece that has room for two such groups at least, if there may be one. */
  #goOn(bytes: number): void {
    this.#end()
    const pieceBytes = Math.min(2 ** Math.floor(Math.log2(this.#takenBytes)), pieceBytesMax)
    if (pieceBytes < Math.max(pieceBytesMin, 2 * bytes) || !this.#budget.take(pieceBytes)) return
    this.#piece = this.#memory.take(pieceBytes)
    this.#at = 0
  }

  #end(): void {
    const piece = this.#piece
    if (piece === undefined) return
    this.#piece = undefined
    this.#budget.give(piece.bytes.length)
    piece.letGo()
  }
}
