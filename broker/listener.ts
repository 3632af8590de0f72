/**
 * Listener: the native port. Accepts connections up to a limit, over all and for each address, and on stop lets those that are open finish. Invariant: after stop() no
 * connection is left. Made by Broker, makes ClientConnections.
 */
import type { Listener as PortListener, Connection, Transport } from '../platform/transport.ts'
import type { ServerTls } from '../platform/tls.ts'
import { AddressCount, addressOf } from './address-count.ts'
import { sleep } from '../platform/clock.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { ClientConnection, lingerMs } from './client-connection.ts'
import type { ConnectionMemory, ConnectionStats } from './client-connection.ts'
import { errorFrame } from './dispatch.ts'
import type { Dispatch } from './dispatch.ts'
import { listenError } from './listen-error.ts'
import { FrameMemory } from '../protocol/frame-memory.ts'
import { MiB } from '../protocol/limits.ts'
import { ReplyMemory } from './reply-memory.ts'
import { RequestMemory } from './request-memory.ts'
import type { Services } from './request.ts'
import type { TlsFiles } from './security/tls-files.ts'

/** Memory that frames have lain in and that waits for the next ones. */
const keptFrameBytesMax = 32 * MiB

/** Beyond so many that are told at once why they are refused, others are closed without a word: they are descriptors too. */
const refusingMax = 100

export interface ListenerOptions {
  readonly transport: Transport
  readonly dispatch: Dispatch
  readonly services: Services
  readonly tls?: TlsFiles | undefined
}

export class Listener {
  readonly stats: ConnectionStats = {
    accepted: 0,
    refused: 0,
    receivedBytes: 0,
    sentBytes: 0,
    malformedFrames: 0,
    pauses: 0,
    stalled: 0,
  }
  readonly #options: ListenerOptions
  readonly #connections = new Set<ClientConnection>()
  readonly #addresses: AddressCount
  readonly memory: ConnectionMemory
  #port: PortListener | undefined
  #onEmpty: (() => void) | undefined
  /** Connections that are being told that there are too many. */
  #refusing = 0

  private constructor(options: ListenerOptions) {
    this.#options = options
    const { clock, config } = options.services
    this.#addresses = new AddressCount(config.connectionsPerAddressMax)
    const { requestBytesTotalMax, replyBytesTotalMax: bytesMax, stallMsMax } = config
    this.memory = {
      requests: new RequestMemory({ clock, bytesMax: requestBytesTotalMax, stallMsMax }),
      replies: new ReplyMemory({ clock, bytesMax, stallMsMax }),
      frames: new FrameMemory(keptFrameBytesMax),
    }
  }

  /** Listens as the configuration says. Throws portInUse or invalidConfiguration. */
  static async open(options: ListenerOptions): Promise<Listener> {
    const { host, port } = options.services.config
    const listener = new Listener(options)
    try {
      listener.#port = await options.transport.listen(
        host,
        port,
        (connection) => listener.#accept(connection),
        options.tls?.tls,
      )
    } catch (error) {
      throw listenError(error, host, port, 'port')
    }
    options.services.security.onLook(() => {
      for (const connection of listener.#connections) connection.look()
    })
    return listener
  }

  /** From the next connection on. */
  renew(tls: ServerTls): void {
    this.#port?.renew?.(tls)
  }

  get port(): number {
    return this.#port?.port ?? 0
  }

  get inFlightRequests(): number {
    let sum = 0
    for (const connection of this.#connections) sum += connection.inFlightRequests
    return sum
  }

  get connections(): number {
    return this.#connections.size
  }

  /** Stops accepting, lets requests in flight be answered for at most `waitMs`, closes every connection. */
  async stop(waitMs: number): Promise<void> {
    await this.#port?.close()
    for (const connection of this.#connections) connection.stop()
    if (this.#connections.size === 0) return
    const overdue = new AbortController()
    const emptied = new Promise<void>((resolve) => {
      this.#onEmpty = resolve
    })
    await Promise.race([emptied, sleep(this.#options.services.clock, waitMs, overdue.signal).catch(() => {})])
    overdue.abort()
    for (const connection of this.#connections) connection.destroy()
  }

  #accept(connection: Connection): void {
    const { services, dispatch } = this.#options
    const address = addressOf(connection.remoteAddress)
    if (this.#connections.size >= services.config.connectionsMax) return this.#refuse(connection, 'connectionsMax')
    if (!this.#addresses.enter(address)) return this.#refuse(connection, 'connectionsPerAddressMax')
    this.stats.accepted++
    this.#connections.add(
      new ClientConnection({
        connection,
        memory: this.memory,
        services,
        dispatch,
        stats: this.stats,
        onClosed: (closed) => {
          this.#connections.delete(closed)
          this.#addresses.leave(address)
          if (this.#connections.size === 0) this.#onEmpty?.()
        },
      }),
    )
  }

  #refuse(connection: Connection, setting: 'connectionsMax' | 'connectionsPerAddressMax'): void {
    this.stats.refused++
    if (this.#refusing >= refusingMax) return connection.destroy()
    this.#refusing++
    const { services } = this.#options
    const limit = services.config[setting]
    const overdue = services.clock.after(lingerMs, () => connection.destroy())
    connection.onData = () => {}
    connection.onClose = () => {
      this.#refusing--
      overdue.cancel()
    }
    const whose = setting === 'connectionsMax' ? '' : ' from this address'
    const message = `connections: found ${limit} open${whose}, wanted fewer; try again later or raise ${setting}`
    const error = new PlayheadError('overloaded', message, { limit, setting })
    connection.write(errorFrame({ version: 0, api: 0, flags: 0, correlation: 0 }, error))
    connection.end()
  }
}
