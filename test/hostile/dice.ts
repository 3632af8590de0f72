/** Dice: random choices from a seed, so that a failing run can be run again (SEED=… in the environment). */
import { seededRandom } from '../client/seeded-random.ts'

export class Dice {
  readonly #random: () => number

  constructor(seed: number) {
    this.#random = seededRandom(seed)
  }

  /** An integer from 0 to `count` - 1. */
  below(count: number): number {
    return Math.floor(this.#random() * count)
  }

  /** True once in `count` times. */
  oneIn(count: number): boolean {
    return this.below(count) === 0
  }

  pick<T>(values: readonly T[]): T {
    const value = values[this.below(values.length)]
    if (value === undefined) throw new Error('nothing to pick from')
    return value
  }
}

/** Numbers at the edges of what fields, lengths and counts are held in. */
export const extremeNumbers: readonly number[] = [
  0,
  1,
  -1,
  2,
  0x7f,
  0x80,
  0xff,
  0x100,
  0x7fff,
  0xffff,
  0x1_0000,
  1_000_000,
  0x7fff_ffff,
  0x8000_0000,
  0xffff_ffff,
  -0x8000_0000,
  4.5e15,
  Number.MAX_SAFE_INTEGER,
  -Number.MAX_SAFE_INTEGER,
]
