/**
 * QuickLane: single appends in the plainest form, taken from the socket without Node's HTTP server, which alone costs four times as much per request as the rest
 * of it (figures: docs/decisions/0032). A connection whose request is anything else goes to Node's server, with what was read of it, and stays there.
 * Invariants: one request of a connection is under way at a time; a request is answered here or handed over whole, never both; every refusal but those of the
 * append itself is Node's and fastify's to answer, so that there is one place where they are made. There is no lane where somebody has to say who he is,
 * where requests are encrypted, or where nothing may be written: it looks at none of that.
 * Made by HttpServer, calls Partition.
 */
import type { IncomingMessage } from 'node:http'
import type { Timer } from '../../platform/clock.ts'
import { PlayheadError, isPlayheadError } from '../../protocol/errors.ts'
import { encodeEvent } from '../../protocol/event.ts'
import { isInternalTopic } from '../../protocol/names.ts'
import { encodeRecordBatch } from '../../protocol/record-batch.ts'
import type { Appended } from '../../storage/log.ts'
import type { Services } from '../request.ts'
import { EventIds } from './event-ids.ts'
import { isOwnHost } from './guard.ts'
import { expectedVersionOf } from './expected-version.ts'
import type { HttpMemory } from './memory.ts'
import { plainRequest } from './plain-request.ts'
import type { PlainRequest } from './plain-request.ts'
import { problemOf } from './problem.ts'
import { compileSchema, isCompilerThere } from './schema.ts'
import type { SchemaChecker } from './schema.ts'
import { newEvent } from './schemas.ts'
import type { NewEvent } from './schemas.ts'

type Socket = IncomingMessage['socket']

let isNewEvent: SchemaChecker<typeof newEvent> | undefined
/** How often connections are looked at that nothing comes on. */
const lookMsMax = 5_000
/** A request, its parsed body and its reply. */
const requestBytes = 16 * 1024

export interface QuickLaneOptions {
  readonly services: Services
  readonly memory: HttpMemory
  /** The socket is Node's from now on; what was read of it is in its buffer. */
  readonly handOver: (socket: Socket) => void
  readonly onAnswer: (status: number) => void
  readonly onBug: (error: unknown) => void
}

export class QuickLane {
  readonly #options: QuickLaneOptions
  readonly #ids: EventIds
  readonly #connections = new Set<LaneConnection>()
  #watch: Timer | undefined
  #date = { second: 0, text: '' }

  constructor(options: QuickLaneOptions) {
    this.#options = options
    this.#ids = new EventIds(options.services)
  }

  enter(socket: Socket): void {
    const connection = new LaneConnection(socket, this.#options, {
      begin: (request) => this.#begin(request),
      leave: () => this.#connections.delete(connection),
    })
    this.#connections.add(connection)
    this.#watch ??= this.#watchLater()
  }

  #watchLater(): Timer {
    const { clock, config } = this.#options.services
    return clock.after(Math.min(lookMsMax, config.httpRequestWaitMsMax), () => {
      const beforeMs = clock.monotonicMs() - config.httpRequestWaitMsMax
      for (const connection of this.#connections) connection.endIfIdleSince(beforeMs)
      this.#watch = this.#connections.size > 0 ? this.#watchLater() : undefined
    })
  }

  /** Idle connections are closed, others once their request is answered. */
  stop(): void {
    this.#watch?.cancel()
    for (const connection of this.#connections) connection.stop()
  }

  destroyConnections(): void {
    for (const connection of this.#connections) connection.destroy()
  }

  /** The answer's bytes, later; undefined = not one for the lane. Takes effect at once: requests take effect in the order they are begun. */
  #begin(request: PlainRequest): Promise<string> | undefined {
    const { services, memory } = this.#options
    if (!isOwnHost(request.headers.host, services) || isInternalTopic(request.topic) || memory.isFull) return undefined
    let event: NewEvent
    try {
      event = JSON.parse(request.body) as NewEvent
    } catch {
      return undefined
    }
    if (!isCompilerThere()) return undefined // the long way waits for it
    isNewEvent ??= compileSchema(newEvent)
    if (!isNewEvent.Check(event) || event.id !== undefined) return undefined
    try {
      const { topic, stream } = request
      const version = expectedVersionOf(request.expectedVersion)
      const partition = services.partitions.ofStream(topic, stream)
      const batch = encodeRecordBatch([encodeEvent(stream, event, this.#ids.next())])
      const expected = version === undefined ? [] : [{ stream, version }]
      const appended = partition.append({ batch, expected, wantVersions: true, acks: 'all' })
      memory.take(requestBytes)
      return this.#answer(appended, partition.partition)
    } catch (error) {
      // Refused before anything was done: the other way answers it.
      if (isPlayheadError(error)) return undefined
      throw error
    }
  }

  async #answer(appended: Promise<Appended>, partition: number): Promise<string> {
    try {
      const { baseOffset, versions } = await appended
      return this.#reply(
        201,
        'Created',
        'application/json',
        `{"partition":${partition},"offset":${baseOffset},"version":${versions[0] ?? 0}}`,
      )
    } catch (error) {
      if (!isPlayheadError(error)) this.#options.onBug(error)
      const problem = isPlayheadError(error)
        ? error
        : new PlayheadError('internal', 'found a bug in the broker; its log has the details')
      return this.#reply(
        problem.httpStatus,
        problem.code,
        'application/problem+json',
        JSON.stringify(problemOf(problem)),
      )
    } finally {
      this.#options.memory.give(requestBytes)
    }
  }

  #reply(status: number, reason: string, type: string, body: string): string {
    this.#options.onAnswer(status)
    const length = Buffer.byteLength(body)
    return `HTTP/1.1 ${status} ${reason}\r\ncontent-type: ${type}; charset=utf-8\r\ncontent-length: ${length}\r\nDate: ${this.#now()}\r\nConnection: keep-alive\r\n\r\n${body}`
  }

  #now(): string {
    const second = Math.floor(this.#options.services.clock.now() / 1_000)
    if (second !== this.#date.second) this.#date = { second, text: new Date(second * 1_000).toUTCString() }
    return this.#date.text
  }
}

