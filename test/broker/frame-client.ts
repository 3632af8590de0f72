/**
 * FrameClient: the smallest client of the native protocol, for tests: raw frames over a real socket, nothing retried, nothing hidden.
 * Replies are matched by correlation; error frames reject with their PlayheadError. `connectFrameClient` says hello, `open` does not.
 */
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { apis } from '../../protocol/api.ts'
import type { ApiName, ReplyOf, RequestOf } from '../../protocol/api.ts'
import { failure } from '../../protocol/append.ts'
import { FLAG_ERROR, FrameReader, encodeFrame } from '../../protocol/frame.ts'
import type { Frame } from '../../protocol/frame.ts'
import { decodeHeader, encodeHeader, errorOf } from '../../protocol/header-codec.ts'
import type { Field } from '../../protocol/header-schema.ts'
import { MiB } from '../../protocol/limits.ts'

export interface FrameReply<A extends ApiName> {
  readonly header: ReplyOf<A>
  readonly body: Buffer
}

/** What `connectFrameClient` says first. */
export const helloRequest: RequestOf<'hello'> = { client: 'test', minVersion: 0, maxVersion: 0, credentials: undefined }

export class FrameClient {
  readonly socket: Socket
  /** Resolves when the connection is gone. */
  readonly closed: Promise<void>
  /** Error frames that answer no request: correlation 0. */
  readonly unasked: Error[] = []
  /** Correlations of the replies in the order in which they came. */
  readonly order: number[] = []
  readonly #frames = new FrameReader(1024 * MiB)
  readonly #waiting = new Map<number, { resolve: (frame: Frame) => void; reject: (error: Error) => void }>()
  #correlation = 0

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (bytes: Buffer) => this.#receive(bytes))
    socket.on('error', () => {})
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        for (const { reject } of this.#waiting.values()) reject(new Error('connection closed'))
        this.#waiting.clear()
        resolve()
      })
    })
  }

  static open(port: number): Promise<FrameClient> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: '127.0.0.1', port, noDelay: true }, () => resolve(new FrameClient(socket)))
      socket.once('error', reject)
    })
  }

  /** The frame's bytes, for tests that change them before they send them. */
  static frame<A extends ApiName>(
    api: A,
    request: RequestOf<A>,
    body: readonly Buffer[] = [],
    correlation = 1,
  ): Buffer {
    const row = apis[api]
    const header = encodeHeader(row.request as Field<unknown>, request)
    return Buffer.concat(encodeFrame({ version: 0, api: row.number, flags: 0, correlation }, header, body))
  }

  async request<A extends ApiName>(
    api: A,
    request: RequestOf<A>,
    body: readonly Buffer[] = [],
  ): Promise<FrameReply<A>> {
    const correlation = ++this.#correlation
    const reply = this.expect(correlation)
    this.socket.write(FrameClient.frame(api, request, body, correlation))
    const frame = await reply
    return { header: decodeHeader(apis[api].reply as Field<unknown>, frame.header) as ReplyOf<A>, body: frame.body }
  }

  /** The reply to a frame that the test sends itself. */
  expect(correlation: number): Promise<Frame> {
    return new Promise((resolve, reject) => this.#waiting.set(correlation, { resolve, reject }))
  }

  hello(): Promise<FrameReply<'hello'>> {
    return this.request('hello', helloRequest)
  }

  [Symbol.dispose](): void {
    this.socket.destroy()
  }

  #receive(bytes: Buffer): void {
    this.#frames.push(bytes)
    for (let frame = this.#frames.next(); frame; frame = this.#frames.next()) {
      const { correlation } = frame
      this.order.push(correlation)
      const waiting = this.#waiting.get(correlation)
      this.#waiting.delete(correlation)
      if ((frame.flags & FLAG_ERROR) === 0) waiting?.resolve(frame)
      else {
        const error = errorOf(decodeHeader(failure, frame.header))
        if (waiting) waiting.reject(error)
        else this.unasked.push(error)
      }
    }
  }
}

/** A connection that has said hello. */
export async function connectFrameClient(port: number): Promise<FrameClient> {
  const client = await FrameClient.open(port)
  await client.hello()
  return client
}
