/**
 * Cluster: the brokers this client knows, and the ways to them. The addresses it was given are the way in, always; those of the other brokers are
 * learned from what brokers say. A request goes where its route says, or to any broker; a broker by itself is always the one.
 * Neighbours: BrokerLink and BrokerConnection below, Route says where to, everything of the client above.
 */
import type { ApiName, RequestOf } from '../protocol/api.ts'
import { PlayheadError, isPlayheadError } from '../protocol/errors.ts'
import type { Clock } from '../platform/clock.ts'
import type { Random } from '../platform/random.ts'
import type { Transport } from '../platform/transport.ts'
import type { ClientTls } from '../platform/tls.ts'
import { formatAddress } from './addresses.ts'
import type { BrokerAddress } from './addresses.ts'
import { BrokerLink } from './broker-link.ts'
import type { Purpose } from './broker-link.ts'
import { BrokerConnection } from './connection.ts'
import type { Reply } from './connection.ts'
import type { Credentials } from './credentials.ts'
import { Deadline } from './deadline.ts'
import { withRetry } from './retry.ts'
import type { RetryPolicy } from './retry.ts'
import { Route } from './route.ts'
import type { KnownBrokers } from './route.ts'

export interface ClusterOptions {
  readonly addresses: readonly BrokerAddress[]
  readonly transport: Transport
  readonly clock: Clock
  readonly random: Random
  readonly clientName: string
  readonly credentials?: Credentials | undefined
  readonly tls?: ClientTls | undefined
  /** What a request may take without progress, unless it says otherwise. */
  readonly timeoutMs: number
  /** Where this client stands. */
  readonly rack?: string | undefined
}

export interface CallOptions {
  readonly policy: RetryPolicy
  /** To whom; any broker when absent, and from there to the one that a refusal names. */
  readonly route?: Route | undefined
  readonly body?: readonly Buffer[]
  readonly purpose?: Purpose
  /** Time the broker may hold the request back on purpose; not counted as silence. */
  readonly waitMs?: number
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

/** Who is wanted at the other end. */
export type Destination = Pick<Route, 'broker' | 'avoid'>

export interface Answered<A extends ApiName> extends Reply<A> {
  /** Who answered. */
  readonly broker: number
}

const anybody: Destination = { broker: undefined, avoid: undefined }

export class Cluster implements KnownBrokers {
  readonly clock: Clock
  readonly random: Random
  readonly timeoutMs: number
  readonly rack: string | undefined
  /** To the broker that keeps the named playheads. */
  readonly playheads: Route
  readonly #options: ClusterOptions
  /** Those given first, then those learned. */
  #links: BrokerLink[]
  /** By broker: where the others say it is. */
  readonly #learned = new Map<number, BrokerLink>()
  /** Where any broker was reached last. */
  #current: BrokerLink
  readonly #ending = new AbortController()

  constructor(options: ClusterOptions) {
    this.#options = options
    this.clock = options.clock
    this.random = options.random
    this.timeoutMs = options.timeoutMs
    this.rack = options.rack
    this.playheads = new Route(this)
    this.#links = options.addresses.map((address) => this.#link(address))
    this.#current = this.#links[0]!
  }

  get isClosed(): boolean {
    return this.#ending.signal.aborted
  }

  /** Those it was given. */
  get addresses(): string {
    return this.#options.addresses.map(formatAddress).join(', ')
  }

  get hasOthers(): boolean {
    return this.#links.length > 1
  }

  knows(broker: number): boolean {
    return this.#learned.has(broker) || this.#links.some((link) => link.broker === broker)
  }

