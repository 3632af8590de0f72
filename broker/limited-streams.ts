/**
 * LimitedStreams: streams of which less is kept than their topic's settings say: the newest events only, or young ones, or none before a version. Each is
 * a stream of the internal topic, named `<topic id>/<stream>`, whose last event holds its limit. Loaded into the logs at the start, before anybody reads.
 * Invariant: a limit is durable before it hides anything, and changes of one stream's limit happen one after the other.
 * Called by handlers/stream.ts, calls Partition.
 */
import type { Clock } from '../platform/clock.ts'
import type { Random } from '../platform/random.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { encodeEvent } from '../protocol/event.ts'
import { MiB, streamNameBytesMax, streamsPerListMax } from '../protocol/limits.ts'
import { encodeRecordBatch } from '../protocol/record-batch.ts'
import { uuidV7 } from '../protocol/uuid.ts'
import type { Partition } from '../replication/partition.ts'
import type { Partitions } from '../replication/partitions.ts'
import type { StreamLimit } from '../storage/stream-limits.ts'

export const limitedStreamsTopic = '__limited-streams'
/** A topic id and a slash. */
const prefixBytes = 37
/** Of one partition: they are in memory. */
const limitedStreamsMax = 100_000

export interface LimitChange {
  readonly topic: string
  readonly stream: string
  /** Undefined = as it is; 0 = no limit. */
  readonly maxCount?: number | undefined
  readonly maxAgeMs?: number | undefined
  /** Lower than before changes nothing. */
  readonly truncateBefore?: number | undefined
  /** Everything there is now goes. */
  readonly deletes: boolean
}

export interface LimitedStreamsOptions {
  readonly partitions: Partitions
  readonly clock: Clock
  readonly random: Random
}

export class LimitedStreams {
  readonly #options: LimitedStreamsOptions
  /** Undefined until `open`: a broker of a cluster has none. */
  #home: Partition | undefined
  #last: Promise<unknown> = Promise.resolve()

  constructor(options: LimitedStreamsOptions) {
    this.#options = options
  }

  /** Creates the internal topic when it is missing, and puts what it holds into the logs. */
  async open(): Promise<void> {
    const { partitions } = this.#options
    if (!partitions.has(limitedStreamsTopic)) {
      await partitions.create({
        name: limitedStreamsTopic,
        partitions: 1,
        replicationFactor: 1,
        settings: { 'cleanup.policy': 'compact' },
        internal: true,
      })
    }
    this.#home = partitions.get(limitedStreamsTopic, 0)
    await this.#load(this.#home)
  }

  /** Resolves with the limit in force once it is durable. Throws unknownTopic, invalidStream, invalidArgument, overloaded. */
  set(change: LimitChange): Promise<StreamLimit> {
    const changing = this.#last.then(() => this.#set(change))
    this.#last = changing.catch(() => undefined)
    return changing
  }

  async #set({ topic, stream, maxCount, maxAgeMs, truncateBefore, deletes }: LimitChange): Promise<StreamLimit> {
    const { partitions } = this.#options
    const home = this.#home
    if (home === undefined) {
      const message = `${topic}/${stream}: found a broker of a cluster, wanted one by itself: limits of single streams are not built for clusters yet`
      throw new PlayheadError('invalidArgument', message)
    }
    const { log, highWatermark, topicId } = partitions.ofStream(topic, stream)
    const before = log.limits.get(stream)
    const { lastVersion } = log.streamInfo(stream, highWatermark)
    const truncated = deletes ? lastVersion + 1 : (truncateBefore ?? 0)
    if (truncated > lastVersion + 1) {
      const message = `${topic}/${stream}: found ${truncated} as the first version to keep, wanted at most ${lastVersion + 1}, the next one`
      throw new PlayheadError('invalidArgument', message, { truncateBefore: truncated, lastVersion })
    }
    const limit: StreamLimit = {
      maxCount: maxCount ?? before.maxCount,
      maxAgeMs: maxAgeMs ?? before.maxAgeMs,
      truncateBefore: Math.max(before.truncateBefore, truncated),
    }
    if (Buffer.byteLength(stream) > streamNameBytesMax - prefixBytes) {
      const message = `${topic}: found a stream name of ${Buffer.byteLength(stream)} bytes, wanted at most ${streamNameBytesMax - prefixBytes} for a stream with a limit`
      throw new PlayheadError('invalidArgument', message)
    }
    if (log.limits.size >= limitedStreamsMax) {
      const message = `${topic}: found ${log.limits.size} streams with limits in a partition, wanted fewer than ${limitedStreamsMax}; use the topic's retention settings`
      throw new PlayheadError('overloaded', message, { limit: limitedStreamsMax })
    }
    await this.#append(home, `${topicId}/${stream}`, limit)
    log.limits.set(stream, limit)
    return limit
  }

  async #append(home: Partition, name: string, limit: StreamLimit): Promise<void> {
    const { clock, random } = this.#options
    const nowMs = clock.now()
    const defaults = { id: uuidV7(random.bytes(10), nowMs), timestampMs: nowMs }
    const batch = encodeRecordBatch([encodeEvent(name, { type: 'StreamLimited', data: { ...limit } }, defaults)])
    await home.append({ batch, expected: [], wantVersions: false, acks: 'all' })
  }

  async #load(home: Partition): Promise<void> {
    const { partitions } = this.#options
    const names = new Map<string, string>()
    for (const { topic, topicId } of partitions.all()) names.set(topicId, topic)
    const limitOffset = home.highWatermark
    for (let afterStream: string | undefined, isMore = true; isMore; ) {
      const page = home.log.listStreams({ prefix: '', afterStream, limit: streamsPerListMax, limitOffset })
      for (const { stream: name } of page) {
        const topic = names.get(name.slice(0, prefixBytes - 1))
        const stream = name.slice(prefixBytes)
        if (topic !== undefined) partitions.ofStream(topic, stream).log.limits.set(stream, await this.#read(home, name))
      }
      isMore = page.length === streamsPerListMax
      afterStream = page.at(-1)?.stream
    }
  }

  async #read(home: Partition, stream: string): Promise<StreamLimit> {
    const { records } = await home.readStream({ stream, limit: 1, backwards: true, maxBytes: MiB })
    // Only this file writes the internal topic: what does not parse is a bug, not an expected failure.
    return JSON.parse(records[0]?.value?.toString() ?? '') as StreamLimit
  }
}
