/**
 * TopicRoutes: who leads the partitions of one topic, as far as this client knows, and what brokers say of the topic. One question at a time, for
 * all who have found their route wrong, and not more often than every so often.
 * Neighbours: TopicState has one; AppendLane and Cluster.call follow its routes.
 */
import { sleep } from '../platform/clock.ts'
import type { ReplyOf } from '../protocol/api.ts'
import { PlayheadError, isPlayheadError } from '../protocol/errors.ts'
import type { Cluster } from './cluster.ts'
import { Deadline } from './deadline.ts'
import { withRetry } from './retry.ts'
import { NearReplicas } from './near-replicas.ts'
import { Route } from './route.ts'

export type TopicDescription = ReplyOf<'describeTopic'>

export interface WaitOptions {
  /** Without progress for this long the call fails with `unavailable`, ms; the client's default when absent. */
  readonly timeoutMs?: number
  /** Ends the wait: the call rejects with the signal's reason. */
  readonly signal?: AbortSignal
}

export interface DescribedByLeaders {
  readonly description: TopicDescription
  /** Partitions of which their leader has answered, knowing all that is committed; of the others another broker has, which may be behind. */
  readonly led: ReadonlySet<number>
}

interface Answer {
  readonly description: TopicDescription
  /** Who said so. */
  readonly broker: number
}

/** Between the beginnings of two questions who leads. */
const askGapMs = 50
/** A broker that does not answer for so long is not waited for: another one may know. */
const askMsMax = 3_000

export class TopicRoutes {
  readonly #cluster: Cluster
  readonly #topic: string
  readonly #routes = new Map<number, Route>()
  /** Absent where this client has no rack. */
  readonly near: NearReplicas | undefined
  #asking: Promise<void> | undefined
  #askedAtMs = Number.NEGATIVE_INFINITY

  constructor(cluster: Cluster, topic: string) {
    this.#cluster = cluster
    this.#topic = topic
    this.near = cluster.rack === undefined ? undefined : new NearReplicas(cluster, cluster.rack, () => this.ask())
  }

  /** The same one as long as this lives. */
  of(partition: number): Route {
    let route = this.#routes.get(partition)
    if (route === undefined) {
      route = new Route(this.#cluster, (deadline, avoid) => this.#askFor(partition, deadline, avoid))
      this.#routes.set(partition, route)
    }
    return route
  }

  /** What one broker says of the topic; who leads is known afterwards. */
  async ask({ timeoutMs = this.#cluster.timeoutMs, signal }: WaitOptions = {}): Promise<TopicDescription> {
    const deadline = new Deadline(this.#cluster.clock, timeoutMs, signal)
    return (await this.#answer(deadline)).description
  }

  /** What the leader of each partition says of it; where that cannot be reached, what another broker says. */
  async describe({ timeoutMs = this.#cluster.timeoutMs, signal }: WaitOptions = {}): Promise<DescribedByLeaders> {
    const deadline = new Deadline(this.#cluster.clock, timeoutMs, signal)
    const { description, broker } = await this.#answer(deadline)
    const ledBy = (each: number, { partitions }: TopicDescription) =>
      partitions.filter(({ leader, replicas, isUnsettled = false }) =>
        replicas === undefined ? each === broker : leader?.broker === each && !isUnsettled,
      )
    const rows = ledBy(broker, description)
    const leaders = new Set(description.partitions.flatMap(({ leader }) => leader?.broker ?? []))
    leaders.delete(broker)
    await Promise.all(
      Array.from(leaders, async (leader) => {
        const answer = await this.#describeAt(new Route(this.#cluster, undefined, leader), deadline).catch(unreached)
        if (answer?.description.topicId === description.topicId) rows.push(...ledBy(leader, answer.description))
      }),
    )
    const byPartition = new Map(rows.map((row) => [row.partition, row]))
    return {
      description: {
        ...description,
        partitions: description.partitions.map((row) => byPartition.get(row.partition) ?? row),
      },
      led: new Set(byPartition.keys()),
    }
  }

  /** The topic is not the one that was known. */
  clear(): void {
    for (const route of this.#routes.values()) route.lead(undefined)
  }

  #answer(deadline: Deadline): Promise<Answer> {
    const route = new Route(this.#cluster)
    return withRetry(deadline, 'reads', this.#cluster.random, async () => {
      const answer = await this.#describeAt(route, deadline)
      this.#learn(answer)
      return answer
    })
  }

  async #askFor(partition: number, deadline: Deadline, avoid: number | undefined): Promise<void> {
    this.#asking ??= this.#askOnce(avoid).finally(() => (this.#asking = undefined))
    await deadline.wait(this.#asking, `topic ${this.#topic}`)
    if (!this.of(partition).isStale) return
    const message = `${this.#topic}/${partition}: found nobody leading, wanted a broker that does; it can be written and read again once one of its replicas is back`
    throw new PlayheadError('notLeader', message, { outcome: 'notApplied' })
  }

  async #askOnce(avoid: number | undefined): Promise<void> {
    const { clock, timeoutMs } = this.#cluster
    const pauseMs = this.#askedAtMs + askGapMs - clock.monotonicMs()
    if (pauseMs > 0) await sleep(clock, pauseMs)
    this.#askedAtMs = clock.monotonicMs()
    const route = new Route(this.#cluster)
    route.doubt(avoid)
    this.#learn(await this.#describeAt(route, new Deadline(clock, Math.min(askMsMax, timeoutMs))))
  }

  /** One attempt. */
  async #describeAt(route: Route, deadline: Deadline): Promise<Answer> {
    const { header, broker } = await this.#cluster.attempt(
      'describeTopic',
      { topic: this.#topic },
      { policy: 'reads', route },
      deadline,
    )
    return { description: header, broker }
  }

  #learn({ description, broker }: Answer): void {
    // Also of those that lead nothing now: when the others are gone they are the way in.
    for (const { broker: other, host, port } of description.brokers ?? [])
      if (host !== undefined && port !== undefined) this.#cluster.learn(other, { host, port })
    this.near?.learn(description)
    for (const { partition, leader, leaderEpoch, replicas } of description.partitions) {
      const route = this.of(partition)
      const { host, port } = leader ?? {}
      if (leader !== undefined && host !== undefined && port !== undefined) {
        this.#cluster.learn(leader.broker, { host, port })
      }
      if (replicas === undefined)
        route.lead(broker) // by itself it leads
      else if (leader === undefined) route.doubt(undefined)
      else if (route.isStale || leaderEpoch >= route.leaderEpoch) {
        route.lead(this.#cluster.knows(leader.broker) ? leader.broker : undefined, leaderEpoch)
      }
    }
  }
}

function unreached(error: unknown): undefined {
  if (!isPlayheadError(error)) throw error
}
