/**
 * Transport: the seam to byte-stream connections. Neighbours: node-transport.ts implements it over TCP; the simulator cuts,
 * delays and reorders connections. All callbacks run in turns of the event loop, never inside a call made here.
 */
import type { ClientTls, ServerTls } from './tls.ts'

export interface Connection {
  readonly remoteAddress: string
  /** Common name of the client certificate that the connection came with, verified. */
  readonly certificateName?: string | undefined
  /** Set once, before the first turn ends: bytes as they arrive. The bytes stay the receiver's. */
  onData: (bytes: Buffer) => void
  /**
   * May be set: where what arrives next is to be put, asked for before each read and answered with at least one byte. Then `onData` is called with
   * the beginning of that memory wherever the transport can read into it, and nothing is allocated or copied.
   */
  room?: () => Buffer
  /** Set once: the connection is gone (by either side); the error if there was one. Called exactly once. */
  onClose: (error?: Error) => void
  /** Called each time that everything written has gone to the kernel: `pendingBytes` is 0 again. */
  onDrain: () => void
  /** Queues all parts as one write. They must not be changed until they have gone: `onSent` is called then, and never if the connection ends before. */
  write(parts: readonly Buffer[], onSent?: () => void): void
  /** Bytes queued here that the kernel has not taken yet. */
  readonly pendingBytes: number
  pause(): void
  resume(): void
  /**
   * May be there: nothing is expected here for now. Until `wake` the process does not live on for this connection, which closes after `idleMsMax`
   * in which nothing came.
   */
  rest?(idleMsMax: number): void
  wake?(): void
  /** Sends what is queued, then closes. */
  end(): void
  /** Closes at once; what is queued is lost. */
  destroy(): void
}

export interface Listener {
  readonly port: number
  /** Stops accepting; open connections stay. */
  close(): Promise<void>
  /** New connections get this certificate and trust this authority; there if `listen` was given TLS. Throws for what is no certificate or no key. */
  renew?(tls: ServerTls): void
}

export interface Transport {
  /** Port 0 = any free one. Rejects with Node's error (EADDRINUSE, EACCES …). */
  listen(host: string, port: number, onConnection: (connection: Connection) => void, tls?: ServerTls): Promise<Listener>
  /** Rejects with Node's error (ECONNREFUSED, CERT_HAS_EXPIRED …), or the signal's reason. */
  connect(host: string, port: number, signal?: AbortSignal, tls?: ClientTls): Promise<Connection>
}
