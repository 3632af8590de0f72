/**
 * Listener: the native port. Accepts connections up to a limit, and on stop lets those that are open finish. Invariant: after stop() no
 * connection is left. Made by Broker, makes ClientConnections.
 */
import type { Listener as PortListener, Connection, Transport } from '../platform/transport.ts'
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

/** Memory that frames have lain in and that waits for the next ones. */
const keptFrameBytesMax = 32 * MiB

export interface ListenerOptions {
  readonly transport: Transport
  readonly dispatch: Dispatch
  readonly services: Services
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
  readonly memory: ConnectionMemory
  #port: PortListener | undefined
  #onEmpty: (() => void) | undefined

  private constructor(options: ListenerOptions) {
    this.#options = options
    const { clock, config } = options.services
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
      listener.#port = await options.transport.listen(host, port, (connection) => listener.#accept(connection))
    } catch (error) {
      throw listenError(error, host, port, 'port')
    }
    return listener
  }

  get port(): number {
    return this.#port?.port ?? 0
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
    if (this.#connections.size >= services.config.connectionsMax) {
      this.stats.refused++
      return this.#refuse(connection, services)
    }
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
          if (this.#connections.size === 0) this.#onEmpty?.()
        },
      }),
    )
  }

  #refuse(connection: Connection, services: Services): void {
    const { connectionsMax } = services.config
    const overdue = services.clock.after(lingerMs, () => connection.destroy())
    connection.onData = () => {}
    connection.onClose = () => overdue.cancel()
    const message = `connections: found ${connectionsMax} open, wanted fewer; try again later or raise connectionsMax`
    const error = new PlayheadError('overloaded', message, { limit: connectionsMax })
    connection.write(errorFrame({ version: 0, api: 0, flags: 0, correlation: 0 }, error))
    connection.end()
  }
}
