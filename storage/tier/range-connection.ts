/**
 * RangeConnection: one connection to a store over which one part of an object after the other is read. Over plain HTTP bodies go from the socket straight
 * to where they are wanted: without the buffer, the event and the copy that Node's own HTTP client has for every 64 KiB of them. Over TLS they are copied
 * once, out of what Node has decrypted.
 * Invariants: one request at a time; only a whole answer of the range asked for counts; nothing is put into the caller's memory once his read has ended.
 * Neighbours: S3RangeReader signs requests and keeps connections for the next one.
 */
import assert from 'node:assert/strict'
import { onAbort } from '../../platform/abort.ts'
import { HttpFailure } from '../../platform/http-client.ts'
import { nodeTransport } from '../../platform/node-transport.ts'
import type { Connection } from '../../platform/transport.ts'

/** Where services are that speak HTTP, and whether it is encrypted. */
export interface HttpService {
  readonly host: string
  readonly port: number
  readonly isSecure: boolean
}

/**
 * The bytes read; `other` = not the range asked for: a refusal, or some other part of the object; `unframed` = it may be, but in a form of which only
 * a whole HTTP client makes something.
 */
export type RangeAnswer = number | 'other' | 'unframed'

/** What every answer begins with. */
const answerBegin = 'HTTP/1.'
/** Of an answer's status and headers. */
const headBytesMax = 16 * 1024
/** A refusal this long is read to its end, so that the connection can be used again. */
const refusalBytesMax = 64 * 1024
const partialContent = 206

interface Asked {
  readonly position: number
  readonly target: Buffer
  readonly resolve: (answer: RangeAnswer) => void
  readonly reject: (error: Error) => void
}

interface Body {
  /** Else it is only passed over. */
  readonly isWanted: boolean
  readonly isLast: boolean
  takenBytes: number
  leftBytes: number
}

export class RangeConnection {
  readonly #connection: Connection
  /** What is not wanted anywhere else arrives here. */
  readonly #scratch = Buffer.allocUnsafeSlow(headBytesMax)
  #asked: Asked | undefined
  /** What has come of the head. */
  #head: Buffer = Buffer.alloc(0)
  /** Undefined until the head is whole. */
  #body: Body | undefined
  #isOpen = true
  /** Whether anything came back for the latest request. */
  isAnswered = false

  private constructor(connection: Connection) {
    this.#connection = connection
    connection.room = () => this.#room()
    connection.onData = (bytes) => this.#take(bytes)
    connection.onClose = (error) =>
      this.#end(new HttpFailure(error?.message ?? 'found the connection closed, wanted a whole answer', true))
  }

  /** Rejects with Node's error (ECONNREFUSED, CERT_HAS_EXPIRED …), or the signal's reason. */
  static async open({ host, port, isSecure }: HttpService, signal: AbortSignal): Promise<RangeConnection> {
    return new RangeConnection(await nodeTransport.connect(host, port, signal, isSecure ? {} : undefined))
  }

  /** Whether something can be asked here. */
  get isOpen(): boolean {
    return this.#isOpen
  }

