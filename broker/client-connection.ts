/**
 * ClientConnection: one client of the native port. Cuts what arrives into frames, has them answered, and sends the replies in whatever
 * order they come. Invariants: nothing is read from the socket while its requests or replies are above their limits; hello comes first; a
 * malformed frame ends this connection and nothing else. Made by Listener, calls Dispatch.
 */
import type { Clock, Timer } from '../platform/clock.ts'
import type { Connection } from '../platform/transport.ts'
import { apis } from '../protocol/api.ts'
import { PlayheadError, isPlayheadError } from '../protocol/errors.ts'
import { FLAG_ERROR, FRAME_PREFIX_BYTES, FrameReader } from '../protocol/frame.ts'
import type { Frame } from '../protocol/frame.ts'
import type { FrameMemory, FramePiece } from '../protocol/frame-memory.ts'
import { KiB } from '../protocol/limits.ts'
import type { Dispatch } from './dispatch.ts'
import { errorFrame } from './dispatch.ts'
import { ReplyBudget } from './reply-budget.ts'
import type { ReplyMemory } from './reply-memory.ts'
import type { RequestHolder, RequestMemory } from './request-memory.ts'
import type { ReplyRoom, RequestContext, Services } from './request.ts'
import type { Session } from './security/session.ts'

/** Whoever has not said hello gets no memory for more than this. */
const helloFrameBytesMax = 16 * KiB
/** After the last frame of a connection that is to be closed: how long its peer may take to read it and close. */
export const lingerMs = 1_000

/**
 * This much of each request does not count in the memory of all connections: requests that wait for events are smaller, and if they could
 * fill it, the appends that they wait for would not get in.
 */
const smallRequestBytes = 1 * KiB

export interface ConnectionStats {
  accepted: number
  refused: number
  receivedBytes: number
  sentBytes: number
  malformedFrames: number
  /** Times that a connection was not read from because its requests or replies were above their limits. */
  pauses: number
  /** Connections closed because they took nothing, or did not end a request, while others waited for the memory that they held. */
  stalled: number
}

/** Limits that all connections share. */
export interface ConnectionMemory {
  readonly requests: RequestMemory
  readonly replies: ReplyMemory
  /** What frames arrive in. */
  readonly frames: FrameMemory
}

export interface ClientConnectionOptions {
  readonly connection: Connection
  readonly memory: ConnectionMemory
  readonly services: Services
  readonly dispatch: Dispatch
  readonly stats: ConnectionStats
  readonly onClosed: (connection: ClientConnection) => void
}

type Stage = 'hello' | 'open' | 'stopping' | 'closing' | 'closed'

export class ClientConnection implements RequestHolder {
  readonly #connection: Connection
  readonly #services: Services
  readonly #dispatch: Dispatch
  readonly #stats: ConnectionStats
  readonly #onClosed: (connection: ClientConnection) => void
  readonly #clock: Clock
  readonly #frames: FrameReader
  readonly #requests: RequestMemory
  readonly #replies: ReplyBudget
  readonly #gone = new AbortController()
  readonly #session: Session
  #stage: Stage = 'hello'
  #saidHello = false
  #paused = false
  #inFlightRequests = 0
  #inFlightBytes = 0
  /** Counted in the memory of requests for the one that is arriving. */
  #arrivingBytes = 0
  #arrivingSinceMs = 0
  #timer: Timer
  /** Until what its principal has used is paid for. */
  #payday: Timer | undefined

