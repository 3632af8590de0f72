/**
 * TierSharing: what the tier of a cluster's broker is told of the cluster: whose tier it is, and what this broker is to each of its logs, asked anew
 * before every step. One tier is shared by all brokers of a cluster; of each partition the leader alone writes there, fenced by its leader epoch.
 * Neighbours: the broker makes it from what replication knows; Tier and ReplicaTier ask.
 */
export interface TierRole {
  /** In which this broker leads; undefined = it does not. */
  readonly leaderEpoch: number | undefined
  /** Everything below it is committed, as far as this broker knows. */
  readonly highWatermark: number
}

export interface TierSharing {
  readonly clusterId: string
  /** Undefined = it has no such partition. */
  role(topicId: string, partition: number): TierRole | undefined
  /** Whether the cluster has no such topic any more. */
  isGone(topicId: string): boolean
}

/** In the tier's owner record, in place of the id of a data directory: all brokers of a cluster write as one. */
export function sharedOwnerId(clusterId: string): string {
  return `cluster:${clusterId}`
}

export function isSharedOwnerId(id: string): boolean {
  return id.startsWith('cluster:')
}