  learn(broker: number, { host, port }: { readonly host: string; readonly port: number }): void {
    const before = this.#learned.get(broker)?.address
    if (before?.host === host && before.port === port) return
    // Whatever else holds for the addresses given holds for those that are learned.
    const address = { ...this.#options.addresses[0], host, port }
    const known = this.#links.find((link) => link.address.host === host && link.address.port === port)
    const link = known ?? this.#link(address)
    this.#learned.set(broker, link)
    const inUse = new Set(this.#learned.values())
    const { length } = this.#options.addresses
    this.#links = this.#links.filter((each, index) => index < length || each.isLive || inUse.has(each))
    if (known === undefined) this.#links.push(link)
  }

  /** The open connection to this broker, or to any, if there is one now. */
  liveConnection(purpose: Purpose, broker?: number): BrokerConnection | undefined {
    if (broker === undefined || this.#current.broker === broker) {
      const live = this.#current.live(purpose)
      if (live !== undefined || broker === undefined) return live
    }
    for (const link of this.#links) {
      const live = link.broker === broker ? link.live(purpose) : undefined
      if (live !== undefined) return live
    }
    return undefined
  }

  /** The open connection, or a new one. One round over the addresses; rejects with the last one's failure. */
  async connection(
    purpose: Purpose,
    deadline: Deadline,
    { broker, avoid }: Destination = anybody,
  ): Promise<BrokerConnection> {
    if (this.isClosed) throw closed()
    if (broker !== undefined) return this.liveConnection(purpose, broker) ?? this.#connectTo(broker, purpose, deadline)
    const live = this.#current.broker === avoid ? undefined : this.#current.live(purpose)
    return live ?? this.#connectToAny(avoid, purpose, deadline)
  }

  /** One request, repeated as its policy allows until it is answered or `timeoutMs` have passed. */
  async call<A extends ApiName>(api: A, header: RequestOf<A>, options: CallOptions): Promise<Answered<A>> {
    const { policy, waitMs = 0, timeoutMs = this.timeoutMs, signal, route = new Route(this) } = options
    const deadline = new Deadline(this.clock, timeoutMs + waitMs, signal)
    return withRetry(deadline, policy, this.random, () => this.attempt(api, header, { ...options, route }, deadline))
  }

  /** The same, once. A failure has been told to the route. */
  async attempt<A extends ApiName>(
    api: A,
    header: RequestOf<A>,
    options: CallOptions & { readonly route: Route },
    deadline: Deadline,
  ): Promise<Answered<A>> {
    const { policy, body = [], purpose = 'requests', waitMs = 0, signal, route } = options
    const timeoutMs = deadline.timeoutMs - waitMs
    let asked = route.broker
    try {
      if (route.isStale) await route.ready(deadline)
      asked = route.broker
      const connection = await this.connection(purpose, deadline, route)
      const broker = connection.broker.brokerId
      asked = broker
      // A read gives up half-way, so that a dead connection leaves time for another one; a change may be sent only once.
      const patienceMs = policy === 'reads' ? Math.max(timeoutMs / 2 + waitMs, 1) : Math.max(deadline.remainingMs, 1)
      const { header: answer, body: answerBody } = await connection.request(api, header, body, {
        timeoutMs: Math.min(patienceMs, Math.max(deadline.remainingMs, 1)),
        ...(signal && { signal }),
      })
      return { header: answer, body: answerBody, broker }
    } catch (error) {
      throw route.failed(error, asked)
    }
  }

  /** Closes all connections; what is unanswered is rejected. */
  close(): void {
    this.#ending.abort(closed())
    for (const link of this.#links) link.close()
  }

  /** To that broker and no other. Rejects with `unavailable` when it cannot be reached, or another one answers where it should be. */
  async #connectTo(broker: number, purpose: Purpose, deadline: Deadline): Promise<BrokerConnection> {
    const learned = this.#learned.get(broker)
    const links = new Set(this.#links.filter((link) => link.broker === broker || link === learned))
    let failure: unknown = new PlayheadError('unavailable', `broker ${broker}: found no address of it, wanted one`, {
      outcome: 'notApplied',
    })
    for (const link of links) {
      try {
        const connection = await link.connect(purpose, deadline)
        if (connection.broker.brokerId === broker) return connection
        failure = anotherBroker(link.address, connection.broker.brokerId, broker)
      } catch (error) {
        if (this.isClosed || !isPlayheadError(error)) throw error
        failure = error
      }
    }
    throw failure
  }

  /** From where one was reached last; where `avoid` is, last of all. */
  async #connectToAny(avoid: number | undefined, purpose: Purpose, deadline: Deadline): Promise<BrokerConnection> {
    const from = this.#links.indexOf(this.#current)
    const round = [...this.#links.slice(from), ...this.#links.slice(0, from)]
    const isAvoided = (link: BrokerLink) => avoid !== undefined && link.broker === avoid
    const wanted = round.filter((link) => !isAvoided(link))
    let failure: unknown
    for (const link of [
      ...wanted.filter((each) => each.live(purpose)),
      ...wanted.filter((each) => !each.live(purpose)),
      ...round.filter(isAvoided),
    ]) {
      try {
        const connection = await link.connect(purpose, deadline)
        this.#current = link
        return connection
      } catch (error) {
        if (this.isClosed || !isPlayheadError(error)) throw error
        failure = error
      }
    }
    throw failure
  }

  #link(address: BrokerAddress): BrokerLink {
    return new BrokerLink(address, (to, timeoutMs) => this.#open(to, timeoutMs))
  }

  async #open(address: BrokerAddress, timeoutMs: number): Promise<BrokerConnection> {
    const { transport, clock, clientName, credentials, tls } = this.#options
    const connection = await BrokerConnection.open({
      transport,
      clock,
      address,
      clientName,
      credentials,
      tls,
      timeoutMs,
      signal: this.#ending.signal,
    })
    if (!this.isClosed) return connection
    connection.close()
    throw closed()
  }
}

function anotherBroker(address: BrokerAddress, found: number, wanted: number): PlayheadError {
  const message = `broker ${formatAddress(address)}: found broker ${found} there, wanted broker ${wanted}; check what the brokers are told to advertise`
  return new PlayheadError('unavailable', message, { outcome: 'notApplied' })
}

export function closed(): PlayheadError {
  return new PlayheadError('closed', 'client: found it closed, wanted it open; connect again', {
    outcome: 'notApplied',
  })
}
