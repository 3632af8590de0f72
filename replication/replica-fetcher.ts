/**
 * ReplicaFetcher: a follower of one partition, in one leader epoch: asks its leader for what comes next, writes it down as it is, and tells the
 * leader what is on disk. Where its log went another way than the leader's, it cuts that off first.
 * Where batches do not bring its log any further, it takes over the leader's files (takeover.ts).
 * While batches are written down the leader reads the next ones: behind a reply that is half full or more they are asked for before that.
 * Invariants: what is taken in stands behind what the log has; nothing that is known to be committed is ever cut off; after `stop` has resolved
 * nothing more changes in the log.
 * Neighbours: Partition is what it fills; LeaderLink reaches the leader; whoever makes it (one per followed partition) starts and stops it.
 */
import assert from 'node:assert/strict'
import { sleep } from '../platform/clock.ts'
import type { Clock } from '../platform/clock.ts'
import type { ReplyOf, RequestOf } from '../protocol/api.ts'
import { isPlayheadError, PlayheadError } from '../protocol/errors.ts'
import type { FramePiece } from '../protocol/frame-memory.ts'
import { batchBytes, BATCH_HEADER_BYTES, leaderEpoch as epochOf, nextOffset } from '../protocol/record-batch.ts'
import type { LeaderBatch } from '../storage/follower-append.ts'
import type { IncomingLog } from '../storage/incoming-log.ts'
import type { CopyThrottle } from './copy-throttle.ts'
import { truncationOffset } from './divergence.ts'
import type { BrokerEpoch } from './isr-transaction.ts'
import type { Partition } from './partition.ts'
import { takeShape } from './replica-shape.ts'
import { gatherFiles } from './takeover.ts'
import type { FilesLink } from './takeover.ts'

/** The way to a leader. Rejects as a broker's requests do, and with `unavailable` when it cannot be reached. */
export interface LeaderLink extends FilesLink {
  fetch(request: RequestOf<'replicaFetch'>, signal: AbortSignal): Promise<LeaderReply>
  progress(request: RequestOf<'replicaProgress'>, signal: AbortSignal): Promise<ReplyOf<'replicaProgress'>>
}

export interface LeaderReply {
  readonly header: ReplyOf<'replicaFetch'>
  readonly body: Buffer
  /** What the body lies in, held until its batches have been taken in. */
  readonly piece?: FramePiece | undefined
}

export interface ReplicaFetcherOptions {
  /** It follows, in the epoch of `leaderEpoch`. */
  readonly partition: Partition
  readonly leaderEpoch: number
  readonly self: BrokerEpoch
  readonly leader: LeaderLink
  readonly clock: Clock
  readonly fetchBytesMax: number
  readonly waitMsMax: number
  readonly throttle: CopyThrottle
  /** Whether this replica is being added: nobody waits for it yet, so it is throttled. */
  readonly isAdded: () => boolean
  /** After a failure. */
  readonly retryMs: number
  /** Cuts the partition's log back and puts the one that takes its place into the partition. */
  readonly truncate: (partition: Partition, offset: number) => Promise<void>
  /** Where the leader's files gather, and what puts them in the place of the partition's log. */
  readonly incoming: () => IncomingLog
  readonly takeOver: (partition: Partition) => Promise<void>
  readonly report: (level: 'info' | 'warn', message: string) => void
  /** What is no expected failure; this partition is not followed any more. */
  readonly onBug: (error: unknown) => void
}

/** Between two copies of the leader's files, of which the first was of no use; doubled each time. */
const copyPauseMsMin = 100
const copyPauseMsMax = 30_000

/** Where a log ends: what comes next, and the epoch of what came last. */
interface LogEnd {
  readonly offset: number
  readonly lastEpoch: number
}

/** What the leader was asked for. */
interface Question extends LogEnd {
  readonly maxBytes: number
  readonly reply: Promise<LeaderReply>
}

export class ReplicaFetcher {
  readonly stats = { fetches: 0, fetchedBytes: 0, truncations: 0, takeovers: 0, failures: 0 }
  readonly #options: ReplicaFetcherOptions
  readonly #stopping = new AbortController()
  readonly #running: Promise<void>
  /** The durable offset that was told last. */
  #told = -1
  #telling: Promise<void> | undefined
  /** What the leader wants to hear: that it is followed still. */
  #confirmed: number | undefined
  /** What comes behind the batches that are being written down. */
  #ahead: Question | undefined
  /** Before files are taken over once more. */
  #copyPauseMs = 0
  /** Batches have come since it began. */
  #isOnItsWay = false
  /** The last failure that was reported, so that one that lasts is said once. */
  #reported = ''

