/**
 * InternalLog: an internal topic with its one partition, wherever that is led: here, or at another broker of the cluster, which is asked as a broker.
 * Invariant: what is read is committed. Neighbours: AccessStore, Audit and LimitedStreams each have one; Partition and ClusterNode do the work.
 */
import { sleep } from '../platform/clock.ts'
import type { Clock } from '../platform/clock.ts'
import type { ApiName, ReplyOf, RequestOf } from '../protocol/api.ts'
import type { Consistency } from '../protocol/consistency.ts'
import { isPlayheadError, PlayheadError } from '../protocol/errors.ts'
import { errorOf } from '../protocol/header-codec.ts'
import { MiB } from '../protocol/limits.ts'
import { splitBatches } from '../protocol/record-batch.ts'
import type { LogRecord } from '../protocol/record.ts'
import type { Partition } from '../replication/partition.ts'
import type { Partitions } from '../replication/partitions.ts'
import type { StreamFacts } from '../storage/log.ts'
import type { TopicSettingTexts } from '../storage/topic-settings.ts'

/** The other brokers, as far as internal topics have to do with them. */
export interface OtherBrokers {
  /** Of this broker: its events are told from those of others by it. */
  readonly self: number
  /** Those that are there, this one left out. */
  readonly count: number
  /** Replicas of a topic that there is room for now. */
  readonly replicationFactorMax: number
  /** The last leader epoch that an operator began by giving up what others had; 0 = there was none. */
  uncleanEpochOf(partition: { readonly topicId: string; readonly partition: number }): number
  ask<A extends ApiName>(
    broker: number,
    api: A,
    request: RequestOf<A>,
    options?: { readonly body?: readonly Buffer[]; readonly waitMs?: number; readonly signal?: AbortSignal },
  ): Promise<{ readonly header: ReplyOf<A>; readonly body: Buffer }>
}

export interface InternalLogOptions {
  readonly partitions: Partitions
  readonly clock: Clock
  readonly topic: string
  /** Of the topic, when it is made. */
  readonly settings?: TopicSettingTexts
  /** Undefined = this broker is by itself. */
  readonly others: OtherBrokers | undefined
}

export interface InternalRead {
  readonly records: readonly LogRecord[]
  /** Where to read on. */
  readonly nextOffset: number
}

const readBytesMax = 4 * MiB
const retryMs = 200

export class InternalLog {
  readonly #options: InternalLogOptions

  constructor(options: InternalLogOptions) {
    this.#options = options
  }

  /** Makes the topic when it is missing. */
  async create(): Promise<void> {
    const { partitions, topic: name, others, settings = {} } = this.#options
    if (partitions.has(name)) return
    const replicationFactor = others?.replicationFactorMax ?? 1
    const topic = { name, partitions: 1, replicationFactor, settings, internal: true }
    await partitions.create(topic).catch((error: unknown) => {
      if (others === undefined || !isPlayheadError(error, 'topicExists')) throw error // another broker was faster
    })
  }

  /** Others may lead it. */
  get isShared(): boolean {
    return this.#options.others !== undefined
  }

  get leads(): boolean {
    return this.#here.following === undefined
  }

  /** The epoch in which this broker leads. Throws notLeader, which says who does. */
  leadingEpoch(): number {
    this.#here.checkLeads()
    return this.#here.leaderEpoch
  }

  /** Where what is committed ends, as far as this broker knows. */
  get highWatermark(): number {
    return this.#here.highWatermark
  }

  /** Grows when what was committed has been given up: then it is to be read from the start. */
  get uncleanEpoch(): number {
    const epoch = this.#options.others?.uncleanEpochOf(this.#here) ?? 0
    // Until this broker takes part in it, it may ask those who have what was given up.
    return this.#here.leaderEpoch >= epoch ? epoch : 0
  }

