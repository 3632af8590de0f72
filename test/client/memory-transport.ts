/**
 * MemoryTransport: the Transport inside one process. Bytes are copied and arrive in a later turn, in order, in the pieces they were
 * written in, or cut into small ones. Neighbours: scripted-broker.ts listens on it, the client under test connects through it.
 */
import type { Connection, Listener, Transport } from '../../platform/transport.ts'

export class MemoryTransport implements Transport {
  /** Cuts what is written into pieces of at most this many bytes. */
  pieceBytes = Number.POSITIVE_INFINITY
  readonly #listeners = new Map<number, (connection: Connection) => void>()
  #nextPort = 1

  listen(_host: string, port: number, onConnection: (connection: Connection) => void): Promise<Listener> {
    const at = port === 0 ? this.#nextPort++ : port
    this.#listeners.set(at, onConnection)
    return Promise.resolve({
      port: at,
      close: () => {
        this.#listeners.delete(at)
        return Promise.resolve()
      },
    })
  }

  connect(host: string, port: number, signal?: AbortSignal): Promise<Connection> {
    return new Promise((resolve, reject) => {
      setImmediate(() => {
        if (signal?.aborted) return reject(signal.reason)
        const onConnection = this.#listeners.get(port)
        if (onConnection === undefined) return reject(new Error(`connect ECONNREFUSED ${host}:${port}`))
        const near = new End(this)
        const far = new End(this)
        near.other = far
        far.other = near
        onConnection(far)
        resolve(near)
      })
    })
  }
}

class End implements Connection {
  readonly remoteAddress = 'memory'
  onData: (bytes: Buffer) => void = () => {}
  onClose: (error?: Error) => void = () => {}
  onDrain: () => void = () => {}
  readonly pendingBytes = 0
  other: End | undefined
  readonly #transport: MemoryTransport
  #isOpen = true
  #isPaused = false
  #arrived: Buffer[] = []

  constructor(transport: MemoryTransport) {
    this.#transport = transport
  }

  write(parts: readonly Buffer[]): void {
    if (!this.#isOpen) return
    const bytes = Buffer.concat(parts)
    const size = this.#transport.pieceBytes
    for (let at = 0; at < bytes.length; at += Math.min(size, bytes.length)) {
      const piece = Buffer.from(bytes.subarray(at, Math.min(at + size, bytes.length)))
      setImmediate(() => this.other?.receive(piece))
    }
  }

  receive(bytes: Buffer): void {
    if (!this.#isOpen) return
    if (this.#isPaused) this.#arrived.push(bytes)
    else this.onData(bytes)
  }

  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    this.#isPaused = false
    for (const bytes of this.#arrived.splice(0)) this.receive(bytes)
  }

  /** What was written before arrives first: deliveries keep their order. */
  end(): void {
    setImmediate(() => this.destroy())
  }

  destroy(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    setImmediate(() => this.onClose())
    setImmediate(() => this.other?.destroy())
  }
}
