/**
 * ClusterNode: this broker as one of a cluster: the metadata store with its guard, the image, the session, and the replicas that follow from them.
 * Steps of its life: `open` (may this directory be in that cluster?), then the logs are served to the other brokers, then `start` (registered, roles
 * taken), `leave` and `close`.
 * Invariants: nothing is led or followed before the broker is registered in this run; a directory that refuses a cluster has changed nothing in it.
 * Neighbours: Broker owns it; session.ts, replicas.ts, leader-links.ts, isr-keeper.ts do the work.
 */
import { within } from '../platform/clock.ts'
import type { Clock, Timer } from '../platform/clock.ts'
import type { FileSystem } from '../platform/file-system.ts'
import type { Random } from '../platform/random.ts'
import type { Transport } from '../platform/transport.ts'
import type { BrokerAddress } from './broker-address.ts'
import type { ApiName, ReplyOf, RequestOf } from '../protocol/api.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { formatUuid } from '../protocol/uuid.ts'
import type { LogStore } from '../storage/log-store.ts'
import type { NewTopic } from '../storage/topic-store.ts'
import { adoptLocalTopics } from './adopted-topics.ts'
import { ClusterImage } from './cluster-image.ts'
import { checkBrokerId, joinCluster, readMembership, writeMembership } from './cluster-membership.ts'
import { GuardedMetadataStore } from './guarded-metadata-store.ts'
import { IsrKeeper } from './isr-keeper.ts'
import { LeaderLinks } from './leader-links.ts'
import type { AskOptions, BrokerAccess } from './leader-links.ts'
import { metadataKeys } from './metadata-keys.ts'
import type { MetadataStore } from './metadata-store.ts'
import type { ChangeFoundation } from './partition-change.ts'
import { PartitionTotal } from './partition-total.ts'
import type { Partitions, TopicAuthority } from './partitions.ts'
import type { LostReplica } from './registration.ts'
import { Replicas } from './replicas.ts'
import { Session } from './session.ts'
import { alterTopic, createTopic, deleteTopic } from './topic-changes.ts'

export interface ClusterNodeOptions {
  /** Closed with the node. */
  readonly metadata: MetadataStore
  /** For errors: what --cluster says. */
  readonly address: string
  /** The data directory, and what is in it. */
  readonly directory: string
  readonly store: LogStore
  readonly broker: number
  readonly rack: string | undefined
  readonly release: string
  readonly fileSystem: FileSystem
  readonly transport: Transport
  readonly clock: Clock
  readonly random: Random
  readonly settings: ClusterSettings
  readonly access?: BrokerAccess | undefined
  /** Whether the data path has moved lately. */
  readonly isAlive: () => boolean
  readonly report: (level: 'info' | 'warn' | 'error', message: string) => void
  readonly onFatal: (error: Error) => void
}

export interface ClusterSettings {
  /** Of a broker's session: without a sign of life for so long others take over. */
  readonly sessionMs: number
  /** A follower that has not had all for so long is not in sync any more. */
  readonly lagMsMax: number
  /** Of one fetch of a follower. */
  readonly fetchBytesMax: number
  readonly requestMsMax: number
  /** Of all topics together, Playhead's own left out; for topics that are made through this broker. */
  readonly partitionsTotalMax: number
}

/** A follower's fetch is parked for so long at most. */
const fetchWaitMsMax = 500
/** Between two notes of how far the metadata store has been seen. */
const membershipMs = 10_000
const isrRetryMs = 200

export class ClusterNode {
  readonly clusterId: string
  readonly image: ClusterImage
  readonly #options: ClusterNodeOptions
  readonly #metadata: GuardedMetadataStore
  /** Whether this directory was in the cluster before this run. */
  readonly #wasMember: boolean
  readonly #partitionTotal: PartitionTotal
  #links: LeaderLinks | undefined
  #keeper: IsrKeeper | undefined
  #session: Session | undefined
  #replicas: Replicas | undefined
  #timer: Timer | undefined
  /** Every topic that the cluster had is here, too. */
  #hasJoined = false

  private constructor(
    options: ClusterNodeOptions,
    metadata: GuardedMetadataStore,
    image: ClusterImage,
    { clusterId, wasMember }: { readonly clusterId: string; readonly wasMember: boolean },
  ) {
    this.#options = options
    this.#metadata = metadata
    this.image = image
    this.clusterId = clusterId
    this.#wasMember = wasMember
    this.#partitionTotal = new PartitionTotal(options.settings.partitionsTotalMax)
  }

