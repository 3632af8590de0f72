/**
 * Store probe: what a store can do, tried out at the start: that objects can be written, read in part, listed and removed, and that one that is there
 * is not replaced by who asks for that. A store that would let two brokers overwrite each other's manifests is refused, unless the location says
 * that one broker alone writes there (conditional=no).
 * Neighbours: Tier and the command line call it.
 */
import { sleep } from '../../platform/clock.ts'
import type { Clock } from '../../platform/clock.ts'
import { formatUuid } from '../../protocol/uuid.ts'
import type { Random } from '../../platform/random.ts'
import { tierRefused } from './object-store.ts'
import type { ObjectStore } from './object-store.ts'
import { isConditional } from './tier-location.ts'

export interface StoreAbilities {
  /** Whether an object that is there is safe from `putIfAbsent`. */
  readonly conditionalWrites: boolean
}

const looksMax = 5
const lookMs = 25

/** Throws tierRefused naming what is missing, tierUnavailable. */
export async function probeStore(
  store: ObjectStore,
  location: string,
  { random, clock }: { readonly random: Random; readonly clock: Clock },
): Promise<StoreAbilities> {
  const key = `probe/${formatUuid(random.bytes(16))}.json`
  const [mine, other] = [random.bytes(64), random.bytes(64)]
  const seen = async (look: () => Promise<boolean>) => {
    for (let again = 1; again <= looksMax; again++) {
      if (await look()) return true
      await sleep(clock, lookMs * 2 ** again)
    }
    return false
  }
  try {
    // Not of the first one that we hear `stored`: its answer may be lost, and then the second attempt finds the object there.
    await store.putIfAbsent(key, mine)
    const part = Buffer.alloc(16)
    const isPart = async () => (await store.read(key, 32, part)) === part.length && part.equals(mine.subarray(32, 48))
    if (!(await seen(isPart)))
      throw tierRefused(store.location, 'another part of an object than the one asked for', 'a store with ranged reads')
    const outcome = await store.putIfAbsent(key, other)
    const isKept = outcome === 'exists' && (await seen(async () => (await store.get(key))?.equals(mine) === true))
    if (!isKept)
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
