/**
 * Changes of many partitions in few transactions. One that somebody else has changed meanwhile makes its transaction fail: then halves of it are
 * tried, so that one restless partition does not hold up the others.
 * Invariant: each change stands on the revision it was computed from, and all on what their sender must still be.
 * Neighbours: controller.ts and session.ts send, controller-plan.ts computes.
 */
import { metadataKeys } from './metadata-keys.ts'
import { writeRecord } from './metadata-records.ts'
import { transactionChangesMax } from './metadata-store.ts'
import type { Compare, MetadataStore } from './metadata-store.ts'
import type { PlannedChange } from './controller-plan.ts'

/** Changes done; those that were refused are left to the next look. Stops, with what was done so far, at an answer that is not known. */
export async function sendChanges(
  store: MetadataStore,
  changes: readonly PlannedChange[],
  sender: readonly Compare[],
): Promise<{ readonly done: PlannedChange[]; readonly isUnknown: boolean }> {
  const done: PlannedChange[] = []
  const open = batchesOf(changes, sender)
  for (let batch = open.shift(); batch !== undefined; batch = open.shift()) {
    const { outcome } = await store.transact({
      compares: comparesOf(batch, sender),
      changes: batch.map(({ topicId, partition, changed }) => ({
        kind: 'put',
        key: metadataKeys.partition(topicId, partition),
        value: writeRecord(changed),
      })),
    })
    if (outcome === 'unknown') return { done, isUnknown: true }
    if (outcome === 'done') done.push(...batch)
    else if (batch.length > 1) {
      const half = Math.ceil(batch.length / 2)
      open.unshift(batch.slice(0, half), batch.slice(half))
    }
  }
  return { done, isUnknown: false }
}

function batchesOf(changes: readonly PlannedChange[], sender: readonly Compare[]): PlannedChange[][] {
  const batches: PlannedChange[][] = []
  let batch: PlannedChange[] = []
  for (const change of changes) {
    if (batch.length > 0 && comparesOf([...batch, change], sender).length > transactionChangesMax) {
      batches.push(batch)
      batch = []
    }
    batch.push(change)
  }
  if (batch.length > 0) batches.push(batch)
  return batches
}

/** Each once: many partitions stand on the same sessions. */
function comparesOf(batch: readonly PlannedChange[], sender: readonly Compare[]): Compare[] {
  const compares = new Map<string, Compare>()
  const add = (compare: Compare) => compares.set(JSON.stringify(compare), compare)
  for (const compare of sender) add(compare)
  for (const { topicId, partition, seen, compares: own } of batch) {
    add({ key: metadataKeys.partition(topicId, partition), modRevision: seen.modRevision })
    for (const compare of own) add(compare)
  }
  return [...compares.values()]
}
