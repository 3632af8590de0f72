/**
 * Dispatch: from a frame to the handler of its api and back to a frame. Invariant: every frame gets exactly one reply and nothing is
 * thrown through; up to the handler's first await all runs in the caller's turn, so that requests take effect in the order they came.
 * Called by ClientConnection.
 */
import type { Clock } from '../platform/clock.ts'
import { apiName, apis } from '../protocol/api.ts'
import type { ApiName } from '../protocol/api.ts'
import { failure } from '../protocol/append.ts'
import { PlayheadError, isPlayheadError } from '../protocol/errors.ts'
import { FLAG_ERROR, encodeFrame } from '../protocol/frame.ts'
import type { FramePiece } from '../protocol/frame-memory.ts'
import type { Frame, FramePrefix } from '../protocol/frame.ts'
import { decodeHeader, encodeHeader, failureOf } from '../protocol/header-codec.ts'
import type { Field } from '../protocol/header-schema.ts'
import { asRefusal } from './brokers.ts'
import {
  authenticate,
  changeGrants,
  createToken,
  deleteUser,
  listAccess,
  putUser,
  revokeToken,
  setQuota,
  whoAmI,
} from './handlers/access.ts'
import { append, producerState } from './handlers/append.ts'
import { clusterStatus, drainBroker, reassignPartition, recoverPartition, throttleCopying } from './handlers/cluster.ts'
import { fetch, listOffsets } from './handlers/fetch.ts'
import { hello } from './handlers/hello.ts'
import { commitPlayhead, listPlayheads, readPlayhead } from './handlers/playhead.ts'
import { replicaFetch, replicaFile, replicaProgress, replicaSnapshot } from './handlers/replicate.ts'
import { status } from './handlers/status.ts'
import { limitStream, listStreams, readStream, streamInfo, streamLimit } from './handlers/stream.ts'
import { alterTopic, createTopic, deleteRecords, deleteTopic, describeTopic, listTopics } from './handlers/topic.ts'
import type { Reply, RequestContext } from './request.ts'
import { requestRights } from './security/request-rights.ts'
import type { Session } from './security/session.ts'

interface Route {
  answer(header: Buffer, context: RequestContext): Promise<Required<Reply<Buffer>>>
}

function route<Q, R>(
  row: { request: Field<Q>; reply: Field<R> },
  handle: (request: Q, context: RequestContext) => Promise<Reply<R>>,
  ask: (session: Session, request: Q) => void,
): Route {
  return {
    async answer(header, context) {
      const request = decodeHeader(row.request, header)
      const { session } = context
      const { revision } = session
      ask(session, request)
      const { header: reply, body = [], pieces = [] } = await handle(request, context)
      if (session.revision !== revision) ask(session, request) // what was taken meanwhile is not answered any more
      return { header: encodeHeader(row.reply, reply), body, pieces }
    },
  }
}

/** A new row of the api table without a handler here does not compile. */
const routes: Record<ApiName, Route> = {
  hello: route(apis.hello, hello, requestRights.hello),
  createTopic: route(apis.createTopic, createTopic, requestRights.createTopic),
  listTopics: route(apis.listTopics, listTopics, requestRights.listTopics),
  describeTopic: route(apis.describeTopic, describeTopic, requestRights.describeTopic),
  alterTopic: route(apis.alterTopic, alterTopic, requestRights.alterTopic),
  deleteTopic: route(apis.deleteTopic, deleteTopic, requestRights.deleteTopic),
  deleteRecords: route(apis.deleteRecords, deleteRecords, requestRights.deleteRecords),
  limitStream: route(apis.limitStream, limitStream, requestRights.limitStream),
  streamLimit: route(apis.streamLimit, streamLimit, requestRights.streamLimit),
  append: route(apis.append, append, requestRights.append),
  producerState: route(apis.producerState, producerState, requestRights.producerState),
  fetch: route(apis.fetch, fetch, requestRights.fetch),
  listOffsets: route(apis.listOffsets, listOffsets, requestRights.listOffsets),
  readStream: route(apis.readStream, readStream, requestRights.readStream),
  streamInfo: route(apis.streamInfo, streamInfo, requestRights.streamInfo),
  listStreams: route(apis.listStreams, listStreams, requestRights.listStreams),
  commitPlayhead: route(apis.commitPlayhead, commitPlayhead, requestRights.commitPlayhead),
  readPlayhead: route(apis.readPlayhead, readPlayhead, requestRights.readPlayhead),
  listPlayheads: route(apis.listPlayheads, listPlayheads, requestRights.listPlayheads),
  replicaFetch: route(apis.replicaFetch, replicaFetch, requestRights.replicaFetch),
  replicaProgress: route(apis.replicaProgress, replicaProgress, requestRights.replicaProgress),
  replicaSnapshot: route(apis.replicaSnapshot, replicaSnapshot, requestRights.replicaSnapshot),
  replicaFile: route(apis.replicaFile, replicaFile, requestRights.replicaFile),
  clusterStatus: route(apis.clusterStatus, clusterStatus, requestRights.clusterStatus),
  throttleCopying: route(apis.throttleCopying, throttleCopying, requestRights.throttleCopying),
  reassignPartition: route(apis.reassignPartition, reassignPartition, requestRights.reassignPartition),
  drainBroker: route(apis.drainBroker, drainBroker, requestRights.drainBroker),
  recoverPartition: route(apis.recoverPartition, recoverPartition, requestRights.recoverPartition),
  status: route(apis.status, status, requestRights.status),
  authenticate: route(apis.authenticate, authenticate, requestRights.authenticate),
  whoAmI: route(apis.whoAmI, whoAmI, requestRights.whoAmI),
  putUser: route(apis.putUser, putUser, requestRights.putUser),
  deleteUser: route(apis.deleteUser, deleteUser, requestRights.deleteUser),
  createToken: route(apis.createToken, createToken, requestRights.createToken),
  revokeToken: route(apis.revokeToken, revokeToken, requestRights.revokeToken),
  changeGrants: route(apis.changeGrants, changeGrants, requestRights.changeGrants),
  setQuota: route(apis.setQuota, setQuota, requestRights.setQuota),
  listAccess: route(apis.listAccess, listAccess, requestRights.listAccess),
}

