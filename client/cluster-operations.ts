/**
 * ClusterOperations: how a cluster stands, and what an operator changes of it. Any broker is asked for what all agree on, and each of the others for
 * what it alone knows; one that cannot be reached is left out and named. A change whose answer was lost is sent again: asking twice is asking once.
 */
import type { RequestOf } from '../protocol/api.ts'
import type { ClusterBroker, ClusterPartition, ReplicaCopy } from '../protocol/cluster.ts'
import { isPlayheadError } from '../protocol/errors.ts'
import type { ReplyOf } from '../protocol/api.ts'
import type { Cluster } from './cluster.ts'
import { Deadline } from './deadline.ts'
import { Route } from './route.ts'
import type { WaitOptions } from './topic-state.ts'

export interface ReachedBroker extends ClusterBroker {
  /** Whether this client has asked it just now. */
  readonly isReached: boolean
}

export interface PartitionStatus extends Omit<ClusterPartition, 'own' | 'followers'> {
  /** What brokers have of it, as they say; of those that were reached. */
  readonly copies: readonly ({ readonly broker: number } & ReplicaCopy)[]
  /** Records that replicas lack, as its leader says; of those that it has heard of since it leads. */
  readonly lags: readonly { readonly broker: number; readonly records: number }[]
}

export interface ClusterStatus {
  readonly clusterId: string
  /** Who repairs what others left; undefined = nobody now. */
  readonly controller: number | undefined
  /** Since the broker that was asked first has read what the cluster agreed on. */
  readonly ageMs: number
  /** What each broker may copy to replicas that are being added to it; undefined = no limit. */
  readonly copyBytesPerSecondMax: number | undefined
  readonly brokers: readonly ReachedBroker[]
  readonly partitions: readonly PartitionStatus[]
}

export type Reassignment = ReplyOf<'reassignPartition'>
export type Draining = RequestOf<'drainBroker'>['what']

type StatusReply = ReplyOf<'clusterStatus'>

/** A broker that does not answer for so long is left out. */
const askMsMax = 3_000

/** Reached as `playhead.cluster`. */
export class ClusterOperations {
  readonly #cluster: Cluster

  /** @internal */
  constructor(cluster: Cluster) {
    this.#cluster = cluster
  }

  /**
   * Brokers and partitions, of one topic or of all. Takes up to three seconds when a broker does not answer.
   *
   * @throws PlayheadError `notClustered`, `unknownTopic`, `notAuthorized`, `unavailable`
   */
  async status(options: WaitOptions & { readonly topic?: string } = {}): Promise<ClusterStatus> {
    const { topic, ...wait } = options
    const { header: first } = await this.#cluster.call('clusterStatus', { topic }, { policy: 'reads', ...wait })
    const answers = new Map([[first.broker, first]])
    const others = first.brokers.filter(({ broker, isThere }) => isThere && broker !== first.broker)
    await Promise.all(
      others.map(async (other) => {
        const answer = await this.#askOf(other, topic, wait.signal)
        if (answer?.clusterId === first.clusterId) answers.set(other.broker, answer)
      }),
    )
    const { clusterId, controller, ageMs, copyBytesPerSecondMax, brokers } = first
    return {
      clusterId,
      controller,
      ageMs,
      copyBytesPerSecondMax,
      brokers: brokers.map((broker) => ({ ...broker, isReached: answers.has(broker.broker) })),
      partitions: joined(first, answers),
    }
  }

