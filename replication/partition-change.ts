/**
 * One change of one partition by whoever is not its leader: read, next state, compare-and-swap; again when somebody else was faster or the answer
 * was lost. Every change is the pure function of isr-change.ts, so that doing it again after it has happened changes nothing.
 * Neighbours: operator-changes.ts and session.ts; the controller makes its changes in batches.
 */
import { sleep } from '../platform/clock.ts'
import type { Clock } from '../platform/clock.ts'
import type { Random } from '../platform/random.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { next } from './isr-change.ts'
import type { PartitionEvent, PartitionState } from './isr-change.ts'
import type { SeenPartition } from './isr-transaction.ts'
import { metadataKeys } from './metadata-keys.ts'
import type { PartitionName } from './metadata-keys.ts'
import { readPartition, writeRecord } from './metadata-records.ts'
import type { Compare, MetadataStore } from './metadata-store.ts'

export interface ChangeFoundation {
  readonly store: MetadataStore
  readonly clock: Clock
  readonly random: Random
}

const triesMax = 20
const pauseMs = 50

export function newNonce(random: Random): string {
  return random.bytes(9).toString('base64url')
}

export async function readPartitionOf(store: MetadataStore, name: PartitionName): Promise<SeenPartition | undefined> {
  const { entry } = await store.get(metadataKeys.partition(name.topicId, name.partition))
  return entry && { state: readPartition(entry), modRevision: entry.modRevision }
}

/**
 * The partition after the event, or as it is when the event changes nothing of it; undefined when there is no such partition (any more).
 * Throws unavailable, and timedOut when others change it all the time.
 */
export async function changePartition(
  { store, clock, random }: ChangeFoundation,
  name: PartitionName,
  event: PartitionEvent | ((state: PartitionState) => PartitionEvent),
  comparesOf: (changed: PartitionState) => readonly Compare[] = () => [],
): Promise<SeenPartition | undefined> {
  const key = metadataKeys.partition(name.topicId, name.partition)
  for (let tries = 0; tries < triesMax; tries++) {
    if (tries > 0) await sleep(clock, pauseMs)
    const seen = await readPartitionOf(store, name)
    if (seen === undefined) return undefined
    const changed = next(seen.state, typeof event === 'function' ? event(seen.state) : event, newNonce(random))
    if (changed === seen.state) return seen
    const compares = [{ key, modRevision: seen.modRevision }, ...comparesOf(changed)]
    const result = await store.transact({ compares, changes: [{ kind: 'put', key, value: writeRecord(changed) }] })
    if (result.outcome === 'done') return { state: changed, modRevision: result.revision }
  }
  const message = `partition ${name.topicId}/${name.partition}: found it changed by others ${triesMax} times, wanted to change it; try again`
  throw new PlayheadError('timedOut', message)
}
