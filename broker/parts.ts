/**
 * Parts: what a broker is made of, set up in order. Invariant: each step defers its own taking down before the next begins, so that a start that fails half-way
 * leaves nothing behind. Called by Broker.
 */
import { systemClock } from '../platform/clock.ts'
import type { Clock } from '../platform/clock.ts'
import type { FileSystem } from '../platform/file-system.ts'
import { nodeFileSystem } from '../platform/node-file-system.ts'
import { nodeTransport } from '../platform/node-transport.ts'
import { systemRandom } from '../platform/random.ts'
import type { Random } from '../platform/random.ts'
import type { Transport } from '../platform/transport.ts'
import type { ClusterNode } from '../replication/cluster-node.ts'
import type { MetadataStore } from '../replication/metadata-store.ts'
import { Partitions } from '../replication/partitions.ts'
import { openStorage } from './broker-storage.ts'
import type { BrokerStorage } from './broker-storage.ts'
import { problemsOf, statusOf } from './broker-status.ts'
import { brokersOf } from './brokers.ts'
import { checkClustered, openCluster, othersOf } from './cluster.ts'
import { ClusterTls } from './cluster-tls.ts'
import type { BrokerConfig } from './config.ts'
import { Dispatch } from './dispatch.ts'
import { HttpServer } from './http/server.ts'
import { LimitedStreams } from './limited-streams.ts'
import { Listener } from './listener.ts'
import { Metrics } from './metrics.ts'
import { Playheads } from './playheads.ts'
import type { Services } from './request.ts'
import { ClusterSecret } from './security/cluster-secret.ts'
import { checkExposure } from './security/exposure.ts'
import { Security } from './security/security.ts'
import { TlsFiles } from './security/tls-files.ts'
import { checkSharedSettings, tierSharingOf } from './shared-tier.ts'

export type ReportLevel = 'info' | 'warn' | 'error'

/** What a broker stands on; everything has a default. */
export interface BrokerFoundation {
  readonly fileSystem?: FileSystem
  readonly transport?: Transport
  readonly clock?: Clock
  readonly random?: Random
  readonly report?: (level: ReportLevel, message: string) => void
  /**
   * Durability is in doubt, or a bug may have left something half-done: the process must end at once, without a further promise to
   * anybody. Default: says so on stderr and exits with 70.
   */
  readonly onFatal?: (error: Error) => void
  /** What the brokers of a cluster agree through; default: the etcd that `cluster` names. */
  readonly metadata?: MetadataStore
}

/** A bug in the program, as sysexits.h has it. */
const exitCodeOfFatal = 70

function exitAtOnce(error: Error): void {
  process.stderr.write(`fatal: ${error.stack ?? error.message}\n`)
  process.exit(exitCodeOfFatal)
}

/** The seams, each as given or the default. */
type Seams = Required<Omit<BrokerFoundation, 'metadata'>>

export interface BrokerParts {
  readonly listener: Listener
  readonly http: HttpServer
  readonly services: Services
  /** Undefined for a broker by itself. */
  readonly cluster: ClusterNode | undefined
  readonly tls: TlsFiles | undefined
  readonly clusterTls: ClusterTls
  readonly tearDown: AsyncDisposableStack
}

/** All that answers requests, but for the ports. */
interface Core extends BrokerStorage {
  readonly services: Services
  readonly cluster: ClusterNode | undefined
}

