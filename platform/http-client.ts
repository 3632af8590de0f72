/**
 * HttpClient: requests over HTTP or HTTPS to a service that a broker stands on, such as etcd. Says of a request that failed whether
 * it was ever sent: what was not sent has changed nothing. Connections are kept for the next request; one that was too slow is not.
 * Neighbours: replication/etcd-gateway.ts asks through it. Parts of large objects are read over storage/tier/range-connection.ts.
 */
import type { Agent, ClientRequest } from 'node:http'
import https from 'node:https'
import type { Clock } from './clock.ts'

/** Certificates as PEM texts. Asked for with each request: what is another one then holds for the connections from then on. */
export interface TlsOptions {
  /** Who the service's certificate must be from; the system's authorities if there is none. */
  readonly ca?: string | undefined
  /** Our own, for services that ask for one. */
  readonly certificate?: string | undefined
  readonly key?: string | undefined
}

export interface HttpRequest {
  readonly url: string
  readonly method: 'GET' | 'POST'
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

export interface HttpAnswer {
  readonly status: number
  readonly body: string
}

export interface HttpStream {
  /** Nothing is called any more. */
  close(): void
}

/** The service gave no answer. */
export class HttpFailure extends Error {
  override readonly name = 'HttpFailure'
  /** The request may have reached the service. False only when it certainly has not. */
  readonly wasSent: boolean
  /** Node's, such as ECONNREFUSED or CERT_HAS_EXPIRED; empty when there is none. */
  readonly code: string

  constructor(message: string, wasSent: boolean, code = '') {
    super(message)
    this.wasSent = wasSent
    this.code = code
  }
}

/** Not by `import`: that asks for everything the module has, and for its WebSocket the runtime loads a second HTTP client, 10 MB and more of memory. */
const http = process.getBuiltinModule('node:http')
const socketsMax = 64

export class HttpClient {
  readonly #clock: Clock
  readonly #agent: Agent
  readonly #module: typeof http | typeof https
  readonly #tls: TlsOptions | undefined

  /** With `tls` every url is https. */
  constructor(clock: Clock, tls?: TlsOptions) {
    this.#clock = clock
    const kept = { keepAlive: true, maxSockets: socketsMax }
    this.#module = tls === undefined ? http : https
    this.#tls = tls
    this.#agent = tls === undefined ? new http.Agent(kept) : new https.Agent(kept)
  }

  /** The whole answer, whatever its status. Rejects with HttpFailure when there is none within `waitMs` or it is longer than `bytesMax`. */
  request(request: HttpRequest, waitMs: number, bytesMax: number): Promise<HttpAnswer> {
    return new Promise((resolve, reject) => {
      const parts: Buffer[] = []
      let bytes = 0
      const onData = (part: Buffer) => {
        parts.push(part)
        bytes += part.length
        if (bytes > bytesMax) sending.destroy(new Error(`found more than ${bytesMax} bytes`))
      }
      const sending = this.#send(request, onData, (status, failure) => {
        timer.cancel()
        if (failure === undefined) resolve({ status, body: Buffer.concat(parts).toString('utf8') })
        else reject(failure)
      })
      const timer = this.#clock.after(waitMs, () => sending.destroy(new Error(`found no answer after ${waitMs} ms`)))
    })
  }

  /** An answer without an end, as it comes. `onEnd` is called once, when nothing more comes, unless it was closed. */
  stream(request: HttpRequest, onData: (part: Buffer) => void, onEnd: (error: Error) => void): HttpStream {
    let isOpen = true
    const sending = this.#send(
      request,
      (part) => isOpen && onData(part),
      (status, failure) => {
        if (isOpen) onEnd(failure ?? new Error(`found the end of the answer (HTTP ${status})`))
        isOpen = false
      },
    )
    return {
      close: () => {
        isOpen = false
        sending.destroy()
      },
    }
  }

  close(): void {
    this.#agent.destroy()
  }

  /** `onEnd` is called once: with the status when the answer is whole, with a failure when it is not. */
  #send(
    { url, method, headers, body }: HttpRequest,
    onData: (part: Buffer) => void,
    onEnd: (status: number, failure?: HttpFailure) => void,
  ): ClientRequest {
    let wasSent = false
    let hasEnded = false
    const end = (status: number, failure?: HttpFailure) => {
      if (!hasEnded) onEnd(status, failure)
      hasEnded = true
    }
    const fail = (error: Error) => {
      const code = 'code' in error && typeof error.code === 'string' ? error.code : ''
      end(0, new HttpFailure(error.message === '' ? code : error.message, wasSent, code))
    }
    const tls = this.#tls && { ca: this.#tls.ca, cert: this.#tls.certificate, key: this.#tls.key }
    const sending = this.#module.request(url, { ...tls, method, headers, agent: this.#agent }, (answer) => {
      answer.on('data', onData)
      answer.on('end', () => end(answer.statusCode ?? 0))
      answer.on('error', fail)
      answer.on('close', () => fail(new Error('found the connection closed before the end of the answer')))
    })
    sending.on('socket', (socket) => {
      // Nothing is written before the connection, and its encryption, stand; one that is used again stands already.
      if (socket.connecting) socket.once(this.#module === https ? 'secureConnect' : 'connect', () => (wasSent = true))
      else wasSent = true
    })
    sending.on('error', fail)
    sending.on('close', () => fail(new Error('found the connection closed, wanted an answer')))
    sending.end(body)
    return sending
  }
}
