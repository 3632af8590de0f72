/**
 * LeaderLinks: the ways to the brokers that this one follows: two connections to each, made when they are needed and shared by all partitions, so that
 * what a follower says of its disk never waits behind a reply full of batches. Neighbours: ReplicaFetcher asks through one, BrokerConnection carries it.
 */
import { BrokerConnection } from '../client/connection.ts'
import type { Reply } from '../client/connection.ts'
import type { BrokerAddress } from './broker-address.ts'
import type { Clock } from '../platform/clock.ts'
import type { ClientTls } from '../platform/tls.ts'
import type { Transport } from '../platform/transport.ts'
import type { ApiName, RequestOf } from '../protocol/api.ts'
import { isPlayheadError, PlayheadError } from '../protocol/errors.ts'
import { FrameMemory } from '../protocol/frame-memory.ts'
import { MiB } from '../protocol/limits.ts'
import type { LeaderLink } from './replica-fetcher.ts'

/** How a broker is known to the others, and they to it. */
export interface BrokerAccess {
  /** Undefined = nobody asks. */
  readonly secret?: string | undefined
  /** As of now; undefined = without TLS. */
  readonly tls?: (() => ClientTls) | undefined
}

export interface LeaderLinksOptions {
  readonly transport: Transport
  readonly clock: Clock
  /** For the leader's logs and metrics. */
  readonly clientName: string
  /** Without an answer for this long, beyond what the request asks to wait, a connection is given up. */
  readonly timeoutMs: number
  readonly access: BrokerAccess
  /** Undefined when it is not there. */
  readonly addressOf: (broker: number) => BrokerAddress | undefined
}

export interface AskOptions {
  readonly body?: readonly Buffer[]
  readonly waitMs?: number
  readonly signal?: AbortSignal
}

/** Memory that fetched batches have lain in and that waits for the next ones. */
const keptFetchBytesMax = 16 * MiB
/** Asked for to see whether an answer is given at all. */
const nilTopic = '00000000-0000-0000-0000-000000000000'
const refusals: ReadonlySet<string> = new Set(['unauthenticated', 'notAuthorized', 'untrustedBroker'])

export class LeaderLinks {
  readonly #options: LeaderLinksOptions
  readonly #fetches = new Map<number, SharedConnection>()
  readonly #progress = new Map<number, SharedConnection>()
  readonly #requests = new Map<number, SharedConnection>()
  readonly #fetched = new FrameMemory(keptFetchBytesMax)

  constructor(options: LeaderLinksOptions) {
    this.#options = options
  }

  to(broker: number): LeaderLink {
    const { timeoutMs } = this.#options
    return {
      fetch: async (request, signal) => {
        const connection = await this.#connection(this.#fetches, broker, this.#fetched).open()
        return await connection.request('replicaFetch', request, [], {
          timeoutMs: timeoutMs + request.waitMsMax,
          signal,
        })
      },
      progress: async (request, signal) => {
        const connection = await this.#connection(this.#progress, broker).open()
        const { header } = await connection.request('replicaProgress', request, [], { timeoutMs, signal })
        return header
      },
      snapshot: async (request, signal) => {
        const connection = await this.#connection(this.#fetches, broker, this.#fetched).open()
        const { header } = await connection.request('replicaSnapshot', request, [], { timeoutMs, signal })
        const { logStartOffset, compactedTo, rewrittenTo, salt, ...rest } = header
        return { facts: { logStartOffset, compactedTo, rewrittenTo }, salt: Buffer.from(salt, 'hex'), ...rest }
      },
      file: async (request, signal) => {
        const connection = await this.#connection(this.#fetches, broker, this.#fetched).open()
        const { body, piece } = await connection.request('replicaFile', request, [], { timeoutMs, signal })
        const bytes = Buffer.from(body) // what it lies in is used again
        piece?.letGo()
        return bytes
      },
    }
  }

  /** Throws unauthenticated, notAuthorized or untrustedBroker when the broker does not take this one for one of its cluster; whatever else it says is another matter. */
  async checkWelcome(broker: number): Promise<void> {
    const { timeoutMs } = this.#options
    const nothing = { topicId: nilTopic, partition: 0, leaderEpoch: 0, broker: 0, brokerEpoch: 0, durableOffset: 0 }
    try {
      const connection = await this.#connection(this.#progress, broker).open()
      await connection.request('replicaProgress', nothing, [], { timeoutMs })
    } catch (error) {
      if (!isPlayheadError(error) || refusals.has(error.code)) throw error
    }
  }

  /** Whatever else this broker wants of another. `waitMs`: how long that may hold it back on purpose. */
  async ask<A extends ApiName>(
    broker: number,
    api: A,
    request: RequestOf<A>,
    { body = [], waitMs = 0, signal }: AskOptions = {},
  ): Promise<Reply<A>> {
    const timeoutMs = this.#options.timeoutMs + waitMs
    const connection = await this.#connection(this.#requests, broker).open()
    return await connection.request(api, request, body, { timeoutMs, ...(signal && { signal }) })
  }

  close(): void {
    for (const connections of [this.#fetches, this.#progress, this.#requests]) {
      for (const connection of connections.values()) connection.close()
    }
  }

  #connection(connections: Map<number, SharedConnection>, broker: number, frames?: FrameMemory): SharedConnection {
    let connection = connections.get(broker)
    if (connection === undefined) {
      connection = new SharedConnection(this.#options, broker, frames)
      connections.set(broker, connection)
    }
    return connection
  }
}

/** One connection to a broker, made again when it is gone or the broker has moved. */
class SharedConnection {
  readonly #options: LeaderLinksOptions
  readonly #broker: number
  readonly #frames: FrameMemory | undefined
  readonly #closing = new AbortController()
  #live: BrokerConnection | undefined
  #opening: Promise<BrokerConnection> | undefined

  constructor(options: LeaderLinksOptions, broker: number, frames: FrameMemory | undefined) {
    this.#options = options
    this.#broker = broker
    this.#frames = frames
  }

  /** Rejects with unavailable. */
  async open(): Promise<BrokerConnection> {
    const { addressOf } = this.#options
    const address = addressOf(this.#broker)
    if (address === undefined) {
      this.#live?.close()
      throw new PlayheadError('unavailable', `broker ${this.#broker}: found it not registered, wanted it there`)
    }
    const live = this.#live
    if (live?.isOpen === true && live.address.host === address.host && live.address.port === address.port) return live
    live?.close()
    this.#opening ??= this.#dial(address).finally(() => (this.#opening = undefined))
    return await this.#opening
  }

  close(): void {
    this.#closing.abort(new PlayheadError('stopping', 'follower: found it stopping, wanted it running'))
    this.#live?.close()
  }

  async #dial(address: BrokerAddress): Promise<BrokerConnection> {
    const { transport, clock, clientName, timeoutMs, access } = this.#options
    const { signal } = this.#closing
    const known = { clusterSecret: access.secret, tls: access.tls?.(), frames: this.#frames }
    const live = await BrokerConnection.open({ transport, clock, address, clientName, timeoutMs, signal, ...known })
    this.#live = live
    if (signal.aborted) live.close()
    return live
  }
}
