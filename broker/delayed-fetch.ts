/**
 * Delayed fetch: a fetch that waits until enough is committed, its time is over, or nobody wants it any more; then it answers with what
 * there is. Invariant: it blocks nobody else, and memory is taken only once there is something to read. Woken by the partition's high
 * watermark. Called by handlers/fetch.ts.
 */
import { isPlayheadError } from '../protocol/errors.ts'
import type { FramePiece } from '../protocol/frame-memory.ts'
import type { Partition } from '../replication/partition.ts'
import type { RequestContext } from './request.ts'

export interface FetchWish {
  readonly offset: number
  readonly minBytes: number
  readonly maxBytes: number
  readonly waitMs: number
}

export interface Fetched {
  batches: Buffer[]
  /** What the batches lie in. */
  pieces: FramePiece[]
  nextOffset: number
  /** Taken before the batches that came last were chosen: never less than what the reply shows. */
  highWatermark: number
}

export async function delayedFetch(partition: Partition, wish: FetchWish, context: RequestContext): Promise<Fetched> {
  const { services, reply, signal } = context
  const { clock } = services
  const deadlineMs = clock.monotonicMs() + wish.waitMs
  const minBytes = Math.min(wish.minBytes, wish.maxBytes)
  const fetched: Fetched = { batches: [], pieces: [], nextOffset: wish.offset, highWatermark: partition.highWatermark }
  if (partition.highWatermark > wish.offset) await reply.reserve(wish.maxBytes)
  // The log is asked in any case: it knows whether the offset is one of its own.
  let bytes = await readMore(partition, fetched, wish.maxBytes)
  for (;;) {
    const waitMs = deadlineMs - clock.monotonicMs()
    if (bytes >= minBytes || waitMs <= 0) return fetched
    // Parked, it holds the memory of what it has, not of what it may get.
    const spareBytes = reply.reservedBytes - bytes
    if (spareBytes > 0) reply.release(spareBytes)
    const wanted = Math.max(fetched.nextOffset, fetched.highWatermark) + 1
    if (!(await partition.waitForHighWatermark(wanted, waitMs, signal))) return fetched
    if (bytes === 0) await reply.reserve(wish.maxBytes)
    // Memory is short: less than was asked for now is better than to hold some and wait for more.
    else if (!reply.tryReserve(wish.maxBytes - bytes)) return fetched
    bytes += await readMore(partition, fetched, wish.maxBytes - bytes)
  }
}

/** Adds what can be read now; answers its bytes. Damage behind what is there already is the next fetch's to meet. */
async function readMore(partition: Partition, fetched: Fetched, maxBytes: number): Promise<number> {
  try {
    const { batches, piece, nextOffset, highWatermark } = await partition.read(fetched.nextOffset, maxBytes)
    if (piece !== undefined) fetched.pieces.push(piece)
    fetched.nextOffset = nextOffset
    fetched.highWatermark = highWatermark
    let bytes = 0
    for (const batch of batches) {
      fetched.batches.push(batch)
      bytes += batch.length
    }
    return bytes
  } catch (error) {
    if (fetched.batches.length > 0 && isPlayheadError(error)) return maxBytes
    throw error
  }
}
