/**
 * Store probe: what a store can do, tried out at the start: that objects can be written, read in part, listed and removed, and that one that is there
 * is not replaced by who asks for that. A store that would let two brokers overwrite each other's manifests is refused, unless the location says
 * that one broker alone writes there (conditional=no).
 * Neighbours: Tier and the command line call it.
 */
import { formatUuid } from '../../protocol/uuid.ts'
import type { Random } from '../../platform/random.ts'
import { tierRefused, tierUnavailable } from './object-store.ts'
import type { ObjectStore } from './object-store.ts'
import { isConditional } from './tier-location.ts'

export interface StoreAbilities {
  /** Whether an object that is there is safe from `putIfAbsent`. */
  readonly conditionalWrites: boolean
}

/** Throws tierRefused naming what is missing, tierUnavailable. */
export async function probeStore(store: ObjectStore, location: string, random: Random): Promise<StoreAbilities> {
  const key = `probe/${formatUuid(random.bytes(16))}.json`
  const [mine, other] = [random.bytes(64), random.bytes(64)]
  try {
    // Not of the first one that we hear `stored`: its answer may be lost, and then the second attempt finds the object there.
    await store.putIfAbsent(key, mine)
    const part = Buffer.alloc(16)
    const count = await store.read(key, 32, part)
    if (count === undefined) throw tierUnavailable(store.location, 'no object where one was stored just now')
    if (count !== part.length || !part.equals(mine.subarray(32, 48)))
      throw tierRefused(store.location, 'another part of an object than the one asked for', 'a store with ranged reads')
    const outcome = await store.putIfAbsent(key, other)
    const conditionalWrites = outcome === 'exists' && (await store.get(key))?.equals(mine) === true
    if (!conditionalWrites)
      throw tierRefused(
        store.location,
        'that it replaces an object although told not to (If-None-Match), so two brokers could undo each other',
        'a store with conditional writes; if one broker alone will ever write there, add conditional=no to the location',
      )
    return { conditionalWrites: isConditional(location) }
  } finally {
    await store.remove(key).catch(() => undefined)
  }
}
