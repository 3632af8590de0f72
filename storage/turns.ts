/** Turns: so many at once, the others wait in the order they came. Neighbours: StreamReader, and what reads and sends objects of the tier. */

export class Turns {
  readonly #atOnce: number
  readonly #waiting: (() => void)[] = []
  #running = 0

  constructor(atOnce: number) {
    this.#atOnce = atOnce
  }

  /** Does the work when it is its turn. */
  async with<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#atOnce) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    else this.#running++
    try {
      return await work()
    } finally {
      const next = this.#waiting.shift() // who waits takes over this turn
      if (next === undefined) this.#running--
      else next()
    }
  }
}
