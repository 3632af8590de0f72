/**
 * Tier: the object storage behind one broker. Opened before the logs, from copies of manifests on the local disk, so that recovery finds tiered
 * segments without a network; started after them, to send what is sealed; stopped before them, when all that was appended is sealed and sent as
 * far as time allows.
 *   <data>/tier/tier.json                       where the tier is
 *   <data>/tier/log-<topic id>-<partition>.json copies of manifests, and page-<id>.json
 *   <data>/tier/upload-<topic id>-<partition>.json  an upload in parts that is under way
 *   <data>/tier/cache/                          blocks that were read; emptied at every start
 * Invariant: the store being away stops nothing but reads of what is only there; sending goes on when it is back.
 * Neighbours: broker.ts opens it; TierUploader works per log, TieredFileSystem is what LogStore runs on.
 */
import type { Clock, Timer } from '../../platform/clock.ts'
import { sleep } from '../../platform/clock.ts'
import type { FileSystem } from '../../platform/file-system.ts'
import type { Random } from '../../platform/random.ts'
import { isPlayheadError, PlayheadError } from '../../protocol/errors.ts'
import { formatUuid } from '../../protocol/uuid.ts'
import { inParallel } from '../in-parallel.ts'
import type { LogStore } from '../log-store.ts'
import { readSmallFile, writeSmallFile } from '../small-file.ts'
import type { Report } from '../storage-context.ts'
import { BlockCache } from './block-cache.ts'
import { ManifestStore } from './manifest-store.ts'
import { removeOrphans } from './orphan-search.ts'
import { RateLimit } from '../rate-limit.ts'
import { probeStore } from './store-probe.ts'
import type { RetryingStore } from './store-retries.ts'
import { TierBlocks } from './tier-blocks.ts'
import { openObjectStore } from './tier-location.ts'
import { logOfManifestFile, TierLog } from './tier-log.ts'
import { tierFormatVersion } from './tier-manifest.ts'
import type { TierWriter } from './tier-manifest.ts'
import { claimTier } from './tier-owner.ts'
import type { TierSettings } from './tier-settings.ts'
import { TierTopics } from './tier-topics.ts'
import { TierUploader } from './tier-uploader.ts'
import { UploadNotes } from './upload-notes.ts'
import { TieredFileSystem } from './tiered-file-system.ts'

export interface TierOptions {
  /** As given with --tier. */
  readonly location: string
  readonly dataDirectory: string
  readonly fileSystem: FileSystem
  readonly clock: Clock
  readonly random: Random
  readonly settings: TierSettings
  readonly report: Report
}

/** Logs sent side by side. */
const logsAtOnce = 2
/** A write to a directory that is under way is younger, whatever the grace. */
const writeMsMax = 60_000
/** Between two looks of a stop that waits for segments to be sealed. */
const sealLookMs = 20

export class Tier {
  readonly #options: TierOptions
  readonly #store: RetryingStore
  readonly #manifests: ManifestStore
  readonly #blocks: TierBlocks
  readonly #cache: BlockCache
  readonly #topics: TierTopics
  readonly #uploadRate: RateLimit
  readonly #logs = new Map<string, TierLog>()
  readonly #uploaders = new Map<string, TierUploader>()
  readonly #stopping = new AbortController()
  readonly #counts = { sentSegments: 0, sentBytes: 0, letGoSegments: 0, orphans: 0, failures: 0 }
  readonly fileSystem: TieredFileSystem
  #logStore: LogStore | undefined
  #writer: TierWriter | undefined
  #timer: Timer | undefined
  #working: Promise<void> | undefined
  #pauseMs = 0
  /** From then on `stop` alone sends: two at a time would remove files from under each other. */
  #ending = false
  #orphansSoughtMs: number
  /** Why nothing is sent any more, or just now. */
  #problem: PlayheadError | undefined
  #fenced = false

