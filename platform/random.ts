/** Random: the seam to randomness, so that a simulation can be replayed from its seed. */
import { randomFillSync } from 'node:crypto'

export interface Random {
  /** `count` random bytes, fresh memory. */
  bytes(count: number): Buffer
  /** A random integer from 0 to 2^52 - 1. */
  integer52(): number
}

export const systemRandom: Random = {
  bytes: (count) => randomFillSync(Buffer.alloc(count)),
  integer52() {
    const bytes = randomFillSync(Buffer.alloc(8))
    return (bytes.readUInt32LE(0) & 0xfffff) * 0x1_0000_0000 + bytes.readUInt32LE(4)
  },
}
