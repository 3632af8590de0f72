/**
 * ScriptedBroker: a broker in memory that speaks the real frames, and goes wrong where a test tells it to: it loses requests or
 * replies, closes connections, stays silent, refuses. Everything else follows the contract, so that duplicates and lost records show.
 */
import { apiName, apis } from '../../protocol/api.ts'
import type { ApiName, ReplyOf, RequestOf } from '../../protocol/api.ts'
import { failure } from '../../protocol/append.ts'
import { PlayheadError, isPlayheadError } from '../../protocol/errors.ts'
import { FLAG_ERROR, FrameReader, encodeFrame } from '../../protocol/frame.ts'
import type { Frame } from '../../protocol/frame.ts'
import { decodeHeader, encodeHeader, failureOf } from '../../protocol/header-codec.ts'
import type { Field } from '../../protocol/header-schema.ts'
import type { DescribedPartition } from '../../protocol/topic.ts'
import type { Connection, Listener } from '../../platform/transport.ts'
import { MemoryTransport } from './memory-transport.ts'
import { ScriptedPartition } from './scripted-partition.ts'

/**
 * `loseRequest`: the connection closes before the request takes effect. `loseReply`: after it has. `silence`: it takes effect, no answer
 * comes, the connection stays. An error: that is the answer, and nothing else happens.
 */
export type Fault = 'loseRequest' | 'loseReply' | 'silence' | PlayheadError

export interface Asked<A extends ApiName = ApiName> {
  readonly api: A
  /** Counts the requests of this api from 1. */
  readonly count: number
  readonly header: RequestOf<A>
}

interface Answer {
  readonly header: unknown
  readonly body?: Buffer
}

/** Who leads a partition, as a broker of a cluster has it. */
export interface Leading {
  /** Undefined = nobody. */
  readonly broker: number | undefined
  readonly leaderEpoch: number
}

/** What a broker knows of its cluster. */
export interface ClusterView {
  readonly replicas: readonly number[]
  /** Of brokers; none by default. */
  racks?: ReadonlyMap<number, string>
  /** All replicas by default. */
  inSync?: readonly number[]
  readonly leading: readonly Leading[]
  addressOf(broker: number): { host: string; port: number } | undefined
}

export const topicId = '00000000-0000-7000-8000-000000000001'

export class ScriptedBroker {
  readonly transport: MemoryTransport
  readonly brokerId: number
  readonly partitions: ScriptedPartition[]
  /** Undefined: it is by itself. */
  view: ClusterView | undefined
  /** Asked before each request takes effect. */
  fault: (asked: Asked) => Fault | undefined = () => undefined
  /** Refuses a single group of an append: asked before it takes effect. */
  groupFault: (group: { readonly count: number }) => PlayheadError | undefined = () => undefined
  limits = { frameBytesMax: 1 << 24, inFlightRequestsMax: 64, inFlightBytesMax: 1 << 26, dedupeBatches: 1024 }
  /** Its release knows of linearizable reads. */
  knowsConsistency = true
  topic = 'carts'
  topicId = topicId
  readonly asked: Asked[] = []
  connections = 0
  readonly #counts = new Map<string, number>()
  #groups = 0
  readonly #open = new Set<Connection>()
  #listener: Listener | undefined
  playhead = { version: -1, positions: [] as { partition: number; offset: number }[] }

  constructor(partitions: number | ScriptedPartition[] = 1, brokerId = 1, transport = new MemoryTransport()) {
    this.partitions =
      typeof partitions === 'number' ? Array.from({ length: partitions }, () => new ScriptedPartition()) : partitions
    this.brokerId = brokerId
    this.transport = transport
  }

  async listen(port = 0): Promise<string> {
    this.#listener = await this.transport.listen('memory', port, (connection) => this.serve(connection))
    return `memory:${this.#listener.port}`
  }

