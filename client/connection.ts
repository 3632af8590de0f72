/**
 * BrokerConnection: one connection to one broker. Says hello, numbers the requests, matches replies that come in any order, keeps
 * within the limits the broker told, and turns every way to fail into a typed error.
 * Invariant: requests leave in the order in which `request` was called; each settles exactly once, also when the connection breaks.
 * Called by Cluster (and by replication's followers); calls the Transport.
 */
import { onAbort } from '../platform/abort.ts'
import type { ClientTls } from '../platform/tls.ts'
import { apis } from '../protocol/api.ts'
import type { ApiName, ReplyOf, RequestOf } from '../protocol/api.ts'
import { failure } from '../protocol/append.ts'
import { PlayheadError, isPlayheadError } from '../protocol/errors.ts'
import { FLAG_ERROR, FRAME_PREFIX_BYTES, FrameReader, encodeFrame } from '../protocol/frame.ts'
import type { Frame } from '../protocol/frame.ts'
import { decodeHeader, encodeHeader, errorOf } from '../protocol/header-codec.ts'
import type { FrameMemory, FramePiece } from '../protocol/frame-memory.ts'
import type { Field } from '../protocol/header-schema.ts'
import { MiB, replyHeaderBytesMax } from '../protocol/limits.ts'
import { clusterMechanism } from '../protocol/scram.ts'
import type { Clock, Timer } from '../platform/clock.ts'
import type { Connection, Transport } from '../platform/transport.ts'
import { formatAddress } from './addresses.ts'
import type { BrokerAddress } from './addresses.ts'
import { Credentials } from './credentials.ts'

/** The version of every api that this client speaks; one number until an api gets a second version. */
const apiVersion = 0
/** The largest reply taken; memory grows with what arrives, not with this. */
const replyBytesMax = 256 * MiB
/** Requests that may wait here because the broker's in-flight limits are reached; the next one is refused. */
const waitingRequestsMax = 16_384
/** How often running requests are checked for their time; timeouts are this exact. */
const tickMs = 25
/** Until the broker has told its own. */
const helloLimits = { frameBytesMax: 16 * 1024, inFlightRequestsMax: 1, inFlightBytesMax: 16 * 1024 }

export interface ConnectionOptions {
  readonly transport: Transport
  readonly clock: Clock
  readonly address: BrokerAddress
  /** Free text for the broker's logs and metrics. */
  readonly clientName: string
  /** Who the client is; undefined = nobody in particular. */
  readonly credentials?: Credentials | undefined
  /** In place of credentials: of the cluster that client and broker are brokers of; proven whether or not the broker asks who is there. */
  readonly clusterSecret?: string | undefined
  /** Undefined = plain TCP, unless the address asks for TLS. */
  readonly tls?: ClientTls | undefined
  /** What replies arrive in, let go of by whoever gets them; undefined = memory of the collector. */
  readonly frames?: FrameMemory | undefined
  /** For connecting and hello together. */
  readonly timeoutMs: number
  readonly signal?: AbortSignal
}

export interface RequestOptions {
  /** Without an answer for this long the request is given up: `unavailable`. */
  readonly timeoutMs: number
  readonly signal?: AbortSignal
}

export interface Reply<A extends ApiName> {
  readonly header: ReplyOf<A>
  readonly body: Buffer
  /** What the body lies in, on connections with memory of their own. Held for whoever gets the reply; not to let go of it costs no more than the collector's time. */
  readonly piece?: FramePiece | undefined
}

interface Pending {
  readonly correlation: number
  readonly api: ApiName
  readonly parts: readonly Buffer[]
  readonly bytes: number
  readonly timeoutMs: number
  readonly expiresAtMs: number
  readonly resolve: (frame: Frame) => void
  readonly reject: (error: unknown) => void
  settled: boolean
}

type Limits = Pick<ReplyOf<'hello'>, 'frameBytesMax' | 'inFlightRequestsMax' | 'inFlightBytesMax'>

