/**
 * LimitedStreams: streams of which less is kept than their topic's settings say: the newest events only, or young ones, or none before a version. Each is
 * a stream of the internal topic, named `<topic id>/<stream>`, whose last event holds its limit. Every broker of a cluster follows that topic, and all its logs
 * look at what it says; who leads a stream's partition changes its limit.
 * Invariants: a limit is durable before it hides anything, and hides it here before it is answered; of two changes of one limit, through whichever brokers,
 * the second knows the first; a leader answers nothing of streams before it knows all limits that were in force when it began to lead.
 * Called by handlers and routes that read streams; LimitTables is what it knows, InternalFollower reads it.
 */
import { sleep } from '../platform/clock.ts'
import type { Clock } from '../platform/clock.ts'
import type { Random } from '../platform/random.ts'
import { isPlayheadError, PlayheadError } from '../protocol/errors.ts'
import type { ErrorCode } from '../protocol/errors.ts'
import { encodeEvent } from '../protocol/event.ts'
import { streamNameBytesMax } from '../protocol/limits.ts'
import { isInternalTopic } from '../protocol/names.ts'
import { encodeRecordBatch } from '../protocol/record-batch.ts'
import { uuidV7 } from '../protocol/uuid.ts'
import type { Partition } from '../replication/partition.ts'
import type { Partitions } from '../replication/partitions.ts'
import { noLimit } from '../storage/stream-limits.ts'
import type { StreamLimit } from '../storage/stream-limits.ts'
import { InternalFollower } from './internal-follower.ts'
import { InternalLog } from './internal-log.ts'
import type { OtherBrokers } from './internal-log.ts'
import { LimitTables } from './limit-tables.ts'
import { NamedTurns } from './named-turns.ts'

export const limitedStreamsTopic = '__limited-streams'
/** A topic id and a slash. */
const prefixBytes = 37
/** Of one partition: they are in memory. */
const limitedStreamsMax = 100_000
/** Others that change the limit of the same stream all the time: then it is the caller's to try again. */
const conflictsMax = 16
/** How long what needs the topic's leader is tried again before it is refused. */
const patienceMs = 3_000
const retryMs = 200
/** Of the topic's leader: another one may lead, or this one know more, in a moment. */
const passing: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'notLeader',
  'fencedEpoch',
  'notEnoughReplicas',
  'unavailable',
  'timedOut',
  'stopping',
])
/** At the leader, how long a look for new limits is held back. */
const followWaitMs = 1_000
/** Between two looks at where the topic ends for certain: what limits have given up is removed only as of then. */
const certainMs = 30_000

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
  readonly report?: (level: 'info' | 'warn', message: string) => void
  /** A bug: limits would be followed no more. */
  readonly onFatal?: (error: Error) => void
}

/** The topic, once this broker has it. */
interface Source {
  readonly log: InternalLog
  readonly follower: InternalFollower<LimitTables>
}

export class LimitedStreams {
  readonly #options: LimitedStreamsOptions
  readonly #gone = new AbortController()
  readonly #turns = new NamedTurns('limit of stream')
  readonly #joined = Promise.withResolvers<OtherBrokers | undefined>()
  #opening: Promise<Source> | undefined
  #source: Source | undefined
  /** All there was has been read once. */
  #isRead = false
  /** When it was last looked where the topic ends for certain. */
  #lookedAtMs = -Infinity
  /** Under way; never rejects. */
  #catchingUp: Promise<void> = Promise.resolve()
  /** Not begun yet. */
  #nextCatchUp: Promise<void> | undefined
  /** The leader epochs in which partitions are led here, with all limits from before them known. */
  readonly #knownIn = new WeakMap<Partition, number>()
  /** What keeps it from following, as it was reported. */
  #trouble = ''

  constructor(options: LimitedStreamsOptions) {
    this.#options = options
  }

  /** Of a broker by itself, before it serves anybody: creates the topic when it is missing, and reads what it holds. Throws corruptBatch when that cannot be read. */
  async open(): Promise<void> {
    this.#joined.resolve(undefined)
    await this.#catchUp()
  }

  /** In a cluster, once this broker has a part in it: follows the topic from now on. Nobody waits for that but those who read streams. */
  join(others: OtherBrokers): void {
    this.#joined.resolve(others)
    void this.#follow()
  }

  close(): void {
    this.#gone.abort(new PlayheadError('stopping', 'broker: found it stopping, wanted it running; try again'))
  }

  /**
   * Before anything of a stream of the partition is told: undefined, or a promise that resolves, when all limits are known that were in force before this broker
   * led it. Throws unavailable, notLeader.
   */
  ready(partition: Partition): Promise<void> | undefined {
    return isInternalTopic(partition.topic) || this.#knows(partition) ? undefined : this.#learn(partition)
  }

