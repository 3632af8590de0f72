/**
 * HttpServer: the HTTP port. Streams, health and metrics over fastify, which stays an edge: every route calls what the native handlers call.
 * Invariant: every failure is a problem document with a code of the error table. Made by Broker.
 */
import assert from 'node:assert/strict'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
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
import { describeApi } from './api-document.ts'
import { cloudEventType, cloudEventsType } from './cloud-events.ts'
import { isConsoleFile, serveConsole } from './console-files.ts'
import { FollowFeeds } from './follow/follow-feeds.ts'
import { guardRoutes } from './guard.ts'
import { HttpMemory } from './memory.ts'
import { QuickLane } from './quick-lane.ts'
import type { QuickLaneOptions } from './quick-lane.ts'
import { sendProblem } from './problem.ts'
import { accessRoutes } from './routes/access.ts'
import { followRoutes } from './routes/follow.ts'
import { healthRoutes } from './routes/health.ts'
import { metricsRoutes } from './routes/metrics.ts'
import { replayRoutes } from './routes/replay.ts'
import { statusRoutes } from './routes/status.ts'
import { streamRoutes } from './routes/streams.ts'
import { topicRoutes } from './routes/topics.ts'
import { isCompilerThere, loadCompiler } from './schema.ts'
import { refuseUncheckedBodies, validateRequest } from './validation.ts'

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

const notAsked = (): never => assert.fail('requests are checked by Validation')
/** In place of fastify's own compilers, which it would load: 4 MB of a broker's memory. */
const compilers = {
  schemaController: { compilersFactory: { buildValidator: notAsked, buildSerializer: notAsked } },
}

/** After the start: what the first request needs is then there. */
const warmUpMs = 1_000

export class HttpServer {
  readonly port: number
  readonly #server: FastifyInstance
  readonly #state: { stopping: boolean }
  /** Undefined = every request is fastify's. */
  readonly #lane: QuickLane | undefined

  private constructor(server: FastifyInstance, state: { stopping: boolean }, lane: QuickLane | undefined) {
    this.#server = server
    this.#lane = lane
    this.#state = state
    const address = server.server.address()
    this.port = address !== null && typeof address === 'object' ? address.port : 0
  }

  /** Listens as the configuration says. Throws portInUse or invalidConfiguration. */
  static async open({ services, metrics, tls, onBug }: HttpServerOptions): Promise<HttpServer> {
    const { host, httpPort } = services.config
    const state = { stopping: false }
    const server = bareServer(services.config, tls?.tls)
    guardRoutes(server, services, isConsoleFile)
    boundConnections(server, services.config)
    const memory = boundMemory(server, services)
    const isReadOnly = services.config.readOnly === 'yes'
    if (isReadOnly) refuseChanges(server)
    const onLaneBug = (error: unknown) => onBug(error, 'quick append', true)
    const isPlain = tls === undefined && !services.security.isOn && !isReadOnly
    const lane = isPlain ? openLane(server, { services, memory, metrics, onBug: onLaneBug }) : undefined
    server.setErrorHandler((error, request, reply) => {
      if (!sendProblem(reply, error)) onBug(error, request.url, request.method !== 'GET')
    })
    server.setNotFoundHandler((request, reply) => {
      const message = `${request.method} ${request.url.slice(0, 200)}: found no such route; see docs/http.md`
      sendProblem(reply, new PlayheadError('unknownApi', message))
    })
    server.addHook('onResponse', (_request, reply, done) => {
      countAnswer(metrics, reply.statusCode)
      done()
    })
    const feeds = new FollowFeeds({ services, onBug: (error) => onBug(error, 'follow', false) })
    server.addHook('onRequest', async () => {
      if (!isCompilerThere()) await loadCompiler()
    })
    const warmUp = services.clock.after(warmUpMs, () => {
      loadCompiler().catch((error: unknown) => onBug(error, 'checkers of requests', false))
    })
    server.addHook('preClose', (done) => {
      warmUp.cancel()
      feeds.stop()
      lane?.stop()
      done()
    })
    describeApi(server, () => withCompilers(Fastify(compilers)))
    healthRoutes(server, services, () => state.stopping)
    metricsRoutes(server, metrics)
    const routes = server.withTypeProvider<TypeBoxTypeProvider>()
    topicRoutes(routes, services)
    streamRoutes(routes, services)
    replayRoutes(routes, services)
    followRoutes(routes, services, feeds, memory)
    statusRoutes(routes, services, feeds)
    accessRoutes(routes, services)
    await serveConsole(server)
    try {
      await server.listen({ host, port: httpPort })
    } catch (error) {
      throw listenError(error, host, httpPort, 'httpPort')
    }
    return new HttpServer(server, state, lane)
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
    this.#lane?.destroyConnections()
  }
}