export class BrokerConnection {
  readonly address: BrokerAddress
  /** Called once when the connection is gone, after all its requests were rejected. */
  onClose: () => void = () => {}
  readonly #connection: Connection
  readonly #clock: Clock
  readonly #reader: FrameReader
  #hello: ReplyOf<'hello'> | undefined
  #limits: Limits = helloLimits
  #nextCorrelation = 1
  /** Sent and not yet answered, by correlation; abandoned ones stay until their reply comes, as they still fill the broker's limit. */
  readonly #sent = new Map<number, Pending>()
  #sentBytes = 0
  #waiting: Pending[] = []
  #closed: PlayheadError | undefined
  #lastDataMs: number
  #tick: Timer | undefined

  private constructor(connection: Connection, { address, clock, frames }: ConnectionOptions) {
    this.address = address
    this.#reader = new FrameReader(replyBytesMax, frames)
    this.#connection = connection
    this.#clock = clock
    this.#lastDataMs = clock.monotonicMs()
    // Read in place: without it every reply would come in pieces of a few KiB.
    connection.room = () => this.#reader.room()
    connection.onData = (bytes) => this.#onData(bytes)
    connection.onClose = (error) => this.#end(this.#lost(error?.message ?? 'closed by the broker'))
    connection.onDrain = () => {}
  }

  /** Connects and says hello. Rejects with `unavailable` (nothing was sent), a typed refusal, or the signal's reason. */
  static async open(options: ConnectionOptions): Promise<BrokerConnection> {
    const { transport, clock, address, clientName, clusterSecret, timeoutMs, signal } = options
    const credentials = clusterSecret === undefined ? options.credentials : asBroker(clusterSecret)
    const tls = options.tls ?? (address.secure === true ? {} : undefined)
    const startedMs = clock.monotonicMs()
    const connection = await dial({ transport, clock, address, timeoutMs, signal, tls })
    const opened = new BrokerConnection(connection, options)
    try {
      const remaining = () => ({
        timeoutMs: Math.max(1, timeoutMs - (clock.monotonicMs() - startedMs)),
        ...(signal && { signal }),
      })
      const token = await credentials?.token()
      const hello = { client: clientName, minVersion: apiVersion, maxVersion: apiVersion, credentials: token }
      const { header } = await opened.request('hello', hello, [], remaining())
      if (header.authentication !== undefined || clusterSecret !== undefined)
        await opened.#authenticate(credentials, remaining)
      opened.#hello = header
      opened.#limits = header
      return opened
    } catch (error) {
      opened.#end(opened.#lost('hello failed'))
      if (isPlayheadError(error, 'unavailable'))
        throw new PlayheadError('unavailable', error.message, { outcome: 'notApplied' })
      throw error
    }
  }

