/** Dice: random choices from a seed, so that a failing run can be run again (SEED=… in the environment). */
import { SeededRandom } from '../storage/seeded-random.ts'

export class Dice extends SeededRandom {
  /** True once in `count` times. */
  oneIn(count: number): boolean {
    return this.below(count) === 0
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
