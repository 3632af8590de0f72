/**
 * Playhead: a session with a cluster, and `connect`, which opens one. It owns the connections, the topics' states and the producers, and
 * ends them. Neighbours: Cluster below, Topic and Admin are what it hands out.
 */
import type { ReplyOf } from '../protocol/api.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { checkTopicName } from '../protocol/names.ts'
import { systemClock } from '../platform/clock.ts'
import type { Clock } from '../platform/clock.ts'
import { nodeTransport } from '../platform/node-transport.ts'
import { systemRandom } from '../platform/random.ts'
import type { Random } from '../platform/random.ts'
import type { Transport } from '../platform/transport.ts'
import type { ClientTls } from '../platform/tls.ts'
import { Access } from './access.ts'
import { parseAddresses } from './addresses.ts'
import { Admin } from './admin.ts'
import { Cluster } from './cluster.ts'
import { ClusterOperations } from './cluster-operations.ts'
import { Credentials } from './credentials.ts'
import type { ClientCredentials } from './credentials.ts'
import { Deadline } from './deadline.ts'
import type { Producer } from './producer.ts'
import { withRetry } from './retry.ts'
import { Topic } from './topic.ts'
import { TopicState } from './topic-state.ts'
import type { WaitOptions } from './topic-state.ts'

const timeoutMsDefault = 10_000
const clientNameDefault = 'playhead-client'

export interface ConnectOptions {
  /** Free text for the broker's logs and metrics. */
  readonly clientName?: string
  /** Who this client is, for brokers whose security is on. */
  readonly credentials?: ClientCredentials
  /** TLS, and what it takes: given, or asked for by `playheads://` addresses. */
  readonly tls?: ClientTls
  /** How long any call may go without progress before it fails with `unavailable`, ms; default 10,000. */
  readonly timeoutMs?: number
  /**
   * Where this client stands, as brokers are told with `--rack`: replays fetch from a replica in sync of that rack, where the leader is elsewhere. It may be
   * a moment behind the leader; what this client has written or seen it waits for. Everything else, and whatever that replica cannot answer, is asked of the leader.
   */
  readonly rack?: string
  /** Ends the attempt to connect. */
  readonly signal?: AbortSignal
  /** How bytes reach the broker; TCP by default. */
  readonly transport?: Transport
  readonly clock?: Clock
  readonly random?: Random
}

export type BrokerStatus = ReplyOf<'status'>

/** A session: it reads its own writes. Use one per process and close it. */
export class Playhead {
  /** Topics: create, list, describe, alter, delete. */
  readonly admin: Admin
  /** Users, tokens, grants and quotas, of a broker whose security is on. */
  readonly access: Access
  /** How a cluster stands; moving partitions, draining brokers, recovering what nobody can lead. */
  readonly cluster: ClusterOperations
  readonly #cluster: Cluster
  readonly #topics = new Map<string, TopicState>()
  readonly #producers = new Set<Producer>()

  /** @internal Use `connect`. */
  constructor(cluster: Cluster) {
    this.#cluster = cluster
    this.admin = new Admin(cluster)
    this.access = new Access(cluster)
    this.cluster = new ClusterOperations(cluster)
  }

  /** The door to a topic. Nothing is asked of the broker yet. @throws PlayheadError `invalidTopicName` */
  topic(name: string): Topic {
    checkTopicName(name)
    let state = this.#topics.get(name)
    if (state === undefined) {
      state = new TopicState(this.#cluster, name)
      this.#topics.set(name, state)
    }
    return new Topic(state, this.#producers)
  }

  /** What the broker this client is connected to is and uses. @throws PlayheadError `unavailable` */
  async status(options: WaitOptions = {}): Promise<BrokerStatus> {
    const { header } = await this.#cluster.call('status', {}, { policy: 'reads', ...options })
    return header
  }

  /** Flushes the producers, waits for appends that are under way, closes the connections. Idempotent. Never throws for a producer's failure. */
  async close(): Promise<void> {
    if (this.#cluster.isClosed) return
    await Promise.allSettled(Array.from(this.#producers, (producer) => producer.close()))
    await Promise.all(Array.from(this.#topics.values(), (state) => state.idle()))
    this.#cluster.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/**
 * Connects to a broker, trying again until one answers or `timeoutMs` have passed.
 *
 * @param addresses `playhead://host:port`, `playheads://host:port` (TLS) or `host:port`; several as an array or a comma list; the port is 7420 by default
 * @throws PlayheadError `invalidArgument` for an address that is none, `unavailable` if no broker answers, `untrustedBroker` for a certificate that
 * does not hold, `unauthenticated` for credentials that do not; the signal's reason
 * @example
 * const playhead = await connect('playhead://localhost:7420')
 * const carts = playhead.topic('carts')
 * await carts.stream('customer-17850').append([{ type: 'ItemAdded', data: { sku: '85123A', quantity: 6 } }])
 * await playhead.close()
 */
export async function connect(addresses: string | readonly string[], options: ConnectOptions = {}): Promise<Playhead> {
  const { clientName = clientNameDefault, timeoutMs = timeoutMsDefault, rack, signal } = options
  if (!Number.isFinite(timeoutMs) || timeoutMs <= 0) {
    throw new PlayheadError('invalidArgument', `connect: found timeoutMs ${timeoutMs}, wanted a number of ms above 0`)
  }
  const cluster = new Cluster({
    addresses: parseAddresses(addresses),
    transport: options.transport ?? nodeTransport,
    clock: options.clock ?? systemClock,
    random: options.random ?? systemRandom,
    clientName,
    credentials: options.credentials && new Credentials(options.credentials),
    tls: options.tls,
    timeoutMs,
    rack: rack === '' ? undefined : rack,
  })
  try {
    const deadline = new Deadline(cluster.clock, timeoutMs, signal)
    await withRetry(deadline, 'reads', cluster.random, () => cluster.connection('requests', deadline))
  } catch (error) {
    cluster.close()
    throw error
  }
  return new Playhead(cluster)
}
