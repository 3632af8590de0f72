/**
 * ReplicaGroup: one partition on several brokers in this process, each with its own disk: real logs, partitions, fetchers and in-sync sets, with a
 * call in place of the network. Who leads is said by the test, as a controller would, in the metadata store that all share.
 */
import { systemClock } from '../../platform/clock.ts'
import type { FileSystem } from '../../platform/file-system.ts'
import { systemRandom } from '../../platform/random.ts'
import { PlayheadError } from '../../protocol/errors.ts'
import { FrameMemory } from '../../protocol/frame-memory.ts'
import { KiB, MiB } from '../../protocol/limits.ts'
import { CopyThrottle } from '../../replication/copy-throttle.ts'
import { newPartitionState } from '../../replication/isr-change.ts'
import { next } from '../../replication/isr-change.ts'
import { IsrKeeper } from '../../replication/isr-keeper.ts'
import type { PartitionEvent } from '../../replication/isr-change.ts'
import type { SeenPartition } from '../../replication/isr-transaction.ts'
import { LocalMetadataStore } from '../../replication/local-metadata-store.ts'
import { advanceLogStart } from '../../replication/log-start.ts'
import { metadataKeys } from '../../replication/metadata-keys.ts'
import { readPartition, writeRecord } from '../../replication/metadata-records.ts'
import type { MetadataStore } from '../../replication/metadata-store.ts'
import { Partition } from '../../replication/partition.ts'
import { ReplicaFetcher } from '../../replication/replica-fetcher.ts'
import type { LeaderLink } from '../../replication/replica-fetcher.ts'
import { fileFor, snapshotFor } from '../../replication/replica-files.ts'
import { noShape, shapeFields } from '../../replication/replica-shape.ts'
import { nodeFileSystem } from '../../platform/node-file-system.ts'
import { Tier } from '../../storage/tier/tier.ts'
import { defaultTierSettings } from '../../storage/tier/tier-settings.ts'
import type { TierSettings } from '../../storage/tier/tier-settings.ts'
import { overwriteLetGo } from '../overwrite-let-go.ts'
import { MemoryFileSystem } from '../storage/memory-file-system.ts'
import type { SeededRandom } from '../storage/seeded-random.ts'
import { StoreUnderTest, until } from '../storage/store-under-test.ts'

export const topicId = '0198c1d2-0000-7000-8000-000000000001'
const lagMsMax = 300
const storeSettings = { allocationBytesMin: 64 * KiB, openSegmentsMax: 4, tailCacheBytesPerLog: 512 * KiB }

overwriteLetGo()

/** One broker's replica. */
export class Replica {
  readonly broker: number
  readonly store: StoreUnderTest
  readonly partition: Partition
  readonly tier: Tier | undefined
  fetcher: ReplicaFetcher | undefined
  /** Its tier takes it for a broker without any replica. */
  isTierIdle = false
  /** Whether the others reach it, and it them. */
  isCut = false

  constructor(broker: number, store: StoreUnderTest, partition: Partition, tier: Tier | undefined) {
    this.broker = broker
    this.store = store
    this.partition = partition
    this.tier = tier
  }
}

/** A tier that all brokers share. */
export interface GroupTier {
  /** Where the data directories of the brokers are. */
  readonly directory: string
  readonly location: string
  readonly settings?: Partial<TierSettings>
  readonly report?: (broker: number, text: string) => void
  /** Of a broker, in place of the real one. */
  readonly fileSystemOf?: (broker: number) => FileSystem
}

export interface GroupOptions {
  readonly topicSettings?: Record<string, string>
  readonly tier?: GroupTier
}

export function dataOf({ directory }: GroupTier, broker: number): string {
  return `${directory}/broker-${broker}`
}

function openTier(tier: GroupTier, broker: number, fileSystem: FileSystem): Promise<Tier> {
  return Tier.open({
    location: tier.location,
    dataDirectory: dataOf(tier, broker),
    fileSystem,
    clock: systemClock,
    random: systemRandom,
    isShared: true,
    settings: {
      ...defaultTierSettings,
      uploadIntervalMs: 3_600_000,
      lookMs: 5,
      retryMsMin: 5,
      retryMsMax: 20,
      ...tier.settings,
    },
    report: (level, text) => tier.report?.(broker, `${level}: ${text}`),
  })
}