  /** What the broker said in hello: its identity and limits. */
  get broker(): ReplyOf<'hello'> {
    if (this.#hello === undefined) throw new Error('broker connection used before hello')
    return this.#hello
  }

  get isOpen(): boolean {
    return this.#closed === undefined
  }

  /**
   * Sends one request; the parts of the body must not change until it has settled. Rejects with the broker's typed error, with
   * `unavailable` (details.outcome tells `notApplied` from `unknown`) or with the signal's reason.
   */
  request<A extends ApiName>(
    api: A,
    header: RequestOf<A>,
    body: readonly Buffer[],
    options: RequestOptions,
  ): Promise<Reply<A>> {
    return new Promise<Reply<A>>((resolve, reject) => {
      const { signal, timeoutMs } = options
      if (signal?.aborted) return reject(signal.reason)
      if (this.#closed) return reject(new PlayheadError('unavailable', this.#closed.message, { outcome: 'notApplied' }))
      const correlation = this.#nextCorrelation
      this.#nextCorrelation = correlation === 0xffff_ffff ? 1 : correlation + 1
      const prefix = { version: apiVersion, api: apis[api].number, flags: 0, correlation }
      const parts = encodeFrame(prefix, encodeHeader(apis[api].request as Field<RequestOf<A>>, header), body)
      let bytes = -FRAME_PREFIX_BYTES
      for (const part of parts) bytes += part.length
      if (bytes > this.#limits.frameBytesMax) return reject(tooLarge(api, bytes, this.#limits.frameBytesMax))
      const done = onAbort(signal, () => this.#abandon(pending, signal?.reason))
      const pending: Pending = {
        correlation,
        api,
        parts,
        bytes,
        timeoutMs,
        expiresAtMs: this.#clock.monotonicMs() + timeoutMs,
        settled: false,
        resolve(frame) {
          done?.()
          try {
            resolve(decodeReply(api, frame))
          } catch (error) {
            reject(error)
          }
        },
        reject(error) {
          done?.()
          reject(error)
        },
      }
      this.#submit(pending)
    })
  }

  async #authenticate(credentials: Credentials | undefined, options: () => RequestOptions): Promise<void> {
    if (credentials === undefined)
      throw new PlayheadError(
        'unauthenticated',
        `broker ${formatAddress(this.address)}: found nobody who says who he is, wanted a user or a token; connect with credentials`,
      )
    await credentials.prove(async (message) => {
      const request = { mechanism: credentials.mechanism, message }
      return (await this.request('authenticate', request, [], options())).header.message
    })
  }

  /** Closes at once; requests without an answer are rejected with `unavailable`. */
  close(): void {
    this.#end(this.#lost('closed by this client'))
  }

  #submit(pending: Pending): void {
    if (this.#waiting.length > 0 || !this.#hasRoom(pending)) {
      if (this.#waiting.length >= waitingRequestsMax) {
        const message = `broker ${formatAddress(this.address)}: found ${waitingRequestsMax} requests waiting, wanted fewer; await earlier ones first`
        return this.#settle(pending, () =>
          pending.reject(new PlayheadError('overloaded', message, { outcome: 'notApplied' })),
        )
      }
      this.#waiting.push(pending)
    } else {
      this.#send(pending)
    }
    this.#tick ??= this.#clock.after(tickMs, () => this.#onTick())
  }

  #hasRoom(pending: Pending): boolean {
    if (this.#sent.size === 0) return true
    const { inFlightRequestsMax, inFlightBytesMax } = this.#limits
    return this.#sent.size < inFlightRequestsMax && this.#sentBytes + pending.bytes <= inFlightBytesMax
  }

  #send(pending: Pending): void {
    this.#sent.set(pending.correlation, pending)
    this.#sentBytes += pending.bytes
    this.#connection.write(pending.parts)
  }

  #onData(bytes: Buffer): void {
    if (this.#closed) return
    this.#lastDataMs = this.#clock.monotonicMs()
    try {
      this.#reader.push(bytes)
      for (let frame = this.#reader.next(); frame !== undefined; frame = this.#reader.next()) this.#onFrame(frame)
    } catch (error) {
      if (!isPlayheadError(error)) throw error
      this.#end(
        new PlayheadError(error.code, `broker ${formatAddress(this.address)}: ${error.message}`, {
          outcome: 'unknown',
        }),
      )
    }
  }

  #onFrame(frame: Frame): void {
    const pending = this.#sent.get(frame.correlation)
    if (pending === undefined) return this.#onUnasked(frame)
    this.#sent.delete(frame.correlation)
    this.#sentBytes -= pending.bytes
    if (pending.settled) frame.piece?.letGo()
    this.#settle(pending, () => pending.resolve(frame))
    let next = 0
    while (next < this.#waiting.length && this.#hasRoom(this.#waiting[next]!)) this.#send(this.#waiting[next++]!)
    if (next > 0) this.#waiting.splice(0, next)
  }

