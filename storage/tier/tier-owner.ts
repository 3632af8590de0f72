/**
 * Tier owner: which data directory may write to a tier. Records under rising numbers, each made only if its number is free; the newest counts. A
 * tier belongs to one cluster for good; another data directory of it (after `playhead tier restore`) takes over with the next number, and that
 * number in its manifests shuts the one before out.
 * Neighbours: Tier claims at its start, restore takes over.
 */
import type { ObjectStore } from './object-store.ts'
import { tierRefused } from './object-store.ts'
import { decodeFacts, encodeFacts } from '../small-file.ts'
import { sequenceOfKey, tierFormatVersion, tierKeys } from './tier-manifest.ts'

export interface TierOwner {
  readonly sequence: number
  readonly clusterId: string
  readonly dataDirectoryId: string
}

/** Undefined = nobody's yet. */
export async function newestOwner(store: ObjectStore): Promise<TierOwner | undefined> {
  let sequence = 0
  for await (const { key } of store.list(tierKeys.owners)) sequence = Math.max(sequence, sequenceOfKey(key) ?? 0)
  let newest: TierOwner | undefined
  if (sequence > 0) newest = await ownerAt(store, sequence)
  for (let next = await ownerAt(store, sequence + 1); next !== undefined; next = await ownerAt(store, sequence + 1)) {
    newest = next
    sequence++
  }
  return newest
}

/** The number under which this data directory may write. Throws tierRefused when the tier is another's. */
export async function claimTier(store: ObjectStore, clusterId: string, dataDirectoryId: string): Promise<number> {
  const owner = (await newestOwner(store)) ?? (await becomeOwner(store, 1, clusterId, dataDirectoryId))
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

/** Makes the data directory the owner after `sequence - 1`; answers who is. */
export async function becomeOwner(
  store: ObjectStore,
  sequence: number,
  clusterId: string,
  dataDirectoryId: string,
): Promise<TierOwner> {
  const key = tierKeys.owner(sequence)
  await store.putIfAbsent(key, encodeFacts({ format: tierFormatVersion, sequence, clusterId, dataDirectoryId }))
  return (await ownerAt(store, sequence)) ?? { sequence, clusterId, dataDirectoryId }
}

async function ownerAt(store: ObjectStore, sequence: number): Promise<TierOwner | undefined> {
  const key = tierKeys.owner(sequence)
  const bytes = await store.get(key)
  if (bytes === undefined) return undefined
  const { clusterId, dataDirectoryId } = decodeFacts(bytes, key)
  return { sequence, clusterId: String(clusterId), dataDirectoryId: String(dataDirectoryId) }
}