  /** Where what is committed ends, for certain; `linearizable`: also if who leads has been replaced and does not know it. */
  async end(consistency?: Consistency): Promise<number> {
    const { topic } = this.#options
    if (this.leads) {
      await (consistency === undefined ? this.#here.settled() : this.#here.linearized())
      return this.#here.highWatermark
    }
    const wish = { at: 'end', timestamp: undefined, clock: 'event', consistency } as const
    const request = { topic, partition: 0, ...wish }
    return (await this.#ask('listOffsets', request)).header.offset
  }

  /** What is committed from `offset` on; waits so long for there to be something. */
  async read(offset: number, waitMs: number, signal?: AbortSignal): Promise<InternalRead> {
    const { topic } = this.#options
    if (this.leads) {
      await this.#here.waitForHighWatermark(offset + 1, waitMs, signal)
      const { batches, nextOffset } = await this.#here.read(offset, readBytesMax)
      return { records: recordsOf(batches), nextOffset }
    }
    const wish = {
      offset,
      minBytes: 1,
      maxBytes: readBytesMax,
      waitMsMax: waitMs,
      after: undefined,
      fromFollower: undefined,
    }
    const options = { waitMs, ...(signal !== undefined && { signal }) }
    const { header, body } = await this.#ask('fetch', { topic, partition: 0, ...wish }, options)
    return { records: recordsOf([body]), nextOffset: header.nextOffset }
  }

  /** The last event of a stream, for certain. */
  async lastOf(stream: string): Promise<LogRecord | undefined> {
    if (this.leads)
      return (await this.#here.readStream({ stream, limit: 1, backwards: true, maxBytes: MiB })).records[0]
    const wish = { from: undefined, limit: 1, backwards: true, asOf: undefined, knownAt: undefined }
    const reach = { after: undefined, consistency: undefined }
    const request = { topic: this.#options.topic, stream, ...wish, maxBytes: MiB, ...reach }
    return recordsOf([(await this.#ask('readStream', request)).body]).at(-1)
  }

  /** Where a stream stands, for certain. */
  async streamInfo(stream: string): Promise<StreamFacts> {
    if (this.leads) {
      await this.#here.settled()
      return this.#here.log.streamInfo(stream, this.#here.highWatermark)
    }
    const request = { topic: this.#options.topic, stream, after: undefined, consistency: undefined }
    return (await this.#ask('streamInfo', request)).header
  }

  /** Resolves when it is durable, with its offset. `version`: of the stream before; undefined = no matter which. Throws wrongExpectedVersion. */
  async append(stream: string, batch: Buffer, version?: number): Promise<number> {
    const expected = version === undefined ? [] : [{ stream, version }]
    if (this.leads) return (await this.#here.append({ batch, expected, wantVersions: false, acks: 'all' })).baseOffset
    const groups = [{ batchBytes: batch.length, expected, wantVersions: false }]
    const request = { topic: this.#options.topic, partition: 0, acks: 'all', groups } as const
    const { header } = await this.#ask('append', request, { body: [batch] })
    const [verdict] = header.groups
    if (verdict?.failure !== undefined) throw errorOf(verdict.failure)
    return verdict!.baseOffset
  }

  pause(signal?: AbortSignal): Promise<void> {
    return sleep(this.#options.clock, retryMs, signal)
  }

  get #here(): Partition {
    const [partition] = this.#options.partitions.topic(this.#options.topic).partitions
    return partition!
  }

  async #ask<A extends ApiName>(
    api: A,
    request: RequestOf<A>,
    options: { readonly body?: readonly Buffer[]; readonly waitMs?: number; readonly signal?: AbortSignal } = {},
  ): Promise<{ readonly header: ReplyOf<A>; readonly body: Buffer }> {
    const { others, topic } = this.#options
    const leader = this.#here.following?.leader
    if (others === undefined || typeof leader !== 'number') {
      const message = `${topic}: found no leader, wanted one; start the brokers that are missing, or ask again later`
      throw new PlayheadError('unavailable', message, { outcome: 'notApplied' })
    }
    return others.ask(leader, api, request, options)
  }
}

function recordsOf(batches: readonly Buffer[]): LogRecord[] {
  return batches.flatMap((bytes) => splitBatches(bytes).flatMap((batch) => (batch.isControl ? [] : [...batch])))
}
