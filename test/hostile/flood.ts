/** What floods are made of: many raw sockets at once, and what came back on each. */
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { encodeRecordBatch } from '../../protocol/record-batch.ts'
import type { Compression } from '../../protocol/record-batch.ts'

export interface Flooder extends Disposable {
  readonly socket: Socket
  /** What has come, and how much of it; only the last bytes are kept. */
  receivedBytes: number
  last: Buffer
  /** Resolves when the connection is gone, from either side. */
  readonly closed: Promise<void>
  isClosed: boolean
}

const lastBytesMax = 64 * 1024

/** A connection that sends `bytes` first and reads what comes, unless `reads` says no. Rejects when it cannot connect. */
export function flood(port: number, bytes?: Buffer | string, { reads = true } = {}): Promise<Flooder> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true })
    const { promise: closed, resolve: close } = Promise.withResolvers<void>()
    const flooder: Flooder = {
      socket,
      receivedBytes: 0,
      last: Buffer.alloc(0),
      closed,
      isClosed: false,
      [Symbol.dispose]: () => socket.destroy(),
    }
    let isConnected = false
    socket.on('error', (error) => isConnected || reject(error))
    socket.on('close', () => {
      flooder.isClosed = true
      close()
    })
    if (reads) {
      socket.on('data', (more: Buffer) => {
        flooder.receivedBytes += more.length
        flooder.last = Buffer.concat([flooder.last, more]).subarray(-lastBytesMax)
      })
    }
    socket.on('connect', () => {
      isConnected = true
      if (bytes !== undefined) socket.write(bytes)
      resolve(flooder)
    })
  })
}

/** So many, a few hundred at a time: the kernel's queue of connections nobody has accepted yet is short. */
export async function floodOf(count: number, make: (index: number) => Promise<Flooder>): Promise<Flooder[]> {
  const flooders: Flooder[] = []
  for (let at = 0; at < count; at += 200) {
    const next = Array.from({ length: Math.min(200, count - at) }, (_, index) => make(at + index))
    flooders.push(...(await Promise.all(next)))
  }
  return flooders
}

export function endAll(flooders: readonly Flooder[]): void {
  for (const { socket } of flooders) socket.destroy()
}

/** One record whose value is so many zeros. */
export function recordBatch(valueBytes: number, compression: Compression): Buffer {
  return encodeRecordBatch([{ key: null, value: Buffer.alloc(valueBytes), timestamp: 0 }], { compression })
}