  async stop(): Promise<void> {
    await this.#listener?.close()
    for (const connection of this.#open) connection.destroy()
  }

  countOf(api: ApiName): number {
    return this.#counts.get(api) ?? 0
  }

  serve(connection: Connection): void {
    this.connections++
    this.#open.add(connection)
    const reader = new FrameReader(this.limits.frameBytesMax)
    connection.onClose = () => this.#open.delete(connection)
    connection.onData = (bytes) => {
      reader.push(bytes)
      for (let frame = reader.next(); frame !== undefined; frame = reader.next()) this.#onFrame(connection, frame)
    }
  }

  #onFrame(connection: Connection, frame: Frame): void {
    const api = apiName(frame.api)!
    const header = decodeHeader(apis[api].request as Field<unknown>, frame.header) as Asked['header']
    const count = this.countOf(api) + 1
    this.#counts.set(api, count)
    const asked = { api, count, header }
    this.asked.push(asked)
    const fault = this.fault(asked)
    if (fault === 'loseRequest') return connection.destroy()
    let reply: Buffer[]
    try {
      if (isPlayheadError(fault)) throw fault
      const answer = this.#answer(api, header, frame.body)
      const bytes = encodeHeader(apis[api].reply as Field<unknown>, answer.header)
      reply = encodeFrame({ ...frame, flags: 0 }, bytes, answer.body ? [answer.body] : [])
    } catch (error) {
      if (!isPlayheadError(error)) throw error
      reply = encodeFrame({ ...frame, flags: FLAG_ERROR }, encodeHeader(failure, failureOf(error)), [])
    }
    if (fault === 'loseReply') return connection.destroy()
    if (fault !== 'silence') connection.write(reply)
  }

  #answer(api: ApiName, header: unknown, body: Buffer): Answer {
    this.#checkLeads(api, header as { partition?: number })
    switch (api) {
      case 'hello':
        return { header: { version: 0, clusterId: 'c', brokerId: this.brokerId, ...this.limits, apis: [] } }
      case 'describeTopic':
        return { header: this.#describe(header as RequestOf<'describeTopic'>) }
      case 'append':
        return { header: this.#append(header as RequestOf<'append'>, body) }
      case 'producerState':
        return { header: this.#producerState(header as RequestOf<'producerState'>) }
      case 'fetch':
        return this.#fetch(header as RequestOf<'fetch'>)
      case 'readStream':
        return this.#readStream(header as RequestOf<'readStream'>)
      case 'createTopic':
        return { header: { topicId: this.topicId, partitions: this.partitions.length } }
      case 'readPlayhead':
        return { header: { known: this.playhead.version >= 0, ...this.playhead, committedAtMs: 0 } }
      case 'commitPlayhead':
        return { header: this.#commit(header as RequestOf<'commitPlayhead'>) }
      case 'status':
        return { header: { release: '0', clusterId: 'c', brokerId: 1, dataDirectory: '', problems: [], ...zeros } }
      default:
        throw new PlayheadError('unknownApi', `scripted broker: found ${api}, wanted something simpler`)
    }
  }

  #describe({ topic }: RequestOf<'describeTopic'>): ReplyOf<'describeTopic'> {
    if (topic !== this.topic) throw new PlayheadError('unknownTopic', `topic ${topic}: found no such topic`)
    const partitions = this.partitions.map(({ endOffset }, partition) => ({
      partition,
      leaderEpoch: this.view?.leading[partition]?.leaderEpoch ?? 0,
      logStartOffset: 0,
      highWatermark: endOffset,
      logEndOffset: endOffset,
      durableOffset: endOffset,
      sizeBytes: 0,
      segments: 1,
      damage: [],
      isUnsettled: undefined,
      ...this.#placeOf(partition),
    }))
    const { view } = this
    const nowhere = { host: undefined, port: undefined }
    const brokers = view?.replicas.map((broker) => {
      return { broker, ...nowhere, ...view.addressOf(broker), rack: view.racks?.get(broker) }
    })
    return { topic, topicId: this.topicId, internal: false, settings: [], partitions, brokers }
  }

  /** Streams and playheads are in partition 0. */
  #checkLeads(api: ApiName, { partition = 0, fromFollower }: { partition?: number; fromFollower?: boolean }): void {
    if (fromFollower === true) return
    const leading = this.view?.leading[partition]
    if (leading === undefined || leading.broker === this.brokerId || isOfAnyBroker.has(api)) return
    const { broker, leaderEpoch } = leading
    const address = broker === undefined ? undefined : this.view?.addressOf(broker)
    const named = broker === undefined ? {} : { leader: broker, ...address }
    throw new PlayheadError('notLeader', `partition ${partition}: found ${broker} leading`, { leaderEpoch, ...named })
  }

  #placeOf(partition: number): Pick<DescribedPartition, 'leader' | 'replicas' | 'inSync'> {
    if (this.view === undefined) return { leader: undefined, replicas: undefined, inSync: undefined }
    const { leading, replicas, inSync = replicas } = this.view
    const { broker } = leading[partition]!
    const { host, port } = (broker === undefined ? undefined : this.view.addressOf(broker)) ?? {}
    return {
      leader: broker === undefined ? undefined : { broker, host, port, rack: undefined },
      replicas: [...replicas],
      inSync: [...inSync],
    }
  }

