/**
 * FollowerAppend: a batch that the leader has written, on its way into a follower's log. The same bytes, the same append time; nothing is
 * decided here. Invariant: what is not a sound batch is refused before anything takes effect.
 * Called by FollowerLane; LogEnd puts it behind what is there.
 */
import { decompressedBytesMax } from '../protocol/limits.ts'
import { BATCH_HEADER_BYTES, checkAnyBatch, codec, lastOffsetDelta } from '../protocol/record-batch.ts'
import type { FramePiece } from '../protocol/frame-memory.ts'
import { batchFactsAt } from './batch-facts.ts'
import { BatchKeys, eachKey } from './batch-streams.ts'
import type { DecompressionMemory } from './decompression-memory.ts'
import type { BatchFacts } from './segment.ts'
import type { StreamIndex } from './stream-index.ts'

/** A batch as its leader has it. */
export interface LeaderBatch {
  /** Exactly one batch. */
  readonly batch: Buffer
  /** What it lies in, held for as long as this is taken in. */
  readonly piece?: FramePiece | undefined
  readonly appendTimeMs: number
  /** Whether it begins a segment at the leader; undefined = the leader does not say so. */
  readonly beginsSegment?: boolean | undefined
}

/** A key of a batch with gaps in its offsets. */
interface PlacedKey {
  readonly bytes: Buffer
  readonly hash: number
  readonly offset: number
}

export class FollowerAppend {
  readonly group: LeaderBatch
  readonly facts: BatchFacts
  readonly #keys: BatchKeys | readonly PlacedKey[]

  private constructor(group: LeaderBatch, facts: BatchFacts, keys: BatchKeys | readonly PlacedKey[]) {
    this.group = group
    this.facts = facts
    this.#keys = keys
  }

  /** Throws invalidBatch, invalidStream, unsupportedCompression, batchTooLarge: then the leader sent what it cannot have written. */
  static async of(group: LeaderBatch, decompression: DecompressionMemory): Promise<FollowerAppend> {
    const { batch } = group
    checkAnyBatch(batch, 0, batch.length)
    const facts = batchFactsAt(batch, 0)
    return new FollowerAppend(group, facts, await keysOf(batch, facts, decompression))
  }

  get appendTimeMs(): number {
    return this.group.appendTimeMs
  }

  addTo(index: StreamIndex, baseOffset: number): void {
    const keys = this.#keys
    if (keys instanceof BatchKeys) return index.addBatch(keys, baseOffset)
    for (const { bytes, hash, offset } of keys) index.addKey(bytes, 0, bytes.length, hash, offset)
  }
}

async function keysOf(
  batch: Buffer,
  { recordCount }: BatchFacts,
  decompression: DecompressionMemory,
): Promise<BatchKeys | readonly PlacedKey[]> {
  if (lastOffsetDelta(batch) !== recordCount - 1) return await placedKeys(batch)
  if (codec(batch) === 'none') return BatchKeys.of(batch, BATCH_HEADER_BYTES, recordCount)
  const { records, letGo } = await decompression.decompress(batch, decompressedBytesMax)
  try {
    return BatchKeys.of(records, 0, recordCount)
  } finally {
    letGo()
  }
}

/** Of what compaction has left. */
async function placedKeys(batch: Buffer): Promise<PlacedKey[]> {
  const keys: PlacedKey[] = []
  await eachKey(batch, 0, decompressedBytesMax, (bytes, from, to, hash, offset) => {
    keys.push({ bytes: Buffer.from(bytes.subarray(from, to)), hash, offset })
  })
  return keys
}
