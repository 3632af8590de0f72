/** A broker's part in a cluster, from its settings. Called by Broker; ClusterNode is what does it. */
import type { Clock } from '../platform/clock.ts'
import type { FileSystem } from '../platform/file-system.ts'
import type { TlsOptions } from '../platform/http-client.ts'
import type { Random } from '../platform/random.ts'
import type { Transport } from '../platform/transport.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { ClusterNode } from '../replication/cluster-node.ts'
import { parseEtcdAddress } from '../replication/etcd-address.ts'
import { EtcdMetadataStore } from '../replication/etcd-metadata-store.ts'
import type { MetadataStore } from '../replication/metadata-store.ts'
import type { LogStore } from '../storage/log-store.ts'
import type { ClusterTls } from './cluster-tls.ts'
import type { BrokerConfig } from './config.ts'
import { release } from './release.ts'
import type { ClusterSecret } from './security/cluster-secret.ts'

export interface ClusterParts {
  readonly config: BrokerConfig
  /** In place of the etcd that the settings name. */
  readonly metadata: MetadataStore | undefined
  readonly tls?: ClusterTls | undefined
  readonly secret?: ClusterSecret | undefined
  readonly store: LogStore
  readonly fileSystem: FileSystem
  readonly transport: Transport
  readonly clock: Clock
  readonly random: Random
  readonly report: (level: 'info' | 'warn' | 'error', message: string) => void
  readonly onFatal: (error: Error) => void
}

/** Throws invalidConfiguration for what a cluster cannot have yet. */
export function checkClustered({ security }: BrokerConfig): void {
  if (security === 'off') return
  throw new PlayheadError(
    'invalidConfiguration',
    'settings cluster and security: found a cluster and on, wanted one of the two: brokers of a cluster do not share users and grants yet; serve with --security off, with TLS and a clusterSecretFile',
    { setting: 'security' },
  )
}

/** Undefined for a broker by itself. Throws what keeps it out of its cluster. */
export async function openCluster({
  config,
  metadata,
  tls,
  secret,
  ...parts
}: ClusterParts): Promise<ClusterNode | undefined> {
  if (config.cluster === '' && metadata === undefined) return undefined
  const { clusterSessionMs, replicaLagMsMax, replicaFetchBytesMax, partitionsTotalMax } = config
  return await ClusterNode.open({
    ...parts,
    access: { secret: secret?.own, tls: tls?.brokers },
    metadata: metadata ?? (await openEtcd(config, parts.clock, tls?.etcd)),
    address: config.cluster,
    directory: config.data,
    broker: config.brokerId,
    rack: config.rack === '' ? undefined : config.rack,
    release,
    settings: {
      sessionMs: clusterSessionMs,
      lagMsMax: replicaLagMsMax,
      fetchBytesMax: replicaFetchBytesMax,
      requestMsMax: clusterSessionMs,
      partitionsTotalMax,
    },
    isAlive: () => true, // a loop that stands still says nothing anyhow
  })
}

/** Throws invalidConfiguration, unavailable, metadataStoreRefused. */
async function openEtcd(config: BrokerConfig, clock: Clock, tls: TlsOptions | undefined): Promise<MetadataStore> {
  const { members, prefix } = parseEtcdAddress(config.cluster)
  const { clusterUser: name, clusterPassword: password } = config
  return await EtcdMetadataStore.open({
    members,
    prefix,
    clock,
    tls,
    ...(name !== '' && { user: { name, password } }),
  })
}
