/**
 * ByteBudget: how many bytes several may have taken at once; who would go above does without. Neighbours: ReadAhead and GroupMemory, each with one
 * over all logs.
 */
export class ByteBudget {
  readonly #bytesMax: number
  usedBytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** False when there is no room. */
  take(bytes: number): boolean {
    if (this.usedBytes + bytes > this.#bytesMax) return false
    this.usedBytes += bytes
    return true
  }

  give(bytes: number): void {
    this.usedBytes -= bytes
  }
}
