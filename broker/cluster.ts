/** A broker's part in a cluster, from its settings. Called by Broker; ClusterNode is what does it. */
import { sleep } from '../platform/clock.ts'
import type { Clock } from '../platform/clock.ts'
import type { FileSystem } from '../platform/file-system.ts'
import type { Random } from '../platform/random.ts'
import type { Transport } from '../platform/transport.ts'
import { isPlayheadError, PlayheadError } from '../protocol/errors.ts'
import { readMembership } from '../replication/cluster-membership.ts'
import { ClusterNode } from '../replication/cluster-node.ts'
import { parseEtcdAddress } from '../replication/etcd-address.ts'
import { EtcdMetadataStore } from '../replication/etcd-metadata-store.ts'
import type { MetadataStore } from '../replication/metadata-store.ts'
import type { LogStore } from '../storage/log-store.ts'
import type { BrokerConfig } from './config.ts'
import { release } from './release.ts'

export interface ClusterParts {
  readonly config: BrokerConfig
  /** In place of the etcd that the settings name. */
  readonly metadata: MetadataStore | undefined
  readonly store: LogStore
  readonly fileSystem: FileSystem
  readonly transport: Transport
  readonly clock: Clock
  readonly random: Random
  readonly report: (level: 'info' | 'warn' | 'error', message: string) => void
  readonly onFatal: (error: Error) => void
}

/** Throws invalidConfiguration: followers do not say who they are yet, and do not speak TLS. */
export function checkClustered({ security, tlsCertificateFile }: BrokerConfig): void {
  const [setting, found, next] =
    security === 'on'
      ? ['security', 'on', '--security off']
      : ['tlsCertificateFile', JSON.stringify(tlsCertificateFile), 'no --tls-certificate-file']
  if (security === 'off' && tlsCertificateFile === '') return
  throw new PlayheadError(
    'invalidConfiguration',
    `settings cluster and ${setting}: found a cluster and ${found}, wanted one of the two: brokers of a cluster do not authenticate to each other yet; serve with ${next}, in a network that nobody else reaches`,
    { setting },
  )
}

/** Between two looks for an etcd that does not answer. */
const etcdPauseMs = 2_000

/**
 * Undefined for a broker by itself. Throws what keeps it out of its cluster. One that has been in it waits for its etcd: after a power cut of all it may be
 * back before that, and nobody should have to come and start it again. One that has not is told: its address may be wrong.
 */
export async function openCluster(parts: ClusterParts): Promise<ClusterNode | undefined> {
  const { config, metadata, fileSystem, clock, report } = parts
  if (metadata !== undefined) return await join(parts, metadata)
  if (config.cluster === '') return undefined
  const wasMember = (await readMembership(fileSystem, config.data)) !== undefined
  for (let said = ''; ; await sleep(clock, etcdPauseMs)) {
    let store: MetadataStore | undefined
    try {
      store = await openEtcd(config, clock)
      return await join(parts, store)
    } catch (error) {
      await store?.close()
      if (!wasMember || !isPlayheadError(error, 'unavailable')) throw error
      if (error.message !== said) report('warn', `${error.message}; waits for it before it serves`)
      said = error.message
    }
  }
}

async function join({ config, ...parts }: ClusterParts, metadata: MetadataStore): Promise<ClusterNode> {
  const { clusterSessionMs, replicaLagMsMax, replicaFetchBytesMax, partitionsTotalMax } = config
  return await ClusterNode.open({
    ...parts,
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
async function openEtcd(config: BrokerConfig, clock: Clock): Promise<MetadataStore> {
  const { members, isTls, prefix } = parseEtcdAddress(config.cluster)
  const { clusterUser: name, clusterPassword: password } = config
  return await EtcdMetadataStore.open({
    members,
    prefix,
    clock,
    ...(isTls && { tls: {} }),
    ...(name !== '' && { user: { name, password } }),
  })
}
