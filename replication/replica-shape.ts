/**
 * Replica shape: how followers come to have the same segment files as their leader: its salt, and segments that begin where its own do. Then what one
 * replica has sent to the tier can stand in for the file of any other.
 * Invariant: only where segments begin is taken over, never what is in them; a follower that cannot have the same files is none the worse for it.
 * Neighbours: the handler of replicaFetch says it, ReplicaFetcher does it.
 */
import type { ReplyOf } from '../protocol/api.ts'
import { baseOffset, nextOffset } from '../protocol/record-batch.ts'
import type { LeaderBatch } from '../storage/follower-append.ts'
import type { Log } from '../storage/log.ts'

type ShapeFields = Pick<ReplyOf<'replicaFetch'>, 'salt' | 'segmentStarts'>

/** By the leader, of what is read for a follower from `offset` on. */
export function shapeFields(log: Log, offset: number, batches: readonly Buffer[]): ShapeFields {
  const [first, last] = [batches[0], batches.at(-1)]
  const from = first === undefined ? offset : Math.min(offset, baseOffset(first, 0))
  const to = last === undefined ? offset : nextOffset(last, 0)
  const { salt, segmentStarts } = log.replica.shape(from, to)
  return { salt: salt.toString('base64'), segmentStarts: [...segmentStarts] }
}

/** Where there are no batches, because the follower's log goes another way. */
export const noShape: ShapeFields = { salt: undefined, segmentStarts: undefined }

interface ShapedBatches {
  readonly batches: readonly LeaderBatch[]
  /** What comes behind them begins a segment. */
  readonly isCutBehind: boolean
}

/** By the follower, whose log ends at `offset`: takes the salt over where it can. A leader that says nothing leaves it to the follower's own rules. */
export async function takeShape(
  log: Log,
  { salt, segmentStarts }: ShapeFields,
  batches: readonly LeaderBatch[],
): Promise<ShapedBatches> {
  if (salt !== undefined) await log.replica.takeSalt(Buffer.from(salt, 'base64'))
  if (segmentStarts === undefined) return { batches, isCutBehind: false }
  const last = batches.at(-1)
  const endOffset = last === undefined ? log.logEndOffset : nextOffset(last.batch, 0)
  let place = 0
  const shaped = batches.map((each) => {
    const before = place
    while (place < segmentStarts.length && segmentStarts[place]! <= baseOffset(each.batch, 0)) place++
    return { ...each, beginsSegment: place > before }
  })
  return { batches: shaped, isCutBehind: segmentStarts.at(-1) === endOffset }
}