/** What is the same for every request: limits, what a body may be, how it is checked and how an answer is written. */
function bareServer(config: BrokerConfig, tls: ServerTls | undefined): FastifyInstance {
  const server = withCompilers(makeServer(config, tls))
  refuseUncheckedBodies(server)
  // A body is JSON and says so.
  server.removeContentTypeParser('text/plain')
  const parseJson = server.getDefaultJsonParser('error', 'error')
  server.addContentTypeParser([cloudEventType, cloudEventsType], { parseAs: 'string' }, parseJson)
  return server
}

function withCompilers(server: FastifyInstance): FastifyInstance {
  server.setValidatorCompiler(validateRequest)
  server.setSerializerCompiler(() => (answer) => JSON.stringify(answer))
  return server
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
    ...compilers,
    bodyLimit: httpBodyBytesMax,
    routerOptions: { maxParamLength: pathPartCharactersMax },
    requestTimeout: httpRequestWaitMsMax,
    connectionTimeout: httpRequestWaitMsMax,
    keepAliveTimeout: httpRequestWaitMsMax,
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

function boundMemory(server: FastifyInstance, { clock, config }: Services): HttpMemory {
  const { httpBytesTotalMax: bytesMax, stallMsMax, connectionsMax: waitingMax, httpRequestWaitMsMax } = config
  const memory = new HttpMemory({ clock, bytesMax, stallMsMax, waitingMax, waitMsMax: httpRequestWaitMsMax / 2 })
  server.addHook('onRequest', (request, reply, done) =>
    memory.enter(request.raw, reply.raw, neededBytes(request, config), done),
  )
  server.addHook('onSend', (request, _reply, payload, done) => {
    if (typeof payload === 'string') memory.replied(request.raw, payload.length)
    done(null, payload)
  })
  return memory
}

/** Connections are the lane's until they ask for something else than the lane has. */
function openLane(
  server: FastifyInstance,
  options: Pick<QuickLaneOptions, 'services' | 'memory' | 'onBug'> & { readonly metrics: Metrics },
): QuickLane {
  const http = server.server
  const serve = http.listeners('connection').find((listener) => listener.name === 'connectionListener')
  assert(serve !== undefined, 'the listener of the HTTP server for its connections')
  http.removeListener('connection', serve as () => void)
  const lane = new QuickLane({
    ...options,
    handOver: (socket) => {
      serve.call(http, socket)
      socket.resume()
    },
    onAnswer: (status) => countAnswer(options.metrics, status),
  })
  http.on('connection', (socket) => {
    if (!socket.destroyed) lane.enter(socket)
  })
  return lane
}

function countAnswer({ httpAnswers }: Metrics, status: number): void {
  httpAnswers.set(status, (httpAnswers.get(status) ?? 0) + 1)
}

/** What a request may need at most. */
function neededBytes({ method, url, headers, routeOptions }: FastifyRequest, config: BrokerConfig): number {
  const { httpBodyBytesMax, fetchBytesMax } = config
  const page = method !== 'POST' && url.startsWith('/api/') ? fetchBytesMax : 0
  const read = routeOptions.config.replyBytesMax ?? page
  const isChunked = headers['transfer-encoding'] !== undefined
  const body = isChunked ? httpBodyBytesMax : Math.min(Number(headers['content-length'] ?? 0), httpBodyBytesMax)
  return read + (Number.isFinite(body) ? body : httpBodyBytesMax)
}
