/**
 * BatchMemory: slabs that record batches are built in and sent from, used again once a batch has been dealt with: at full speed nothing
 * is allocated, and the same few MB stay in the processor's cache. Invariant: a slab is in one place, here or with whoever took it; at most
 * `keptBytesMax` lie here unused. Called by RecordBatchBuilder (take) and by the batch's last holder (give).
 */
export class BatchMemory {
  readonly slabBytes: number
  readonly #slabsMax: number
  readonly #free: Buffer[] = []

  constructor(slabBytes: number, keptBytesMax: number) {
    this.slabBytes = slabBytes
    this.#slabsMax = Math.max(1, Math.floor(keptBytesMax / slabBytes))
  }

  /** A slab whose content is undefined. */
  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(this.slabBytes)
  }

  /** True for a slab that is at least half full: a smaller batch is copied out, lest it hold far more memory than it has bytes. */
  isWorthGiving(bytes: Buffer, end: number): boolean {
    return bytes.length === this.slabBytes && end * 2 >= this.slabBytes
  }

  /** Takes back the slab under a batch that nobody looks at any more; a batch in other memory is left alone. */
  give(batch: Buffer): void {
    if (batch.buffer.byteLength !== this.slabBytes || this.#free.length >= this.#slabsMax) return
    this.#free.push(Buffer.from(batch.buffer))
  }
}
