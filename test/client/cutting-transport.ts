/**
 * CuttingTransport: TCP whose connections break after a random number of bytes, in either direction, so that requests and replies are
 * lost at any byte. Broken is told to the client only; what had reached the kernel still arrives at the broker.
 */
import { nodeTransport } from '../../platform/node-transport.ts'
import type { Connection, Listener, Transport } from '../../platform/transport.ts'

export class CuttingTransport implements Transport {
  cuts = 0
  readonly #random: () => number
  /** Bytes that a connection carries on average before it breaks. */
  readonly #bytesMean: number

  constructor(random: () => number, bytesMean: number) {
    this.#random = random
    this.#bytesMean = bytesMean
  }

  listen(host: string, port: number, onConnection: (connection: Connection) => void): Promise<Listener> {
    return nodeTransport.listen(host, port, onConnection)
  }

  async connect(host: string, port: number, signal?: AbortSignal): Promise<Connection> {
    const connection = await nodeTransport.connect(host, port, signal)
    let left = 200 + this.#random() * 2 * this.#bytesMean
    const cut = () => {
      this.cuts++
      // What is queued goes out or not, as it happens.
      if (this.#random() < 0.5) connection.end()
      else connection.destroy()
    }
    return new Proxy(connection, {
      get: (target, name) => {
        if (name === 'write') {
          return (parts: readonly Buffer[], onSent?: () => void) => {
            const before = left
            for (const part of parts) left -= part.length
            target.write(parts, onSent)
            if (before > 0 && left <= 0) cut()
          }
        }
        const value = Reflect.get(target, name) as unknown
        return typeof value === 'function' ? (value as () => unknown).bind(target) : value
      },
      set: (target, name, value: unknown) => {
        if (name !== 'onData') return Reflect.set(target, name, value)
        target.onData = (bytes) => {
          const before = left
          left -= bytes.length
          if (before <= 0) return
          if (left <= 0) return cut()
          ;(value as (bytes: Buffer) => void)(bytes)
        }
        return true
      },
    })
  }
}
