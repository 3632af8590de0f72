/**
 * Tier owner: which data directory may write to a tier. Records under rising numbers, each made only if its number is free; the newest counts. A
 * tier belongs to one cluster for good; another data directory of it (after `playhead tier restore`) takes over with the next number, and that
 * number in its manifests shuts the one before out.
 * Neighbours: Tier claims at its start, restore takes over.
 */
import type { Clock } from '../../platform/clock.ts'
import { getFacts } from './fact-object.ts'
import type { ObjectStore } from './object-store.ts'
import { tierRefused } from './object-store.ts'
import { decodeFacts, encodeFacts } from '../small-file.ts'
import { sharedOwnerId } from './tier-sharing.ts'
import { sequenceOfKey, tierFormatVersion, tierKeys } from './tier-manifest.ts'

export interface TierOwner {
  readonly sequence: number
  readonly clusterId: string
  readonly dataDirectoryId: string
}

/** Who wants to write. */
export interface Claimant {
  readonly clusterId: string
  readonly dataDirectoryId: string
}

/** Undefined = nobody's yet. */
export async function newestOwner(store: ObjectStore, clock: Clock): Promise<TierOwner | undefined> {
  let sequence = 0
  for await (const { key } of store.list(tierKeys.owners)) sequence = Math.max(sequence, sequenceOfKey(key) ?? 0)
  let newest: TierOwner | undefined
  if (sequence > 0) newest = await ownerAt(store, clock, sequence)
  for (
    let next = await ownerAt(store, clock, sequence + 1);
    next !== undefined;
    next = await ownerAt(store, clock, sequence + 1)
  ) {
    newest = next
    sequence++
  }
  return newest
}

/** The number under which this data directory may write. Throws tierRefused when the tier is another's. */
export async function claimTier(
  store: ObjectStore,
  clock: Clock,
  { clusterId, dataDirectoryId }: Claimant,
): Promise<number> {
  const owner =
    (await newestOwner(store, clock)) ?? (await becomeOwner(store, clock, { sequence: 1, clusterId, dataDirectoryId }))
  if (owner.clusterId !== clusterId)
    throw tierRefused(
      store.location,
      `the tier of cluster ${owner.clusterId}`,
      `one of this cluster (${clusterId}) or an empty place; name another prefix, or restore that cluster with: playhead tier restore`,
    )
  if (owner.dataDirectoryId !== dataDirectoryId)
    throw tierRefused(
      store.location,
      `that data directory ${owner.dataDirectoryId} writes there now`,
      `this one (${dataDirectoryId}); another broker was restored from the tier and took over: serve that one, or another prefix`,
    )
  return owner.sequence
}

/**
 * The number under which the brokers of a cluster may write. The one whose data directory had the tier before it came into the cluster hands it over.
 * Throws tierRefused when the tier is another's.
 */
export async function claimSharedTier(
  store: ObjectStore,
  clock: Clock,
  clusterId: string,
  own: Claimant,
): Promise<number> {
  const shared = { clusterId, dataDirectoryId: sharedOwnerId(clusterId) }
  const owner = await newestOwner(store, clock)
  const isHandedOver = owner?.clusterId === own.clusterId && owner.dataDirectoryId === own.dataDirectoryId
  if (owner !== undefined && isHandedOver) await becomeOwner(store, clock, { sequence: owner.sequence + 1, ...shared })
  return await claimTier(store, clock, shared)
}

/** Makes the data directory the owner after `sequence - 1`; answers who is. */
export async function becomeOwner(store: ObjectStore, clock: Clock, owner: TierOwner): Promise<TierOwner> {
  const { sequence, clusterId, dataDirectoryId } = owner
  const key = tierKeys.owner(sequence)
  await store.putIfAbsent(key, encodeFacts({ format: tierFormatVersion, sequence, clusterId, dataDirectoryId }))
  return (await ownerAt(store, clock, sequence)) ?? owner
}

async function ownerAt(store: ObjectStore, clock: Clock, sequence: number): Promise<TierOwner | undefined> {
  const key = tierKeys.owner(sequence)
  const facts = await getFacts(store, clock, key, decodeFacts)
  if (facts === undefined) return undefined
  const { clusterId, dataDirectoryId } = facts
  return { sequence, clusterId: String(clusterId), dataDirectoryId: String(dataDirectoryId) }
}
