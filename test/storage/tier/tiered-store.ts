/** A LogStore with a tier behind it, for tests: small segments, everything sent at once, nothing waits for the wall clock. */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { systemClock } from '../../../platform/clock.ts'
import { nodeFileSystem } from '../../../platform/node-file-system.ts'
import { systemRandom } from '../../../platform/random.ts'
import { MiB } from '../../../protocol/limits.ts'
import type { Log } from '../../../storage/log.ts'
import { Tier } from '../../../storage/tier/tier.ts'
import { defaultTierSettings } from '../../../storage/tier/tier-settings.ts'
import type { TierSettings } from '../../../storage/tier/tier-settings.ts'
import { overwriteLetGo } from '../../overwrite-let-go.ts'
import { StoreUnderTest, until } from '../store-under-test.ts'
import type { StoreOptions } from '../store-under-test.ts'

export interface TieredOptions extends StoreOptions {
  readonly tier?: Partial<TierSettings>
  /** Only reads. */
  readonly isAttached?: boolean
}

export class TieredStore implements AsyncDisposable {
  readonly tier: Tier
  readonly under: StoreUnderTest
  readonly reports: string[]

  private constructor(tier: Tier, under: StoreUnderTest, reports: string[]) {
    this.tier = tier
    this.under = under
    this.reports = reports
  }

  static async open(dataDirectory: string, location: string, options: TieredOptions = {}): Promise<TieredStore> {
    overwriteLetGo()
    const reports: string[] = []
    const fileSystem = options.fileSystem ?? nodeFileSystem
    const tier = await Tier.open({
      location,
      dataDirectory,
      fileSystem,
      clock: options.clock ?? systemClock,
      random: options.random ?? systemRandom,
      settings: {
        ...defaultTierSettings,
        uploadIntervalMs: 0,
        lookMs: 5,
        retryMsMin: 5,
        retryMsMax: 20,
        stopWaitMsMax: 60_000,
        ...options.tier,
      },
      report: (level, message) => reports.push(`${level}: ${message}`),
    })
    const under = await StoreUnderTest.open(dataDirectory, {
      ...options,
      fileSystem: tier.fileSystem,
      // Else what was appended just now would be read from memory.
      settings: { tailCacheBytes: 0, tailCacheBytesPerLog: 0, ...options.settings },
    })
    if (options.isAttached !== true) {
      try {
        await tier.start(under.store)
      } catch (error) {
        await under.store[Symbol.asyncDispose]()
        throw error
      }
    }
    return new TieredStore(tier, under, reports)
  }

  /** One partition; segments of 1 MiB, of which the local disk keeps as good as nothing once they are sent. */
  createLog(name: string, settings: Record<string, string> = {}): Promise<Log> {
    return this.under.createLog(name, { 'segment.bytes': String(1 * MiB), 'local.retention.bytes': '0', ...settings })
  }

  log(name: string): Log {
    return this.under.store.log(name, 0)
  }

  /** Seals what there is and waits until it is in the tier, and no more on the local disk than must be. */
  async sent(log: Log): Promise<void> {
    await log.files.roll()
    const wanted = log.segmentCount - 1
    const [topic, partition] = log.name.split('/')
    const directory = join(this.under.store.topic(topic ?? '').directory, partition ?? '')
    await until(async () => {
      if (this.tier.stats.segments < wanted) return false
      return (await readdir(directory)).filter((name) => name.endsWith('.log')).length === 1
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.tier.stop()
    await this.under[Symbol.asyncDispose]()
  }
}