/** Plain counters of one api, published by metrics.ts at a scrape. */
export interface ApiStats {
  requests: number
  failures: number
  /** Time from the frame's arrival to its reply, waits included; ms. */
  totalMs: number
}

export interface Answer {
  /** The reply frame. */
  readonly parts: readonly Buffer[]
  /** What some of the parts lie in, to be let go of when they have been sent. */
  readonly pieces: readonly FramePiece[]
  readonly failed: boolean
}

export interface DispatchOptions {
  readonly clock: Clock
  /** Nothing may be changed here. */
  readonly isReadOnly?: boolean
  /** Something was thrown that is no expected failure: a bug. `changes` = the request may have left something half-done. */
  readonly onBug: (error: unknown, api: ApiName, changes: boolean) => void
}

export class Dispatch {
  readonly #clock: Clock
  readonly #isReadOnly: boolean
  readonly #onBug: DispatchOptions['onBug']
  readonly stats: Record<ApiName, ApiStats>

  constructor(options: DispatchOptions) {
    this.#clock = options.clock
    this.#isReadOnly = options.isReadOnly ?? false
    this.#onBug = options.onBug
    const names = Object.keys(apis) as ApiName[]
    this.stats = Object.fromEntries(names.map((name) => [name, { requests: 0, failures: 0, totalMs: 0 }])) as Record<
      ApiName,
      ApiStats
    >
  }

  /** Never rejects. */
  async answer(frame: Frame, context: RequestContext): Promise<Answer> {
    const name = apiName(frame.api)
    if (name === undefined) return refusal(frame, unknownApi(frame.api))
    const stats = this.stats[name]
    const startedMs = this.#clock.monotonicMs()
    stats.requests++
    try {
      checkVersion(name, frame.version)
      if (this.#isReadOnly && changes(name)) throw readOnly(name)
      const { header, body, pieces } = await routes[name].answer(frame.header, context)
      const { version, api, correlation } = frame
      return { parts: encodeFrame({ version, api, flags: 0, correlation }, header, body), pieces, failed: false }
    } catch (error) {
      stats.failures++
      if (isPlayheadError(error)) return refusal(frame, await asRefusal(error, context.services.brokers))
      this.#onBug(error, name, changes(name))
      return refusal(
        frame,
        new PlayheadError('internal', `${name}: found a bug in the broker; its log has the details`),
      )
    } finally {
      stats.totalMs += this.#clock.monotonicMs() - startedMs
    }
  }
}

/** A failure as the reply to the frame with this prefix. */
export function errorFrame(prefix: FramePrefix, error: PlayheadError): Buffer[] {
  const { version, api, correlation } = prefix
  return encodeFrame({ version, api, flags: FLAG_ERROR, correlation }, encodeHeader(failure, failureOf(error)), [])
}

function refusal(frame: Frame, error: PlayheadError): Answer {
  return { parts: errorFrame(frame, error), pieces: [], failed: true }
}

function changes(name: ApiName): boolean {
  const { permission } = apis[name]
  return permission !== 'read' && permission !== 'none'
}

function readOnly(name: ApiName): PlayheadError {
  return new PlayheadError(
    'readOnly',
    `${name}: found a broker that only reads a tier, wanted one that writes; ask the broker that owns the tier`,
  )
}

function checkVersion(name: ApiName, version: number): void {
  const { minVersion, maxVersion } = apis[name]
  if (version >= minVersion && version <= maxVersion) return
  throw new PlayheadError(
    'unsupportedVersion',
    `${name}: found version ${version}, wanted ${minVersion} to ${maxVersion}; hello tells the versions a broker speaks`,
    { api: name, version, minVersion, maxVersion },
  )
}

function unknownApi(api: number): PlayheadError {
  return new PlayheadError('unknownApi', `api ${api}: found no such api, wanted one of those that hello tells`, { api })
}
