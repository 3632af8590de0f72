/**
 * nodeTransport: the Transport over TCP. What is written in one turn of the event loop goes out in one system call: parts are kept
 * here and handed to the socket when the turn's promise callbacks have all run. Invariant: `onClose` is called exactly once, and nothing
 * is called after it. Neighbours: transport.ts says the contract; broker/listener.ts and client/connection.ts use it.
 */
import { createServer, connect as connectSocket } from 'node:net'
import type { Server, Socket } from 'node:net'
import type { Connection, Listener, Transport } from './transport.ts'

const keepAliveInitialDelayMs = 30_000

function notSet(): never {
  throw new Error('bug: bytes arrived on a connection before its owner set onData')
}

class NodeConnection implements Connection {
  readonly remoteAddress: string
  onData: (bytes: Buffer) => void = notSet
  onClose: (error?: Error) => void = () => {}
  onDrain: () => void = () => {}
  readonly #socket: Socket
  #parts: Buffer[] = []
  #partsBytes = 0
  #flushScheduled = false
  #closed = false
  #error: Error | undefined

  constructor(socket: Socket) {
    this.#socket = socket
    this.remoteAddress = `${socket.remoteAddress ?? 'unknown'}:${socket.remotePort ?? 0}`
    socket.on('data', (bytes: Buffer) => {
      if (!this.#closed) this.onData(bytes)
    })
    socket.on('error', (error) => {
      this.#error = error
    })
    socket.on('close', () => {
      this.#closed = true
      this.#parts = []
      this.#partsBytes = 0
      this.onClose(this.#error)
    })
  }

  get pendingBytes(): number {
    return this.#closed ? 0 : this.#partsBytes + this.#socket.writableLength
  }

  write(parts: readonly Buffer[]): void {
    if (this.#closed || this.#socket.writableEnded) return
    for (const part of parts) {
      this.#parts.push(part)
      this.#partsBytes += part.length
    }
    if (this.#flushScheduled) return
    this.#flushScheduled = true
    // A tick asked for in a promise callback runs when no promise callback is left: all replies of the turn are there by then.
    process.nextTick(this.#flush)
  }

  readonly #flush = (): void => {
    this.#flushScheduled = false
    const parts = this.#parts
    const last = parts.pop()
    if (last === undefined || this.#closed || this.#socket.destroyed) return
    this.#parts = []
    this.#partsBytes = 0
    this.#socket.cork()
    for (const part of parts) this.#socket.write(part)
    this.#socket.write(last, this.#written)
    this.#socket.uncork()
  }

  readonly #written = (): void => {
    if (!this.#closed && this.pendingBytes === 0) this.onDrain()
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
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

function listening(server: Server, host: string, port: number): Promise<Listener> {
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
      })
    })
  })
}

export const nodeTransport: Transport = {
  listen(host, port, onConnection) {
    const options = { noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveInitialDelayMs }
    return listening(
      createServer(options, (socket) => onConnection(new NodeConnection(socket))),
      host,
      port,
    )
  },

  connect(host, port, signal) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason)
      const socket = connectSocket({
        host,
        port,
        noDelay: true,
        keepAlive: true,
        keepAliveInitialDelay: keepAliveInitialDelayMs,
      })
      const onAbort = () => {
        socket.destroy()
        reject(signal?.reason)
      }
      const onError = (error: Error) => {
        signal?.removeEventListener('abort', onAbort)
        reject(error)
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      socket.once('error', onError)
      socket.once('connect', () => {
        signal?.removeEventListener('abort', onAbort)
        socket.off('error', onError)
        resolve(new NodeConnection(socket))
      })
    })
  },
}
