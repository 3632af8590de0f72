/**
 * LimitTables: what the topic of limited streams says, as far as it was read: a table for each partition of each topic that is here, which its log looks at. Topics
 * come and go by themselves: limits of those that are not here wait, and are let go of when they become too many: most are of topics that were deleted.
 * Invariants: of a stream the last event counts, and its first version never goes back; a topic that may have been let go of is said not to be known.
 * Neighbours: LimitedStreams owns it, InternalFollower fills it in; a log's StreamLimits shares a table.
 */
import { partitionOf } from '../protocol/murmur2.ts'
import type { LogRecord } from '../protocol/record.ts'
import type { Partition } from '../replication/partition.ts'
import type { Partitions } from '../replication/partitions.ts'
import { StreamLimits } from '../storage/stream-limits.ts'
import type { StreamLimit } from '../storage/stream-limits.ts'
import type { Topic } from '../storage/topic.ts'

/** Of topics that are not here: they are in memory. */
const waitingMax = 10_000
const topicIdLength = 36

export class LimitTables {
  readonly #partitions: Partitions
  readonly #isClustered: boolean
  /** By topic id, of every topic that is here: by partition. */
  readonly #topics = new Map<string, TopicTables>()
  /** The same of topics that are not here, by stream. */
  readonly #waiting = new Map<string, Map<string, StreamLimit>>()
  #waitingCount = 0
  /** Topics with this id or a lower one, made before it, may have been let go of before they came. */
  #letGoTo = ''

  constructor(partitions: Partitions, isClustered: boolean) {
    this.#partitions = partitions
    this.#isClustered = isClustered
    this.look()
  }

  /** What is no limit is passed over: where brokers need not prove who they are, anybody can write it. */
  apply({ key, value }: LogRecord): void {
    const name = key?.toString() ?? ''
    const limit = limitIn(value)
    if (limit === undefined || name[topicIdLength] !== '/') return
    const topicId = name.slice(0, topicIdLength)
    const stream = name.slice(topicIdLength + 1)
    if (!this.#topics.has(topicId) && this.#waitingCount >= waitingMax) this.look() // some may have come
    const tables = this.#topics.get(topicId)
    if (tables !== undefined) tables.set(stream, limit)
    else this.#wait(topicId, stream, limit)
  }

  /** Which topics are here now. */
  look(): void {
    const here = new Set<string>()
    for (const topic of this.#partitions.topics()) {
      here.add(topic.id)
      if (!this.#topics.has(topic.id)) this.#arrived(topic)
    }
    for (const [topicId, tables] of this.#topics) if (!here.has(topicId)) this.#left(topicId, tables)
  }

  /** Lets the partition's log look at its table. False when limits of its topic may have been let go of: then the topic is to be read anew. */
  fill(partition: Partition): boolean {
    let tables = this.#topics.get(partition.topicId)
    if (tables === undefined) {
      this.look()
      tables = this.#topics.get(partition.topicId)
      if (tables === undefined) return true // it is being deleted
    }
    const { limits } = partition.log
    const table = tables.of(partition.partition)
    if (!limits.shares(table)) {
      limits.share(table)
      limits.committedOffset = () => partition.highWatermark
    }
    return !tables.mayLack
  }

  #arrived(topic: Topic): void {
    const tables = new TopicTables(topic, this.#isClustered, topic.id <= this.#letGoTo)
    this.#topics.set(topic.id, tables)
    const waiting = this.#waiting.get(topic.id)
    for (const [stream, limit] of waiting ?? []) tables.set(stream, limit)
    if (waiting !== undefined) this.#stopWaiting(topic.id, waiting)
  }

  /** It is on its way out; should that be refused, its limits are still there. */
  #left(topicId: string, tables: TopicTables): void {
    this.#topics.delete(topicId)
    for (const [stream, limit] of tables.entries()) this.#wait(topicId, stream, limit)
  }

  #wait(topicId: string, stream: string, limit: StreamLimit): void {
    if (this.#waitingCount >= waitingMax) this.#makeRoom()
    if (topicId <= this.#letGoTo) return
    const streams = this.#waiting.get(topicId) ?? new Map<string, StreamLimit>()
    if (!streams.has(stream)) this.#waitingCount++
    streams.set(stream, limit)
    this.#waiting.set(topicId, streams)
  }

  /** Half of it. Ids begin with the time at which they were made: what was made first has come by now, or never will. */
  #makeRoom(): void {
    for (const topicId of [...this.#waiting.keys()].toSorted()) {
      if (this.#waitingCount <= waitingMax / 2) return
      this.#letGoTo = topicId
      this.#stopWaiting(topicId, this.#waiting.get(topicId)!)
    }
  }

  #stopWaiting(topicId: string, streams: ReadonlyMap<string, StreamLimit>): void {
    this.#waiting.delete(topicId)
    this.#waitingCount -= streams.size
  }
}

/** Of one topic, a table for each partition that has limits, or was asked for. */
class TopicTables {
  /** Limits from before it came may be missing. */
  readonly mayLack: boolean
  readonly #topic: Topic
  readonly #isClustered: boolean
  readonly #tables: (StreamLimits | undefined)[] = []

  constructor(topic: Topic, isClustered: boolean, mayLack: boolean) {
    this.#topic = topic
    this.#isClustered = isClustered
    this.mayLack = mayLack
  }

  of(partition: number): StreamLimits {
    return (this.#tables[partition] ??= this.#isClustered ? StreamLimits.uncertain() : new StreamLimits())
  }

  set(stream: string, limit: StreamLimit): void {
    const table = this.of(partitionOf(stream, this.#topic.partitions, this.#topic.settings.partitionBy))
    const truncateBefore = Math.max(limit.truncateBefore, table.get(stream).truncateBefore)
    table.set(stream, { ...limit, truncateBefore })
  }

  *entries(): Generator<[string, StreamLimit]> {
    for (const table of this.#tables) if (table !== undefined) yield* table.entries()
  }
}

function limitIn(value: Buffer | null): StreamLimit | undefined {
  const found = parsed(value?.toString() ?? '')
  if (typeof found !== 'object' || found === null) return undefined
  const { maxCount, maxAgeMs, truncateBefore } = found as Readonly<Record<string, unknown>>
  return isCount(maxCount) && isCount(maxAgeMs) && isCount(truncateBefore)
    ? { maxCount, maxAgeMs, truncateBefore }
    : undefined
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}