export class ReplicaGroup implements AsyncDisposable {
  readonly metadata: MetadataStore
  readonly replicas = new Map<number, Replica>()
  readonly disks = new Map<number, FileSystem>()
  readonly #keepers = new Map<number, IsrKeeper>()

  /** As leaders reach it. */
  readonly #leadersMetadata: MetadataStore

  readonly #options: GroupOptions

  private constructor(metadata: MetadataStore, leadersMetadata: MetadataStore, options: GroupOptions) {
    this.metadata = metadata
    this.#leadersMetadata = leadersMetadata
    this.#options = options
  }

  /** `random`: given, one answer in three of the store to a leader is lost, of changes that happened and of such that did not. */
  static async start(
    brokers: readonly number[],
    isrMin: number,
    random?: SeededRandom,
    options: GroupOptions = {},
  ): Promise<ReplicaGroup> {
    const fileSystem = new MemoryFileSystem()
    await fileSystem.makeDirectory('/metadata')
    const metadata = await LocalMetadataStore.open({
      fileSystem,
      path: '/metadata/metadata.json',
      clock: systemClock,
      random: systemRandom,
    })
    const leaders = random === undefined ? metadata : losingAnswers(metadata, random)
    const group = new ReplicaGroup(metadata, leaders, options)
    for (const broker of brokers) await group.open(broker)
    const state = newPartitionState({ replicas: brokers, isrMin, nonce: 'first' })
    await metadata.transact({
      compares: [],
      changes: [{ kind: 'put', key: metadataKeys.partition(topicId, 0), value: writeRecord(state) }],
    })
    await group.apply()
    return group
  }

