/** Opens a LogStore for a test: small limits, everything reported kept, a failure of the disk kept instead of ending the process. */
import { systemClock } from '../../platform/clock.ts'
import type { Clock } from '../../platform/clock.ts'
import type { FileSystem } from '../../platform/file-system.ts'
import { nodeFileSystem } from '../../platform/node-file-system.ts'
import { systemRandom } from '../../platform/random.ts'
import type { Random } from '../../platform/random.ts'
import { encodeRecordBatch } from '../../protocol/record-batch.ts'
import type { BatchOptions } from '../../protocol/record-batch.ts'
import type { CheckpointStore } from '../../storage/checkpoint-store.ts'
import type { AppendGroup, Appended, Log } from '../../storage/log.ts'
import { LogStore } from '../../storage/log-store.ts'
import { MemoryCheckpointStore } from '../../storage/memory-checkpoint-store.ts'
import { defaultStorageSettings } from '../../storage/storage-settings.ts'
import type { StorageSettings } from '../../storage/storage-settings.ts'
import { overwriteLetGo } from '../overwrite-let-go.ts'

overwriteLetGo()

export interface StoreOptions {
  readonly fileSystem?: FileSystem
  readonly clock?: Clock
  readonly random?: Random
  readonly checkpointStore?: CheckpointStore
  readonly settings?: Partial<StorageSettings>
  readonly isReplicated?: boolean
}

export class StoreUnderTest {
  readonly store: LogStore
  readonly reports: string[]
  readonly failures: Error[]

  private constructor(store: LogStore, reports: string[], failures: Error[]) {
    this.store = store
    this.reports = reports
    this.failures = failures
  }

  static async open(directory: string, options: StoreOptions = {}): Promise<StoreUnderTest> {
    const reports: string[] = []
    const failures: Error[] = []
    const store = await LogStore.open({
      directory,
      fileSystem: options.fileSystem ?? nodeFileSystem,
      clock: options.clock ?? systemClock,
      random: options.random ?? systemRandom,
      checkpointStore: options.checkpointStore ?? new MemoryCheckpointStore(),
      isReplicated: options.isReplicated ?? false,
      settings: {
        ...defaultStorageSettings,
        idleFloorMs: 20,
        diskFullPauseMs: 0,
        saveRetryMsMin: 0,
        ...options.settings,
      },
      report: (level, message) => reports.push(`${level}: ${message}`),
      onFatal: (error) => failures.push(error),
    })
    return new StoreUnderTest(store, reports, failures)
  }

  async createLog(name = 'carts', settings: Record<string, string> = {}): Promise<Log> {
    await this.store.createTopic({ name, partitions: 1, replicationFactor: 1, settings })
    return this.store.log(name, 0)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.store[Symbol.asyncDispose]()
  }
}

/** Resolves when none of the log's segments but the active one is still to be sealed. Its sidecar is there a moment before that. */
export async function sealed(log: Log): Promise<void> {
  await until(() => log.stats.unsealedSegments === 0)
}

/** A group of events `stream=value`, without conditions. */
export function group(
  records: readonly string[],
  options: Partial<AppendGroup> & { readonly batchOptions?: BatchOptions } = {},
): AppendGroup {
  const { batchOptions, ...rest } = options
  const inputs = records.map((text, place) => {
    const [key = '', value = ''] = text.split('=')
    return { key: key === '' ? null : key, value, timestamp: 1_000_000 + place }
  })
  return { batch: encodeRecordBatch(inputs, batchOptions), expected: [], wantVersions: false, acks: 'all', ...rest }
}

export function append(log: Log, ...records: readonly string[]): Promise<Appended> {
  return log.append(group(records))
}

/** What has not come by then does not come: a test says so instead of waiting for ever. */
const waitMsMax = 120_000

/** Resolves when `condition` holds; looks again in every turn of the event loop. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const startedMs = systemClock.monotonicMs()
  while (!(await condition())) {
    if (systemClock.monotonicMs() - startedMs > waitMsMax)
      throw new Error(`not within ${waitMsMax} ms: ${String(condition)}`)
    await systemClock.yield()
  }
}
