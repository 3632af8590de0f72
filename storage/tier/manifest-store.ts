/**
 * ManifestStore: where manifests are replaced, one writer at a time. A manifest is an object of its own under the next number, made only if that
 * number is free: whoever finds it taken has lost, and sees to whom. What was stored is read back, because a store may replace although it was
 * told not to.
 * Neighbours: TierLog.
 */
import { sleep } from '../../platform/clock.ts'
import type { Clock } from '../../platform/clock.ts'
import { getFacts } from './fact-object.ts'
import { tierUnavailable } from './object-store.ts'
import type { ObjectStore } from './object-store.ts'
import { decodeManifest, encodeManifest, sequenceOfKey, tierKeys } from './tier-manifest.ts'
import type { TierManifest } from './tier-manifest.ts'

/** How often something that must be there is looked for, in a store that shows things late. */
const looksMax = 6
const lookMs = 25

export class ManifestStore {
  readonly #store: ObjectStore
  readonly #clock: Clock

  constructor(store: ObjectStore, clock: Clock) {
    this.#store = store
    this.#clock = clock
  }

  /** The newest manifest; undefined = none. Begins to look behind `known`, if that is given, and then lists nothing. */
  async latest(topicId: string, partition: number, known?: TierManifest): Promise<TierManifest | undefined> {
    let newest = known
    let sequence = known?.sequence ?? (await this.#highestListed(topicId, partition))
    if (known === undefined && sequence > 0) newest = await this.#there(topicId, partition, sequence)
    for (;;) {
      sequence++
      const key = tierKeys.manifest(topicId, partition, sequence)
      const found = await getFacts(this.#store, this.#clock, key, decodeManifest)
      if (found === undefined) return newest
      newest = found
    }
  }

  /** Whether there is none behind it, for certain: the newest ones are always kept, so one that is gone has others far ahead of it. */
  async isNewest({ topicId, partition, sequence }: TierManifest): Promise<boolean> {
    const isThere = async (number: number) =>
      (await this.#store.sizeBytes(tierKeys.manifest(topicId, partition, number))) !== undefined
    return !(await isThere(sequence + 1)) && (await isThere(sequence))
  }

  /** Stores it under its number; else answers the manifest that has the number already. */
  async replace(manifest: TierManifest): Promise<'stored' | TierManifest> {
    const { topicId, partition, sequence } = manifest
    const bytes = encodeManifest(manifest)
    await this.#store.putIfAbsent(tierKeys.manifest(topicId, partition, sequence), bytes)
    // Also when it was there already: the answer to an earlier attempt of ours may have been lost.
    const found = await this.#there(topicId, partition, sequence)
    if (!encodeManifest(found).equals(bytes)) return found
    // The newest ones are always kept: where the one before is gone, others have gone far ahead while this broker slept.
    const isLate =
      sequence > 1 && (await this.#store.sizeBytes(tierKeys.manifest(topicId, partition, sequence - 1))) === undefined
    if (!isLate) return 'stored'
    const newest = await this.latest(topicId, partition)
    if (newest !== undefined && newest.sequence > sequence) return newest
    throw tierUnavailable(this.#store.location, `manifest ${sequence} and not the one before it`)
  }

  /** Removes manifests that are older than `sequence`. */
  async removeBefore(topicId: string, partition: number, sequence: number): Promise<void> {
    for await (const { key } of this.#store.list(tierKeys.manifests(topicId, partition)))
      if ((sequenceOfKey(key) ?? Infinity) < sequence) await this.#store.remove(key)
  }

  async #highestListed(topicId: string, partition: number): Promise<number> {
    let highest = 0
    for await (const { key } of this.#store.list(tierKeys.manifests(topicId, partition)))
      highest = Math.max(highest, sequenceOfKey(key) ?? 0)
    return highest
  }

  async #there(topicId: string, partition: number, sequence: number): Promise<TierManifest> {
    const key = tierKeys.manifest(topicId, partition, sequence)
    for (let look = 0; look < looksMax; look++) {
      if (look > 0) await sleep(this.#clock, lookMs * 2 ** look)
      const found = await getFacts(this.#store, this.#clock, key, decodeManifest)
      if (found !== undefined) return found
    }
    throw tierUnavailable(this.#store.location, `no object ${key} although it was stored`)
  }
}