  /**
   * Throws what keeps this directory out of that cluster: dataDirectoryMismatch, clusterMismatch, metadataStoreReplaced, metadataStoreRefused,
   * unsupportedFormat; unavailable when the store cannot be reached.
   */
  static async open(options: ClusterNodeOptions): Promise<ClusterNode> {
    const { fileSystem, directory, broker, address, store, clock, report } = options
    const membership = await readMembership(fileSystem, directory)
    checkBrokerId(directory, membership, broker)
    const metadata = new GuardedMetadataStore(options.metadata, { name: address, seen: membership?.seen })
    const hasTopics = store.topics().some(({ internal }) => !internal)
    const clusterId = await joinCluster(metadata, {
      address,
      directory,
      membership,
      ownClusterId: store.clusterId,
      hasTopics,
    })
    const image = await ClusterImage.open({ store: metadata, clock, report })
    return new ClusterNode(options, metadata, image, { clusterId, wasMember: membership !== undefined })
  }

  /** Where a broker of the cluster listens; undefined when it is not there. */
  addressOf(broker: number): BrokerAddress | undefined {
    const record = this.image.state.sessions.get(broker)?.record
    return record && { host: record.host, port: record.port }
  }

  /** Replicas of a partition that there is room for on the brokers that are there, three at most. */
  get replicationFactorMax(): number {
    return Math.max(1, Math.min(3, this.image.state.sessions.size))
  }

  /** Whether the cluster has no topic of that name, for certain: what this broker has may be behind. Rejects with unavailable when nobody can be asked. */
  async lacksTopic(name: string): Promise<boolean> {
    const { entry } = await this.#metadata.get(metadataKeys.name(name))
    if (entry !== undefined) this.#lookAgain()
    return entry === undefined
  }