  /** Resolves with the limit in force, here and durable. Throws unknownTopic, invalidStream, invalidArgument, overloaded, notLeader, unavailable, timedOut. */
  set(change: LimitChange): Promise<StreamLimit> {
    return this.#turns.with(`${change.topic}/${change.stream}`, () => this.#setInTurn(change))
  }

  async #setInTurn(change: LimitChange): Promise<StreamLimit> {
    for (let conflicts = 0; conflicts < conflictsMax; conflicts++) {
      try {
        return await this.#set(change)
      } catch (error) {
        if (!isPlayheadError(error, 'wrongExpectedVersion')) throw error // another broker was faster
      }
    }
    const message = `${change.topic}/${change.stream}: found its limit changed by others ${conflictsMax} times in between, wanted a moment without; try again`
    throw new PlayheadError('overloaded', message, { attempts: conflictsMax })
  }

  async #set(change: LimitChange): Promise<StreamLimit> {
    const { topic, stream } = change
    const partition = this.#options.partitions.ofStream(topic, stream)
    checkName(topic, stream)
    await partition.settled()
    const name = `${partition.topicId}/${stream}`
    const { log, follower } = await this.#open()
    const { lastVersion, lastOffset } = await this.#patiently(() => log.streamInfo(name), 'notApplied')
    if (lastOffset >= follower.nextOffset) await this.#patiently(() => this.#catchUp(), 'notApplied')
    while (!this.#knows(partition)) await this.#learn(partition)
    partition.checkLeads()
    const limit = limitAfter(partition, change)
    // What was not answered may have been written; then the same again is refused, and decided anew on that.
    const offset = await this.#patiently(() => log.append(name, this.#batch(name, limit), lastVersion))
    await this.#patiently(() => follower.readTo(offset + 1))
    follower.facts.fill(partition)
    // Only now is it certain that who leads next reads the topic after this change, and that the stream ended where this broker thought.
    await partition.linearized()
    return limit
  }

  #batch(name: string, limit: StreamLimit): Buffer {
    const { clock, random } = this.#options
    const nowMs = clock.now()
    const defaults = { id: uuidV7(random.bytes(10), nowMs), timestampMs: nowMs }
    return encodeRecordBatch([encodeEvent(name, { type: 'StreamLimited', data: { ...limit } }, defaults)])
  }

  #knows(partition: Partition): boolean {
    if (!this.#isRead || this.#source?.follower.facts.fill(partition) !== true) return false
    const { leading } = partition
    return leading === undefined || this.#knownIn.get(partition) === leading.leaderEpoch
  }

  async #learn(partition: Partition): Promise<void> {
    const { leading } = partition
    do {
      await this.#patiently(() => this.#catchUp(), 'notApplied')
      const { follower } = await this.#open()
      if (!follower.facts.fill(partition)) await this.#patiently(() => follower.readAnew(), 'notApplied')
    } while (!this.#knows(partition))
    if (leading !== undefined) partition.checkLeads()
  }

  /** Reads to where the topic ends at some moment after this call; who calls while others wait for the same waits with them. */
  #catchUp(): Promise<void> {
    this.#nextCatchUp ??= this.#catchingUp.then(() => {
      this.#nextCatchUp = undefined
      const reading = this.#readToEnd()
      this.#catchingUp = reading.catch(() => undefined)
      return reading
    })
    return this.#nextCatchUp
  }

  async #readToEnd(): Promise<void> {
    const { follower } = await this.#open()
    const { partitions, clock } = this.#options
    const atMs = clock.now()
    const before = Array.from(partitions.all(), (partition) => {
      const { log, highWatermark: offset, leading } = partition
      return { partition, log, offset, epoch: leading?.leaderEpoch }
    })
    await follower.catchUp()
    follower.facts.look()
    for (const { partition, log, offset, epoch } of before) {
      if (isInternalTopic(partition.topic)) continue
      follower.facts.fill(partition)
      // Of a log that has taken another one's place meanwhile that is not known.
      if (partition.log === log) log.limits.certify({ offset, atMs })
      if (epoch !== undefined) this.#knownIn.set(partition, epoch)
    }
    this.#isRead = true
  }

  #open(): Promise<Source> {
    this.#opening ??= this.#openNow().catch((error: unknown) => {
      this.#opening = undefined
      throw error
    })
    return this.#opening
  }

  async #openNow(): Promise<Source> {
    const { partitions, clock, report } = this.#options
    const others = await this.#joined.promise
    const topic = limitedStreamsTopic
    // What is compacted is not kept in a tier that others share.
    const settings = { 'cleanup.policy': 'compact', ...(others !== undefined && { 'remote.storage.enable': 'false' }) }
    const log = new InternalLog({ partitions, clock, topic, settings, others })
    await log.create()
    if (!partitions.has(topic))
      throw new PlayheadError('unavailable', `${topic}: found no word of it yet, wanted it here; ask again later`)
    const follower = new InternalFollower<LimitTables>({
      log,
      clock,
      topic,
      fresh: () => new LimitTables(partitions, others !== undefined),
      apply: (tables, record) => tables.apply(record),
      onChange: () => undefined,
      onReadAnew: (count, countBefore) =>
        report?.('info', `${topic}: read anew, with ${count} events where there were ${countBefore}`),
      consistency: 'linearizable',
    })
    return (this.#source = { log, follower })
  }

  async #follow(): Promise<void> {
    const { clock } = this.#options
    const { signal } = this.#gone
    while (!signal.aborted) {
      try {
        const { follower } = await this.#open()
        const nowMs = clock.monotonicMs()
        if (this.#isRead && nowMs < this.#lookedAtMs + certainMs) await follower.followOnce(followWaitMs, signal)
        else {
          this.#lookedAtMs = nowMs // should it fail, what can be followed is followed
          await this.#catchUp()
        }
        this.#tell('')
      } catch (error) {
        if (signal.aborted) return
        if (!isPlayheadError(error)) return this.#failed(error)
        this.#tell(error.message)
        await this.#pause()
      }
    }
  }

  /** Again and again while the topic's leader is away, for a while. `outcome`: of what was wanted, when it is refused in the end; absent = not known. */
  async #patiently<T>(work: () => Promise<T>, outcome?: 'notApplied'): Promise<T> {
    const { clock } = this.#options
    const deadlineMs = clock.monotonicMs() + patienceMs
    for (;;) {
      try {
        return await work()
      } catch (error) {
        if (!isPlayheadError(error) || !passing.has(error.code)) throw error
        if (this.#gone.signal.aborted || clock.monotonicMs() >= deadlineMs) throw unknownHere(error, outcome)
      }
      await this.#pause()
    }
  }

  async #pause(): Promise<void> {
    await sleep(this.#options.clock, retryMs, this.#gone.signal).catch(() => undefined)
  }

  /** What lasts is said once. */
  #tell(trouble: string): void {
    if (trouble === this.#trouble) return
    this.#trouble = trouble
    const { report } = this.#options
    if (trouble === '') return report?.('info', `${limitedStreamsTopic}: limits of streams are followed again`)
    const message = `${limitedStreamsTopic}: limits of streams cannot be followed: ${trouble}; partitions that this broker comes to lead answer nothing of streams until they can`
    report?.('warn', message)
  }

  #failed(error: unknown): void {
    this.#gone.abort()
    this.#options.onFatal?.(error instanceof Error ? error : new Error(String(error)))
  }
}

