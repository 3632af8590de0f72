/** Random numbers from a seed, so that a failing run can be run again: SEED=… in the environment. */
import { randomInt } from 'node:crypto'

/** mulberry32: 0 ≤ number < 1. */
export function seededRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

export function freshSeed(): number {
  return Number(process.env['SEED'] ?? randomInt(2 ** 31))
}
