/**
 * Where a follower's log and its leader's part ways, from what each knows of leader epochs: in one epoch one broker wrote, so two logs that
 * have the same epoch at an offset have the same records up to there. Neighbours: Partition (of the leader) and ReplicaFetcher (of the follower).
 */
import type { EpochEnd } from '../storage/leader-epochs.ts'
import type { Log } from '../storage/log.ts'

/**
 * Asked by the leader of a follower whose last batch is of `lastEpoch` and ends at `offset`: undefined when the follower's log is a beginning of this one;
 * else the largest epoch at or below that one that this log has, and where it ends.
 */
export function divergenceOf(leader: Log, lastEpoch: number, offset: number): EpochEnd | undefined {
  const end = leader.replica.epochs.endOf(lastEpoch, leader.logEndOffset)
  if (lastEpoch < 0) return offset <= leader.logStartOffset ? undefined : end
  return end.epoch === lastEpoch && offset <= end.endOffset ? undefined : end
}

/** Where the follower cuts its log back to: what is before it, both have. */
export function truncationOffset(follower: Log, { epoch, endOffset }: EpochEnd): number {
  return Math.min(follower.replica.epochs.endOf(epoch, follower.logEndOffset).endOffset, endOffset)
}
