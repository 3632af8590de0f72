/**
 * NearReplicas: the replicas of one topic that stand in the client's own rack. Fetches go to one that is in sync; where the leader is in that rack, where nobody is,
 * and after any trouble, to the leader. Learned from what brokers say of the topic, and asked anew every so often.
 * Invariant: a wrong choice costs time and nothing else: a follower answers only what is committed, and only from where the reader stands; else it refuses.
 * Neighbours: TopicRoutes has one where the client has a rack; PartitionFetcher asks it before the leader.
 */
import type { ReplyOf, RequestOf } from '../protocol/api.ts'
import { isPlayheadError } from '../protocol/errors.ts'
import type { Answered, CallOptions, Cluster } from './cluster.ts'
import { Deadline } from './deadline.ts'
import { Route } from './route.ts'

/** Between two looks where the replicas are and which of them are in sync. */
const lookMs = 10_000
/** For so long the leader is asked instead of a replica that gave trouble. */
const troubleMs = 5_000
/** A replica that does not answer for about half of it, beyond the wait that was asked for, is left for the leader. */
const nearMsMax = 4_000

export class NearReplicas {
  readonly #cluster: Cluster
  readonly #rack: string
  readonly #look: () => Promise<unknown>
  /** By partition; none where the leader is to be asked. */
  readonly #chosen = new Map<number, number>()
  /** "<partition> <broker>" → until when. */
  readonly #avoided = new Map<string, number>()
  #lookAtMs = Number.POSITIVE_INFINITY

  /** `look` asks a broker about the topic and tells `learn`. */
  constructor(cluster: Cluster, rack: string, look: () => Promise<unknown>) {
    this.#cluster = cluster
    this.#rack = rack
    this.#look = look
  }

  learn({ partitions, brokers = [] }: ReplyOf<'describeTopic'>): void {
    const { clock, random } = this.#cluster
    const nowMs = clock.monotonicMs()
    this.#lookAtMs = nowMs + lookMs
    for (const [key, untilMs] of this.#avoided) if (untilMs <= nowMs) this.#avoided.delete(key)
    const here = new Set(brokers.filter(({ rack }) => rack === this.#rack).map(({ broker }) => broker))
    for (const { partition, leader, inSync = [] } of partitions) {
      const isLedHere = leader !== undefined && here.has(leader.broker)
      const near = inSync.filter((broker) => here.has(broker) && !this.#avoided.has(`${partition} ${broker}`))
      const chosen = this.#chosen.get(partition)
      if (isLedHere || near.length === 0) this.#chosen.delete(partition)
      else if (chosen === undefined || !near.includes(chosen)) {
        this.#chosen.set(partition, near[random.integer52() % near.length]!)
      }
    }
  }

  /** What the replica in this rack answers; undefined: the leader is to be asked. Rejects when the signal aborts, and with what is a bug. */
  async fetch(
    request: RequestOf<'fetch'>,
    options: Omit<CallOptions, 'route'>,
  ): Promise<Answered<'fetch'> | undefined> {
    const { partition } = request
    const { waitMs = 0, timeoutMs = this.#cluster.timeoutMs, signal } = options
    this.#lookAgain()
    const broker = this.#chosen.get(partition)
    if (broker === undefined) return undefined
    const deadline = new Deadline(this.#cluster.clock, Math.min(timeoutMs, nearMsMax) + waitMs, signal)
    const near = { ...options, waitMs, route: new Route(this.#cluster, undefined, broker) }
    try {
      const answer = await this.#cluster.attempt('fetch', { ...request, fromFollower: true }, near, deadline)
      // Where the log ends the leader says.
      return waitMs === 0 && answer.body.length === 0 ? undefined : answer
    } catch (error) {
      if (!isPlayheadError(error) || signal?.aborted === true) throw error
      this.#gaveTrouble(partition, broker)
      return undefined
    }
  }

  /** Beside what is under way. */
  #lookAgain(): void {
    const nowMs = this.#cluster.clock.monotonicMs()
    if (nowMs < this.#lookAtMs) return
    this.#lookAtMs = nowMs + lookMs
    this.#look().catch((error: unknown) => {
      if (!isPlayheadError(error)) throw error
    })
  }

  #gaveTrouble(partition: number, broker: number): void {
    const untilMs = this.#cluster.clock.monotonicMs() + troubleMs
    this.#avoided.set(`${partition} ${broker}`, untilMs)
    if (this.#chosen.get(partition) === broker) this.#chosen.delete(partition)
    this.#lookAtMs = Math.min(this.#lookAtMs, untilMs)
  }
}
