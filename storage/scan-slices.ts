/**
 * Slices of a segment file for a scan, which looks at one frame after the other: a slice holds the next frame whole. Plain ones are read when they are
 * wanted, by whoever scans while a broker works. Those of a start are read ahead, and past the page cache where that can be done: what was written so is
 * in no cache, and pages found and filled for it cost more than the scan itself (docs/decisions/0052).
 * Invariant: `bytes` are what the file has at [start, end). Neighbours: segment-scan.ts; recovery lends the windows.
 */
import { appendBlockBytes, blocksEnd } from '../platform/file-system.ts'
import type { File } from '../platform/file-system.ts'
import { onPages } from '../platform/direct-memory.ts'
import { MiB } from '../protocol/limits.ts'

export interface Slices {
  readonly bytes: Buffer
  readonly start: number
  readonly end: number
  /** Brings at least `neededBytes` at `position`, which does not go back, into `bytes`; false when there are not so many before the end. */
  fill(position: number, neededBytes: number): Promise<boolean>
}

export class PlainSlices implements Slices {
  readonly #file: File
  readonly #endPosition: number
  #memory: Buffer
  start = 0
  end = 0

  /** Slices of so many bytes; a frame that is larger gets a larger one. */
  constructor(file: File, endPosition: number, sliceBytes: number) {
    this.#file = file
    this.#endPosition = endPosition
    this.#memory = Buffer.allocUnsafeSlow(sliceBytes)
  }

  get bytes(): Buffer {
    return this.#memory
  }

  async fill(position: number, neededBytes: number): Promise<boolean> {
    if (neededBytes > this.#memory.length) this.#memory = Buffer.allocUnsafeSlow(neededBytes)
    this.start = position
    const wanted = this.#memory.subarray(0, Math.min(this.#memory.length, this.#endPosition - position))
    this.end = position + (await this.#file.read(wanted, position))
    return position + neededBytes <= this.end
  }
}

/** Where the next slice goes while one is looked at; what is left of that one is copied before it. */
export type ScanWindow = readonly [Buffer, Buffer]

export interface WindowSizes {
  /** Read at once: whole blocks of files. */
  readonly chunkBytes: number
  /** Whole blocks, too. A frame that leaves more than this behind in a slice begins another one. */
  readonly leftBytesMax: number
}

const windowSizes: WindowSizes = { chunkBytes: 2 * MiB, leftBytesMax: MiB }

/** A chunk of the file that is being read. */
interface Chunk {
  readonly position: number
  /** The bytes that came. */
  readonly read: Promise<number>
}

export class SlicesAhead implements Slices {
  readonly #file: File
  readonly #endPosition: number
  readonly #sizes: WindowSizes
  /** The one in use, and the one that the next chunk comes into. */
  #windows: ScanWindow
  #next: Chunk | undefined
  /** From the first frame on that no window holds: there will be others. */
  #plain: PlainSlices | undefined
  bytes: Buffer = Buffer.alloc(0)
  start = 0
  end = 0

  constructor(file: File, endPosition: number, windows: ScanWindow, sizes = windowSizes) {
    this.#file = file
    this.#endPosition = endPosition
    this.#windows = windows
    this.#sizes = sizes
  }

  async fill(position: number, neededBytes: number): Promise<boolean> {
    const { chunkBytes, leftBytesMax } = this.#sizes
    const leftBytes = this.end - position
    const goesOn =
      leftBytes >= 0 && position >= this.start && leftBytes <= leftBytesMax && this.#next?.position === this.end
    if (this.#plain !== undefined || neededBytes > chunkBytes - appendBlockBytes)
      return this.#fillPlain(position, neededBytes)
    if (!goesOn) await this.#begin(position - (position % appendBlockBytes))
    const left = goesOn ? leftBytes : 0
    const chunk = this.#next!
    const count = await chunk.read
    const [used, filled] = this.#windows
    const from = leftBytesMax - left
    if (left > 0) this.bytes.copy(filled, from, position - this.start)
    this.bytes = filled.subarray(from, leftBytesMax + count)
    this.start = chunk.position - left
    this.end = chunk.position + count
    this.#windows = [filled, used]
    this.#next = count === chunkBytes && this.end < this.#endPosition ? this.#read(this.end) : undefined
    return position + neededBytes <= this.end
  }

  /** Resolves when nothing is read any more. */
  async close(): Promise<void> {
    await this.#next?.read.catch(() => undefined)
    this.#next = undefined
  }

  async #fillPlain(position: number, neededBytes: number): Promise<boolean> {
    await this.close()
    this.#plain ??= new PlainSlices(this.#file, this.#endPosition, 2 * this.#sizes.chunkBytes)
    const isFilled = await this.#plain.fill(position, neededBytes)
    this.bytes = this.#plain.bytes
    this.start = this.#plain.start
    this.end = this.#plain.end
    return isFilled
  }

  async #begin(position: number): Promise<void> {
    await this.close()
    this.#next = this.#read(position)
  }

  #read(position: number): Chunk {
    const read = this.#fillChunk(this.#windows[1], position)
    read.catch(() => undefined) // whoever gets there hears of it
    return { position, read }
  }

  async #fillChunk(memory: Buffer, position: number): Promise<number> {
    const { chunkBytes, leftBytesMax } = this.#sizes
    const wantedBytes = Math.min(chunkBytes, this.#endPosition - position)
    const blocks = memory.subarray(leftBytesMax, leftBytesMax + blocksEnd(wantedBytes))
    const count = await this.#file.readDirect?.(blocks, position)
    if (count !== undefined && count >= wantedBytes) return wantedBytes
    return this.#file.read(blocks.subarray(0, wantedBytes), position)
  }
}

/** The windows that a start reads segments through: one pair, given up with the start. */
export class ScanWindows {
  #free: ScanWindow | undefined
  #isOver = false
  #isTaken = false

  /** `scan` has them until it is done; undefined for what is small, where somebody else has them, and where there is no such memory. */
  async lend<T>(scannedBytes: number, scan: (windows: ScanWindow | undefined) => Promise<T>): Promise<T> {
    if (this.#isOver || this.#isTaken || scannedBytes < windowSizes.chunkBytes) return scan(undefined)
    this.#free ??= windowPair()
    this.#isTaken = true
    try {
      return await scan(this.#free)
    } finally {
      this.#isTaken = false
    }
  }

  /** The start is over. */
  end(): void {
    this.#isOver = true
    this.#free = undefined
  }
}

function windowPair(): ScanWindow | undefined {
  const windowBytes = windowSizes.leftBytesMax + windowSizes.chunkBytes
  try {
    const memory = onPages(2 * windowBytes)
    return [memory.subarray(0, windowBytes), memory.subarray(windowBytes, 2 * windowBytes)]
  } catch {
    return undefined
  }
}
