const steadySeed = 1_000_000

/** A small generator with a seed, so that a failing test can be run again: mulberry32. */
export class SeededRandom {
  readonly seed: number
  #state: number

  constructor(seed: number) {
    this.seed = seed
    this.#state = seed
  }

  /** A seed from PLAYHEAD_TEST_SEED, or a fresh one. */
  static fresh(): SeededRandom {
    return new SeededRandom(Number(process.env['PLAYHEAD_TEST_SEED'] ?? Date.now() % 2 ** 31))
  }

  /** A seed from PLAYHEAD_TEST_SEED, or the same one each time: for runs so long that what they find by chance would be found in somebody else's change. */
  static steady(): SeededRandom {
    return new SeededRandom(Number(process.env['PLAYHEAD_TEST_SEED'] ?? steadySeed))
  }

  /** 0 … below - 1. */
  below(below: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below)
  }

  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)]!
  }
}