  /**
   * Moves a partition: it grows to both sets of replicas, the new ones catch up, the old ones go. Resolves once that has been decided; `status` shows
   * how far it is. The first of `replicas` shall lead.
   *
   * @throws PlayheadError `unknownTopic`, `unknownPartition`, `invalidArgument`, `notClustered`, `notAuthorized`, `unavailable`
   */
  async reassign(
    topic: string,
    partition: number,
    replicas: readonly number[],
    options: WaitOptions = {},
  ): Promise<Reassignment> {
    const request = { topic, partition, replicas: [...replicas] }
    return (await this.#cluster.call('reassignPartition', request, { policy: 'reads', ...options })).header
  }

  /** Back to the replicas from before the move under way. @throws PlayheadError `notEnoughReplicas`, and what `reassign` throws */
  async cancelReassign(topic: string, partition: number, options: WaitOptions = {}): Promise<Reassignment> {
    const request = { topic, partition, replicas: undefined }
    return (await this.#cluster.call('reassignPartition', request, { policy: 'reads', ...options })).header
  }

  /**
   * Takes leaderships (until it registers again) or all replicas (for good) off a broker, or lifts that. Resolves once that has been decided.
   *
   * @throws PlayheadError `invalidArgument`, `notClustered`, `notAuthorized`, `unavailable`
   */
  async drain(broker: number, what: Draining, options: WaitOptions = {}): Promise<void> {
    await this.#cluster.call('drainBroker', { broker, what }, { policy: 'reads', ...options })
  }

  /**
   * Limits what each broker copies to replicas that are being added to it, in bytes per second, until it is lifted (undefined). What is in sync is not slowed.
   *
   * @throws PlayheadError `invalidArgument`, `notClustered`, `notAuthorized`, `unavailable`
   */
  async throttle(bytesPerSecond: number | undefined, options: WaitOptions = {}): Promise<void> {
    await this.#cluster.call('throttleCopying', { bytesPerSecond }, { policy: 'reads', ...options })
  }

  /**
   * Makes a broker's log the truth of a partition that nobody can lead: committed events that it lacks are gone for good. Answers the epoch in which it leads.
   *
   * @throws PlayheadError `unknownTopic`, `unknownPartition`, `invalidArgument`, `notClustered`, `notAuthorized`, `unavailable`
   */
  async recover(topic: string, partition: number, broker: number, options: WaitOptions = {}): Promise<number> {
    const request = { topic, partition, broker }
    const { header } = await this.#cluster.call('recoverPartition', request, { policy: 'changes', ...options })
    return header.leaderEpoch
  }

  async #askOf(
    { broker, host, port }: ClusterBroker,
    topic: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<StatusReply | undefined> {
    this.#cluster.learn(broker, { host, port })
    const deadline = new Deadline(this.#cluster.clock, askMsMax, signal)
    const route = new Route(this.#cluster, undefined, broker)
    try {
      return (await this.#cluster.attempt('clusterStatus', { topic }, { policy: 'reads', route }, deadline)).header
    } catch (error) {
      // A topic may just have come or gone there.
      if (!isPlayheadError(error) || signal?.aborted === true) throw error
      return undefined
    }
  }
}

/** As the first broker has it, with what the others have said of the same. */
function joined(first: StatusReply, answers: ReadonlyMap<number, StatusReply>): PartitionStatus[] {
  const rows = new Map(first.partitions.map((partition) => [keyOf(partition), withRoom(partition)]))
  for (const [broker, { partitions }] of answers) {
    for (const { own, followers, ...said } of partitions) {
      const row = rows.get(keyOf(said))
      if (row === undefined || own === undefined) continue
      row.copies.push({ broker, ...own })
      for (const follower of row.leader === broker ? followers : []) {
        const records = Math.max(0, own.logEndOffset - follower.durableOffset)
        row.lags.push({ broker: follower.broker, records })
      }
    }
  }
  return [...rows.values()]
}

interface Row extends PartitionStatus {
  readonly copies: ({ broker: number } & ReplicaCopy)[]
  readonly lags: { broker: number; records: number }[]
}

function withRoom(partition: ClusterPartition): Row {
  const row: Row & Partial<ClusterPartition> = { ...partition, copies: [], lags: [] }
  delete row.own
  delete row.followers
  return row
}

function keyOf({ topicId, partition }: { readonly topicId: string; readonly partition: number }): string {
  return `${topicId}/${partition}`
}
