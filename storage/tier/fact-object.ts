/**
 * Fact objects: small objects of JSON with a checksum, in the store. What does not hold is asked for again before it counts as damage: mostly the
 * network has changed it, and not the store. Neighbours: whoever keeps facts in the tier.
 */
import { sleep } from '../../platform/clock.ts'
import type { Clock } from '../../platform/clock.ts'
import { isPlayheadError } from '../../protocol/errors.ts'
import type { ObjectStore } from './object-store.ts'

const looksMax = 5
const lookMs = 25

/** Undefined = no such object. Throws what `decode` does when it still does after some looks. */
export async function getFacts<T>(
  store: ObjectStore,
  clock: Clock,
  key: string,
  decode: (bytes: Buffer, key: string) => T,
): Promise<T | undefined> {
  for (let look = 1; ; look++) {
    const bytes = await store.get(key)
    if (bytes === undefined) return undefined
    try {
      return decode(bytes, key)
    } catch (error) {
      if (!isPlayheadError(error, 'damagedData') || look >= looksMax) throw error
      await sleep(clock, lookMs * 2 ** look)
    }
  }
}
