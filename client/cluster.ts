/**
 * Cluster: the brokers this client knows, and a live connection to one of them. Dials when there is none, tries the addresses in turn,
 * and shares one attempt among all who wait. Two connections, by purpose: long reads have their own, so that a parked or large
 * fetch never stands before an append. Neighbours: BrokerConnection below, everything of the client above.
 */
import type { ApiName, RequestOf } from '../protocol/api.ts'
import { PlayheadError, isPlayheadError } from '../protocol/errors.ts'
import type { Clock } from '../platform/clock.ts'
import type { Random } from '../platform/random.ts'
import type { Transport } from '../platform/transport.ts'
import type { ClientTls } from '../platform/tls.ts'
import { formatAddress } from './addresses.ts'
import type { BrokerAddress } from './addresses.ts'
import { BrokerConnection } from './connection.ts'
import type { Reply } from './connection.ts'
import type { Credentials } from './credentials.ts'
import { Deadline } from './deadline.ts'
import { withRetry } from './retry.ts'
import type { RetryPolicy } from './retry.ts'

export type Purpose = 'requests' | 'fetches'

/** One address may take this long of a round of dialling, so that a silent one does not hide the next. */
const dialMsMax = 3_000

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
}

export interface CallOptions {
  readonly policy: RetryPolicy
  readonly body?: readonly Buffer[]
  readonly purpose?: Purpose
  /** Time the broker may hold the request back on purpose; not counted as silence. */
  readonly waitMs?: number
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

export class Cluster {
  readonly clock: Clock
  readonly random: Random
  readonly timeoutMs: number
  readonly #options: ClusterOptions
  readonly #live: Partial<Record<Purpose, BrokerConnection>> = {}
  readonly #dialling: Partial<Record<Purpose, Promise<BrokerConnection>>> = {}
  readonly #ending = new AbortController()
  #firstAddress = 0

  constructor(options: ClusterOptions) {
    this.#options = options
    this.clock = options.clock
    this.random = options.random
    this.timeoutMs = options.timeoutMs
  }

  get isClosed(): boolean {
    return this.#ending.signal.aborted
  }

  get addresses(): string {
    return this.#options.addresses.map(formatAddress).join(', ')
  }

  /** The open connection, if there is one now. */
  liveConnection(purpose: Purpose): BrokerConnection | undefined {
    const live = this.#live[purpose]
    return live?.isOpen ? live : undefined
  }

  /** The open connection, or a new one. One round over the addresses; rejects with the last one's failure. */
  async connection(purpose: Purpose, deadline: Deadline): Promise<BrokerConnection> {
    if (this.isClosed) throw closed()
    const live = this.liveConnection(purpose)
    if (live) return live
    const dialling = (this.#dialling[purpose] ??= this.#dial(purpose, deadline.timeoutMs))
    return deadline.wait(dialling, `broker ${this.addresses}`)
  }

  /** One request, repeated as its policy allows until it is answered or `timeoutMs` have passed. */
  async call<A extends ApiName>(api: A, header: RequestOf<A>, options: CallOptions): Promise<Reply<A>> {
    const { policy, body = [], purpose = 'requests', waitMs = 0, timeoutMs = this.timeoutMs, signal } = options
    const deadline = new Deadline(this.clock, timeoutMs + waitMs, signal)
    return withRetry(deadline, policy, this.random, async () => {
      const connection = await this.connection(purpose, deadline)
      // A read gives up half-way, so that a dead connection leaves time for another one; a change may be sent only once.
      const patienceMs = policy === 'reads' ? Math.max(timeoutMs / 2 + waitMs, 1) : Math.max(deadline.remainingMs, 1)
      return connection.request(api, header, body, {
        timeoutMs: Math.min(patienceMs, Math.max(deadline.remainingMs, 1)),
        ...(signal && { signal }),
      })
    })
  }

  /** Closes all connections; what is unanswered is rejected. */
  close(): void {
    this.#ending.abort(closed())
    for (const connection of Object.values(this.#live)) connection.close()
  }

  async #dial(purpose: Purpose, timeoutMs: number): Promise<BrokerConnection> {
    try {
      const { addresses } = this.#options
      const first = this.#firstAddress
      let failure: unknown
      for (let index = 0; index < addresses.length; index++) {
        const at = (first + index) % addresses.length
        try {
          const connection = await this.#open(addresses[at]!, timeoutMs)
          this.#firstAddress = at
          this.#live[purpose] = connection
          return connection
        } catch (error) {
          if (this.isClosed || !isPlayheadError(error)) throw error
          failure = error
        }
      }
      throw failure
    } finally {
      delete this.#dialling[purpose]
    }
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
      timeoutMs: Math.min(dialMsMax, timeoutMs),
      signal: this.#ending.signal,
    })
    if (!this.isClosed) return connection
    connection.close()
    throw closed()
  }
}

export function closed(): PlayheadError {
  return new PlayheadError('closed', 'client: found it closed, wanted it open; connect again', {
    outcome: 'notApplied',
  })
}
