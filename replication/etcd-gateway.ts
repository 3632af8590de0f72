/**
 * EtcdGateway: etcd's JSON gateway, one call at a time: which of its members to ask, who we are, and what its failures mean. Never sends a
 * change twice unless it is certain that the first sending did nothing.
 * Neighbours: etcd-metadata-store.ts says what to ask; docs/decisions/0020 says why the gateway.
 */
import type { Clock } from '../platform/clock.ts'
import { HttpClient, HttpFailure } from '../platform/http-client.ts'
import type { HttpAnswer, HttpStream, TlsOptions } from '../platform/http-client.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { MiB } from '../protocol/limits.ts'

export interface EtcdAccess {
  /** host:port of each member. */
  readonly members: readonly string[]
  /** https when there are any, also with none of its own. */
  readonly tls?: TlsOptions | undefined
  readonly user?: { readonly name: string; readonly password: string } | undefined
}

/** etcd answered that it did not do it, and what it said. */
export class EtcdRefusal extends Error {
  override readonly name = 'EtcdRefusal'
  /** gRPC's. */
  readonly code: number

  constructor(message: string, code: number) {
    super(message)
    this.code = code
  }
}

/** Whether it was done is not known. */
export class EtcdUnknown extends Error {
  override readonly name = 'EtcdUnknown'
}

/** Before 3.4 the gateway had other paths. */
const versionMin = [3, 4] as const
const requestMsMax = 3_000
const answerBytesMax = 256 * MiB

/** gRPC codes after which etcd has certainly changed nothing. */
const refusalCodes = new Set([3, 5, 7, 8, 9, 11, 16])
const unauthenticated = 16
const resourceExhausted = 8
/** What etcd says of a token that it does not know any more, or that is older than a change of its users. */
const staleToken = /invalid auth token|revision of auth store is old/
const wantedGateway = "wanted etcd's JSON gateway; check the address given with --cluster"
/** What the gateway of an etcd with users says of a certificate that could be taken for one of them. */
const namesClient = /CommonName of client/
const wrongSubject =
  'found that its gateway takes no client certificate with a common name while it has users, wanted one without; make the certificate of --cluster-certificate-file with an empty subject'
const tlsFailure = /^(ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|EPROTO)/

export class EtcdGateway {
  /** For people. */
  readonly name: string
  readonly #access: EtcdAccess
  readonly #client: HttpClient
  #member = 0
  #token: string | undefined
  #isClosed = false

  constructor(access: EtcdAccess, clock: Clock) {
    this.#access = access
    this.#client = new HttpClient(clock, access.tls)
    this.name = `etcd at ${access.members.join(',')}`
  }

