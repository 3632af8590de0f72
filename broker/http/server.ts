/**
 * HttpServer: the HTTP port. Streams, health and metrics over fastify, which stays an edge: every route calls what the native handlers call.
 * Invariant: every failure is a problem document with a code of the error table. Made by Broker.
 */
import Fastify from 'fastify'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Server as TlsServer } from 'node:tls'
import { serverTlsOptions } from '../../platform/tls.ts'
import type { ServerTls } from '../../platform/tls.ts'
import { PlayheadError } from '../../protocol/errors.ts'
import { AddressCount } from '../address-count.ts'
import type { BrokerConfig } from '../config.ts'
import { listenError } from '../listen-error.ts'
import type { Metrics } from '../metrics.ts'
import type { Services } from '../request.ts'
import type { TlsFiles } from '../security/tls-files.ts'
import { guardRoutes } from './guard.ts'
import { HttpMemory } from './memory.ts'
import { sendProblem } from './problem.ts'
import { healthRoutes } from './routes/health.ts'
import { metricsRoutes } from './routes/metrics.ts'
import { streamRoutes } from './routes/streams.ts'

/** A stream name of 1,024 bytes, each written as %XX. */
const pathPartCharactersMax = 4 * 1024
/** How often connections are looked at for requests that take too long. */
const lookMsMax = 5_000

export interface HttpServerOptions {
  readonly services: Services
  readonly metrics: Metrics
  readonly tls?: TlsFiles | undefined
  /** Something was thrown that is no expected failure: a bug. `changes` = the request may have left something half-done. */
  readonly onBug: (error: unknown, route: string, changes: boolean) => void
}

export class HttpServer {
  readonly port: number
  readonly #server: FastifyInstance
  readonly #state: { stopping: boolean }

  private constructor(server: FastifyInstance, state: { stopping: boolean }) {
    this.#server = server
    this.#state = state
    const address = server.server.address()
    this.port = address !== null && typeof address === 'object' ? address.port : 0
  }

  /** Listens as the configuration says. Throws portInUse or invalidConfiguration. */
  static async open({ services, metrics, tls, onBug }: HttpServerOptions): Promise<HttpServer> {
    const { host, httpPort } = services.config
    const state = { stopping: false }
    const server = makeServer(services.config, tls?.tls)
    guardRoutes(server, services)
    boundConnections(server, services.config)
    boundMemory(server, services)
    if (services.config.readOnly === 'yes') refuseChanges(server)
    // A body is JSON and says so.
    server.removeContentTypeParser('text/plain')
    server.setErrorHandler((error, request, reply) => {
      if (!sendProblem(reply, error)) onBug(error, request.url, request.method !== 'GET')
    })
    server.setNotFoundHandler((request, reply) => {
      const message = `${request.method} ${request.url.slice(0, 200)}: found no such route; see docs/http.md`
      sendProblem(reply, new PlayheadError('unknownApi', message))
    })
    server.addHook('onResponse', (_request, reply, done) => {
      metrics.httpAnswers.set(reply.statusCode, (metrics.httpAnswers.get(reply.statusCode) ?? 0) + 1)
      done()
    })
    healthRoutes(server, services, () => state.stopping)
    metricsRoutes(server, metrics)
    streamRoutes(server, services)
    try {
      await server.listen({ host, port: httpPort })
    } catch (error) {
      throw listenError(error, host, httpPort, 'httpPort')
    }
    return new HttpServer(server, state)
  }

  /** From the next connection on. */
  renew(tls: ServerTls): void {
    const { server } = this.#server
    if ('setSecureContext' in server) (server as unknown as TlsServer).setSecureContext(serverTlsOptions(tls))
  }

  /** Stops accepting, lets requests in flight be answered, closes every connection. */
  async stop(): Promise<void> {
    this.#state.stopping = true
    await this.#server.close()
  }

  /** Closes connections whose requests took too long to be answered. */
  destroyConnections(): void {
    this.#server.server.closeAllConnections()
  }
}

function makeServer(
  { httpBodyBytesMax, httpRequestWaitMsMax }: BrokerConfig,
  tls: ServerTls | undefined,
): FastifyInstance {
  const limits = {
    headersTimeout: httpRequestWaitMsMax,
    connectionsCheckingInterval: Math.min(lookMsMax, httpRequestWaitMsMax),
  }
  const options = {
    bodyLimit: httpBodyBytesMax,
    routerOptions: { maxParamLength: pathPartCharactersMax },
    requestTimeout: httpRequestWaitMsMax,
    connectionTimeout: httpRequestWaitMsMax,
    keepAliveTimeout: httpRequestWaitMsMax,
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, allowUnionTypes: true } },
    // A path that no route gets to see: a bad escape, a part that is too long.
    frameworkErrors: (error: Error, _request: unknown, reply: FastifyReply) => void sendProblem(reply, error),
  } as const
  if (tls === undefined) return Fastify({ ...options, http: limits })
  // The same but for the class of the server beneath, which nobody names.
  const server: unknown = Fastify({ ...options, https: { ...serverTlsOptions(tls), ...limits } })
  return server as FastifyInstance
}

/** Who is one too many is closed: there is no request yet that could be answered. */
function boundConnections(server: FastifyInstance, { connectionsMax, connectionsPerAddressMax }: BrokerConfig): void {
  const addresses = new AddressCount(connectionsPerAddressMax)
  server.server.maxConnections = connectionsMax
  server.server.on('connection', (socket) => {
    const { remoteAddress = 'unknown' } = socket
    if (addresses.enter(remoteAddress)) socket.once('close', () => addresses.leave(remoteAddress))
    else socket.destroy()
  })
}

function refuseChanges(server: FastifyInstance): void {
  server.addHook('onRequest', (request, _reply, done) => {
    if (request.method === 'GET' || request.method === 'HEAD') return done()
    const message = `${request.method} ${request.url.slice(0, 200)}: found a broker that only reads a tier, wanted one that writes; ask the broker that owns the tier`
    done(new PlayheadError('readOnly', message))
  })
}

function boundMemory(server: FastifyInstance, { clock, config }: Services): void {
  const { httpBytesTotalMax: bytesMax, stallMsMax, connectionsMax: waitingMax } = config
  const memory = new HttpMemory({ clock, bytesMax, stallMsMax, waitingMax })
  server.addHook('onRequest', (request, reply, done) =>
    memory.enter(request.raw, reply.raw, neededBytes(request, config), done),
  )
  server.addHook('onSend', (request, _reply, payload, done) => {
    if (typeof payload === 'string') memory.replied(request.raw, payload.length)
    done(null, payload)
  })
}

/** What a request may need at most. */
function neededBytes({ method, url, headers }: FastifyRequest, config: BrokerConfig): number {
  const { httpBodyBytesMax, fetchBytesMax } = config
  const read = method !== 'POST' && url.startsWith('/api/') ? fetchBytesMax : 0
  const isChunked = headers['transfer-encoding'] !== undefined
  const body = isChunked ? httpBodyBytesMax : Math.min(Number(headers['content-length'] ?? 0), httpBodyBytesMax)
  return read + (Number.isFinite(body) ? body : httpBodyBytesMax)
}
