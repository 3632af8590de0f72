/**
 * Memory that the disk can be written from directly: it begins and ends where pages do. A fixed amount for the whole process, cut into pieces of
 * three sizes; whoever finds none left waits in line. WebAssembly's memory is the one kind in this runtime that promises to lie on pages.
 * Called by direct-writer.ts; storage/first-passage.ts has pages of its own, to read into.
 */
const KiB = 1024
const MiB = 1024 * KiB

const zeroBytes = 4 * MiB

/** Smallest first. Memory that nobody has written to yet costs nothing. */
const sizes = [
  { pieceBytes: 16 * KiB, count: 512 },
  { pieceBytes: 256 * KiB, count: 64 },
  // A group of the largest size in one write, with its frames.
  { pieceBytes: 8 * MiB + 64 * KiB, count: 4 },
] as const

/** Not among the runtime's own types; all that is wanted of it. */
declare const WebAssembly: {
  Memory: new (size: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer }
}
const wasmPageBytes = 64 * KiB

/** Zeroed memory that begins on a page. Takes no room until it is written to. Throws RangeError where the system does not give as much address space. */
export function onPages(bytes: number): Buffer {
  const pages = Math.ceil(bytes / wasmPageBytes)
  return Buffer.from(new WebAssembly.Memory({ initial: pages, maximum: pages }).buffer)
}

export class DirectMemory {
  /** Never written to. */
  readonly zeros: Buffer
  readonly #shelves: readonly Shelf[]

  private constructor(memory: Buffer) {
    this.zeros = memory.subarray(0, zeroBytes)
    let at = zeroBytes
    this.#shelves = sizes.map(({ pieceBytes, count }) => {
      const pieces = Array.from({ length: count }, (_, place) => {
        const start = at + place * pieceBytes
        return memory.subarray(start, start + pieceBytes)
      })
      at += pieceBytes * count
      return new Shelf(pieceBytes, pieces)
    })
  }

  /** Undefined where the system does not give as much address space. */
  static reserve(): DirectMemory | undefined {
    // In one piece: each such memory reserves gigabytes of address space around it.
    const bytes = sizes.reduce((sum, { pieceBytes, count }) => sum + pieceBytes * count, zeroBytes)
    try {
      return new DirectMemory(onPages(bytes))
    } catch {
      return undefined
    }
  }

  /** A piece of at least so many bytes, or the largest there is. What it holds is whatever was there. */
  take(bytes: number): Buffer | Promise<Buffer> {
    const shelf = this.#shelves.find(({ pieceBytes }) => pieceBytes >= bytes) ?? this.#shelves.at(-1)
    if (shelf === undefined) throw new Error('bug: memory without shelves')
    return shelf.take()
  }

  give(piece: Buffer): void {
    this.#shelves.find(({ pieceBytes }) => pieceBytes === piece.length)?.give(piece)
  }
}

class Shelf {
  readonly pieceBytes: number
  /** The one given back last goes out first: its pages are warm. */
  readonly #free: Buffer[]
  readonly #waiting: ((piece: Buffer) => void)[] = []

  constructor(pieceBytes: number, free: Buffer[]) {
    this.pieceBytes = pieceBytes
    this.#free = free.toReversed()
  }

  take(): Buffer | Promise<Buffer> {
    return this.#free.pop() ?? new Promise((resolve) => this.#waiting.push(resolve))
  }

  give(piece: Buffer): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#free.push(piece)
    else next(piece)
  }
}
