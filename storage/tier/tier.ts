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
import assert from 'node:assert/strict'
import type { Clock, Timer } from '../../platform/clock.ts'
import { sleep } from '../../platform/clock.ts'
import type { FileSystem } from '../../platform/file-system.ts'
import type { Random } from '../../platform/random.ts'
import { isPlayheadError, PlayheadError } from '../../protocol/errors.ts'
import { formatUuid } from '../../protocol/uuid.ts'
import { inParallel } from '../in-parallel.ts'
import type { Log } from '../log.ts'
import type { LogStore } from '../log-store.ts'
import { readSmallFile, writeSmallFile } from '../small-file.ts'
import type { Report } from '../storage-context.ts'
import type { Topic } from '../topic.ts'
import { BlockCache } from './block-cache.ts'
import { ManifestStore } from './manifest-store.ts'
import { removeOrphans } from './orphan-search.ts'
import { RateLimit } from '../rate-limit.ts'
import { ReplicaTier } from './replica-tier.ts'
import type { ObjectStore } from './object-store.ts'
import { probeStore } from './store-probe.ts'
import type { RetryingStore } from './store-retries.ts'
import { TierBlocks } from './tier-blocks.ts'
import { openObjectStore, withRetries } from './tier-location.ts'
import { logOfManifestFile, TierLog } from './tier-log.ts'
import { tierFormatVersion } from './tier-manifest.ts'
import type { TierSegment, TierWriter } from './tier-manifest.ts'
import { claimSharedTier, claimTier } from './tier-owner.ts'
import type { TierSettings } from './tier-settings.ts'
import type { TierSharing } from './tier-sharing.ts'
import { shownSegments } from './tier-sight.ts'
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
  /** All brokers of a cluster have it together. */
  readonly isShared?: boolean
  /** In place of the one at the location. */
  readonly store?: ObjectStore
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
  readonly #uploaders = new Map<string, TierUploader | ReplicaTier>()
  readonly #stopping = new AbortController()
  readonly #counts = { sentSegments: 0, sentBytes: 0, letGoSegments: 0, orphans: 0, failures: 0 }
  readonly fileSystem: TieredFileSystem
  #logStore: LogStore | undefined
  /** In a cluster. */
  #sharing: TierSharing | undefined
  /** In a cluster each log's manifests have the epoch of its leader. */
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
    const store =
      options.store === undefined ? await openObjectStore(location, options) : withRetries(options.store, options)
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

  /**
   * Begins to send, in a cluster once this broker is registered there. Throws tierRefused for a store that is unsafe or another's, when it is new to this
   * data directory; later it is reported.
   */
  async start(logStore: LogStore, sharing?: TierSharing): Promise<void> {
    assert.equal(this.#options.isShared === true, sharing !== undefined)
    this.#logStore = logStore
    this.#sharing = sharing
    const isNew = (await Tier.locationOf(this.#options.fileSystem, this.#options.dataDirectory)) === undefined
    try {
      await this.#claim(logStore)
    } catch (error) {
      if (!(error instanceof PlayheadError) || isNew || error.code === 'damagedData') throw error
      this.#failed(error)
    }
    this.#schedule(0)
  }

  /** Seals and sends what there is, as long as it may take, and ends. In a cluster the next leaders do that. */
  async stop(): Promise<void> {
    const { clock, settings, report, isShared } = this.#options
    this.#ending = true
    this.#timer?.cancel()
    if (isShared === true) this.#stopping.abort(new Error('the broker stops'))
    const overdue = clock.after(settings.stopWaitMsMax, () => this.#stopping.abort(new Error('the broker stops')))
    try {
      await this.#working
      await this.#sendAll()
    } catch (error) {
      if (!this.#stopping.signal.aborted) this.#failed(error)
    }
    overdue.cancel()
    this.#stopping.abort(new Error('the broker stops'))
    const left = this.#incomplete
    if (left > 0)
      report('warn', `tier: what was appended last to ${left} partitions is not sent; the next start does it`)
    await this.#store.close()
    await this.#cache.close()
  }

  /** In words; empty when all is well. */
  get problems(): string[] {
    const problems = this.#problem === undefined ? [] : [this.#problem.message]
    for (const uploader of this.#uploaders.values())
      if (uploader instanceof ReplicaTier && uploader.problem !== undefined) problems.push(uploader.problem.message)
    return problems
  }

  /** Partitions of which not all is sent; in a cluster nobody counts them. */
  get #incomplete(): number {
    const isLeft = (each: TierUploader | ReplicaTier) =>
      each instanceof TierUploader && each.topic.settings.isTiered && !each.isComplete
    return [...this.#uploaders.values()].filter(isLeft).length
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
    const place = `${dataDirectory}/topics/${topicId}/${partition}`
    const sight = (named: readonly TierSegment[]) => shownSegments(fileSystem, place, named)
    const context = { fileSystem, clock, random, store, manifests, directory }
    const isShared = this.#options.isShared === true
    const log = new TierLog(isShared ? { ...context, sight } : context, topicId, partition)
    this.#logs.set(name, log)
    this.fileSystem.add(place, log)
    return log
  }

  /** Makes sure that this broker, and it alone, may write. */
  async #claim(logStore: LogStore): Promise<void> {
    const { location, random, fileSystem, clock } = this.#options
    await probeStore(this.#store, location, this.#options)
    const sharing = this.#sharing
    const owner =
      sharing === undefined
        ? await claimTier(this.#store, clock, logStore)
        : await claimSharedTier(this.#store, clock, sharing.clusterId, logStore)
    await fileSystem.makeDirectory(this.#directory)
    const { clusterId } = sharing ?? logStore
    const facts = { format: tierFormatVersion, location, clusterId }
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
    for (const log of this.#logs.values()) {
      const epoch = this.#epochOf(log.topicId, log.partition)
      if (epoch === undefined) continue // its leader does it
      const search = { store, manifests, clock, writer: { ...writer, epoch }, graceMs }
      this.#counts.orphans += await removeOrphans(log, search).catch((error: unknown) => this.#deposed(error))
    }
    this.#counts.orphans += await store.removeUnfinished(clock.now() - Math.max(graceMs, writeMsMax))
  }

  /** In which this broker may write of the log: in a cluster undefined while it does not lead. */
  #epochOf(topicId: string, partition: number): number | undefined {
    return this.#sharing === undefined ? this.#writer?.epoch : this.#sharing.role(topicId, partition)?.leaderEpoch
  }

  /** A log that another broker of the cluster leads by now is that one's to look after. */
  #deposed(error: unknown): number {
    const isOurs = isPlayheadError(error, 'tierFenced') && error.details['owner'] === this.#writer?.owner
    if (this.#sharing === undefined || !isOurs) throw error
    return 0
  }

  async #workOn(rollBeforeMs: number): Promise<void> {
    const logStore = this.#logStore
    if (logStore === undefined) return
    if (this.#writer === undefined) await this.#claim(logStore)
    const topics = logStore.topics().filter(({ id }) => this.#epochOf(id, 0) !== undefined)
    const isHere = (topicId: string) => logStore.topics().some(({ id }) => id === topicId)
    const isGone = (topicId: string) => !isHere(topicId) && this.#sharing?.isGone(topicId) !== false
    await this.#topics.work(
      topics.map(({ facts }) => facts),
      isGone,
    )
    const results = await inParallel(this.#currentUploaders(logStore), logsAtOnce, (each) => each.work(rollBeforeMs))
    // A topic that is deleted meanwhile takes its files along: that is no failure of the tier.
    const known = new Set(logStore.topics())
    for (const result of results)
      if (result.status === 'rejected' && [...this.#uploaders.values()].every(({ topic }) => known.has(topic)))
        throw result.reason
  }

  #currentUploaders(logStore: LogStore): (TierUploader | ReplicaTier)[] {
    const uploaders: (TierUploader | ReplicaTier)[] = []
    const names = new Set<string>()
    for (const topic of logStore.topics()) {
      for (const log of topic.logs) {
        const name = `${topic.id}/${log.partition}`
        names.add(name)
        let uploader = this.#uploaders.get(name)
        // A follower's log that was cut back is another one.
        if (uploader?.log !== log) {
          uploader = this.#uploader(topic, log)
          this.#uploaders.set(name, uploader)
        }
        uploaders.push(uploader)
      }
    }
    for (const name of this.#uploaders.keys()) if (!names.has(name)) this.#uploaders.delete(name)
    return uploaders
  }

  #uploader(topic: Topic, log: Log): TierUploader | ReplicaTier {
    const { fileSystem, clock, random, report, settings } = this.#options
    const [store, signal, writer, rate] = [this.#store, this.#stopping.signal, this.#writer!, this.#uploadRate]
    const notes = new UploadNotes(fileSystem, this.#directory)
    const context = { store, fileSystem, clock, random, rate, notes, signal, writer, report }
    const tierLog = this.#log(topic.id, log.partition)
    const sharing = this.#sharing
    if (sharing === undefined) return new TierUploader(context, this.#counts, topic, log, tierLog)
    const role = () => sharing.role(topic.id, log.partition)
    const scratchDirectory = `${this.#directory}/recast-${topic.id}-${log.partition}`
    const shared = { ...context, manifests: this.#manifests, role, lookMs: settings.lookMs, scratchDirectory }
    return new ReplicaTier(shared, this.#counts, topic, log, tierLog)
  }

  /** Until nothing is left, or time is up. */
  async #sendAll(): Promise<void> {
    const { clock } = this.#options
    const { signal } = this.#stopping
    while (!signal.aborted && !this.#fenced && this.#logStore !== undefined) {
      await this.#workOn(Infinity)
      if (this.#incomplete === 0) return
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
