/**
 * HttpMemory: what the requests under way on the HTTP port take, all together: bodies that arrive, replies that are read for them and have not
 * been taken yet. Invariants: above the limit no further request is begun, its body stays with its sender; the queue is bounded, and nobody is in
 * it for longer than `waitMsMax`; of one connection one request at a time has memory or waits for it, however many it has sent; while anybody waits, a connection whose request is not over `stallMsMax` after it began is closed. Called by HttpServer, counts in a RequestMemory.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { PlayheadError } from '../../protocol/errors.ts'
import { KiB } from '../../protocol/limits.ts'
import { RequestMemory } from '../request-memory.ts'
import type { RequestHolder, RequestMemoryOptions } from '../request-memory.ts'

/** Of any request, however small: what Node and fastify make for it. */
const requestBytesMin = 16 * KiB

export interface HttpMemoryOptions extends RequestMemoryOptions {
  /** Requests that may wait for memory. */
  readonly waitingMax: number
  /** Then one is refused: before its connection is closed for being silent. */
  readonly waitMsMax: number
}

class Held implements RequestHolder {
  bytes: number
  readonly arrivingSinceMs: number
  readonly #request: IncomingMessage

  constructor(bytes: number, sinceMs: number, request: IncomingMessage) {
    this.bytes = bytes
    this.arrivingSinceMs = sinceMs
    this.#request = request
  }

  /** Gives back what it holds; done once, whoever calls. */
  over: () => void = () => undefined

  stalled(): void {
    this.#request.socket.destroy()
  }
}

export class HttpMemory {
  readonly #options: HttpMemoryOptions
  readonly #requests: RequestMemory
  readonly #held = new WeakMap<IncomingMessage, Held>()
  /** By connection that has a request under way, those that came behind it: their answers wait for its answer anyway. */
  readonly #behind = new WeakMap<object, (() => void)[]>()
  /** By connection, what to do when it ends: not every reply that waits behind another hears of it. */
  readonly #endings = new WeakMap<object, Set<() => void>>()

  constructor(options: HttpMemoryOptions) {
    this.#options = options
    this.#requests = new RequestMemory(options)
  }

  get takenBytes(): number {
    return this.#requests.takenBytes
  }

  /** No request may be begun now. */
  get isFull(): boolean {
    return this.#requests.full
  }

  /** For a request that does not come through `enter`; given back by who took it. */
  take(bytes: number): void {
    this.#requests.take(bytes)
  }

  give(bytes: number): void {
    this.#requests.give(bytes)
  }

  /** Calls back when the request may be begun, which may be at once; never when it is gone before. `bytes`: of its body, and of what may be read for it. */
  enter(request: IncomingMessage, response: ServerResponse, bytes: number, done: (error?: Error) => void): void {
    const { socket } = request
    const begin = () => this.#begin(request, response, bytes, done)
    const behind = this.#behind.get(socket)
    if (behind === undefined) {
      this.#behind.set(socket, [])
      return begin()
    }
    const { waitingMax } = this.#options
    if (behind.length >= waitingMax) return done(refused(`${waitingMax} on one connection, wanted fewer`, waitingMax))
    behind.push(begin)
  }

  #begin(request: IncomingMessage, response: ServerResponse, bytes: number, done: (error?: Error) => void): void {
    if (!this.#requests.full) {
      this.#hold(request, response, bytes)
      return done()
    }
    const { waitingMax, waitMsMax, clock } = this.#options
    const refuse = (found: string, limit: number) => {
      queueMicrotask(() => this.#next(request.socket)) // not from here: there may be thousands behind it
      done(refused(found, limit))
    }
    if (this.#requests.waitingCount >= waitingMax)
      return refuse(`${waitingMax} waiting for memory, wanted fewer`, waitingMax)
    const goOn = () => {
      patience.cancel()
      endings.delete(gone)
      this.#hold(request, response, bytes)
      done()
    }
    const gone = () => {
      patience.cancel()
      this.#requests.forget(goOn)
    }
    const endings = this.#endingsOf(request.socket)
    const patience = clock.after(waitMsMax, () => {
      endings.delete(gone)
      this.#requests.forget(goOn)
      refuse(`no memory for one within ${waitMsMax} ms, wanted some`, waitMsMax)
    })
    endings.add(gone)
    this.#requests.wait(goOn)
  }

  /** The reply is made, and is so long: what was taken for more goes back. */
  replied(request: IncomingMessage, replyBytes: number): void {
    const held = this.#held.get(request)
    const spareBytes = held === undefined ? 0 : held.bytes - requestBytesMin - replyBytes
    if (held === undefined || spareBytes <= 0) return
    held.bytes -= spareBytes
    this.#requests.give(spareBytes)
  }

  /** The answer is one without an end: it is not counted any more, and not waited for. */
  leave(request: IncomingMessage): void {
    this.#held.get(request)?.over()
  }

  #hold(request: IncomingMessage, response: ServerResponse, bytes: number): void {
    const held = new Held(requestBytesMin + bytes, this.#options.clock.monotonicMs(), request)
    this.#requests.take(held.bytes)
    this.#requests.arriving(held)
    this.#held.set(request, held)
    const endings = this.#endingsOf(request.socket)
    const over = () => {
      if (!endings.delete(over)) return
      this.#held.delete(request)
      this.#requests.arrived(held)
      this.#requests.give(held.bytes)
      this.#next(request.socket)
    }
    held.over = over
    endings.add(over)
    response.once('close', over)
  }

  /** What its connection has under way is over, or refused. */
  #next(socket: IncomingMessage['socket']): void {
    const next = socket.destroyed ? undefined : this.#behind.get(socket)?.shift()
    if (next === undefined) this.#behind.delete(socket)
    else next()
  }

  #endingsOf(socket: IncomingMessage['socket']): Set<() => void> {
    const known = this.#endings.get(socket)
    if (known !== undefined) return known
    const endings = new Set<() => void>()
    this.#endings.set(socket, endings)
    socket.once('close', () => {
      for (const ending of endings) ending()
    })
    return endings
  }
}

function refused(found: string, limit: number): PlayheadError {
  const message = `HTTP requests: found ${found}; try again later or raise httpBytesTotalMax`
  return new PlayheadError('overloaded', message, { limit })
}
