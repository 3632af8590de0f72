/**
 * S3RangeReader: parts of objects by requests of our own, into the caller's memory: over plain HTTP straight from the socket, over TLS with one copy.
 * Replays and cold reads of streams are made of these requests, and Amazon's client, as Node's own HTTP client, takes several times the processor time
 * for each (measured over plain HTTP: docs/decisions/0029).
 * Invariant: only a whole answer of the range asked for counts. Whatever else is answered says nothing here: the caller asks again through Amazon's client,
 * which knows what each refusal means, follows regions and corrects the clock.
 * Neighbours: s3-store.ts, which has the credentials and the region; RangeConnection.
 */
import { createHmac, hash } from 'node:crypto'
import type { Clock } from '../../platform/clock.ts'
import { HttpFailure } from '../../platform/http-client.ts'
import { RangeConnection } from './range-connection.ts'
import type { HttpService } from './range-connection.ts'

export interface S3Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string | undefined
}

export interface S3Signer {
  readonly credentials: S3Credentials
  readonly region: string
  readonly nowMs: number
}

/** Of no bytes: what these requests have for a body. */
const nothingSha256 = hash('sha256', '')
/** Connections kept for the next request. */
const keptMax = 64
/** One that was not used for so long may be gone without a word; services close them after some time, too. */
const keptMsMax = 15_000
/** For so long nothing is asked of a store that answered in a form which is read elsewhere. */
const unframedMs = 60_000
/** Any other sign would end a header, or be sent as something else than was signed. */
const headerText = /^[\x20-\x7e]*$/

interface Kept {
  readonly connection: RangeConnection
  readonly sinceMs: number
}

export class S3RangeReader {
  readonly #clock: Clock
  readonly #service: HttpService
  /** As requests name it. */
  readonly #host: string
  readonly #bucket: string
  readonly #signer: () => Promise<S3Signer>
  /** Nobody's just now, used last at the end. */
  #kept: Kept[] = []
  /** Of reads under way, also those that are still connecting. */
  readonly #endings = new Set<AbortController>()
  /** Of the newest day: the same key signs all its requests. */
  #key: { readonly of: string; readonly key: Buffer } | undefined
  #unframedUntilMs = Number.NEGATIVE_INFINITY
  #closed = false

