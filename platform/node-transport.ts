/**
 * nodeTransport: the Transport over TCP. Small things written in one turn of the event loop go out in one system call: parts are kept
 * here and handed to the socket when the turn's promise callbacks have all run. What arrives is read straight into the owner's memory
 * (`onread` of net.Socket), without a buffer or an event of a stream for each piece: measured, two thirds of the time. Where this Node
 * cannot do that for an accepted connection, the stream's own buffers are handed on.
 * Invariant: `onClose` is called exactly once, and nothing is called after it.
 * Neighbours: transport.ts says the contract; broker/listener.ts and client/connection.ts use it.
 */
import { Socket, createServer, connect as connectSocket } from 'node:net'
import type { Server } from 'node:net'
import { connect as connectTls, createServer as createTlsServer } from 'node:tls'
import type { TLSSocket } from 'node:tls'
import { clientTlsOptions, serverTlsOptions, tlsPeer } from './tls.ts'
import type { ClientTls, ServerTls } from './tls.ts'
import type { Connection, Listener, Transport } from './transport.ts'

const keepAliveInitialDelayMs = 30_000
/** So much is worth a system call of its own, and the other side may begin with it. */
const flushBytes = 16 * 1024

function notSet(): never {
  throw new Error('bug: bytes arrived on a connection before its owner set onData')
}

/** Until the owner has said where to put things: what this holds may be overwritten by nobody, as its bytes are handed on. */
const firstRoomBytes = 4 * 1024

/** Reads into the memory that `owner` names. Made before the socket, which is made before its connection. */
class Reading {
  owner: NodeConnection | undefined
  readonly buffer = (): Buffer => this.owner?.room?.() ?? Buffer.allocUnsafeSlow(firstRoomBytes)
  readonly callback = (count: number, buffer: Uint8Array): boolean => {
    this.owner?.received(Buffer.from(buffer.buffer as ArrayBuffer, buffer.byteOffset, count))
    return true
  }
}

class NodeConnection implements Connection {
  readonly remoteAddress: string
  readonly certificateName: string | undefined
  room?: () => Buffer
  onData: (bytes: Buffer) => void = notSet
  onClose: (error?: Error) => void = () => {}
  onDrain: () => void = () => {}
  readonly #socket: Socket
  #parts: Buffer[] = []
  /** Of whoever wants to know that his parts have gone, as those of `#parts` do. */
  #sent: (() => void)[] = []
  #partsBytes = 0
  #flushScheduled = false
  #closed = false
  #error: Error | undefined