  constructor(options: ClientConnectionOptions) {
    this.#connection = options.connection
    this.#services = options.services
    this.#dispatch = options.dispatch
    this.#stats = options.stats
    this.#onClosed = options.onClosed
    this.#clock = options.services.clock
    const { remoteAddress, certificateName } = options.connection
    this.#session = options.services.security.session('connection', remoteAddress, certificateName)
    const { config } = options.services
    this.#frames = new FrameReader(helloFrameBytesMax, options.memory.frames)
    this.#requests = options.memory.requests
    this.#replies = new ReplyBudget({
      memory: options.memory.replies,
      bytesMax: config.replyBytesMax,
      onStalled: () => this.stalled(),
    })
    this.#timer = this.#clock.after(config.helloWaitMsMax, () => this.#helloOverdue())
    this.#connection.room = () => this.#frames.room()
    this.#connection.onData = (bytes) => this.#receive(bytes)
    this.#connection.onDrain = () => this.#drained()
    this.#connection.onClose = () => this.#closed()
  }

  get inFlightRequests(): number {
    return this.#inFlightRequests
  }

  get arrivingSinceMs(): number | undefined {
    return this.#paused ? undefined : this.#arrivingSinceMs
  }

  /** Others wait for the memory that it holds, and it does nothing to give it back. */
  stalled(): void {
    this.#stats.stalled++
    this.#connection.destroy()
  }

  /**
   * The broker stops: no further request is taken, parked ones answer with what they have, and the connection closes when the last reply
   * has gone.
   */
  stop(): void {
    if (this.#stage === 'closed' || this.#stage === 'closing') return
    this.#stage = 'stopping'
    this.#gone.abort()
    this.#endWhenAnswered()
  }

  destroy(): void {
    this.#connection.destroy()
  }

  /** Rights have changed, or time has passed: whoever is nobody any more is told, and the connection ends. */
  look(): void {
    if (this.#session.holds || this.#stage !== 'open') return
    const message = `connection of ${this.#session.name}: found its credentials expired, changed or revoked, wanted valid ones; connect again`
    this.#refuse(
      { version: 0, api: 0, flags: FLAG_ERROR, correlation: 0 },
      new PlayheadError('unauthenticated', message),
    )
  }

  #receive(bytes: Buffer): void {
    this.#stats.receivedBytes += bytes.length
    // While closing, what still comes is read and dropped: closing with unread bytes would reset the connection under the last reply.
    if (this.#stage !== 'hello' && this.#stage !== 'open') return
    this.#frames.push(bytes)
    this.#takeFrames()
  }

  #takeFrames(): void {
    while (this.#stage === 'hello' || this.#stage === 'open') {
      if (this.#mustWait()) return this.#pause()
      let frame: Frame | undefined
      try {
        frame = this.#frames.next()
      } catch (error) {
        if (!isPlayheadError(error)) throw error
        this.#stats.malformedFrames++
        return this.#refuse({ version: 0, api: 0, flags: FLAG_ERROR, correlation: 0 }, error)
      }
      if (frame === undefined) {
        this.#countArriving()
        break
      }
      this.#take(frame)
    }
    if (this.#paused) this.#resume()
  }

  #mustWait(): boolean {
    const { inFlightRequestsMax, inFlightBytesMax } = this.#services.config
    // What is counted already is read to its end: it is how memory gets free.
    // Nor does hello wait, which is small: who has not been greeted would be closed for our own lack of memory.
    if (this.#requests.full && this.#arrivingBytes === 0 && this.#stage !== 'hello') {
      this.#requests.wait(this.#goOn)
      return true
    }
    return (
      this.#owes() ||
      this.#inFlightRequests >= inFlightRequestsMax ||
      this.#inFlightBytes >= inFlightBytesMax ||
      this.#replies.exceeded ||
      // Nothing behind hello is looked at before it is answered: what it allows holds from the next frame on.
      (this.#stage === 'hello' && this.#inFlightRequests > 0)
    )
  }

  /** Its principal has used more than its quota: nothing more is read until that is paid for. */
  #owes(): boolean {
    const waitMs = this.#session.meter?.waitMs ?? 0
    if (waitMs === 0) return false
    this.#payday ??= this.#clock.after(waitMs, () => {
      this.#payday = undefined
      this.#takeFrames()
    })
    return true
  }

  /** A frame is counted in full once its length is known: many of them, begun and not ended, are memory too. */
  #countArriving(): void {
    if (this.#arrivingBytes > 0) return
    this.#arrivingBytes = largeBytesOf(this.#frames.arrivingBytes)
    if (this.#arrivingBytes === 0) return
    this.#requests.take(this.#arrivingBytes)
    this.#requests.arriving(this)
    this.#arrivingSinceMs = this.#clock.monotonicMs()
  }

  /** It is whole, or will never be. Answers the bytes that were counted, which are the caller's to give back. */
  #endArriving(): number {
    const bytes = this.#arrivingBytes
    this.#arrivingBytes = 0
    if (bytes > 0) this.#requests.arrived(this)
    return bytes
  }

  #take(frame: Frame): void {
    if (this.#stage === 'hello' && frame.api !== apis.hello.number && frame.api !== apis.authenticate.number) {
      return this.#refuse(frame, this.#tooEarly(frame.api))
    }
    this.#session.meter?.received(frameBytes(frame))
    void this.#answer(frame, new Room(this.#replies))
  }

  #tooEarly(api: number): PlayheadError {
    if (!this.#saidHello)
      return new PlayheadError(
        'helloRequired',
        `connection: found a request of api ${api}, wanted hello first; see docs/protocol.md`,
      )
    return new PlayheadError(
      'unauthenticated',
      `connection: found a request of api ${api}, wanted authenticate first; give a user or a token, see docs/operations/security.md`,
    )
  }

  /** Up to the handler's first await this runs in the turn in which the frame arrived. */
  async #answer(frame: Frame, reply: Room): Promise<void> {
    const bytes = frameBytes(frame)
    this.#inFlightRequests++
    this.#inFlightBytes += bytes
    const largeBytes = largeBytesOf(bytes)
    this.#requests.take(largeBytes - this.#endArriving())
    const context: RequestContext = {
      services: this.#services,
      session: this.#session,
      body: frame.body,
      piece: frame.piece,
      signal: this.#gone.signal,
      reply,
    }
    const { parts, pieces, failed } = await this.#dispatch.answer(frame, context)
    frame.piece?.letGo() // the reply has nothing of it, and who keeps some of it for longer holds it
    this.#inFlightRequests--
    this.#inFlightBytes -= bytes
    this.#requests.give(largeBytes)
    if (frame.api === apis.hello.number && !failed) this.#saidHello = true
    const isHello = this.#stage === 'hello'
    if (isHello && !failed) this.#greeted()
    this.#send(parts, reply.reservedBytes, pieces)
    if (this.#stage === 'stopping') this.#endWhenAnswered()
    else if (this.#paused || isHello) this.#takeFrames()
  }

  #greeted(): void {
    if (this.#stage !== 'hello' || !this.#saidHello || !this.#session.isReady) return
    this.#stage = 'open'
    this.#timer.cancel()
    this.#frames.frameBytesMax = this.#services.config.frameBytesMax
  }

  /** Of `pieces` it lets go when the parts have gone; if the connection ends before that, they go to the collector. */
  #send(parts: readonly Buffer[], reservedBytes = 0, pieces: readonly FramePiece[] = []): void {
    if (this.#stage === 'closed') return
    let bytes = 0
    for (const part of parts) bytes += part.length
    this.#stats.sentBytes += bytes
    this.#session.meter?.sent(bytes)
    this.#connection.write(parts, pieces.length === 0 ? undefined : () => letGo(pieces))
    this.#replies.sent(bytes, reservedBytes)
  }

  /** One function for the connection's whole life, so that waiting twice is waiting once. */
  readonly #goOn = (): void => this.#takeFrames()

  #pause(): void {
    if (this.#paused) return
    this.#paused = true
    this.#stats.pauses++
    this.#connection.pause()
  }

  #resume(): void {
    this.#paused = false
    this.#arrivingSinceMs = this.#clock.monotonicMs()
    this.#connection.resume()
  }

  #drained(): void {
    this.#replies.drained()
    if (this.#paused) this.#takeFrames()
  }

  #helloOverdue(): void {
    const { helloWaitMsMax } = this.#services.config
    const wanted = this.#saidHello ? 'authenticate' : 'hello'
    const message = `connection: found no ${wanted} after ${helloWaitMsMax} ms, wanted it first; see docs/protocol.md`
    const error = new PlayheadError(this.#saidHello ? 'unauthenticated' : 'helloRequired', message)
    this.#refuse({ version: 0, api: 0, flags: FLAG_ERROR, correlation: 0 }, error)
  }

  /** The last frame of this connection, then its end. */
  #refuse(prefix: Parameters<typeof errorFrame>[0], error: PlayheadError): void {
    this.#send(errorFrame(prefix, error))
    this.#end()
  }

  #endWhenAnswered(): void {
    if (this.#inFlightRequests === 0) this.#end()
  }

  #end(): void {
    if (this.#stage === 'closed' || this.#stage === 'closing') return
    const stopping = this.#stage === 'stopping'
    this.#stage = 'closing'
    if (this.#paused) this.#resume()
    this.#connection.end()
    this.#linger(stopping)
  }

  /** A stop gives a slow reader the time it needs for its last replies: Listener.stop bounds that. Nobody else gets more. */
  #linger(stopping: boolean): void {
    this.#timer.cancel()
    this.#timer = this.#clock.after(lingerMs, () => {
      if (stopping && this.#connection.pendingBytes > 0) this.#linger(stopping)
      else this.#connection.destroy()
    })
  }

  #closed(): void {
    this.#stage = 'closed'
    this.#timer.cancel()
    this.#payday?.cancel()
    this.#session.end()
    this.#gone.abort()
    this.#requests.forget(this.#goOn)
    this.#requests.give(this.#endArriving())
    this.#replies.close()
    this.#onClosed(this)
  }
}

/** What one request has reserved. */
class Room implements ReplyRoom {
  reservedBytes = 0
  readonly #replies: ReplyBudget

  constructor(replies: ReplyBudget) {
    this.#replies = replies
  }

  reserve(bytes: number): Promise<void> | undefined {
    this.reservedBytes += bytes
    return this.#replies.reserve(bytes)
  }

  tryReserve(bytes: number): boolean {
    const reserved = this.#replies.tryReserve(bytes)
    if (reserved) this.reservedBytes += bytes
    return reserved
  }

  release(bytes: number): void {
    this.reservedBytes -= bytes
    this.#replies.release(bytes)
  }
}

function letGo(pieces: readonly FramePiece[]): void {
  for (const piece of pieces) piece.letGo()
}

function largeBytesOf(requestBytes: number): number {
  return Math.max(0, requestBytes - smallRequestBytes)
}

function frameBytes({ header, body }: Frame): number {
  return FRAME_PREFIX_BYTES + header.length + body.length
}