  /** A broker answers a malformed frame with correlation 0 before it closes; what it says is the reason for all that was in flight. */
  #onUnasked(frame: Frame): void {
    if ((frame.flags & FLAG_ERROR) === 0) return
    const error = errorOf(decodeHeader(failure, frame.header, replyHeaderBytesMax))
    this.#end(
      new PlayheadError(error.code, `broker ${formatAddress(this.address)}: ${error.message}`, { outcome: 'unknown' }),
    )
  }

  #settle(pending: Pending, how: () => void): void {
    if (pending.settled) return
    pending.settled = true
    how()
  }

  /** The caller has left; the request, if sent, stays in the count until its reply comes. */
  #abandon(pending: Pending, reason: unknown): void {
    this.#settle(pending, () => pending.reject(reason))
    const index = this.#sent.has(pending.correlation) ? -1 : this.#waiting.indexOf(pending)
    if (index >= 0) this.#waiting.splice(index, 1)
  }

  #onTick(): void {
    this.#tick = undefined
    if (this.#closed) return
    const nowMs = this.#clock.monotonicMs()
    for (const pending of this.#waiting.filter(({ expiresAtMs }) => expiresAtMs <= nowMs)) {
      this.#abandon(pending, this.#silent(pending, 'notApplied'))
    }
    for (const pending of this.#sent.values()) {
      if (pending.expiresAtMs > nowMs) continue
      // Silence on the whole connection means that it, or the broker, is gone, also where the caller has left; else only this request is given up.
      if (nowMs - this.#lastDataMs >= pending.timeoutMs) return this.#end(this.#silent(pending, 'unknown'))
      this.#abandon(pending, this.#silent(pending, 'unknown'))
    }
    if (this.#sent.size > 0 || this.#waiting.length > 0) this.#tick = this.#clock.after(tickMs, () => this.#onTick())
  }

  #end(reason: PlayheadError): void {
    if (this.#closed) return
    this.#closed = reason
    this.#tick?.cancel()
    this.#connection.destroy()
    const waiting = this.#waiting
    this.#waiting = []
    for (const pending of this.#sent.values()) this.#settle(pending, () => pending.reject(reason))
    this.#sent.clear()
    const unsent = new PlayheadError(reason.code, reason.message, { outcome: 'notApplied' })
    for (const pending of waiting) this.#settle(pending, () => pending.reject(unsent))
    this.onClose()
  }

  #lost(why: string): PlayheadError {
    const message = `broker ${formatAddress(this.address)}: found the connection gone (${why}), wanted an answer; whether the request took effect is unknown`
    return new PlayheadError('unavailable', message, { outcome: 'unknown' })
  }

  #silent({ api, timeoutMs }: Pending, outcome: 'unknown' | 'notApplied'): PlayheadError {
    const message = `broker ${formatAddress(this.address)}: found no answer to ${api} within ${timeoutMs} ms, wanted one; check that it runs, or allow more time with timeoutMs`
    return new PlayheadError('unavailable', message, { outcome, timeoutMs })
  }
}

function asBroker(clusterSecret: string): Credentials {
  return new Credentials({ user: 'broker', password: clusterSecret }, clusterMechanism)
}

type Dialling = Pick<ConnectionOptions, 'transport' | 'clock' | 'address' | 'timeoutMs' | 'tls'> & {
  readonly signal: AbortSignal | undefined
}

async function dial({ transport, clock, address, timeoutMs, signal, tls }: Dialling): Promise<Connection> {
  signal?.throwIfAborted()
  const late = new AbortController()
  const timer = clock.after(timeoutMs, () => late.abort(new Error(`no connection within ${timeoutMs} ms`)))
  try {
    const either = signal ? AbortSignal.any([signal, late.signal]) : late.signal
    return await transport.connect(address.host, address.port, either, tls)
  } catch (error) {
    signal?.throwIfAborted()
    const why = error instanceof Error ? error.message : String(error)
    if (isTrustFailure(error))
      throw new PlayheadError(
        'untrustedBroker',
        `broker ${formatAddress(address)}: found ${why}, wanted TLS with a certificate that is trusted; name its authority, or another address`,
        { outcome: 'notApplied' },
      )
    const message = `broker ${formatAddress(address)}: cannot connect (${why}); start it with "playhead serve", or name another address`
    throw new PlayheadError('unavailable', message, { outcome: 'notApplied' })
  } finally {
    timer.cancel()
  }
}

/** It will be the same the next time: OpenSSL's names for certificates that do not hold, and for a peer that speaks no TLS. */
function isTrustFailure(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  return /CERT|SIGNATURE|^ERR_TLS_|^ERR_SSL_|^ERR_OSSL_|^EPROTO$|ISSUER/.test(code)
}

function decodeReply<A extends ApiName>(api: A, frame: Frame): Reply<A> {
  if ((frame.flags & FLAG_ERROR) !== 0) {
    const error = errorOf(decodeHeader(failure, frame.header, replyHeaderBytesMax))
    frame.piece?.letGo()
    throw error
  }
  return {
    header: decodeHeader(apis[api].reply as Field<ReplyOf<A>>, frame.header, replyHeaderBytesMax),
    body: frame.body,
    piece: frame.piece,
  }
}

function tooLarge(api: ApiName, bytes: number, limit: number): PlayheadError {
  return new PlayheadError(
    'frameTooLarge',
    `${api}: found a request of ${bytes} bytes, wanted at most ${limit}; send less at once`,
    { bytes, limit, outcome: 'notApplied' },
  )
}