  constructor(options: ReplicaFetcherOptions) {
    this.#options = options
    options.partition.onDurable = () => this.#tell()
    this.#running = this.#run()
  }

  /** Resolves when nothing is under way. */
  async stop(): Promise<void> {
    this.#stopping.abort(new PlayheadError('stopping', 'follower: found it stopped, wanted it running'))
    this.#options.partition.onDurable = () => undefined
    await this.#running
    await this.#telling
  }

  get #name(): string {
    const { topic, partition } = this.#options.partition
    return `${topic}/${partition}`
  }

  async #run(): Promise<void> {
    const { clock, retryMs } = this.#options
    const { signal } = this.#stopping
    while (!signal.aborted) {
      try {
        await this.#fetch()
        this.#reported = ''
      } catch (error) {
        if (signal.aborted) return
        if (!isPlayheadError(error)) return this.#options.onBug(error)
        this.#failed(error)
        await sleep(clock, retryMs, signal).catch(() => undefined)
      }
    }
  }

  async #fetch(): Promise<void> {
    const { partition, throttle } = this.#options
    const { log } = partition
    const isThrottled = this.#options.isAdded()
    const { maxBytes, reply } = this.#question()
    const { header, body, piece } = await reply
    this.#stopping.signal.throwIfAborted()
    this.stats.fetches++
    this.stats.fetchedBytes += body.length
    this.#confirmed = header.confirm ?? this.#confirmed
    if (header.diverging !== undefined) return await this.#cutBack(header.diverging)
    if (header.filesNeeded === true) return await this.#takeOver('what comes next is not there as batches any more')
    const batches = cutBatches(body, header.appendTimes, piece)
    partition.followHighWatermark(header.highWatermark)
    if (body.length >= maxBytes / 2 && this.#mayAskAhead(isThrottled)) this.#ahead = this.#ask(endOf(batches))
    const shaped = await takeShape(log, header, batches)
    await log.replica.append(shaped.batches, shaped.isCutBehind)
    piece?.letGo() // after a failure it goes to the collector
    if (batches.length > 0) await this.#goesOn()
    if (isThrottled) await throttle.copied(body.length, this.#stopping.signal)
  }

  /** With batches: what may have gathered before is not needed any more. */
  async #goesOn(): Promise<void> {
    this.#copyPauseMs = 0
    if (this.#isOnItsWay) return
    this.#isOnItsWay = true
    await this.#options.incoming().drop()
  }

  /** Not while each fetch is paid for before the next one, nor behind what may be refused again. */
  #mayAskAhead(isThrottled: boolean): boolean {
    return this.#reported === '' && !(isThrottled && this.#options.throttle.isSet)
  }

  /** The one asked before, if it is about what comes next: batches that were refused are asked for again. */
  #question(): Question {
    const { logEndOffset: offset, replica } = this.#options.partition.log
    const { lastEpoch } = replica
    const ahead = this.#ahead
    this.#ahead = undefined
    return ahead?.offset === offset && ahead.lastEpoch === lastEpoch ? ahead : this.#ask({ offset, lastEpoch })
  }

  #ask({ offset, lastEpoch }: LogEnd): Question {
    const { partition, leader, fetchBytesMax, waitMsMax, throttle, isAdded } = this.#options
    const maxBytes = isAdded() ? throttle.bytesMax(fetchBytesMax) : fetchBytesMax
    const request = {
      ...this.#who(partition.log.durableOffset),
      offset,
      lastEpoch,
      maxBytes,
      waitMsMax,
      confirmed: this.#confirmed,
      highWatermark: partition.waiting > 0 ? partition.following?.heardHighWatermark : undefined,
    }
    // One asked ahead may be lost, and nobody would notice before what is being written down is.
    if (offset === partition.log.logEndOffset) this.#told = Math.max(this.#told, request.durableOffset)
    const reply = leader.fetch(request, this.#stopping.signal)
    reply.catch(() => undefined) // whoever takes it hears; of one that nobody takes there is nothing to be said
    return { offset, lastEpoch, maxBytes, reply }
  }

  async #cutBack(diverging: { readonly epoch: number; readonly endOffset: number }): Promise<void> {
    const { partition, truncate, report } = this.#options
    const { log, highWatermark } = partition
    const offset = truncationOffset(log, diverging)
    // Behind the cut there would be less than the leader has: an operator gave up what this replica had removed the rest for.
    if (offset < log.replica.wholeFromOffset)
      return await this.#takeOver('what it has in common with its leader was removed here', true)
    assert(
      offset >= highWatermark,
      `${this.#name}: committed up to ${highWatermark}, and its leader has nothing from ${offset} on`,
    )
    assert(
      offset < log.logEndOffset,
      `${this.#name}: its leader has something else, and nothing is there to be cut off`,
    )
    report(
      'info',
      `${this.#name}: cut back from offset ${log.logEndOffset} to ${offset}, where its leader's log goes another way`,
    )
    this.stats.truncations++
    await truncate(partition, offset)
  }

  /** `isOther`: what is here, committed or not, is not what the leader has. */
  async #takeOver(why: string, isOther = false): Promise<void> {
    const { partition, leader, incoming, takeOver, fetchBytesMax, isAdded, throttle, report, clock } = this.#options
    const { signal } = this.#stopping
    const { log } = partition
    // Once, however often it is tried.
    if (this.#reported === '')
      report(
        'info',
        `${this.#name}: takes over its leader's files, its own log ends at offset ${log.logEndOffset}: ${why}`,
      )
    // A copy of all there is: not again and again where it leads nowhere.
    if (this.#copyPauseMs > 0) await sleep(clock, this.#copyPauseMs, signal)
    this.#copyPauseMs = Math.min(copyPauseMsMax, 2 * this.#copyPauseMs + copyPauseMsMin)
    await gatherFiles({
      leader,
      incoming: incoming(),
      // Whatever is here may be something else than the leader has: it counts for nothing until it is compared again.
      who: () => this.#who(0),
      latestEpoch: log.replica.epochs.latest,
      fileBytesMax: fetchBytesMax,
      throttle: isAdded() ? throttle : undefined,
      signal,
      onBytes: (bytes) => (this.stats.fetchedBytes += bytes),
    })
    this.stats.takeovers++
    await takeOver(partition)
    this.#told = -1
    if (isOther) partition.forgetHighWatermark()
    report('info', `${this.#name}: has its leader's files, and goes on from offset ${partition.log.logEndOffset}`)
  }

  /** At most one under way, and then what is there by then. */
  #tell(): void {
    if (this.#telling !== undefined || this.#stopping.signal.aborted) return
    this.#telling = this.#tellAll().finally(() => (this.#telling = undefined))
  }

  async #tellAll(): Promise<void> {
    const { partition, leader } = this.#options
    const { signal } = this.#stopping
    while (!signal.aborted && partition.log.durableOffset > this.#told) {
      this.#told = partition.log.durableOffset
      try {
        const { highWatermark } = await leader.progress(this.#who(this.#told), signal)
        partition.followHighWatermark(highWatermark)
      } catch {
        return // the next fetch tells it, and reports what is wrong
      }
    }
  }

  #who(durableOffset: number): RequestOf<'replicaProgress'> {
    const { partition, leaderEpoch, self } = this.#options
    return { topicId: partition.topicId, partition: partition.partition, leaderEpoch, ...self, durableOffset }
  }

  #failed(error: PlayheadError): void {
    this.stats.failures++
    const { report } = this.#options
    if (this.#reported === error.code) return
    this.#reported = error.code
    report('warn', `${this.#name}: cannot follow its leader now: ${error.message}`)
  }
}

/** Throws invalidBatch when the body is not whole batches, one for each time. What is in them is checked when they are taken in. */
function cutBatches(body: Buffer, appendTimes: readonly number[], piece: FramePiece | undefined): LeaderBatch[] {
  const batches: LeaderBatch[] = []
  let at = 0
  for (const appendTimeMs of appendTimes) {
    const end = body.length - at < BATCH_HEADER_BYTES ? Infinity : at + batchBytes(body, at)
    if (end > body.length || end <= at) break
    batches.push({ batch: body.subarray(at, end), appendTimeMs, piece })
    at = end
  }
  if (at === body.length && batches.length === appendTimes.length) return batches
  throw new PlayheadError(
    'invalidBatch',
    `replica fetch: found ${batches.length} whole batches in ${at} of ${body.length} bytes, wanted ${appendTimes.length}`,
  )
}

/** Of a log that ends with these batches, of which there is at least one. */
function endOf(batches: readonly LeaderBatch[]): LogEnd {
  const { batch } = batches.at(-1)!
  return { offset: nextOffset(batch, 0), lastEpoch: epochOf(batch, 0) }
}
