/**
 * Shared tier: what a cluster's broker and its tier have to tell each other: what this broker is to each partition, and which settings of a topic do not
 * go together there. Called by parts.ts.
 */
import { isPlayheadError, PlayheadError } from '../protocol/errors.ts'
import type { ClusterNode } from '../replication/cluster-node.ts'
import type { Partition } from '../replication/partition.ts'
import type { Partitions } from '../replication/partitions.ts'
import { topicSettings } from '../storage/topic-settings.ts'
import type { TopicSettingTexts } from '../storage/topic-settings.ts'
import type { TierSharing } from '../storage/tier/tier-sharing.ts'

export function tierSharingOf({ clusterId, image }: ClusterNode, partitions: Partitions): TierSharing {
  return {
    clusterId,
    role(topicId, number) {
      const partition = partitionOf(partitions, topicId, number)
      return partition && { leaderEpoch: partition.leading?.leaderEpoch, highWatermark: partition.highWatermark }
    },
    isGone(topicId) {
      const { state = 'deleting' } = image.state.topics.get(topicId)?.record ?? {}
      return state === 'deleting'
    },
  }
}

function partitionOf(partitions: Partitions, topicId: string, number: number): Partition | undefined {
  try {
    return partitions.replica(topicId, number)
  } catch (error) {
    if (isPlayheadError(error)) return undefined // the topic is on its way in, or out
    throw error
  }
}

/** Throws invalidSetting for a topic that would be compacted, by each of its replicas for itself, and kept in the tier that they share. */
export function checkSharedSettings(texts: TopicSettingTexts): void {
  const { isTiered, cleanup } = topicSettings(texts)
  if (!isTiered || !cleanup.compacts) return
  const policy = texts['cleanup.policy'] ?? ''
  throw new PlayheadError(
    'invalidSetting',
    `cleanup.policy: found ${JSON.stringify(policy)} with remote.storage.enable=true, wanted one of them: in a cluster with a tier a topic is either compacted or kept in the tier; set remote.storage.enable=false for this topic`,
    { setting: 'cleanup.policy', value: policy },
  )
}