function checkName(topic: string, stream: string): void {
  const bytes = Buffer.byteLength(stream)
  const bytesMax = streamNameBytesMax - prefixBytes
  if (bytes <= bytesMax) return
  const message = `${topic}: found a stream name of ${bytes} bytes, wanted at most ${bytesMax} for a stream with a limit`
  throw new PlayheadError('invalidArgument', message)
}

/** In one step, on what is committed and known now. */
function limitAfter({ log, highWatermark }: Partition, change: LimitChange): StreamLimit {
  const { topic, stream, maxCount, maxAgeMs, truncateBefore, deletes } = change
  const before = log.limits.get(stream)
  const { lastVersion } = log.streamInfo(stream, highWatermark)
  const truncated = deletes ? lastVersion + 1 : (truncateBefore ?? 0)
  if (truncated > lastVersion + 1) {
    const message = `${topic}/${stream}: found ${truncated} as the first version to keep, wanted at most ${lastVersion + 1}, the next one`
    throw new PlayheadError('invalidArgument', message, { truncateBefore: truncated, lastVersion })
  }
  if (log.limits.size >= limitedStreamsMax && before === noLimit) {
    const message = `${topic}: found ${log.limits.size} streams with limits in a partition, wanted fewer than ${limitedStreamsMax}; use the topic's retention settings`
    throw new PlayheadError('overloaded', message, { limit: limitedStreamsMax })
  }
  return {
    maxCount: maxCount ?? before.maxCount,
    maxAgeMs: maxAgeMs ?? before.maxAgeMs,
    truncateBefore: Math.max(before.truncateBefore, truncated),
  }
}

function unknownHere({ message }: PlayheadError, outcome: 'notApplied' | undefined): PlayheadError {
  const text = `limits of streams: found the topic that has them out of reach (${message}), wanted it there; start the brokers that are missing, or ask again later`
  return new PlayheadError('unavailable', text, outcome && { outcome })
}
