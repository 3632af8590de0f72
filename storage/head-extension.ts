/**
 * A stream's head with new events behind it: the tail grows, and what it cannot hold leaves it as chunks.
 * Neighbours: BlockMerge calls it; index-keys.ts draws heads and chunks.
 */
import type { CheckpointPut } from './checkpoint-store.ts'
import { chunkKey, type StoredHead, type StreamHead, tailOffsets } from './index-keys.ts'
import type { StreamPart } from './merged-streams.ts'
import { packOffsets, varintBytesMax, writeVarint } from './postings.ts'

const chunkEntriesMax = 512
/** A tail larger than this leaves the head and becomes a chunk: some forty events, since each capture writes the tail again. */
export const tailBytesMax = 128

/** The head of a stream with the events at places [from, to) of a part behind it; chunks that leave its tail are added to `puts`. */
export function extendHead(
  prefix: Buffer,
  old: StoredHead | undefined,
  { table, slot }: StreamPart,
  { from, to }: { from: number; to: number },
  puts: CheckpointPut[],
): StoredHead {
  const before = versionBefore(table.firstVersion(slot), from, old)
  const lastVersion = before + to - from
  const firstVersion = old === undefined || isGone(old) ? before + 1 : old.firstVersion
  const offsets: number[] = []
  const keepsTail = old !== undefined && old.tailCount > 0 && old.tail.length + (to - from) * 3 <= tailBytesMax
  if (keepsTail) {
    table.read(slot, from, to, offsets)
    const tail = packTail(old.tail, old.lastOffset, offsets, 0)
    return { lastVersion, firstVersion, lastOffset: offsets.at(-1)!, tailCount: old.tailCount + offsets.length, tail }
  }
  if (old !== undefined) for (const offset of tailOffsets(old)) offsets.push(offset)
  table.read(slot, from, to, offsets)
  const rest = pushChunks(prefix, () => table.keys.stream(slot), lastVersion + 1 - offsets.length, offsets, puts)
  const tail = packTail(noBytes, -1, offsets, rest)
  return { lastVersion, firstVersion, lastOffset: offsets.at(-1)!, tailCount: offsets.length - rest, tail }
}

const noBytes = Buffer.alloc(0)

/** The head of a stream whose events below `lastOffset` + 1 are all gone. */
export function goneHead(nextVersion: number, lastOffset: number): StoredHead {
  return { lastVersion: nextVersion - 1, firstVersion: nextVersion, lastOffset, tailCount: 0, tail: noBytes }
}

/** Whether nothing of the stream is left but its last version. */
export function isGone({ firstVersion, lastVersion }: StreamHead): boolean {
  return firstVersion > lastVersion
}

/**
 * The version before the event at place `from` of a table that declares the version of its first event as `declared` (-1 = it does not), when `old` is
 * what was known of the stream until then. Behind events that are there the next one follows; behind none the table knows better.
 */
export function versionBefore(declared: number, from: number, old: StreamHead | undefined): number {
  const last = old?.lastVersion ?? -1
  return declared < 0 || (old !== undefined && !isGone(old)) ? last : Math.max(last, declared + from - 1)
}

/** `tail`, which ends with offset `previous`, and then offsets[from …). */
function packTail(tail: Buffer, previous: number, offsets: readonly number[], from: number): Buffer {
  const bytes = Buffer.allocUnsafe(tail.length + (offsets.length - from) * varintBytesMax)
  tail.copy(bytes)
  return bytes.subarray(0, packOffsets(offsets, from, offsets.length, previous, bytes, tail.length))
}

/** Cuts chunks off the front of `offsets` until a tail's worth is left; answers where that begins. `version`: of the first offset. */
function pushChunks(
  prefix: Buffer,
  streamOf: () => string,
  version: number,
  offsets: readonly number[],
  puts: CheckpointPut[],
): number {
  let from = 0
  while (from < offsets.length) {
    const to = Math.min(offsets.length, from + chunkEntriesMax)
    const bytes = Buffer.allocUnsafe((to - from + 1) * varintBytesMax)
    const start = writeVarint(bytes, 0, to - from)
    const end = packOffsets(offsets, from, to, -1, bytes, start)
    if (to === offsets.length && end - start <= tailBytesMax) break
    puts.push({ key: chunkKey(prefix, streamOf(), version + from), value: Buffer.from(bytes.subarray(0, end)) })
    from = to
  }
  return from
}