  /** How topics come and go in a cluster. */
  get authority(): TopicAuthority {
    const seen = async () => {
      await this.image.refresh()
      await this.#replicas?.settled()
    }
    const isKnown = () => this.#hasJoined
    return {
      get isKnown() {
        return isKnown()
      },
      create: async (topic: NewTopic) => {
        const topicId = await this.#partitionTotal.creating(topic, (admit) =>
          createTopic(this.foundation, topic, admit),
        )
        await seen()
        return topicId
      },
      alter: async (name, changes) => {
        await alterTopic(this.foundation, name, changes)
        await seen()
      },
      delete: async (name) => {
        await deleteTopic(this.foundation, name)
        await seen()
      },
    }
  }

  /** Registers this broker at the address, and takes the roles that it has. Throws as Session.start does. */
  async start(partitions: Partitions, { host, port }: BrokerAddress): Promise<void> {
    const { broker, rack = null, release, store, clock, settings, isAlive, report, onFatal } = this.#options
    this.#links = this.#makeLinks()
    await this.#checkWelcome(this.#links)
    if (!this.#wasMember) {
      await adoptLocalTopics({ ...this.foundation, logs: store, broker, report })
    }
    await this.#noteMembership()
    const { dataDirectoryId, epoch: runEpoch } = store
    const runId = formatUuid(this.#options.random.bytes(16))
    this.#session = await Session.start({
      ...this.foundation,
      broker,
      record: { host, port, rack, dataDirectoryId, runEpoch, runId, release },
      image: this.image,
      ttlMs: settings.sessionMs,
      lost: this.#lostReplicas(),
      isAlive,
      report,
      onEpoch: () => this.#sessionChanged(),
      onRefused: (error) => onFatal(error),
    })
    const brokerEpoch = () => this.#session?.brokerEpoch
    this.#keeper = new IsrKeeper({
      store: this.#metadata,
      self: () => ({ broker, brokerEpoch: brokerEpoch() ?? 0 }),
      clock,
      random: this.#options.random,
      isThere: (other) => this.image.state.sessions.get(other.broker)?.brokerEpoch === other.brokerEpoch,
      retryMs: isrRetryMs,
      report,
      onOvertaken: () => this.#lookAgain(),
    })
    await this.image.refresh() // what it was before this registration is over
    this.#replicas = new Replicas({
      foundation: this.foundation,
      image: this.image,
      partitions,
      keeper: this.#keeper,
      links: this.#links,
      clock,
      broker,
      brokerEpoch,
      lagMsMax: settings.lagMsMax,
      fetchBytesMax: settings.fetchBytesMax,
      fetchWaitMsMax,
      report,
      onFatal,
    })
    await this.#replicas.settled()
    this.#hasJoined = true
    this.#planNote()
  }

  /** At what has been agreed on, beside what is under way; when that fails the next look tells. */
  #lookAgain(): void {
    this.image.refresh().catch(() => undefined)
  }

  /** What this broker wants of another one. Rejects with unavailable while it is not registered. */
  async ask<A extends ApiName>(
    broker: number,
    api: A,
    request: RequestOf<A>,
    options?: AskOptions,
  ): Promise<{ readonly header: ReplyOf<A>; readonly body: Buffer }> {
    if (this.#links === undefined) throw new PlayheadError('unavailable', 'cluster: found no way to other brokers yet')
    return await this.#links.ask(broker, api, request, options)
  }

  #makeLinks(): LeaderLinks {
    const { broker, transport, clock, settings } = this.#options
    return new LeaderLinks({
      transport,
      clock,
      clientName: `playhead-broker-${broker}`,
      timeoutMs: settings.requestMsMax,
      access: this.#options.access ?? {},
      addressOf: (other) => this.addressOf(other),
    })
  }

  /** What the others would refuse all the time is said before anybody counts on this broker. Those that cannot be reached now say nothing. */
  async #checkWelcome(links: LeaderLinks): Promise<void> {
    const others = [...this.image.state.sessions.keys()].filter((broker) => broker !== this.#options.broker)
    await Promise.all(others.map((broker) => links.checkWelcome(broker)))
  }

  /** Since the start. */
  get stats(): { readonly inSyncShrinks: number; readonly inSyncExpands: number; readonly elections: number } {
    const { shrinks = 0, expands = 0 } = this.#keeper?.stats ?? {}
    return { inSyncShrinks: shrinks, inSyncExpands: expands, elections: this.#session?.elections ?? 0 }
  }

  get session(): Session | undefined {
    return this.#session
  }

  /** Whoever was away may have missed what others agreed on meanwhile, hints included. */
  #sessionChanged(): void {
    this.#replicas?.look()
    if (this.#session?.brokerEpoch !== undefined) this.#lookAgain()
  }

  /**
   * Hands over what it leads, as far as that can be done within `waitMs`; first the other replicas get what it took, so that nothing of it is cut off and no
   * client has to ask what became of an append.
   */
  async leave(waitMs: number): Promise<void> {
    if (this.#replicas !== undefined) await within(this.#options.clock, waitMs / 2, this.#replicas.prepareToLeave())
    await this.#session?.leave(waitMs / 2)
  }

  async close(): Promise<void> {
    this.#timer?.cancel()
    await this.#replicas?.stop()
    await this.#keeper?.stop()
    this.#links?.close()
    await this.#session?.stop()
    await this.image.close()
    await this.#noteMembership().catch(() => undefined)
    await this.#metadata.close()
  }

  /** What changes to the cluster are made with. */
  get foundation(): ChangeFoundation {
    const { clock, random } = this.#options
    return { store: this.#metadata, clock, random }
  }

  /** Replicas that recovery found not to have all that they had. */
  #lostReplicas(): LostReplica[] {
    const lost: LostReplica[] = []
    for (const { id, logs } of this.#options.store.topics()) {
      for (const { partition, damage } of logs) {
        if (damage.length > 0) lost.push({ topicId: id, partition, left: 'damaged' })
      }
    }
    return lost
  }

  async #noteMembership(): Promise<void> {
    const { fileSystem, directory, broker: brokerId } = this.#options
    const { seen } = this.#metadata
    if (seen === undefined) throw new PlayheadError('unavailable', 'metadata store: found no answer yet, wanted one')
    await writeMembership(fileSystem, directory, { clusterId: this.clusterId, brokerId, seen })
  }

  #planNote(): void {
    const { clock, report } = this.#options
    this.#timer = clock.after(membershipMs, () => {
      this.#noteMembership()
        .catch((error: unknown) => report('warn', `cluster.json: not brought up to date: ${String(error)}`))
        .finally(() => this.#planNote())
    })
  }
}
