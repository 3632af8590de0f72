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
import { Partitions } from '../replication/partitions.ts'
import { LogStore } from '../storage/log-store.ts'
import { brokerSettings, resolveConfig, storageSettings } from './config.ts'
import type { BrokerConfig, BrokerSettingName } from './config.ts'
import { Dispatch } from './dispatch.ts'
import { HttpServer } from './http/server.ts'
import { Listener } from './listener.ts'
import { Metrics } from './metrics.ts'
import { Playheads } from './playheads.ts'
import type { Services } from './request.ts'
import { checkExposure } from './security/exposure.ts'
import { Security } from './security/security.ts'
import { TlsFiles } from './security/tls-files.ts'
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

  /**
   * Takes over what of `wanted` a running broker can: answers the settings that are other ones now, and those that wait for a restart. Looks at
   * the TLS files, too.
   */
  async reload(wanted: BrokerConfig): Promise<{ changed: string[]; waiting: string[] }> {
    const { services, tls } = this.#parts
    await tls?.reload()
    const changed: string[] = []
    const waiting: string[] = []
    for (const [name, setting] of Object.entries(brokerSettings)) {
      const key = name as BrokerSettingName
      if (wanted[key] === services.config[key]) continue
      if (!('reloadable' in setting)) waiting.push(name)
      else {
        Object.assign(services.config, { [key]: wanted[key] })
        changed.push(name)
      }
    }
    return { changed, waiting }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  async #stop(): Promise<void> {
    const { listener, http, services, tearDown } = this.#parts
    const { clock, config } = services
    const overdue = clock.after(config.stopWaitMsMax, () => http.destroyConnections())
    await Promise.all([listener.stop(config.stopWaitMsMax), http.stop()])
    overdue.cancel()
    await tearDown.disposeAsync()
  }
}

interface BrokerParts {
  readonly listener: Listener
  readonly http: HttpServer
  readonly services: Services
  readonly tls: TlsFiles | undefined
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
  checkExposure(config)
  const tls = await TlsFiles.open({ config, fileSystem, clock, report })
  setUp.defer(() => tls?.close())
  const store = setUp.use(
    await LogStore.open({
      directory: config.data,
      fileSystem,
      clock,
      random,
      report,
      onFatal,
      settings: storageSettings(config),
    }),
  )
  const partitions = new Partitions({ store, clock, waitersMax: config.waitersPerPartitionMax })
  const playheads = await Playheads.open({ partitions, clock, random })
  const security = await Security.open({ config, partitions, fileSystem, clock, random, report, onFatal })
  setUp.defer(() => security.close())
  const startedMs = clock.monotonicMs()
  const services: Services = {
    identity: { clusterId: store.clusterId, brokerId: store.brokerId, dataDirectory: config.data },
    config,
    clock,
    random,
    partitions,
    playheads,
    security,
    problems: () => problemsOf(partitions),
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
  const dispatch = new Dispatch({ clock, onBug })
  const listener = await Listener.open({ transport, dispatch, services, tls })
  setUp.defer(() => listener.stop(0))
  const metrics = new Metrics({ services, dispatch, listener, storage: () => store.stats, tls })
  setUp.defer(() => metrics.close())
  const http = await HttpServer.open({
    services,
    tls,
    metrics,
    onBug,
  })
  setUp.defer(() => http.stop())
  if (tls !== undefined)
    tls.onChange = (renewed) => {
      listener.renew(renewed)
      http.renew(renewed)
    }
  return { listener, http, services, tls }
}

function problemsOf(partitions: Partitions): string[] {
  const problems: string[] = []
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
