/**
 * Preparation: what an append must have before it can be decided: its keys, which may be compressed, and the heads of streams that are
 * not in memory. Called by Log before an append enters Admission.
 */
import { codec } from '../protocol/record-batch.ts'
import type { IncomingAppend } from './incoming-append.ts'
import type { StreamIndex } from './stream-index.ts'

/** What is to be awaited first; undefined when there is nothing to wait for. */
export function preparationOf(append: IncomingAppend, index: StreamIndex): (() => Promise<void>) | undefined {
  const { batch, expected, wantVersions } = append.group
  const { keys, onlyStream } = append
  // Of a single event whose stream has a condition enough is known with that.
  if (keys !== undefined && onlyStream !== undefined && index.hotVersion(keys) !== undefined) return undefined
  const compressed = codec(batch) !== 'none'
  const cold = expected.some(({ stream }) => index.isCold(stream))
  const coldVersions = wantVersions && onlyStream === undefined && keys !== undefined && index.anyCold(keys)
  if (!compressed && !cold && !coldVersions) return undefined
  return () => prepare(append, index)
}

async function prepare(append: IncomingAppend, index: StreamIndex): Promise<void> {
  await append.prepare()
  if (append.keys === undefined) return
  const { expected, wantVersions } = append.group
  const streams = new Set(expected.map(({ stream }) => stream))
  if (wantVersions) for (const stream of append.keys.streams()) streams.add(stream)
  await index.prefetch([...streams])
}
