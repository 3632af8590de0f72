/**
 * What a handler gets and gives: the broker it acts on, the connection that asks, the body that came and the reply that goes out.
 * Handlers are in handlers/, the table that binds them to the apis in dispatch.ts.
 */
import type { FramePiece } from '../protocol/frame-memory.ts'
import type { Clock } from '../platform/clock.ts'
import type { Random } from '../platform/random.ts'
import type { ApiName, ReplyOf, RequestOf } from '../protocol/api.ts'
import type { ClusterNode } from '../replication/cluster-node.ts'
import type { Partitions } from '../replication/partitions.ts'
import type { Brokers } from './brokers.ts'
import type { BrokerConfig } from './config.ts'
import type { LimitedStreams } from './limited-streams.ts'
import type { Playheads } from './playheads.ts'
import type { Security } from './security/security.ts'
import type { Session } from './security/session.ts'

export interface BrokerIdentity {
  readonly clusterId: string
  readonly brokerId: number
  readonly dataDirectory: string
}

/** What requests act on, over TCP and HTTP alike. */
export interface Services {
  readonly identity: BrokerIdentity
  readonly config: BrokerConfig
  readonly clock: Clock
  readonly random: Random
  readonly partitions: Partitions
  readonly playheads: Playheads
  /** The others of the cluster. */
  readonly brokers: Brokers
  /** This broker's part in its cluster; undefined = it is by itself. */
  readonly cluster: ClusterNode | undefined
  readonly limitedStreams: LimitedStreams
  readonly security: Security
  /** What is damaged or failing, in words; empty when all is well. */
  problems(): string[]
  status(): ReplyOf<'status'>
}

/** Memory for the reply to one request. What is still reserved when the reply goes out is given back with it. */
export interface ReplyRoom {
  readonly reservedBytes: number
  /**
   * Before a read that may answer `bytes`: waits until the connection has taken enough of the replies before. Undefined = go on at once;
   * rejects with closed when the connection is gone: nothing is to be read for it.
   * Not while something is reserved already: two that hold and wait would wait for each other.
   */
  reserve(bytes: number): Promise<void> | undefined
  /** The same without waiting; false = there is no room now. */
  tryReserve(bytes: number): boolean
  /** Gives back what turned out not to be needed. */
  release(bytes: number): void
}

export interface RequestContext {
  readonly services: Services
  /** Who asks. */
  readonly session: Session
  /** The raw part of the request, e.g. batches. The handler's to keep. */
  readonly body: Buffer
  /** What the body lies in, held until the reply is made; undefined = memory of the collector. */
  readonly piece?: FramePiece | undefined
  /** Aborts when nobody waits for the reply any more, or when the broker stops: a parked request answers with what it has. */
  readonly signal: AbortSignal
  readonly reply: ReplyRoom
}

export interface Reply<Header> {
  readonly header: Header
  readonly body?: readonly Buffer[]
  /** What the body lies in, to be let go of when it has been sent. */
  readonly pieces?: readonly FramePiece[]
}

export type Handler<A extends ApiName> = (request: RequestOf<A>, context: RequestContext) => Promise<Reply<ReplyOf<A>>>