  private constructor(options: TierOptions, store: RetryingStore, cache: BlockCache) {
    const { clock, settings, fileSystem } = options
    this.#options = options
    this.#store = store
    this.#cache = cache
    this.#manifests = new ManifestStore(store, clock)
    const { memoryBytes: memoryBytesMax, requestsMax, readBytesPerSecondMax } = settings
    const rate = new RateLimit(clock, readBytesPerSecondMax)
    this.#blocks = new TierBlocks({ store, clock, cache, rate, memoryBytesMax, requestsMax })
    this.fileSystem = new TieredFileSystem(fileSystem, this.#blocks)
    this.#uploadRate = new RateLimit(clock, settings.uploadBytesPerSecondMax)
    const directory = this.#directory
    this.#topics = new TierTopics({ store, fileSystem, clock, directory, graceMs: settings.orphanGraceMs })
    this.fileSystem.onTopicRemoved = (topicId) => this.#topicRemoved(topicId)
    this.#orphansSoughtMs = clock.monotonicMs()
  }

  /** With what earlier runs have sent, as copies on the local disk say. Throws invalidConfiguration, damagedData, unsupportedFormat. */
  static async open(options: TierOptions): Promise<Tier> {
    const { location, dataDirectory, fileSystem, clock, settings } = options
    const store = await openObjectStore(location, options)
    const cache = await BlockCache.open(fileSystem, clock, `${dataDirectory}/tier/cache`, settings.cacheBytes)
    const tier = new Tier(options, store, cache)
    await tier.#load()
    return tier
  }

  /** Where the tier of a data directory is; undefined = it has none. */
  static async locationOf(fileSystem: FileSystem, dataDirectory: string): Promise<string | undefined> {
    const facts = await readSmallFile(fileSystem, `${dataDirectory}/tier/tier.json`)
    return facts === undefined ? undefined : String(facts.location)
  }

  /** Begins to send. Throws tierRefused for a store that is unsafe or another's, when it is new to this data directory; later it is reported. */
  async start(logStore: LogStore): Promise<void> {
    this.#logStore = logStore
    const isNew = (await Tier.locationOf(this.#options.fileSystem, this.#options.dataDirectory)) === undefined
    try {
      await this.#claim(logStore)
    } catch (error) {
      if (!(error instanceof PlayheadError) || isNew || error.code === 'damagedData') throw error
      this.#failed(error)
    }
    this.#schedule(0)
  }

  /** Seals and sends what there is, as long as it may take, and ends. */
  async stop(): Promise<void> {
    const { clock, settings, report } = this.#options
    this.#ending = true
    this.#timer?.cancel()
    const overdue = clock.after(settings.stopWaitMsMax, () => this.#stopping.abort(new Error('the broker stops')))
    try {
      await this.#working
      await this.#sendAll()
    } catch (error) {
      if (!this.#stopping.signal.aborted) this.#failed(error)
    }
    overdue.cancel()
    this.#stopping.abort(new Error('the broker stops'))
    const left = [...this.#uploaders.values()].filter(({ isComplete, topic }) => topic.settings.isTiered && !isComplete)
    if (left.length > 0)
      report('warn', `tier: what was appended last to ${left.length} partitions is not sent; the next start does it`)
    await this.#store.close()
    await this.#cache.close()
  }

  /** In words; empty when all is well. */
  get problems(): string[] {
    return this.#problem === undefined ? [] : [this.#problem.message]
  }

  get stats() {
    let [segments, localBytes, unsentBytes] = [0, 0, 0]
    for (const log of this.#logs.values()) segments += log.segmentCount
    for (const uploader of this.#uploaders.values()) {
      localBytes += uploader.localBytes
      unsentBytes += uploader.unsentBytes
    }
    const { requests, retries, failures: storeFailures } = this.#store.stats
    const { readBytes, cachedBytes, wrongBlocks } = this.#blocks.stats
    const [cacheBytes, memoryBytes] = [this.#cache.usedBytes, this.#blocks.memoryBytes]
    const present = { segments, localBytes, unsentBytes, cacheBytes, memoryBytes }
    return { ...this.#counts, requests, retries, storeFailures, readBytes, cachedBytes, wrongBlocks, ...present }
  }

  get #directory(): string {
    return `${this.#options.dataDirectory}/tier`
  }

  async #load(): Promise<void> {
    const { fileSystem } = this.#options
    if (!(await fileSystem.exists(this.#directory))) return
    for (const name of await fileSystem.list(this.#directory)) {
      const found = logOfManifestFile(name)
      if (found !== undefined) await this.#log(found.topicId, found.partition).load()
    }
  }

  #log(topicId: string, partition: number): TierLog {
    const name = `${topicId}/${partition}`
    const known = this.#logs.get(name)
    if (known !== undefined) return known
    const { fileSystem, clock, random, dataDirectory } = this.#options
    const [store, manifests, directory] = [this.#store, this.#manifests, this.#directory]
    const log = new TierLog({ fileSystem, clock, random, store, manifests, directory }, topicId, partition)
    this.#logs.set(name, log)
    this.fileSystem.add(`${dataDirectory}/topics/${topicId}/${partition}`, log)
    return log
  }

  /** Makes sure that this broker, and it alone, may write. */
  async #claim(logStore: LogStore): Promise<void> {
    const { location, random, fileSystem } = this.#options
    await probeStore(this.#store, location, this.#options)
    const owner = await claimTier(this.#store, this.#options.clock, logStore)
    await fileSystem.makeDirectory(this.#directory)
    const facts = { format: tierFormatVersion, location, clusterId: logStore.clusterId }
    await writeSmallFile(fileSystem, `${this.#directory}/tier.json`, facts)
    this.#writer = { owner, epoch: logStore.epoch, run: formatUuid(random.bytes(16)) }
  }

  #schedule(delayMs: number): void {
    if (this.#ending || this.#fenced) return
    this.#timer = this.#options.clock.after(delayMs, () => {
      this.#working = this.#work()
        .then(
          () => this.#succeeded(),
          (error: unknown) => this.#failed(error),
        )
        .finally(() => {
          this.#working = undefined
          this.#schedule(Math.max(this.#options.settings.lookMs, this.#pauseMs))
        })
    })
  }

  async #work(): Promise<void> {
    const { clock, settings } = this.#options
    await this.#workOn(clock.now() - settings.uploadIntervalMs)
    if (clock.monotonicMs() - this.#orphansSoughtMs < settings.orphanSearchMs) return
    this.#orphansSoughtMs = clock.monotonicMs()
    await this.removeOrphans()
  }

  /** Removes objects that no manifest names, where the grace is over. */
  async removeOrphans(): Promise<void> {
    const { clock, settings } = this.#options
    const writer = this.#writer
    if (writer === undefined) return
    const [store, manifests, graceMs] = [this.#store, this.#manifests, settings.orphanGraceMs]
    for (const log of this.#logs.values())
      this.#counts.orphans += await removeOrphans(log, { store, manifests, clock, writer, graceMs })
    this.#counts.orphans += await store.removeUnfinished(clock.now() - Math.max(graceMs, writeMsMax))
  }

  async #workOn(rollBeforeMs: number): Promise<void> {
    const logStore = this.#logStore
    if (logStore === undefined) return
    if (this.#writer === undefined) await this.#claim(logStore)
    await this.#topics.work(logStore.topics().map(({ facts }) => facts))
    const results = await inParallel(this.#currentUploaders(logStore), logsAtOnce, (each) => each.work(rollBeforeMs))
    // A topic that is deleted meanwhile takes its files along: that is no failure of the tier.
    const known = new Set(logStore.topics())
    for (const result of results)
      if (result.status === 'rejected' && [...this.#uploaders.values()].every(({ topic }) => known.has(topic)))
        throw result.reason
  }

  #currentUploaders(logStore: LogStore): TierUploader[] {
    const { fileSystem, clock, random, report } = this.#options
    const uploaders: TierUploader[] = []
    const names = new Set<string>()
    for (const topic of logStore.topics()) {
      for (const log of topic.logs) {
        const name = `${topic.id}/${log.partition}`
        names.add(name)
        let uploader = this.#uploaders.get(name)
        if (uploader === undefined) {
          const [store, signal, writer, rate] = [this.#store, this.#stopping.signal, this.#writer!, this.#uploadRate]
          const notes = new UploadNotes(fileSystem, this.#directory)
          const context = { store, fileSystem, clock, random, rate, notes, signal, writer, report }
          uploader = new TierUploader(context, this.#counts, topic, log, this.#log(topic.id, log.partition))
          this.#uploaders.set(name, uploader)
        }
        uploaders.push(uploader)
      }
    }
    for (const name of this.#uploaders.keys()) if (!names.has(name)) this.#uploaders.delete(name)
    return uploaders
  }

  /** Until nothing is left, or time is up. */
  async #sendAll(): Promise<void> {
    const { clock } = this.#options
    const { signal } = this.#stopping
    while (!signal.aborted && !this.#fenced && this.#logStore !== undefined) {
      await this.#workOn(Infinity)
      if ([...this.#uploaders.values()].every(({ isComplete, topic }) => isComplete || !topic.settings.isTiered)) return
      await sleep(clock, sealLookMs, signal)
    }
  }

  #succeeded(): void {
    if (this.#problem !== undefined) this.#options.report('info', 'tier: it answers again')
    this.#problem = undefined
    this.#pauseMs = 0
  }

  /** Reported once until it goes well again. What is no expected failure is a bug, and one here must not end a broker that could serve. */
  #failed(error: unknown): void {
    if (this.#stopping.signal.aborted) return
    this.#counts.failures++
    const problem =
      error instanceof PlayheadError ? error : new PlayheadError('internal', `tier: found a bug: ${String(error)}`)
    if (this.#problem?.code !== problem.code) this.#options.report('warn', problem.message)
    this.#problem = problem
    this.#fenced ||= isPlayheadError(problem, 'tierFenced')
    const { retryMsMin, retryMsMax } = this.#options.settings
    this.#pauseMs = Math.min(Math.max(retryMsMin, this.#pauseMs * 2), retryMsMax)
  }

  async #topicRemoved(topicId: string): Promise<void> {
    await this.#topics.removed(topicId)
    for (const name of this.#logs.keys()) if (name.startsWith(`${topicId}/`)) this.#logs.delete(name)
  }
}
