/** A broker's part in a cluster, from its settings. Called by Broker; ClusterNode is what does it. */
import { sleep } from '../platform/clock.ts'
import type { Clock } from '../platform/clock.ts'
import type { FileSystem } from '../platform/file-system.ts'
import type { TlsOptions } from '../platform/http-client.ts'
import type { Random } from '../platform/random.ts'
import type { Transport } from '../platform/transport.ts'
import { isPlayheadError, PlayheadError } from '../protocol/errors.ts'
import { readMembership } from '../replication/cluster-membership.ts'
import { ClusterNode } from '../replication/cluster-node.ts'
import { parseEtcdAddress } from '../replication/etcd-address.ts'
import { EtcdMetadataStore } from '../replication/etcd-metadata-store.ts'
import type { MetadataStore } from '../replication/metadata-store.ts'
import type { LogStore } from '../storage/log-store.ts'
import type { ClusterTls } from './cluster-tls.ts'
import type { BrokerConfig } from './config.ts'
import { release } from './release.ts'
import type { OtherBrokers } from './internal-log.ts'
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

/** Throws invalidConfiguration for what a cluster with security lacks. */
export function checkClustered({ security, clusterSecretFile, adminTokenFile }: BrokerConfig): void {
  if (security === 'off') return
  if (clusterSecretFile === '')
    throw lacking(
      'clusterSecretFile',
      'a file with a secret that all brokers of the cluster have: they are given what is replicated by it',
    )
  if (adminTokenFile === '')
    throw lacking(
      'adminTokenFile',
      'a file with a token that all brokers of the cluster have: one that each makes for itself is good at one broker only',
    )
}

function lacking(setting: 'clusterSecretFile' | 'adminTokenFile', wanted: string): PlayheadError {
  return new PlayheadError(
    'invalidConfiguration',
    `setting ${setting}: found none for a cluster with security on, wanted ${wanted}; make one with: openssl rand -base64 33`,
    { setting },
  )
}

/** What internal topics ask of the other brokers. */
export function othersOf(cluster: ClusterNode, self: number): OtherBrokers {
  return {
    self,
    get count() {
      return [...cluster.image.state.sessions.keys()].filter((broker) => broker !== self).length
    },
    get replicationFactorMax() {
      return cluster.replicationFactorMax
    },
    uncleanEpochOf: (partition) => cluster.image.state.partition(partition)?.state.uncleanEpoch ?? 0,
    ask: (broker, api, request, options) => cluster.ask(broker, api, request, options),
  }
}

/** Between two looks for an etcd that does not answer. */
const etcdPauseMs = 2_000

/**
 * Undefined for a broker by itself. Throws what keeps it out of its cluster. One that has been in it waits for its etcd: after a power cut of all it may be
 * back before that, and nobody should have to come and start it again. One that has not is told: its address may be wrong.
 */
export async function openCluster(parts: ClusterParts): Promise<ClusterNode | undefined> {
  const { config, metadata, tls, fileSystem, clock, report } = parts
  if (metadata !== undefined) return await join(parts, metadata)
  if (config.cluster === '') return undefined
  const wasMember = (await readMembership(fileSystem, config.data)) !== undefined
  for (let said = ''; ; await sleep(clock, etcdPauseMs)) {
    let store: MetadataStore | undefined
    try {
      store = await openEtcd(config, clock, tls?.etcd)
      return await join(parts, store)
    } catch (error) {
      await store?.close()
      if (!wasMember || !isPlayheadError(error, 'unavailable')) throw error
      if (error.message !== said) report('warn', `${error.message}; waits for it before it serves`)
      said = error.message
    }
  }
}

async function join({ config, tls, secret, ...parts }: ClusterParts, metadata: MetadataStore): Promise<ClusterNode> {
  const { clusterSessionMs, replicaLagMsMax, replicaFetchBytesMax, partitionsTotalMax } = config
  return await ClusterNode.open({
    ...parts,
    access: { secret: secret?.own, tls: tls?.brokers },
    metadata,
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
