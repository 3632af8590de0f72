/**
 * OrphanSearch: removes objects of one log that no manifest names and nobody may still be reading: those that a change of the manifest gave up,
 * once the grace is over, and those of attempts that did not end, once they are older than the grace.
 * Invariants: it acts on the newest manifest there is, read from the store just before, and only once that is this broker's own; an object is
 * removed after the manifest that does not name it any more, never before.
 * Neighbours: Tier runs it now and then.
 */
import type { Clock } from '../../platform/clock.ts'
import type { ManifestStore } from './manifest-store.ts'
import type { ObjectStore } from './object-store.ts'
import type { TierLog } from './tier-log.ts'
import { beganMs, idOfKey, isOlder, tierKeys } from './tier-manifest.ts'
import type { TierWriter } from './tier-manifest.ts'

/** Manifests kept behind the newest one: whoever reads one of them just now has time to end. */
const manifestsKept = 8

export interface OrphanOptions {
  readonly store: ObjectStore
  readonly manifests: ManifestStore
  readonly clock: Clock
  readonly writer: TierWriter
  readonly graceMs: number
}

/** Answers how many objects went. Throws tierFenced, tierUnavailable, tierRefused. */
export async function removeOrphans(log: TierLog, options: OrphanOptions): Promise<number> {
  const { store, manifests, clock, writer, graceMs } = options
  const { topicId, partition, manifest: known } = log
  if (known === undefined) return 0
  if (!(await manifests.isNewest(known))) return 0
  const isOwn = known.writer.run === writer.run && known.writer.epoch === writer.epoch
  if (!isOwn && !isOlder(known.writer, writer)) return 0
  const nowMs = clock.now()
  let due = await dueKeys(log, store, nowMs, graceMs)
  // What an earlier run left of a log to which nothing is appended any more: whoever is newer hears of it here, before anything goes.
  if (!isOwn && due.length > 0) {
    await log.change({}, writer)
    due = await dueKeys(log, store, nowMs, graceMs)
  }
  for (const key of due) await store.remove(key)
  const forget = (log.manifest?.dropped ?? []).filter(({ droppedMs }) => nowMs - droppedMs > graceMs)
  if (forget.length > 0) await log.change({ forget: forget.map(({ id }) => id) }, writer)
  if (isOwn) await manifests.removeBefore(topicId, partition, known.sequence - manifestsKept)
  return due.length
}

/** Objects that the manifest of the log does not name, and has not for long enough. */
async function dueKeys(log: TierLog, store: ObjectStore, nowMs: number, graceMs: number): Promise<string[]> {
  const { topicId, partition, manifest } = log
  const named = new Set(log.named.map(({ id }) => id))
  for (const { id } of manifest?.pages ?? []) named.add(id)
  const waiting = new Map((manifest?.dropped ?? []).map(({ id, droppedMs }) => [id, droppedMs]))
  const isOver = (id: string) => nowMs - (waiting.get(id) ?? beganMs(id)) > graceMs
  const due: string[] = []
  for (const prefix of [tierKeys.data(topicId, partition), `${tierKeys.log(topicId, partition)}page/`]) {
    for await (const { key } of store.list(prefix)) {
      const id = idOfKey(key)
      // Hidden ones stand in the manifest until its next change.
      if (id !== undefined && !named.has(id) && !log.isBehind && isOver(id)) due.push(key)
    }
  }
  return due
}