  /** Throws unavailable or metadataStoreRefused unless one of the members is an etcd that we can talk to. */
  async checkVersion(): Promise<void> {
    const answer = await this.#onAnyMember((member) =>
      this.#client.request({ url: this.#url(member, '/version'), method: 'GET' }, requestMsMax, answerBytesMax),
    ).catch((error: unknown) => {
      throw error instanceof EtcdUnknown ? this.#unavailable(error.message) : error
    })
    const version = textOf(objectOf(answer.body)?.['etcdserver'])
    const [major = 0, minor = 0] = version.split('.').map(Number)
    const wanted = `wanted etcd ${versionMin.join('.')} or later; check the address given with --cluster`
    if (version === '') throw this.#refused(`found HTTP ${answer.status} ${short(answer.body)}, ${wanted}`)
    if (major < versionMin[0] || (major === versionMin[0] && minor < versionMin[1])) {
      throw this.#refused(`found etcd ${version}, ${wanted}`)
    }
  }

  /**
   * What a call that changes nothing answers; asked of another member if one fails. Throws EtcdRefusal, unavailable, metadataStoreRefused.
   */
  async ask(path: string, body: object): Promise<Readonly<Record<string, unknown>>> {
    try {
      return await this.change(path, body)
    } catch (error) {
      if (!(error instanceof EtcdUnknown)) throw error // this one now goes to the next member
    }
    try {
      return await this.change(path, body)
    } catch (error) {
      throw error instanceof EtcdUnknown ? this.#unavailable(error.message) : error
    }
  }

  /** The same for a call that changes something: EtcdUnknown when it may have. */
  async change(path: string, body: object): Promise<Readonly<Record<string, unknown>>> {
    this.#check()
    try {
      return await this.#asUser((token) => this.#send(path, body, token))
    } catch (error) {
      if (error instanceof EtcdRefusal) throw this.#asExpected(error)
      throw error
    }
  }

  /** Lines of an answer without an end. `onEnd` is called once, unless it was closed. */
  stream(path: string, body: object, onData: (part: Buffer) => void, onEnd: (error: Error) => void): HttpStream {
    let stream: HttpStream | undefined
    let isOpen = true
    const start = async () => {
      const token = await this.#login()
      if (!isOpen || this.#isClosed) return
      // etcd ends the stream when this member loses touch with the others, instead of keeping silent.
      const headers = { ...headersOf(token), 'Grpc-Metadata-hasleader': 'true' }
      const url = this.#url(this.#member, path)
      stream = this.#client.stream({ url, method: 'POST', headers, body: JSON.stringify(body) }, onData, (error) => {
        this.#member++
        this.#token = undefined
        onEnd(error)
      })
    }
    start().catch((error: unknown) => isOpen && onEnd(error instanceof Error ? error : new Error(String(error))))
    return {
      close: () => {
        isOpen = false
        stream?.close()
      },
    }
  }

  close(): void {
    this.#isClosed = true
    this.#client.close()
  }

  /** One sending. What was certainly not sent is sent to the next member. */
  async #send(path: string, body: object, token: string | undefined): Promise<Readonly<Record<string, unknown>>> {
    const request = { method: 'POST', headers: headersOf(token), body: JSON.stringify(body) } as const
    const { status, body: said } = await this.#onAnyMember((member) =>
      this.#client.request({ ...request, url: this.#url(member, path) }, requestMsMax, answerBytesMax),
    )
    const answer = objectOf(said)
    if (status === 200 && answer !== undefined && answer['error'] === undefined) return answer
    const code = answer?.['code']
    const message = textOf(answer?.['error'] ?? answer?.['message']) || `HTTP ${status} ${short(said)}`
    if (typeof code === 'number' && refusalCodes.has(code)) throw new EtcdRefusal(message, code)
    if (answer === undefined && status >= 400 && status < 500) {
      throw this.#refused(namesClient.test(said) ? wrongSubject : `found ${message}, ${wantedGateway}`)
    }
    this.#member++ // the others may be better off
    throw new EtcdUnknown(`${this.name}: found ${message}`)
  }

  async #onAnyMember(send: (member: number) => Promise<HttpAnswer>): Promise<HttpAnswer> {
    const { members } = this.#access
    for (let tries = 1; ; tries++) {
      const member = this.#member
      try {
        return await send(member)
      } catch (error) {
        this.#check()
        if (!(error instanceof HttpFailure)) throw error
        if (this.#member === member) this.#member++
        if (tlsFailure.test(error.code)) throw this.#badCertificate(error)
        if (error.wasSent) throw new EtcdUnknown(`${this.name}: ${saidBy(error)}`)
        if (tries >= members.length) throw this.#unavailable(saidBy(error))
      }
    }
  }

  /** With a token; a second time with a new one if etcd does not take it: then it has done nothing. */
  async #asUser<T>(call: (token: string | undefined) => Promise<T>): Promise<T> {
    const token = await this.#login()
    try {
      return await call(token)
    } catch (error) {
      const isStale = error instanceof EtcdRefusal && (error.code === unauthenticated || staleToken.test(error.message))
      if (!isStale || token === undefined) throw error
    }
    if (this.#token === token) this.#token = undefined
    return call(await this.#login())
  }

  async #login(): Promise<string | undefined> {
    const { user } = this.#access
    if (user === undefined || this.#token !== undefined) return this.#token
    try {
      const { token } = await this.#send('/v3/auth/authenticate', user, undefined)
      this.#token = textOf(token)
      return this.#token
    } catch (error) {
      if (error instanceof EtcdUnknown) throw this.#unavailable(error.message)
      if (!(error instanceof EtcdRefusal)) throw error
      throw this.#refused(
        `found ${error.message} for the user ${user.name}, wanted it let in; check the user and the password`,
      )
    }
  }

  #url(member: number, path: string): string {
    const { members, tls } = this.#access
    return `${tls === undefined ? 'http' : 'https'}://${members[member % members.length]}${path}`
  }

  #check(): void {
    if (this.#isClosed) throw new PlayheadError('closed', `${this.name}: found it closed, wanted it open`)
  }

  /** A refusal that says something of us or of etcd, and not of what was asked. */
  #asExpected(refusal: EtcdRefusal): Error {
    const { message, code } = refusal
    if (code === resourceExhausted) {
      return this.#unavailable(`found ${message}; if its space is exceeded: compact, defragment, disarm the alarm`)
    }
    const isAboutUs = code === unauthenticated || code === 7 || /user name is empty|auth/.test(message)
    return isAboutUs
      ? this.#refused(
          `found ${message}, wanted to be let in; set the user and the password that etcd knows, with rights to read and write`,
        )
      : refusal
  }

  #badCertificate({ message, code }: HttpFailure): PlayheadError {
    const next =
      'check the authority (--cluster-authority-file), the certificate for an etcd that wants one (--cluster-certificate-file) and whether etcd speaks TLS on that port (etcds:// is with TLS, etcd:// without)'
    return this.#refused(`found ${message.trim()} (${code}), wanted a connection with TLS; ${next}`)
  }

  #refused(found: string): PlayheadError {
    return new PlayheadError('metadataStoreRefused', `${this.name}: ${found}`)
  }

  #unavailable(found: string): PlayheadError {
    const said = found.startsWith(this.name) ? found : `${this.name}: ${found}`
    const next = 'check that it runs, the address given with --cluster, and whether it speaks TLS (etcds://)'
    return new PlayheadError('unavailable', `${said}, wanted an answer; ${next}`)
  }
}

function saidBy({ message }: HttpFailure): string {
  return message.startsWith('found ') ? message : `found ${message}`
}

function headersOf(token: string | undefined): Record<string, string> {
  return { 'Content-Type': 'application/json', ...(token !== undefined && { Authorization: token }) }
}

function objectOf(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : undefined
  } catch {
    return undefined
  }
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function short(text: string): string {
  return JSON.stringify(text.trim().slice(0, 80))
}