interface LaneSide {
  begin(request: PlainRequest): Promise<string> | undefined
  leave(): void
}

class LaneConnection {
  readonly #socket: Socket
  readonly #options: QuickLaneOptions
  readonly #lane: LaneSide
  #headers: PlainRequest['headers'] | undefined
  #isBusy = false
  #isStopping = false
  #idleSinceMs: number
  /** What came while a request was under way. */
  #early: Buffer[] = []

  constructor(socket: Socket, options: QuickLaneOptions, lane: LaneSide) {
    this.#socket = socket
    this.#options = options
    this.#lane = lane
    this.#idleSinceMs = options.services.clock.monotonicMs()
    socket.setNoDelay(true)
    socket.on('error', this.#onError).on('close', this.#onClose).on('data', this.#onData)
    // A half-closed one is Node's to end as it does.
    socket.on('end', this.#onEnd)
  }

  stop(): void {
    this.#isStopping = true
    if (!this.#isBusy) this.#socket.destroy()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  /** Nothing has come, and nothing is to be answered, since before then. */
  endIfIdleSince(beforeMs: number): void {
    if (!this.#isBusy && this.#idleSinceMs < beforeMs) this.#socket.destroy()
  }

  readonly #onError = (): void => {}
  readonly #onClose = (): void => this.#lane.leave()
  readonly #onEnd = (): void => {
    if (!this.#isBusy) this.#socket.end()
  }
  readonly #onData = (bytes: Buffer): void => {
    if (this.#isBusy) {
      this.#early.push(bytes)
      this.#socket.pause()
      return
    }
    this.#take(bytes)
  }

  #take(bytes: Buffer): void {
    const request = this.#isStopping ? undefined : plainRequest(bytes, this.#headers)
    const answer = request === undefined ? undefined : this.#lane.begin(request)
    if (answer === undefined) return this.#handOver(bytes)
    this.#headers = request?.headers
    this.#isBusy = true
    void answer.then((reply) => this.#send(reply))
  }

  #send(reply: string): void {
    this.#isBusy = false
    this.#idleSinceMs = this.#options.services.clock.monotonicMs()
    if (this.#socket.destroyed) return
    this.#socket.write(reply)
    if (this.#isStopping || this.#socket.readableEnded) return void this.#socket.end()
    if (this.#early.length === 0) return
    const bytes = Buffer.concat(this.#early)
    this.#early = []
    this.#socket.resume()
    this.#take(bytes)
  }

  #handOver(bytes: Buffer): void {
    const socket = this.#socket
    socket.off('data', this.#onData).off('error', this.#onError).off('close', this.#onClose).off('end', this.#onEnd)
    this.#lane.leave()
    socket.pause()
    socket.unshift(bytes)
    this.#options.handOver(socket)
  }
}
