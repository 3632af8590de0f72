/**
 * RecencyMap: values by number, those touched longest ago first and, beyond a bound, gone. Touching what was touched last, which is what one busy
 * producer or one size of frames does all the time, moves nothing. Neighbours: ProducerState, FrameMemory.
 */
export class RecencyMap<Value> {
  readonly #values = new Map<number, Value>()
  #newest = -1

  get size(): number {
    return this.#values.size
  }

  get(id: number): Value | undefined {
    return this.#values.get(id)
  }

  /** Sets it at the recent end, and drops the least recent one if there are more than `max`. */
  touch(id: number, value: Value, max = Infinity): void {
    if (id !== this.#newest) this.#values.delete(id)
    this.#newest = id
    this.#values.set(id, value)
    if (this.#values.size <= max) return
    for (const oldest of this.#values.keys()) return void this.#values.delete(oldest)
  }

  delete(id: number): void {
    this.#values.delete(id)
  }

  clear(): void {
    this.#values.clear()
  }

  [Symbol.iterator](): IterableIterator<[number, Value]> {
    return this.#values.entries()
  }
}