  /**
   * Sends `request`, all of it, and fills `target` with what the object has from `position` on. Rejects with HttpFailure when there is no whole answer,
   * or with the signal's reason, and is closed then.
   */
  async read(request: string, position: number, target: Buffer, signal: AbortSignal): Promise<RangeAnswer> {
    assert(this.#asked === undefined && this.#isOpen)
    signal.throwIfAborted()
    this.#connection.wake?.()
    this.isAnswered = false
    const leave = onAbort(signal, () => this.#end(signal.reason as Error))
    try {
      return await new Promise((resolve, reject) => {
        this.#asked = { position, target, resolve, reject }
        this.#connection.write([Buffer.from(request, 'latin1')])
      })
    } finally {
      leave?.()
    }
  }

  /** Nobody asks for now: it keeps no process alive, and closes after so long. */
  rest(idleMsMax: number): void {
    this.#connection.rest?.(idleMsMax)
  }

  close(): void {
    this.#end(new HttpFailure('found the connection closed by this side, wanted a whole answer', true))
  }

  #room(): Buffer {
    const [asked, body] = [this.#asked, this.#body]
    if (asked === undefined || body === undefined || !body.isWanted) return this.#scratch
    return asked.target.subarray(body.takenBytes, body.takenBytes + body.leftBytes)
  }

  #take(bytes: Buffer): void {
    const asked = this.#asked
    if (asked === undefined) return this.#end(new HttpFailure('found bytes that nobody asked for', true))
    this.isAnswered = true
    if (this.#body !== undefined) return this.#takeBody(asked, this.#body, bytes)
    const seen = this.#head.length === 0 ? bytes : Buffer.concat([this.#head, bytes])
    if (!answerBegin.startsWith(seen.toString('latin1', 0, answerBegin.length)))
      return this.#end(
        new HttpFailure(`found other bytes than an answer, wanted one that begins with ${answerBegin}`, true),
      )
    const headEnd = seen.indexOf('\r\n\r\n')
    if (headEnd > headBytesMax || (headEnd < 0 && seen.length > headBytesMax))
      return this.#end(new HttpFailure(`found a head of more than ${headBytesMax} bytes, wanted an answer`, true))
    if (headEnd < 0) {
      this.#head = Buffer.from(seen) // what it lies in is used again
      return
    }
    this.#begin(asked, seen.toString('latin1', 0, headEnd), seen.subarray(headEnd + 4))
  }

  /** The head is whole; `first` is what has come of the body. */
  #begin(asked: Asked, head: string, first: Buffer): void {
    const { status, contentBytes, contentRange, isUnframed, isLast } = decodeHead(head)
    if (status === 0) return this.#end(new HttpFailure('found an answer without a status, wanted one', true))
    const isWanted = status === partialContent && isRange(contentRange, asked, contentBytes)
    if (isUnframed || (!isWanted && contentBytes > refusalBytesMax)) {
      this.#asked = undefined
      asked.resolve(isUnframed && status === partialContent ? 'unframed' : 'other')
      return this.close()
    }
    this.#body = { isWanted, isLast, takenBytes: 0, leftBytes: contentBytes }
    this.#takeBody(asked, this.#body, first)
  }

  #takeBody(asked: Asked, body: Body, bytes: Buffer): void {
    if (bytes.length > body.leftBytes)
      return this.#end(new HttpFailure(`found more bytes than the ${body.takenBytes + body.leftBytes} announced`, true))
    if (body.isWanted) put(bytes, asked.target, body.takenBytes)
    body.takenBytes += bytes.length
    body.leftBytes -= bytes.length
    if (body.leftBytes > 0) return
    this.#asked = undefined
    this.#body = undefined
    this.#head = Buffer.alloc(0)
    asked.resolve(body.isWanted ? body.takenBytes : 'other')
    if (body.isLast) this.close()
  }

  /** Nothing can be asked here any more; whoever waits hears `error`. */
  #end(error: Error): void {
    const asked = this.#asked
    this.#asked = undefined
    this.#isOpen = false
    this.#connection.destroy()
    asked?.reject(error)
  }
}

/** Nothing is copied that was read into its place. */
function put(bytes: Buffer, target: Buffer, at: number): void {
  if (bytes.buffer === target.buffer && bytes.byteOffset === target.byteOffset + at) return
  bytes.copy(target, at)
}

function isRange(contentRange: string, { position, target }: Asked, contentBytes: number): boolean {
  const found = /^bytes (\d+)-(\d+)\/(?:\d+|\*)$/.exec(contentRange)
  if (found === null || Number(found[1]) !== position) return false
  return Number(found[2]) + 1 - position === contentBytes && contentBytes <= target.length
}

/** `status` is 0 where there is none. A header that comes several times has all its values, as in HTTP: several lengths are no number. */
function decodeHead(head: string) {
  const [first = '', ...lines] = head.split('\r\n')
  const [, minor, status] = /^HTTP\/1\.(\d) (\d{3})/.exec(first) ?? []
  const headers = new Map<string, string>()
  for (const line of lines) {
    const colon = line.indexOf(':')
    if (colon <= 0) continue
    const [name, value] = [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
    const known = headers.get(name)
    headers.set(name, known === undefined || known === value ? value : `${known}, ${value}`)
  }
  const length = headers.get('content-length') ?? ''
  return {
    status: Number(status ?? 0),
    contentBytes: Number(length),
    contentRange: headers.get('content-range') ?? '',
    isUnframed: !/^\d+$/.test(length) || headers.has('transfer-encoding'),
    isLast: minor !== '1' || /\bclose\b/i.test(headers.get('connection') ?? ''),
  }
}
