/**
 * DecompressionMemory: the records of compressed batches that are decompressed right now, of all logs together. A request of a few bytes can
 * make gigabytes of them, and a thousand such requests are under way at once: the frame they came in says nothing about it.
 * Invariant: what is counted stays below `bytesMax`, or is one batch; who would go above waits, first come first served. It is believed at
 * first that records compress no better than is usual; who does better waits for as much as a batch may have.
 * Whoever holds some must not wait for another one who does: two such would wait for each other.
 * Called by IncomingAppend, record-cutter.ts and time-search.ts.
 */
import { decompressRecords } from '../protocol/compression.ts'
import { isPlayheadError } from '../protocol/errors.ts'
import { MiB } from '../protocol/limits.ts'
import { codec } from '../protocol/record-batch.ts'

/** A batch that becomes larger than this, and than so many times itself, is decompressed twice. */
const usualBytes = MiB
const usualRatio = 16

export interface Decompressed {
  readonly records: Buffer
  /** Once, when nobody looks at the records any more. */
  readonly letGo: () => void
}

interface Waiting {
  readonly bytes: number
  admit(): void
}

export class DecompressionMemory {
  readonly #bytesMax: number
  #takenBytes = 0
  readonly #waiting: Waiting[] = []

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get takenBytes(): number {
    return this.#takenBytes
  }

  /** The records of one batch, of at most `recordsBytesMax`; a slice where nothing is compressed. Throws as decompressRecords does. */
  async decompress(batch: Buffer, recordsBytesMax: number): Promise<Decompressed> {
    const usual = await this.decompressUsual(batch, recordsBytesMax)
    if (usual !== undefined) return usual
    await this.#take(recordsBytesMax)
    return this.#counted(batch, recordsBytesMax, recordsBytesMax)
  }

  /** The same, or undefined when the records are more than usual: for whoever must not wait for that much. */
  async decompressUsual(batch: Buffer, recordsBytesMax: number): Promise<Decompressed | undefined> {
    if (codec(batch) === 'none') return this.#counted(batch, recordsBytesMax, 0)
    const usualMax = Math.min(recordsBytesMax, Math.max(usualBytes, usualRatio * batch.length))
    await this.#take(usualMax)
    try {
      return await this.#counted(batch, usualMax, usualMax)
    } catch (error) {
      if (usualMax === recordsBytesMax || !isPlayheadError(error, 'batchTooLarge')) throw error
      return undefined
    }
  }

  /** With `takenBytes` taken; only what there is of the records stays so. */
  async #counted(batch: Buffer, recordsBytesMax: number, takenBytes: number): Promise<Decompressed> {
    let keptBytes = 0
    try {
      const records = await decompressRecords(batch, 0, recordsBytesMax)
      keptBytes = Math.min(takenBytes, records.length)
      return { records, letGo: () => this.#give(keptBytes) }
    } finally {
      this.#give(takenBytes - keptBytes)
    }
  }

  #take(bytes: number): Promise<void> | undefined {
    if (this.#waiting.length === 0 && this.#hasRoom(bytes)) {
      this.#takenBytes += bytes
      return undefined
    }
    return new Promise((admit) => this.#waiting.push({ bytes, admit }))
  }

  #hasRoom(bytes: number): boolean {
    return this.#takenBytes === 0 || this.#takenBytes + bytes <= this.#bytesMax
  }

  #give(bytes: number): void {
    this.#takenBytes -= bytes
    for (let next = this.#waiting[0]; next !== undefined && this.#hasRoom(next.bytes); next = this.#waiting[0]) {
      this.#waiting.shift()
      this.#takenBytes += next.bytes
      next.admit()
    }
  }
}
