/**
 * The guard of the HTTP side: who sends a request, and whether he may. Every route says in its `config` what it takes (`rights`), or that it is open; one
 * that says neither is refused when it is registered, so that nothing is open because somebody forgot. A handler that goes on for long
 * (following a stream) asks `request.session` again with what it sends.
 * Who: `Authorization: Bearer TOKEN` (ours, or of the identity provider), or a client certificate. There are no cookies, so a page of somebody
 * else cannot act for whoever looks at it.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { TLSSocket } from 'node:tls'
import { sleep } from '../../platform/clock.ts'
import { tlsPeer } from '../../platform/tls.ts'
import type { ApiName, RequestOf } from '../../protocol/api.ts'
import { PlayheadError } from '../../protocol/errors.ts'
import type { Services } from '../request.ts'
import { isLoopback } from '../security/exposure.ts'
import { requestRights } from '../security/request-rights.ts'
import type { Session } from '../security/session.ts'

/** Throws when the session may not have the route's answer. Called when the path is known, before the body is read. */
export type RouteRights = (session: Session, request: FastifyRequest) => void

declare module 'fastify' {
  interface FastifyRequest {
    /** Who asks, and what he may. */
    session: Session
  }
  interface FastifyContextConfig {
    rights?: RouteRights
    /** Answered to everybody. */
    open?: true
  }
}

/** Longer than any token. */
const credentialsCharactersMax = 16 * 1024
const readingMethods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS'])

/** The rights that the native protocol wants for the same: what of the request decides is in its path, or in its query. */
export function asNative<A extends ApiName>(api: A, requestOf: (request: FastifyRequest) => RequestOf<A>): RouteRights {
  return (session, request) => requestRights[api](session, requestOf(request))
}

/** What goes on for long ends when its sender has lost the right to it, within a second. */
export function endWithRights(request: FastifyRequest, reply: FastifyReply, { security }: Services): void {
  const { rights } = request.routeOptions.config
  const forget = security.onLook(() => {
    try {
      rights?.(request.session, request)
    } catch {
      reply.raw.destroy()
    }
  })
  reply.raw.once('close', forget)
}

/** Before any route is registered. `isOpen`: of routes that plugins register, which cannot say it themselves: files that hold nobody's data. */
export function guardRoutes(
  server: FastifyInstance,
  services: Services,
  isOpen: (url: string) => boolean = () => false,
): void {
  const { security } = services
  server.addHook('onRoute', (route) => {
    const { url, method, config } = route
    if (config?.rights !== undefined || config?.open === true) return
    if (isOpen(url)) route.config = { ...config, open: true }
    else throw new Error(`bug: route ${String(method)} ${url} says neither what rights it takes nor that it is open`)
  })
  server.decorateRequest('session', null as unknown as Session)
  server.addHook('onRequest', async (request, reply) => {
    // What others wrote is in answers and in refusals: no browser is to take it for anything but what it is said to be.
    void reply.header('x-content-type-options', 'nosniff')
    request.session = sessionOf(request, services)
    reply.raw.once('close', () => request.session.end())
    checkHost(request, services)
    checkPage(request)
    const { rights, open } = request.routeOptions.config
    await authenticate(request, reply, services, open === true)
    if (security.isOn) await payUp(request, services)
    rights?.(request.session, request)
  })
  server.addHook('onSend', (request, _reply, payload, done) => {
    if (typeof payload === 'string' || Buffer.isBuffer(payload)) request.session?.meter?.sent(payload.length)
    done(null, payload)
  })
}

function sessionOf({ raw }: FastifyRequest, { security }: Services): Session {
  const { socket } = raw
  const { isTrusted, name } = 'encrypted' in socket ? tlsPeer(socket as TLSSocket) : { isTrusted: true }
  if (!isTrusted)
    throw new PlayheadError(
      'unauthenticated',
      'connection: found a client certificate that is not trusted, wanted one of our authority',
    )
  return security.session('request', `${socket.remoteAddress ?? 'unknown'}:${socket.remotePort ?? 0}`, name)
}

async function authenticate(
  request: FastifyRequest,
  reply: FastifyReply,
  { security }: Services,
  open: boolean,
): Promise<void> {
  if (!security.isOn) return
  try {
    const token = bearerOf(request)
    if (token !== undefined)
      request.session.become(await security.authentication.bearer(token, request.session.address))
    else if (!open && !request.is404) request.session.requirePrincipal()
  } catch (error) {
    void reply.header('WWW-Authenticate', 'Bearer realm="playhead"')
    throw error
  }
}

function bearerOf({ headers }: FastifyRequest): string | undefined {
  const { authorization } = headers
  if (authorization === undefined) return undefined
  const [, token] = /^Bearer +([\x21-\x7e]+) *$/i.exec(authorization) ?? []
  if (token !== undefined && token.length <= credentialsCharactersMax) return token
  throw new PlayheadError('unauthenticated', 'header Authorization: found another form, wanted Bearer TOKEN')
}

/** Whoever has used more than his quota waits, while his request takes no more than its headers. */
async function payUp({ session, headers }: FastifyRequest, { clock }: Services): Promise<void> {
  const { meter } = session
  if (meter === undefined) return
  for (let waitMs = meter.waitMs; waitMs > 0; waitMs = meter.waitMs) await sleep(clock, waitMs)
  const bytes = Number(headers['content-length'] ?? 0)
  meter.received(Number.isFinite(bytes) ? bytes : 0)
}

/**
 * Without security whoever can connect may do anything, and that is meant to be this machine alone: a page that has its own name pointed here
 * (DNS rebinding) sends that name.
 */
function checkHost({ headers }: FastifyRequest, services: Services): void {
  if (headers.host === undefined || isOwnHost(headers.host, services)) return
  throw new PlayheadError(
    'notAuthorized',
    `header Host: found ${JSON.stringify(headers.host.slice(0, 200))}, wanted localhost, as security is off; turn it on, or start with --allow-insecure everything`,
  )
}

/** Whether a request with this `Host` is answered. */
export function isOwnHost(host: string, { security, config }: Services): boolean {
  if (security.isOn || config.allowInsecure === 'everything') return true
  const name = host
    .replace(/:\d+$/, '')
    .replace(/^\[(.*)\]$/, '$1')
    .toLowerCase()
  return isLoopback(name) || name === config.host.toLowerCase()
}

/** A page of another site must not write with the rights of whoever looks at it. Browsers say where a request is from; programs do not. */
function checkPage({ method, headers }: FastifyRequest): void {
  const site = headers['sec-fetch-site']
  if (readingMethods.has(method) || site === undefined || site === 'same-origin' || site === 'none') return
  const message = `request: found Sec-Fetch-Site ${JSON.stringify(site)}, wanted a page of this broker's own; other pages may not write`
  throw new PlayheadError('invalidArgument', message)
}
