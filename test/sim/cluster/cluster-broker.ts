/**
 * Cluster broker: a broker of a simulated cluster, put together as broker/parts.ts does it, on the simulated etcd. Neighbours: lone-broker.ts has what
 * it shares with a broker by itself; fleet.ts starts it through a Machine.
 */
import { brokersOf } from '../../../broker/brokers.ts'
import { openCluster, othersOf } from '../../../broker/cluster.ts'
import { resolveConfig } from '../../../broker/config.ts'
import { tierSharingOf } from '../../../broker/shared-tier.ts'
import { LimitedStreams } from '../../../broker/limited-streams.ts'
import { Playheads } from '../../../broker/playheads.ts'
import { Partitions } from '../../../replication/partitions.ts'
import type { ClusterNode } from '../../../replication/cluster-node.ts'
import type { MetadataStore } from '../../../replication/metadata-store.ts'
import { Tier } from '../../../storage/tier/tier.ts'
import { defaultTierSettings } from '../../../storage/tier/tier-settings.ts'
import { brokerPort, commonServices, dataDirectory, listen, openStore } from '../lone-broker.ts'
import type { BrokerFoundations } from '../lone-broker.ts'
import { SimulatedObjectStore } from './simulated-object-store.ts'
import type { SimulatedBucket } from './simulated-object-store.ts'

export interface ClusterBrokerOptions {
  readonly broker: number
  readonly metadata: MetadataStore
  readonly sessionMs: number
  readonly lagMsMax: number
  /** What it is made of, as soon as there is: for who looks inside. */
  readonly onOpen: (parts: ClusterBrokerParts) => void
  readonly bucket?: SimulatedBucket | undefined
}

export interface ClusterBrokerParts {
  readonly partitions: Partitions
  readonly cluster: ClusterNode
}

/** All run on one simulated host: the port tells them apart. */
export function portOf(broker: number): number {
  return brokerPort + broker
}

/** Of every other broker: so small that it needs many fetches to catch up, and asks for the next before it has taken in the last. */
const smallFetchBytesMax = 4096

/** One of two. */
export function rackOf(broker: number): string {
  return broker % 2 === 0 ? 'even' : 'odd'
}

export async function openClusterBroker(
  foundations: BrokerFoundations,
  { broker, metadata, sessionMs, lagMsMax, onOpen, bucket }: ClusterBrokerOptions,
): Promise<() => Promise<void>> {
  const { process, network, fileSystem, report, onFatal } = foundations
  const { clock, random } = process
  const cluster = { brokerId: broker, rack: rackOf(broker), clusterSessionMs: sessionMs, replicaLagMsMax: lagMsMax }
  const flags = { data: dataDirectory, port: portOf(broker), host: '127.0.0.1', ...cluster }
  const resolved = resolveConfig({ flags })
  const config = broker % 2 === 0 ? resolved : { ...resolved, replicaFetchBytesMax: smallFetchBytesMax }
  const tier = bucket && (await openTier(foundations, bucket))
  const onDisks = tier === undefined ? foundations : { ...foundations, fileSystem: tier.fileSystem }
  const store = await openStore(onDisks, config, { isReplicated: true })
  const transport = network.transport(process)
  const node = await openCluster({ config, metadata, store, fileSystem, transport, clock, random, report, onFatal })
  if (node === undefined) throw new Error('found a broker by itself, wanted one of a cluster')
  const partitions = new Partitions({
    store,
    clock,
    waitersMax: config.waitersPerPartitionMax,
    isReplicated: true,
    authority: node.authority,
  })
  onOpen({ partitions, cluster: node })
  const playheads = new Playheads({ partitions, clock, random })
  const limitedStreams = new LimitedStreams({ partitions, clock, random, report, onFatal })
  const identity = { clusterId: node.clusterId, brokerId: broker, dataDirectory }
  const own = { identity, config, partitions, playheads, limitedStreams, brokers: brokersOf(node), cluster: node }
  const listener = await listen(foundations, { ...own, ...(await commonServices(foundations, own)) })
  await node.start(partitions, { host: config.host, port: listener.port })
  limitedStreams.join(othersOf(node, broker))
  await playheads.open(node.replicationFactorMax)
  await tier?.start(store, tierSharingOf(node, partitions))
  return async () => {
    limitedStreams.close()
    await node.leave(config.stopWaitMsMax / 2)
    await listener.stop(config.stopWaitMsMax)
    await node.close()
    await tier?.stop()
    await store[Symbol.asyncDispose]()
  }
}

/** Sends soon, and looks often. */
function openTier({ process, fileSystem, report }: BrokerFoundations, bucket: SimulatedBucket): Promise<Tier> {
  const { clock, random } = process
  return Tier.open({
    location: 'file:///simulated',
    dataDirectory,
    fileSystem,
    clock,
    random,
    isShared: true,
    store: new SimulatedObjectStore(bucket, process),
    settings: { ...defaultTierSettings, uploadIntervalMs: 300, lookMs: 200, orphanSearchMs: 2_000 },
    report,
  })
}
