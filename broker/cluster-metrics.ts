/**
 * What a broker's part in a cluster publishes, one row each: lag and in-sync sets of what it leads and follows, what it and the controller have changed, and
 * how old its view of the cluster is. Called by metrics.ts, reads ClusterNode and partitions at a scrape.
 */
import type { ClusterNode } from '../replication/cluster-node.ts'
import type { Partition } from '../replication/partition.ts'
import type { Partitions } from '../replication/partitions.ts'
import type { ReplicaSet } from '../replication/replica-set.ts'

type Sample = readonly [value: number, labels?: Readonly<Record<string, string>>]

export interface ClusterMetric {
  readonly kind: 'gauge' | 'counter'
  readonly name: string
  readonly help: string
  readonly labels: string[]
  readonly source: () => Iterable<Sample>
}

export function clusterMetrics(cluster: ClusterNode, partitions: Partitions): ClusterMetric[] {
  return [...perPartition(partitions), ...ofThisBroker(cluster, partitions), ...ofTheCluster(cluster)]
}

function perPartition(partitions: Partitions): ClusterMetric[] {
  const row = (name: string, help: string, valueOf: (partition: Partition) => number | undefined): ClusterMetric => ({
    kind: 'gauge',
    name: `playhead_partition_${name}`,
    help,
    labels: ['topic', 'partition'],
    *source() {
      for (const partition of partitions.all()) {
        const value = valueOf(partition)
        if (value !== undefined) yield [value, { topic: partition.topic, partition: String(partition.partition) }]
      }
    },
  })
  return [
    row('leader_epoch', 'Epoch of the leader that this broker knows of.', ({ leaderEpoch }) => leaderEpoch),
    row(
      'in_sync_replicas',
      'Replicas in sync, from the broker that leads.',
      ({ leading }) => leading?.seen.state.isr.length,
    ),
    row(
      'replica_lag_records',
      'Records that the replica furthest behind lacks, from the broker that leads.',
      ({ leading, log }) => leading && lagOf(leading, log),
    ),
    row(
      'follower_lag_records',
      'Committed records that this broker lacks, from one that follows, as far as it has heard.',
      ({ following, log }) =>
        following?.leader === undefined || following.leader === null
          ? undefined
          : Math.max(0, following.heardHighWatermark - log.durableOffset),
    ),
  ]
}

/** Of one that has said nothing in this epoch: everything. */
function lagOf(leading: ReplicaSet, log: { readonly logStartOffset: number; readonly logEndOffset: number }): number {
  const { followers, seen } = leading
  if (followers.length < seen.state.replicas.length - 1) return log.logEndOffset - log.logStartOffset
  return followers.reduce((most, { durableOffset }) => Math.max(most, log.logEndOffset - durableOffset), 0)
}

function ofThisBroker(cluster: ClusterNode, partitions: Partitions): ClusterMetric[] {
  const led = (counts: (leading: ReplicaSet) => boolean) => (): Sample[] => {
    let count = 0
    for (const { leading } of partitions.all()) if (leading !== undefined && counts(leading)) count++
    return [[count]]
  }
  const gauge = (name: string, help: string, source: () => Sample[]): ClusterMetric => ({
    kind: 'gauge',
    name: `playhead_${name}`,
    help,
    labels: [],
    source,
  })
  return [
    gauge(
      'led_partitions',
      'Partitions that this broker leads.',
      led(() => true),
    ),
    gauge(
      'under_replicated_partitions',
      'Partitions that this broker leads and that not all of their replicas are in sync of.',
      led(({ seen: { state } }) => state.replicas.some((id) => !state.isr.includes(id) && !state.adding.includes(id))),
    ),
    gauge(
      'under_min_in_sync_partitions',
      'Partitions that this broker leads and that take no appends, because too few replicas are in sync.',
      led(({ hasEnough }) => !hasEnough),
    ),
    gauge('registered', 'Whether this broker is registered in its cluster: 1 = it is.', () => [
      [cluster.session?.brokerEpoch === undefined ? 0 : 1],
    ]),
    gauge('controller', 'Whether this broker is the controller: 1 = it is.', () => [
      [cluster.session?.controller?.isController === true ? 1 : 0],
    ]),
  ]
}

function ofTheCluster(cluster: ClusterNode): ClusterMetric[] {
  const counter = (name: string, help: string, value: () => number): ClusterMetric => ({
    kind: 'counter',
    name: `playhead_${name}_total`,
    help,
    labels: [],
    source: () => [[value()]],
  })
  const { image } = cluster
  const offline = (): number => {
    let count = 0
    for (const { state } of image.state.allPartitions()) if (state.leader === null) count++
    return count
  }
  return [
    {
      kind: 'gauge',
      name: 'playhead_offline_partitions',
      help: 'Partitions of the whole cluster that nobody leads, as this broker sees it.',
      labels: [],
      source: () => [[offline()]],
    },
    {
      kind: 'gauge',
      name: 'playhead_metadata_age_seconds',
      help: 'Since this broker has read what the cluster agreed on; above a minute the metadata store does not answer.',
      labels: [],
      source: () => [[image.ageMs / 1000]],
    },
    counter('in_sync_shrinks', 'Times that this broker, leading, took replicas out of an in-sync set.', () => {
      return cluster.stats.inSyncShrinks
    }),
    counter('in_sync_expands', 'Times that this broker, leading, let replicas into an in-sync set.', () => {
      return cluster.stats.inSyncExpands
    }),
    counter('elections', 'Changes of leaders that this broker made as the controller.', () => cluster.stats.elections),
  ]
}
