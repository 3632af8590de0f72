/**
 * Staircase: the largest number known at a time. Numbers are added in order of time; those that raise nothing take no memory.
 * Neighbour: the histories of partitions and streams ask it what was known before a call began.
 */
export class Staircase {
  readonly #times: number[] = []
  readonly #levels: number[] = []

  raise(time: number, level: number): void {
    const top = this.#levels.at(-1)
    if (top !== undefined && top >= level) return
    this.#times.push(time)
    this.#levels.push(level)
  }

  /** The largest level raised strictly before `time`; undefined when there was none. */
  before(time: number): number | undefined {
    let [low, high] = [0, this.#times.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#times[middle]! < time) low = middle + 1
      else high = middle
    }
    return low === 0 ? undefined : this.#levels[low - 1]
  }
}