  /** `reading`: what `socket` was made with; without it the socket is read as a stream. */
  constructor(socket: Socket, reading?: Reading, certificateName?: string) {
    this.#socket = socket
    this.certificateName = certificateName
    this.remoteAddress = `${socket.remoteAddress ?? 'unknown'}:${socket.remotePort ?? 0}`
    if (reading === undefined) socket.on('data', (bytes: Buffer) => this.received(bytes))
    else reading.owner = this
    socket.on('error', (error) => {
      this.#error = error
    })
    socket.on('timeout', () => socket.destroy())
    socket.on('close', () => {
      this.#closed = true
      this.#parts = []
      this.#partsBytes = 0
      this.onClose(this.#error)
    })
  }

  received(bytes: Buffer): void {
    if (!this.#closed) this.onData(bytes)
  }

  get pendingBytes(): number {
    return this.#closed ? 0 : this.#partsBytes + this.#socket.writableLength
  }

  write(parts: readonly Buffer[], onSent?: () => void): void {
    if (this.#closed || this.#socket.writableEnded) return
    if (onSent !== undefined) this.#sent.push(onSent)
    for (const part of parts) {
      this.#parts.push(part)
      this.#partsBytes += part.length
    }
    if (this.#partsBytes >= flushBytes) return this.#flushNow()
    if (this.#flushScheduled) return
    this.#flushScheduled = true
    // A tick asked for in a promise callback runs when no promise callback is left: all replies of the turn are there by then.
    process.nextTick(this.#flush)
  }

  readonly #flush = (): void => {
    this.#flushScheduled = false
    this.#flushNow()
  }

  #flushNow(): void {
    const parts = this.#parts
    const last = parts.pop()
    if (last === undefined || this.#closed || this.#socket.destroyed) return
    const sent = this.#sent
    this.#parts = []
    this.#sent = []
    this.#partsBytes = 0
    this.#socket.cork()
    for (const part of parts) this.#socket.write(part)
    this.#socket.write(last, sent.length === 0 ? this.#written : (error) => this.#writtenAll(error, sent))
    this.#socket.uncork()
  }

  readonly #written = (): void => {
    if (!this.#closed && this.pendingBytes === 0) this.onDrain()
  }

  /** In order: with the last of them all parts before it have gone. */
  #writtenAll(error: Error | null | undefined, sent: readonly (() => void)[]): void {
    if (!error) for (const onSent of sent) onSent()
    this.#written()
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  rest(idleMsMax: number): void {
    this.#socket.unref()
    this.#socket.setTimeout(idleMsMax)
  }

  wake(): void {
    this.#socket.ref()
    this.#socket.setTimeout(0)
  }

  end(): void {
    if (this.#closed) return
    this.#flush()
    this.#socket.end()
  }

  destroy(): void {
    this.#socket.destroy()
  }
}

function listening(server: Server, host: string, port: number, renew?: Listener['renew']): Promise<Listener> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port }, () => {
      server.off('error', reject)
      // A connection that could not be accepted (no descriptor left) is its client's failure, not the end of the listener.
      server.on('error', () => {})
      const address = server.address()
      resolve({
        port: address !== null && typeof address === 'object' ? address.port : port,
        close() {
          // close() gives the port back at once; its callback would wait for the open connections.
          server.close()
          return Promise.resolve()
        },
        ...(renew !== undefined && { renew }),
      })
    })
  })
}

/**
 * A server's sockets are made without `onread`, so the connection beneath an accepted one is moved to a socket that has it. `_handle` is not
 * documented: where it is not what we expect, the accepted socket is used as it is.
 */
function acceptedConnection(accepted: Socket): NodeConnection {
  const internal = accepted as unknown as Record<'_handle', { useUserBuffer?: unknown } | null>
  const { _handle: handle } = internal
  if (typeof handle?.useUserBuffer !== 'function') {
    accepted.resume()
    return new NodeConnection(accepted)
  }
  Object.assign(internal, { _handle: null })
  const reading = new Reading()
  const options: object = { handle, onread: reading }
  const socket = new Socket(options)
  const connection = new NodeConnection(socket, reading)
  socket.resume()
  return connection
}

const socketOptions = {
  noDelay: true,
  keepAlive: true,
  keepAliveInitialDelay: keepAliveInitialDelayMs,
}

function listenTls(
  host: string,
  port: number,
  onConnection: (connection: Connection) => void,
  tls: ServerTls,
): Promise<Listener> {
  const server = createTlsServer({ ...serverTlsOptions(tls), ...socketOptions }, (socket) => {
    const { isTrusted, name } = tlsPeer(socket)
    if (isTrusted) onConnection(new NodeConnection(socket, undefined, name))
    else socket.destroy()
  })
  server.maxConnections = tls.connectionsMax
  // Who cannot shake hands (plain text, no certificate, an old version) is gone; that is nobody else's matter.
  server.on('tlsClientError', (_error, socket) => socket.destroy())
  return listening(server, host, port, (renewed) => server.setSecureContext(serverTlsOptions(renewed)))
}

/** Resolves with what the socket becomes once it can carry bytes: `ready` is the event that says so. */
function connected(
  socket: Socket,
  ready: 'connect' | 'secureConnect',
  connection: () => NodeConnection,
  signal: AbortSignal | undefined,
): Promise<Connection> {
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      socket.destroy()
      reject(signal?.reason)
    }
    const onError = (error: Error) => {
      signal?.removeEventListener('abort', onAbort)
      reject(error)
    }
    // A peer that ends in the middle of a handshake says nothing else.
    const onClose = () => onError(Object.assign(new Error('connection closed'), { code: 'ECONNRESET' }))
    signal?.addEventListener('abort', onAbort, { once: true })
    socket.once('error', onError)
    socket.once('close', onClose)
    socket.once(ready, () => {
      signal?.removeEventListener('abort', onAbort)
      socket.off('error', onError)
      socket.off('close', onClose)
      resolve(connection())
    })
  })
}

function connectSecure(host: string, port: number, tls: ClientTls): TLSSocket {
  const socket = connectTls(clientTlsOptions(host, port, tls))
  socket.setNoDelay(true)
  socket.setKeepAlive(true, keepAliveInitialDelayMs)
  return socket
}

export const nodeTransport: Transport = {
  listen(host, port, onConnection, tls) {
    if (tls !== undefined) return listenTls(host, port, onConnection, tls)
    return listening(
      createServer({ ...socketOptions, pauseOnConnect: true }, (socket) => onConnection(acceptedConnection(socket))),
      host,
      port,
    )
  },

  connect(host, port, signal, tls) {
    if (signal?.aborted) return Promise.reject(signal.reason)
    if (tls !== undefined) {
      try {
        const socket = connectSecure(host, port, tls)
        return connected(socket, 'secureConnect', () => new NodeConnection(socket), signal)
      } catch (error) {
        return Promise.reject(error) // what is no certificate or no key
      }
    }
    const reading = new Reading()
    const socket = connectSocket({ ...socketOptions, onread: reading, host, port })
    return connected(socket, 'connect', () => new NodeConnection(socket, reading), signal)
  },
}
