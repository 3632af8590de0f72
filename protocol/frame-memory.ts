/**
 * FrameMemory: memory that frames arrive in, used again when nobody looks at them any more. Left to the collector, as much as a broker takes in
 * within seconds would wait for it, and each new piece would cost its page faults (docs/decisions/0015).
 * Invariant: a piece is handed out again only when everyone who held it has let go. Who forgets to let go costs a piece, which then goes to
 * the collector; who looks at a piece after letting go of it reads somebody else's frame.
 * Neighbours: FrameReader fills pieces, the broker's connections and logs hold them; logs read, and copy small batches, into pieces of their own.
 */
import assert from 'node:assert/strict'
import { KiB, MiB } from './limits.ts'
import { RecencyMap } from './recency-map.ts'

/** Smaller ones are of quiet connections, and cost little. */
const keptPieceBytesMin = 64 * KiB

export class FramePiece {
  readonly bytes: Buffer
  readonly #memory: FrameMemory
  #holders = 1

  /** Held once, by whoever asked for it. */
  constructor(bytes: Buffer, memory: FrameMemory) {
    this.bytes = bytes
    this.#memory = memory
  }

  /** Keeps the piece as it is until one more `letGo`. */
  hold(): void {
    assert(this.#holders > 0, 'nobody may hold a piece that all have let go of')
    this.#holders++
  }

  letGo(): void {
    assert(this.#holders > 0, 'a piece was let go of more often than held')
    if (--this.#holders === 0) this.#memory.takeBack(this.bytes)
  }
}

export class FrameMemory {
  /** Told of each piece that all have let go of, before anyone else gets it: tests overwrite it, so that whoever still looks is found. */
  static onTakenBack: (bytes: Buffer) => void = () => {}
  readonly #keptBytesMax: number
  /** By their size. */
  readonly #kept = new RecencyMap<Buffer[]>()
  #keptBytes = 0

  /** `keptBytesMax`: of pieces that nobody holds. */
  constructor(keptBytesMax: number) {
    this.#keptBytesMax = keptBytesMax
  }

  /** A piece of at least so many bytes, whatever they hold. */
  take(bytes: number): FramePiece {
    const size = sizeOf(bytes)
    const kept = this.#kept.get(size)
    // Asked for last, so given up last.
    if (kept !== undefined) this.#kept.touch(size, kept)
    const again = kept?.pop()
    if (again !== undefined) this.#keptBytes -= size
    return new FramePiece(again ?? Buffer.allocUnsafeSlow(size), this)
  }

  /** For FramePiece. */
  takeBack(bytes: Buffer): void {
    FrameMemory.onTakenBack(bytes)
    const size = bytes.length
    if (size < keptPieceBytesMin || size > this.#keptBytesMax) return
    this.#makeRoom(size)
    if (this.#keptBytes + size > this.#keptBytesMax) return
    this.#keptBytes += size
    const kept = this.#kept.get(size)
    if (kept === undefined) this.#kept.touch(size, [bytes])
    else kept.push(bytes)
  }

  /** Gives up pieces of other sizes, those that nobody has asked for longest first. */
  #makeRoom(size: number): void {
    for (const [other, pieces] of this.#kept) {
      if (other === size) return // all that follow have been asked for since
      while (this.#keptBytes + size > this.#keptBytesMax && pieces.pop() !== undefined) this.#keptBytes -= other
      if (pieces.length > 0) return
      this.#kept.delete(other)
    }
  }
}

/** Few sizes, so that pieces fit again: powers of two up to a MiB, then whole MiB. */
function sizeOf(bytes: number): number {
  return bytes > MiB ? Math.ceil(bytes / MiB) * MiB : 2 ** Math.ceil(Math.log2(bytes))
}
