/**
 * removeIndex: takes the stream index of a log out of the checkpoint store. Invariant: cut off at any moment, it leaves no part that the next start takes for an
 * index: a state that reaches past every log is there until all else is gone, and who finds that begins again. (A store removes some thousands of
 * keys at a time.)
 * Neighbours: StreamIndex.wipe and log-takeover.ts.
 */
import type { CheckpointStore } from './checkpoint-store.ts'
import { encodeState, indexRanges, stateKey } from './index-keys.ts'

export async function removeIndex(store: CheckpointStore, prefix: Buffer): Promise<void> {
  const key = stateKey(prefix)
  const endless = encodeState({ indexedTo: 0, reachesTo: Number.MAX_SAFE_INTEGER, hasStreams: true })
  await store.write([{ key, value: endless }])
  for (const { from, to } of indexRanges(prefix)) await store.removeRange(from, to)
  await store.write([{ key, value: null }])
}
