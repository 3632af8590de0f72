/**
 * Broker: the composition root. Sets the parts up in order and takes them down in reverse. Invariants: it serves only once its logs
 * are recovered; a graceful stop answers what is in flight, wakes what is parked, seals and unlocks; a failure that puts durability in
 * doubt ends it at once. Called by main.ts, by tests and by tools that want a broker in their process.
 */
import { systemClock } from '../platform/clock.ts'
import type { Clock } from '../platform/clock.ts'
import type { FileSystem } from '../platform/file-system.ts'
import { nodeFileSystem } from '../platform/node-file-system.ts'
import { nodeTransport } from '../platform/node-transport.ts'
import { systemRandom } from '../platform/random.ts'
import type { Random } from '../platform/random.ts'
import type { Transport } from '../platform/transport.ts'
import type { ReplyOf } from '../protocol/api.ts'
import type { ClusterNode } from '../replication/cluster-node.ts'
import type { MetadataStore } from '../replication/metadata-store.ts'
import { Partitions } from '../replication/partitions.ts'
import type { Tier } from '../storage/tier/tier.ts'
import { openStorage } from './broker-storage.ts'
import { brokersOf } from './brokers.ts'
import { openCluster } from './cluster.ts'
import { readOnlyOf, resolveConfig } from './config.ts'
import type { BrokerConfig } from './config.ts'
import { Dispatch } from './dispatch.ts'
import { HttpServer } from './http/server.ts'
import { Listener } from './listener.ts'
import { Metrics } from './metrics.ts'
import { LimitedStreams } from './limited-streams.ts'
import { Playheads } from './playheads.ts'
import type { Services } from './request.ts'
import { release } from './release.ts'

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

export class Broker {
  /** Of the native protocol. */
  readonly port: number
  readonly httpPort: number
  readonly dataDirectory: string
  readonly #parts: BrokerParts
  #stopped: Promise<void> | undefined

  private constructor(parts: BrokerParts) {
    this.#parts = parts
    this.port = parts.listener.port
    this.httpPort = parts.http.port
    this.dataDirectory = parts.services.identity.dataDirectory
  }

  /**
   * Recovers the data directory and serves it. Settings that are not given have their defaults: ports 7420 and 7421, not free ones.
   * Throws invalidConfiguration, dataDirectoryInUse, dataDirectoryNotWritable, unsupportedFormat, damagedData, portInUse.
   */
  static async start(settings: Partial<BrokerConfig> = {}, foundation: BrokerFoundation = {}): Promise<Broker> {
    const config = resolveConfig({ flags: settings })
    await using setUp = new AsyncDisposableStack()
    const parts = await openParts(config, foundation, setUp)
    return new Broker({ ...parts, tearDown: setUp.move() })
  }

  /** Stops accepting, answers what is in flight, seals what is open. Every call resolves once that is done. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  async #stop(): Promise<void> {
    const { listener, http, services, cluster, tearDown } = this.#parts
    const { clock, config } = services
    const overdue = clock.after(config.stopWaitMsMax, () => http.destroyConnections())
    await cluster?.leave(config.stopWaitMsMax / 2)
    await Promise.all([listener.stop(config.stopWaitMsMax), http.stop()])
    overdue.cancel()
    await tearDown.disposeAsync()
  }
}

interface BrokerParts {
  readonly listener: Listener
  readonly http: HttpServer
  readonly services: Services
  /** Undefined for a broker by itself. */
  readonly cluster: ClusterNode | undefined
  readonly tearDown: AsyncDisposableStack
}

async function openParts(
  config: BrokerConfig,
  foundation: BrokerFoundation,
  setUp: AsyncDisposableStack,
): Promise<Omit<BrokerParts, 'tearDown'>> {
  const {
    fileSystem = nodeFileSystem,
    transport = nodeTransport,
    clock = systemClock,
    random = systemRandom,
  } = foundation
  const { report = () => {}, onFatal = exitAtOnce } = foundation
  const isReplicated = config.cluster !== '' || foundation.metadata !== undefined
  const seams = { fileSystem, clock, random, report, onFatal }
  const { store, tier } = await openStorage(config, { ...seams, isReplicated }, setUp)
  const cluster = await openCluster({ config, metadata: foundation.metadata, store, transport, ...seams })
  if (cluster !== undefined) setUp.defer(() => cluster.close())
  const partitions = new Partitions({
    store,
    clock,
    waitersMax: config.waitersPerPartitionMax,
    isReplicated: cluster !== undefined,
    authority: cluster?.authority,
  })
  const playheads = new Playheads({ partitions, clock, random })
  const limitedStreams = new LimitedStreams({ partitions, clock, random })
  const startedMs = clock.monotonicMs()
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
    brokers: brokersOf(cluster),
    problems: () => problemsOf(partitions, tier),
    status: () => statusOf(services, listener, clock.monotonicMs() - startedMs),
  }
  /**
   * A bug in a request that changes things ends the process: what it left half-done is unknown, and recovery is what knows how to put it
   * right. A bug in a read harms its own request only: it is reported and the broker lives.
   */
  const onBug = (error: unknown, where: string, changes: boolean) => {
    const bug = error instanceof Error ? error : new Error(String(error))
    report('error', `bug in ${where}: ${bug.stack ?? bug.message}`)
    if (changes) onFatal(bug)
  }
  const dispatch = new Dispatch({ clock, onBug, isReadOnly: readOnlyOf(config) })
  const listener = await Listener.open({ transport, dispatch, services })
  setUp.defer(() => listener.stop(0))
  await cluster?.start(partitions, { host: config.advertisedHost || config.host, port: listener.port })
  await playheads.open(cluster?.replicationFactorMax ?? 1)
  if (cluster === undefined) await limitedStreams.open()
  const http = await HttpServer.open({
    services,
    metrics: new Metrics({ services, dispatch, listener, storage: () => store.stats, tier: () => tier?.stats }),
    onBug,
  })
  setUp.defer(() => http.stop())
  return { listener, http, services, cluster }
}

function problemsOf(partitions: Partitions, tier: Tier | undefined): string[] {
  const problems: string[] = [...(tier?.problems ?? [])]
  for (const { topic, partition, log } of partitions.all()) {
    for (const damage of log.damage) problems.push(`${topic}/${partition}: ${damage}`)
  }
  return problems
}

function statusOf(services: Services, listener: Listener, uptimeMs: number): ReplyOf<'status'> {
  const { identity, partitions } = services
  const { user, system } = process.cpuUsage()
  let count = 0
  let logBytes = 0
  for (const { log } of partitions.all()) {
    count++
    logBytes += log.sizeBytes
  }
  return {
    release,
    ...identity,
    uptimeMs: Math.round(uptimeMs),
    cpuMs: Math.round((user + system) / 1000),
    rssBytes: process.memoryUsage.rss(),
    connections: listener.connections,
    topics: partitions.topics().filter(({ internal }) => !internal).length,
    partitions: count,
    logBytes,
    problems: services.problems().slice(0, 1000),
  }
}