  #append({ partition, groups }: RequestOf<'append'>, body: Buffer): ReplyOf<'append'> {
    const log = this.partitions[partition]!
    let at = 0
    const verdicts = groups.map(({ batchBytes, expected }) => {
      const bytes = body.subarray(at, (at += batchBytes))
      try {
        const refused = this.groupFault({ count: ++this.#groups })
        if (refused) throw refused
        return { failure: undefined, appendTimeMs: 1, ...log.append(bytes, expected) }
      } catch (error) {
        if (!isPlayheadError(error)) throw error
        return { failure: failureOf(error), baseOffset: 0, appendTimeMs: 0, duplicate: false, versions: [] }
      }
    })
    return { topicId: this.topicId, endOffset: log.endOffset, groups: verdicts }
  }

  #producerState({ partition, producerId }: RequestOf<'producerState'>): ReplyOf<'producerState'> {
    const state = this.partitions[partition]!.producers.get(producerId)
    return {
      known: state !== undefined,
      producerEpoch: state?.epoch ?? -1,
      lastSequence: state?.lastSequence ?? -1,
      lastOffset: state?.lastOffset ?? -1,
    }
  }

  #fetch({ partition, offset, maxBytes, after }: RequestOf<'fetch'>): Answer {
    this.#checkToken(after)
    const { batches, endOffset } = this.partitions[partition]!
    const found: Buffer[] = []
    let bytes = 0
    let nextOffset = offset
    for (const batch of batches) {
      if (batch.nextOffset <= offset) continue
      bytes += batch.bytes.length
      if (found.length > 0 && bytes > maxBytes) break
      found.push(batch.bytes)
      nextOffset = batch.nextOffset
    }
    const header = { topicId: this.topicId, logStartOffset: 0, highWatermark: endOffset, nextOffset }
    return { header, body: Buffer.concat(found) }
  }

  #readStream({ stream, from = 0, limit, after, consistency }: RequestOf<'readStream'>): Answer {
    this.#checkToken(after)
    const log = this.partitions[0]!
    const { body, versions, nextVersion } = log.readStream(stream, from, Math.min(limit, 3))
    const place = { topicId: this.topicId, partition: 0, highWatermark: log.endOffset }
    const isLinearizable = this.knowsConsistency && consistency === 'linearizable' ? true : undefined
    return {
      header: { ...place, lastVersion: log.heads.get(stream) ?? -1, versions, nextVersion, isLinearizable },
      body,
    }
  }

  #commit({ positions, expectedVersion }: RequestOf<'commitPlayhead'>): ReplyOf<'commitPlayhead'> {
    if (expectedVersion !== undefined && expectedVersion !== this.playhead.version) {
      throw new PlayheadError(
        'playheadMoved',
        `playhead: found version ${this.playhead.version}, wanted ${expectedVersion}`,
      )
    }
    this.playhead = { version: this.playhead.version + 1, positions }
    return { version: this.playhead.version }
  }

  #checkToken(after: { topicId: string } | undefined): void {
    if (after === undefined || after.topicId === this.topicId) return
    throw new PlayheadError('tokenMismatch', `token: found topic id ${after.topicId}, wanted ${this.topicId}`)
  }
}

const isOfAnyBroker: ReadonlySet<ApiName> = new Set(['hello', 'describeTopic', 'createTopic', 'status'])

const zeros = { uptimeMs: 0, cpuMs: 0, rssBytes: 0, connections: 0, topics: 0, partitions: 0, logBytes: 0 }
