/**
 * Lone broker: a broker put together as broker/broker.ts does it, from the same parts, without HTTP and with the simulated cache in place of LMDB: one by
 * itself here, one of a cluster in cluster/cluster-broker.ts with the same services. Neighbours: machine.ts starts them.
 */
import { noBrokers } from '../../broker/brokers.ts'
import { resolveConfig, storageSettings } from '../../broker/config.ts'
import type { BrokerConfig } from '../../broker/config.ts'
import { Dispatch } from '../../broker/dispatch.ts'
import { LimitedStreams } from '../../broker/limited-streams.ts'
import { Listener } from '../../broker/listener.ts'
import { Playheads } from '../../broker/playheads.ts'
import type { Services } from '../../broker/request.ts'
import { Security } from '../../broker/security/security.ts'
import type { FileSystem } from '../../platform/file-system.ts'
import { Partitions } from '../../replication/partitions.ts'
import { LogStore } from '../../storage/log-store.ts'
import type { LogStoreOptions } from '../../storage/log-store.ts'
import type { StorageSettings } from '../../storage/storage-settings.ts'
import type { Network } from './network.ts'
import type { SimulatedCache } from './simulated-cache.ts'
import type { SimulatedProcess } from './simulated-process.ts'

export const dataDirectory = '/data'
export const brokerPort = 7420

/** What a simulated broker stands on. */
export interface BrokerFoundations {
  readonly process: SimulatedProcess
  readonly fileSystem: FileSystem
  readonly cache: SimulatedCache
  readonly network: Network
  readonly settings: Partial<StorageSettings>
  readonly report: (level: string, message: string) => void
  readonly onFatal: (error: Error) => void
  readonly onBug: (error: unknown, where: string, changes: boolean) => void
}

export async function openLoneBroker(foundations: BrokerFoundations): Promise<() => Promise<void>> {
  const { clock, random } = foundations.process
  const config = resolveConfig({ flags: { data: dataDirectory, port: brokerPort } })
  const store = await openStore(foundations, config)
  const partitions = new Partitions({ store, clock, waitersMax: config.waitersPerPartitionMax })
  const playheads = new Playheads({ partitions, clock, random })
  await playheads.open(1)
  const limitedStreams = new LimitedStreams({ partitions, clock, random })
  await limitedStreams.open()
  const identity = { clusterId: store.clusterId, brokerId: store.brokerId, dataDirectory }
  const own = { identity, config, partitions, playheads, limitedStreams, brokers: noBrokers, cluster: undefined }
  const listener = await listen(foundations, { ...own, ...(await commonServices(foundations, own)) })
  return async () => {
    await listener.stop(config.stopWaitMsMax)
    await store[Symbol.asyncDispose]()
  }
}

export async function openStore(
  { process, fileSystem, cache, settings, report, onFatal }: BrokerFoundations,
  config: BrokerConfig,
  options: Pick<LogStoreOptions, 'isReplicated'> = {},
): Promise<LogStore> {
  return await LogStore.open({
    ...options,
    directory: dataDirectory,
    fileSystem,
    clock: process.clock,
    random: process.random,
    checkpointStore: await cache.open(process),
    settings: { ...storageSettings(config), ...settings },
    report,
    onFatal,
  })
}

type Common = 'clock' | 'random' | 'security' | 'problems' | 'status'

export async function commonServices(
  { process: { clock, random }, fileSystem, onFatal }: BrokerFoundations,
  { config, partitions }: Pick<Services, 'config' | 'partitions'>,
): Promise<Pick<Services, Common>> {
  return {
    clock,
    random,
    security: await Security.open({ config, partitions, fileSystem, clock, random, report: () => {}, onFatal }),
    problems: () => [...partitions.all()].flatMap(({ log }) => log.damage),
    status: () => {
      throw new Error('not simulated')
    },
  }
}

export async function listen({ process, network, onBug }: BrokerFoundations, services: Services): Promise<Listener> {
  const dispatch = new Dispatch({ clock: process.clock, onBug })
  return await Listener.open({ transport: network.transport(process), dispatch, services })
}
