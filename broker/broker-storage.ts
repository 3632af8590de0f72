/**
 * Broker storage: the logs of a broker with what stands behind them: the local disk alone, or with a tier. The tier is opened before the logs, which
 * may lie in it, and stopped before them, when it has sent what it can.
 * Called by broker.ts.
 */
import type { Clock } from '../platform/clock.ts'
import type { FileSystem } from '../platform/file-system.ts'
import type { Random } from '../platform/random.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { LogStore } from '../storage/log-store.ts'
import type { Report } from '../storage/storage-context.ts'
import { Tier } from '../storage/tier/tier.ts'
import { defaultTierSettings } from '../storage/tier/tier-settings.ts'
import type { TierSettings } from '../storage/tier/tier-settings.ts'
import { isConditional, openObjectStore } from '../storage/tier/tier-location.ts'
import { attachTier } from '../storage/tier/tier-restore.ts'
import { storageSettings } from './config.ts'
import type { BrokerConfig } from './config.ts'

export interface StorageFoundation {
  readonly fileSystem: FileSystem
  readonly clock: Clock
  readonly random: Random
  readonly report: Report
  readonly onFatal: (error: Error) => void
  /** The broker is one of a cluster. */
  readonly isReplicated: boolean
}

export interface BrokerStorage {
  readonly store: LogStore
  /** Undefined = none. */
  readonly tier: Tier | undefined
}

/** Throws as LogStore.open does, and tierRefused, tierUnavailable. */
export async function openStorage(
  config: BrokerConfig,
  foundation: StorageFoundation,
  setUp: AsyncDisposableStack,
): Promise<BrokerStorage> {
  const isReadOnly = config.readOnly === 'yes'
  if (foundation.isReplicated) checkSharedTier(config)
  const tier = await openTier(config, foundation, isReadOnly)
  const store = setUp.use(
    await LogStore.open({
      ...foundation,
      fileSystem: tier?.fileSystem ?? foundation.fileSystem,
      directory: config.data,
      settings: storageSettings(config),
    }),
  )
  if (tier !== undefined) {
    // In a cluster it is told later what this broker leads.
    if (!isReadOnly && !foundation.isReplicated) await tier.start(store)
    setUp.defer(() => tier.stop())
  }
  return { store, tier }
}

async function openTier(
  config: BrokerConfig,
  foundation: StorageFoundation,
  isReadOnly: boolean,
): Promise<Tier | undefined> {
  const { fileSystem } = foundation
  const { data: dataDirectory, tier: location } = config
  const known = await Tier.locationOf(fileSystem, dataDirectory)
  if (location === 'none') {
    if (known === undefined && !isReadOnly) return undefined
    throw new PlayheadError(
      'invalidConfiguration',
      known === undefined
        ? 'setting readOnly: found no tier to read, wanted one; name it with --tier'
        : `setting tier: found none, wanted ${known}: parts of ${dataDirectory} are only there; serve it with --tier '${known}'`,
      { setting: 'tier' },
    )
  }
  if (isReadOnly) {
    const store = await openObjectStore(location, foundation)
    try {
      await attachTier({ ...foundation, store, location, dataDirectory })
    } finally {
      await store.close()
    }
  } else if (await fileSystem.exists(`${dataDirectory}/tier/read-only.json`)) {
    throw new PlayheadError(
      'invalidConfiguration',
      `setting readOnly: found no, and ${dataDirectory} made for reading a tier only, wanted --read-only; to write on, restore the tier: playhead tier restore`,
      { setting: 'readOnly' },
    )
  }
  const isShared = foundation.isReplicated
  return Tier.open({ ...foundation, location, dataDirectory, isShared, settings: settingsOfTier(config) })
}

/** What of the configuration the tier uses; the rest of its settings have their defaults. */
function settingsOfTier(config: BrokerConfig): TierSettings {
  return {
    ...defaultTierSettings,
    uploadIntervalMs: config.tierUploadIntervalMs,
    uploadBytesPerSecondMax: config.tierUploadBytesPerSecondMax,
    readBytesPerSecondMax: config.tierReadBytesPerSecondMax,
    cacheBytes: config.tierCacheBytes,
    memoryBytes: config.tierMemoryBytes,
    orphanGraceMs: config.tierOrphanGraceMs,
    stopWaitMsMax: config.tierStopWaitMsMax,
  }
}

/** Several brokers write there, one after the other or at the same moment. */
function checkSharedTier({ readOnly, tier }: BrokerConfig): void {
  if (readOnly === 'yes')
    throw new PlayheadError(
      'invalidConfiguration',
      'settings cluster and readOnly: found both, wanted one: a broker that only reads a tier is by itself; serve it without --cluster',
      { setting: 'readOnly' },
    )
  if (tier !== 'none' && !isConditional(tier))
    throw new PlayheadError(
      'invalidConfiguration',
      'settings cluster and tier: found conditional=no, wanted a store with conditional writes: the brokers of a cluster could undo each other there; name one that has them, without conditional=no',
      { setting: 'tier' },
    )
}
