/**
 * ScratchMemory: memory for bytes that are read, looked at and let go of, used again instead of left to the collector: a read of ten events goes
 * through 640 KiB of it. Invariant: what is given back is referred to by nobody. Called by SegmentReader.
 */
import { KiB } from '../protocol/limits.ts'

/** Room for a batch of the usual size with its neighbours; larger reads get memory of their own. */
const pieceBytes = 128 * KiB

export class ScratchMemory {
  readonly #keptMax: number
  readonly #free: Buffer[] = []

  /** `keptBytesMax`: kept for the next reads. */
  constructor(keptBytesMax: number) {
    this.#keptMax = Math.floor(keptBytesMax / pieceBytes)
  }

  /** Exactly so many bytes, whatever they hold. */
  take(bytes: number): Buffer {
    if (bytes > pieceBytes) return Buffer.allocUnsafeSlow(bytes)
    const piece = this.#free.pop() ?? Buffer.allocUnsafeSlow(pieceBytes)
    return piece.subarray(0, bytes)
  }

  /** `bytes`: all that `take` answered, or the beginning of it. */
  give(bytes: Buffer): void {
    const { buffer } = bytes
    if (buffer.byteLength !== pieceBytes || this.#free.length >= this.#keptMax) return
    this.#free.push(Buffer.from(buffer as ArrayBuffer))
  }
}