  /** The broker comes up with the disk it had, or with an empty one. */
  async open(broker: number): Promise<Replica> {
    const { tier: shared } = this.#options
    const fileSystem =
      this.disks.get(broker) ??
      shared?.fileSystemOf?.(broker) ??
      (shared === undefined ? new MemoryFileSystem() : nodeFileSystem)
    this.disks.set(broker, fileSystem)
    const tier = shared && (await openTier(shared, broker, fileSystem))
    const store = await StoreUnderTest.open(shared === undefined ? '/data' : dataOf(shared, broker), {
      fileSystem: tier?.fileSystem ?? fileSystem,
      // Else what was appended just now would be read from memory, and not where it lies.
      settings: { ...storeSettings, ...(tier && { tailCacheBytes: 0, tailCacheBytesPerLog: 0 }) },
    })
    const log = store.store.topics().length > 0 ? store.store.log('carts', 0) : await this.#createLog(store)
    const partition = new Partition({
      topic: 'carts',
      topicId,
      partition: 0,
      leaderEpoch: 0,
      log,
      clock: systemClock,
      waitersMax: 1000,
      isReplicated: true,
    })
    const replica = new Replica(broker, store, partition, tier)
    this.replicas.set(broker, replica)
    const role = () =>
      replica.isTierIdle
        ? undefined
        : { leaderEpoch: partition.leading?.leaderEpoch, highWatermark: partition.highWatermark }
    await tier?.start(store.store, { clusterId: 'cluster-under-test', role, isGone: () => false })
    const session = await this.metadata.transact({
      compares: [],
      changes: [{ kind: 'delete', key: metadataKeys.session(broker) }],
    })
    if (session.outcome !== 'done') throw new Error('the local store answers')
    await this.metadata.transact({
      compares: [],
      changes: [{ kind: 'put', key: metadataKeys.session(broker), value: '{}' }],
    })
    this.#keepers.set(
      broker,
      new IsrKeeper({
        store: this.#leadersMetadata,
        self: () => ({ broker, brokerEpoch: this.epochOf(broker) }),
        clock: systemClock,
        random: systemRandom,
        isThere: (other) => this.replicas.has(other.broker) && this.epochOf(other.broker) === other.brokerEpoch,
        retryMs: 5,
        report: () => undefined,
        onOvertaken: () => undefined,
      }),
    )
    this.#epochs.set(broker, (await this.metadata.get(metadataKeys.session(broker))).entry!.createRevision)
    return replica
  }

  async #createLog(store: StoreUnderTest) {
    const facts = { id: topicId, name: 'carts', partitions: 1, replicationFactor: 1, internal: false }
    await store.store.adoptTopic({ ...facts, settings: this.#options.topicSettings ?? {} })
    return store.store.log('carts', 0)
  }

  readonly bugs: unknown[] = []
  /** What followers reported. */
  readonly said: string[] = []
  /** Leaders do not say how their files are cut, as those of an earlier release. */
  hidesShape = false
  /** What followers are told lies in it. */
  readonly frames = new FrameMemory(1 * MiB)
  readonly framesUsed = new Set<ArrayBufferLike>()
  /** What a follower is told, looked at and changed on its way. */
  onReply: (from: Replica, offset: number, body: Buffer) => void = () => undefined
  /** Before the bytes of a file arrive. */
  onFile: () => Promise<void> = () => Promise.resolve()
  readonly #epochs = new Map<number, number>()

  epochOf(broker: number): number {
    return this.#epochs.get(broker)!
  }

  /** As kill -9: what is under way is given up, the disk stays. */
  async kill(broker: number): Promise<void> {
    const replica = this.replicas.get(broker)!
    replica.isCut = true
    this.replicas.delete(broker)
    await this.#keepers.get(broker)?.stop()
    await replica.fetcher?.stop()
    await replica.tier?.stop()
    const gone = new PlayheadError('unavailable', 'killed')
    replica.partition.close(gone)
    await replica.partition.log.abandon(gone)
    await replica.store[Symbol.asyncDispose]().catch(() => undefined)
  }

  get leader(): Replica {
    const leader = [...this.replicas.values()].find(({ partition }) => partition.leading !== undefined)
    if (leader === undefined) throw new Error('nobody leads')
    return leader
  }

  async seen(): Promise<SeenPartition> {
    const { entry } = await this.metadata.get(metadataKeys.partition(topicId, 0))
    return { state: readPartition(entry!), modRevision: entry!.modRevision }
  }

  /** What a controller would do, and everybody hears of it. */
  async happen(event: PartitionEvent): Promise<void> {
    await this.change(event)
    await this.apply()
  }

  /** The same, and nobody hears of it. */
  async change(event: PartitionEvent): Promise<void> {
    const { state, modRevision } = await this.seen()
    const key = metadataKeys.partition(topicId, 0)
    const value = writeRecord(next(state, event, `${modRevision}`))
    const { outcome } = await this.metadata.transact({
      compares: [{ key, modRevision }],
      changes: [{ kind: 'put', key, value }],
    })
    if (outcome !== 'done') await this.change(event)
  }

  /** Every broker does what the store says. */
  async apply(): Promise<void> {
    const seen = await this.seen()
    for (const replica of this.replicas.values()) await this.tell(replica, seen)
  }

  async tell(replica: Replica, seen: SeenPartition): Promise<void> {
    const { partition, broker } = replica
    const { leader, leaderEpoch, uncleanEpoch, startOffset } = seen.state
    await partition.log.replica.adoptStart(Math.min(startOffset, partition.highWatermark))
    if (leader === broker) {
      if (partition.leading?.leaderEpoch === leaderEpoch) return partition.leading.observe(seen)
      await replica.fetcher?.stop()
      replica.fetcher = undefined
      await partition.log.replica.adoptStart(seen.state.startOffset)
      const foundation = { store: this.metadata, clock: systemClock, random: systemRandom }
      const self = { broker, brokerEpoch: this.epochOf(broker) }
      const agreeOnStart = (offset: number) => advanceLogStart(foundation, partition, self, offset)
      return await partition.lead({ self: broker, seen, lagMsMax, clock: systemClock, agreeOnStart })
    }
    if (partition.following?.leaderEpoch === leaderEpoch && partition.following.leader === leader) return
    await replica.fetcher?.stop()
    replica.fetcher = undefined
    const followed = await partition.follow(leader, leaderEpoch, uncleanEpoch)
    if (!followed || leader === null) return
    replica.fetcher = new ReplicaFetcher({
      partition,
      leaderEpoch,
      self: { broker, brokerEpoch: this.epochOf(broker) },
      leader: this.#link(replica, leader),
      clock: systemClock,
      fetchBytesMax: 256 * 1024,
      waitMsMax: 50,
      throttle: new CopyThrottle(systemClock),
      isAdded: () => false,
      retryMs: 5,
      truncate: async (cut, offset) => cut.replaceLog(await replica.store.store.truncateLog('carts', 0, offset)),
      incoming: () => replica.store.store.incomingLog('carts', 0),
      takeOver: async (replaced) => {
        const { log, failure } = await replica.store.store.takeOverLog('carts', 0)
        replaced.replaceLog(log)
        if (failure !== undefined) throw failure
      },
      report: (level, message) => this.said.push(`${level} ${message}`),
      onBug: (error) => this.bugs.push(error),
    })
  }

  /** Everybody who leads looks whether the in-sync set should be another one. */
  async lookAll(): Promise<void> {
    for (const [broker, { partition }] of this.replicas) await this.#keepers.get(broker)?.look(partition)
    await systemClock.yield()
  }

  /** Everybody who leads looks once after the other until the in-sync set is this. */
  async untilInSync(isr: readonly number[]): Promise<void> {
    await until(async () => {
      await this.lookAll()
      const now = (await this.seen()).state.isr
      return now.length === isr.length && now.every((broker) => isr.includes(broker))
    })
  }

  #link(from: Replica, leader: number): LeaderLink {
    const to = () => {
      const found = this.replicas.get(leader)
      if (found === undefined || found.isCut || from.isCut) throw new PlayheadError('unavailable', 'cut')
      return found.partition
    }
    return {
      fetch: async (request, signal) => {
        const reserve = () => undefined
        const answer = await to().replicaFetch(request, { signal, reserve })
        const { batches, appendTimes, diverging, highWatermark, piece, confirm, filesNeeded } = answer
        const shape =
          diverging === undefined && !this.hidesShape ? shapeFields(to().log, request.offset, batches) : noShape
        const sent = Buffer.concat(batches)
        piece?.letGo()
        to() // a reply is lost like a request
        this.onReply(from, request.offset, sent)
        const told = { diverging, highWatermark, logStartOffset: 0, confirm, filesNeeded }
        const header = { ...told, appendTimes: [...appendTimes], ...shape }
        const arrived = this.frames.take(sent.length)
        this.framesUsed.add(arrived.bytes.buffer)
        sent.copy(arrived.bytes)
        return { header, body: arrived.bytes.subarray(0, sent.length), piece: arrived }
      },
      progress: async (request) => ({ highWatermark: to().replicaProgress(request) }),
      snapshot: async (request) => await snapshotFor(to(), request),
      file: async (request) => {
        const bytes = await fileFor(to(), request)
        await this.onFile()
        to()
        return bytes
      },
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const keeper of this.#keepers.values()) await keeper.stop()
    for (const { fetcher } of this.replicas.values()) await fetcher?.stop()
    for (const { tier } of this.replicas.values()) await tier?.stop()
    for (const { store } of this.replicas.values()) await store[Symbol.asyncDispose]()
    await this.metadata.close()
  }
}

function losingAnswers(store: MetadataStore, random: SeededRandom): MetadataStore {
  return {
    get: (key) => store.get(key),
    range: (prefix) => store.range(prefix),
    grantLease: (ttlMs) => store.grantLease(ttlMs),
    keepLease: (leaseId) => store.keepLease(leaseId),
    revokeLease: (leaseId) => store.revokeLease(leaseId),
    watch: (prefix, onHint) => store.watch(prefix, onHint),
    close: () => store.close(),
    async transact(transaction) {
      const what = random.below(6)
      if (what === 0) return { outcome: 'unknown', reason: 'the request was lost' }
      const result = await store.transact(transaction)
      return what === 1 ? { outcome: 'unknown', reason: 'the answer was lost' } : result
    },
  }
}
