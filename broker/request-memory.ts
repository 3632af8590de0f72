/**
 * RequestMemory: the bytes of unanswered requests of all connections together. Above the limit no connection is read from until answers
 * have brought it down; then those that were stopped go on, the one that has waited longest first. Called by ClientConnection.
 */
export class RequestMemory {
  readonly #bytesMax: number
  readonly #waiting = new Set<() => void>()
  #takenBytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get takenBytes(): number {
    return this.#takenBytes
  }

  get full(): boolean {
    return this.#takenBytes >= this.#bytesMax
  }

  take(bytes: number): void {
    this.#takenBytes += bytes
  }

  give(bytes: number): void {
    this.#takenBytes -= bytes
    for (const goOn of this.#waiting) {
      if (this.full) return
      this.#waiting.delete(goOn)
      goOn()
    }
  }

  /** Calls `goOn` once when there is room; several calls with the same function are one. */
  wait(goOn: () => void): void {
    this.#waiting.add(goOn)
  }

  forget(goOn: () => void): void {
    this.#waiting.delete(goOn)
  }
}