export async function openParts(
  config: BrokerConfig,
  foundation: BrokerFoundation,
  setUp: AsyncDisposableStack,
): Promise<Omit<BrokerParts, 'tearDown'>> {
  const seams: Seams = {
    fileSystem: foundation.fileSystem ?? nodeFileSystem,
    transport: foundation.transport ?? nodeTransport,
    clock: foundation.clock ?? systemClock,
    random: foundation.random ?? systemRandom,
    report: foundation.report ?? (() => {}),
    onFatal: foundation.onFatal ?? exitAtOnce,
  }
  checkExposure(config)
  if (config.cluster !== '' || foundation.metadata !== undefined) checkClustered(config)
  const tls = await TlsFiles.open({ config, ...seams })
  setUp.defer(() => tls?.close())
  const clusterTls = await ClusterTls.open({ config, ...seams })
  setUp.defer(() => clusterTls.close())
  const clusterSecret = await ClusterSecret.open(config.clusterSecretFile, seams.fileSystem, seams.random)
  const status = (): ReturnType<Services['status']> => statusOf(core.services, listener, startedMs)
  const core = await openCore(
    config,
    { ...seams, metadata: foundation.metadata, clusterTls, clusterSecret, status },
    setUp,
  )
  const { services, cluster, store, tier } = core
  const startedMs = seams.clock.monotonicMs()
  const onBug = bugHandler(seams)
  const dispatch = new Dispatch({ clock: seams.clock, onBug, isReadOnly: config.readOnly === 'yes' })
  const listener = await Listener.open({ transport: seams.transport, dispatch, services, tls })
  setUp.defer(() => listener.stop(0))
  if (cluster !== undefined) {
    await cluster.start(services.partitions, { host: config.advertisedHost || config.host, port: listener.port })
    const others = othersOf(cluster, config.brokerId)
    services.limitedStreams.join(others)
    await services.playheads.open(cluster.replicationFactorMax)
    await services.security.join(others)
    await tier?.start(store, tierSharingOf(cluster, services.partitions))
  }
  const metrics = new Metrics({
    services,
    dispatch,
    listener,
    storage: () => store.stats,
    tier: () => tier?.stats,
    tls,
  })
  setUp.defer(() => metrics.close())
  const http = await HttpServer.open({ services, tls, metrics, onBug })
  setUp.defer(() => http.stop())
  if (tls !== undefined)
    tls.onChange = (renewed) => {
      listener.renew(renewed)
      http.renew(renewed)
    }
  return { listener, http, services, cluster, tls, clusterTls }
}

interface CoreParts {
  readonly metadata: MetadataStore | undefined
  readonly clusterTls: ClusterTls
  readonly clusterSecret: ClusterSecret | undefined
  readonly status: Services['status']
}

async function openCore(
  config: BrokerConfig,
  { metadata, clusterTls, clusterSecret, status, ...seams }: Seams & CoreParts,
  setUp: AsyncDisposableStack,
): Promise<Core> {
  const { clock, random } = seams
  const isReplicated = config.cluster !== '' || metadata !== undefined
  const { store, tier } = await openStorage(config, { ...seams, isReplicated }, setUp)
  const cluster = await openCluster({ config, metadata, tls: clusterTls, secret: clusterSecret, store, ...seams })
  if (cluster !== undefined) setUp.defer(() => cluster.close())
  const partitions = new Partitions({
    store,
    clock,
    waitersMax: config.waitersPerPartitionMax,
    isReplicated: cluster !== undefined,
    authority: cluster?.authority,
    checkSettings: cluster !== undefined && tier !== undefined ? checkSharedSettings : undefined,
  })
  const playheads = new Playheads({ partitions, clock, random })
  const limitedStreams = new LimitedStreams({ partitions, ...seams })
  setUp.defer(() => limitedStreams.close())
  // A broker by itself has its internal topics before anybody can ask; in a cluster they are agreed on once it has a part in it.
  if (cluster === undefined) {
    await playheads.open(1)
    await limitedStreams.open()
  }
  const security = await Security.open({ config, partitions, clusterSecret, isClustered: isReplicated, ...seams })
  setUp.defer(() => security.close())
  const services: Services = {
    identity: {
      clusterId: cluster?.clusterId ?? store.clusterId,
      brokerId: cluster === undefined ? store.brokerId : config.brokerId,
      dataDirectory: config.data,
    },
    config,
    clock,
    random,
    partitions,
    playheads,
    limitedStreams,
    security,
    brokers: brokersOf(cluster),
    cluster,
    problems: () => problemsOf(partitions, tier),
    status,
  }
  return { services, cluster, store, tier }
}

/**
 * A bug in a request that changes things ends the process: what it left half-done is unknown, and recovery is what knows how to put it
 * right. A bug in a read harms its own request only: it is reported and the broker lives.
 */
function bugHandler({ report, onFatal }: Seams): (error: unknown, where: string, changes: boolean) => void {
  return (error, where, changes) => {
    const bug = error instanceof Error ? error : new Error(String(error))
    report('error', `bug in ${where}: ${bug.stack ?? bug.message}`)
    if (changes) onFatal(bug)
  }
}