  /** `endpoint`: such as https://s3.example.com, without a path. */
  constructor(clock: Clock, endpoint: string, bucket: string, signer: () => Promise<S3Signer>) {
    const { protocol, hostname, port, host } = new URL(endpoint)
    const isSecure = protocol === 'https:'
    const defaultPort = isSecure ? 443 : 80
    this.#clock = clock
    this.#service = {
      host: hostname.replace(/^\[|\]$/g, ''),
      port: port === '' ? defaultPort : Number(port),
      isSecure,
    }
    this.#host = host
    this.#bucket = bucket
    this.#signer = signer
  }

  /** Fills `target` with the object's bytes from `position` on; answers how many there were, undefined = not answered here. Throws HttpFailure. */
  async read(key: string, position: number, target: Buffer, waitMs: number): Promise<number | undefined> {
    if (this.#clock.monotonicMs() < this.#unframedUntilMs) return undefined
    const path = `/${encoded(this.#bucket)}/${key.split('/').map(encoded).join('/')}`
    const range = `bytes=${position}-${position + target.length - 1}`
    const headers = Object.entries(this.headers(await this.#signer(), this.#host, path, range))
    // Amazon's client says what is wrong with them.
    if (headers.some(([, value]) => !headerText.test(value))) return undefined
    const request = `GET ${path} HTTP/1.1\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`
    const ending = new AbortController()
    this.#endings.add(ending)
    const timer = this.#clock.after(waitMs, () =>
      ending.abort(new HttpFailure(`found no answer after ${waitMs} ms`, true)),
    )
    try {
      const answer = await this.#ask(request, position, target, ending.signal)
      if (answer === 'unframed') this.#unframedUntilMs = this.#clock.monotonicMs() + unframedMs
      return typeof answer === 'number' ? answer : undefined
    } finally {
      this.#endings.delete(ending)
      timer.cancel()
    }
  }

  /** Reads that are under way, and those that come later, fail. */
  close(): void {
    this.#closed = true
    for (const ending of this.#endings) ending.abort(closedFailure())
    for (const { connection } of this.#kept) connection.close()
    this.#kept = []
  }

  async #ask(request: string, position: number, target: Buffer, signal: AbortSignal) {
    for (;;) {
      if (this.#closed) throw closedFailure()
      const kept = this.#takeKept()
      const connection = kept ?? (await this.#connect(signal))
      try {
        return await connection.read(request, position, target, signal)
      } catch (error) {
        // The service may have closed it in the moment that it was asked; then another one is asked, in the end a new one.
        if (kept === undefined || connection.isAnswered || signal.aborted) throw error
      } finally {
        this.#keep(connection)
      }
    }
  }

  async #connect(signal: AbortSignal): Promise<RangeConnection> {
    try {
      return await RangeConnection.open(this.#service, signal)
    } catch (error) {
      if (error instanceof HttpFailure || !(error instanceof Error)) throw error
      const code = 'code' in error && typeof error.code === 'string' ? error.code : ''
      throw new HttpFailure(error.message === '' ? code : error.message, false, code)
    }
  }

  #takeKept(): RangeConnection | undefined {
    for (let kept = this.#kept.pop(); kept !== undefined; kept = this.#kept.pop())
      if (kept.connection.isOpen && !this.#isOld(kept)) return kept.connection
      else kept.connection.close()
    return undefined
  }

  #keep(connection: RangeConnection): void {
    this.#kept = this.#kept.filter((kept) => kept.connection.isOpen)
    if (!connection.isOpen) return
    if (this.#closed || this.#kept.length >= keptMax) return connection.close()
    connection.rest(keptMsMax)
    this.#kept.push({ connection, sinceMs: this.#clock.monotonicMs() })
  }

  #isOld({ sinceMs }: Kept): boolean {
    return this.#clock.monotonicMs() - sinceMs > keptMsMax
  }

  /** Signature Version 4 of a GET without parameters. */
  headers(
    { credentials, region, nowMs }: S3Signer,
    host: string,
    path: string,
    range: string,
  ): Readonly<Record<string, string>> {
    const time = new Date(nowMs).toISOString().replaceAll(/[-:]|\.\d+/g, '')
    const { accessKeyId, secretAccessKey, sessionToken } = credentials
    const signed: Record<string, string> = {
      host,
      range,
      'x-amz-content-sha256': nothingSha256,
      'x-amz-date': time,
      ...(sessionToken !== undefined && { 'x-amz-security-token': sessionToken }),
    }
    const names = Object.keys(signed).join(';') // they are in order
    const lines = Object.entries(signed).map(([name, value]) => `${name}:${value}\n`)
    const request = ['GET', path, '', lines.join(''), names, nothingSha256].join('\n')
    const scope = `${time.slice(0, 8)}/${region}/s3/aws4_request`
    const digest = hash('sha256', request)
    const text = ['AWS4-HMAC-SHA256', time, scope, digest].join('\n')
    const signature = hmac(this.#keyOf(secretAccessKey, scope), text).toString('hex')
    const authorization = `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, SignedHeaders=${names}, Signature=${signature}`
    return { ...signed, authorization }
  }

  #keyOf(secret: string, scope: string): Buffer {
    const of = `${secret}/${scope}`
    if (this.#key?.of !== of) {
      let key: Buffer = Buffer.from(`AWS4${secret}`)
      for (const part of scope.split('/')) key = hmac(key, part)
      this.#key = { of, key }
    }
    return this.#key.key
  }
}

function closedFailure(): HttpFailure {
  return new HttpFailure('found the store closed by this side, wanted a whole answer', true)
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}

/** As Amazon wants it: everything but letters, digits and -._~ */
function encoded(text: string): string {
  return encodeURIComponent(text).replaceAll(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`)
}
