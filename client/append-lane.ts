/**
 * AppendLane: everything one producer id appends to one partition, in order. Batches that wait together travel as the groups of one
 * frame; a few frames are in flight; what a broken connection left open is sent again under the same sequences, so that nothing
 * is there twice and nothing overtakes.
 *
 * When another broker leads, everything that the one before has not answered is waited for, and then sent again to the new one: what that has by
 * replication it recognises.
 *
 *   #waiting  [ g7 g8 g9 … ]  →  #inFlight  [ frame: g1 g2 ] [ frame: g3 ] [ frame: g4 g5 g6 ]  →  settled, in any order
 *                 ↑  what failed in a way that may pass, in order, once every frame has its answer  |
 *
 * Invariants: sequences are dense in the order of `enqueue`; batches in flight ≤ the broker's dedupe window, so that a retry is always
 * recognised; each batch settles exactly once. Called by EventAppender and Producer; calls Cluster.
 */
import type { Acks, Expectation } from '../protocol/append.ts'
import { PlayheadError, isPlayheadError } from '../protocol/errors.ts'
import { errorOf } from '../protocol/header-codec.ts'
import { sequenceMax } from '../protocol/limits.ts'
import type { ReplyOf } from '../protocol/api.ts'
import type { Token } from '../protocol/token.ts'
import type { Timer } from '../platform/clock.ts'
import { batchesInFrame, conditionBytesOf, frameBody } from './append-frame.ts'
import type { FrameBatch } from './append-frame.ts'
import type { Cluster } from './cluster.ts'
import { closed } from './cluster.ts'
import type { BrokerConnection } from './connection.ts'
import { Deadline } from './deadline.ts'
import { inDoubt, isIndefinite, pauseMs } from './retry.ts'
import type { Route } from './route.ts'

/**
 * When so many wait and a frame may leave, it leaves before the turn is over: the broker works on it while the rest of the turn's appends are
 * made. Fewer while less than the larger number is in flight, as the broker has little to do then; a frame costs both sides less the more it
 * holds (docs/decisions/0017).
 */
const earlyBatchesFew = 128
const earlyBatchesMany = 512
const waitingBatchesMax = 65_536
const tickMs = 50

/** The producer fields of a batch header. */
export interface Numbering {
  readonly producerId: number
  readonly producerEpoch: number
  readonly baseSequence: number
}

export interface Written {
  readonly token: Token
  readonly baseOffset: number
  readonly appendTimeMs: number
  /** True when an earlier attempt of this batch had been written. */
  readonly duplicate: boolean
  readonly versions: readonly number[]
}

export interface LaneBatch {
  /** Encodes the batch under these numbers; called once, and again only if it surely was not written and must change its place. */
  encode(numbering: Numbering): Buffer
  readonly recordCount: number
  readonly expected: readonly Expectation[]
  readonly wantVersions: boolean
  /** Without progress of the lane for this long the batch fails: `unavailable`. */
  readonly timeoutMs: number
  written(written: Written): void
  failed(error: unknown): void
  /** Called after `written` if the encoded bytes are surely not needed any more: they were sent once, and that was answered. */
  release?(): void
}

export interface LaneOptions {
  readonly topic: string
  readonly partition: number
  /** To the broker that leads the partition. */
  readonly route: Route
  readonly acks: Acks
  readonly producerId: number
  readonly producerEpoch: number
  readonly firstSequence: number
  readonly framesInFlightMax: number
  readonly batchesPerFrameMax: number
  /** `stop`: after one batch failed nothing more is sent, so that what is written is a prefix of what was enqueued. */
  readonly onFailure: 'continue' | 'stop'
  /** Told how far each reply proves the partition. */
  readonly onToken: (token: Token) => void
}

/** A batch that a lane has taken: what its owner gives it up with. */
export interface LaneEntry {
  readonly batch: LaneBatch
}

interface Entry extends LaneEntry, FrameBatch {
  /** Place in the lane; changes with its sequence. */
  order: number
  bytes: Buffer
  sends: number
  /** Sent, and the answer is not here yet. */
  isInFlight: boolean
  /** An attempt ended without an answer: it may have been written, whatever later attempts say, until the window says it was not. */
  isInDoubt: boolean
  /** Why the last attempt failed. */
  failure: unknown
  settled: boolean
  readonly enqueuedAtMs: number
}

interface FlightFrame {
  /** Whom it was sent to. */
  readonly broker: number
  /** Emptied as they settle; what is left when `answered` is to be sent again. */
  entries: Entry[]
  answered: boolean
}

export class AppendLane {
  readonly #cluster: Cluster
  readonly #options: LaneOptions
  #nextSequence: number
  #nextOrder = 0
  /** The latest place that was written: an earlier batch that was refused cannot be written any more without being overtaken. */
  #writtenOrderMax = -1
  #waiting: Entry[] = []
  #inFlight: FlightFrame[] = []
  #batchesInFlight = 0
  /** What is in flight was sent on it; what follows may not go another way before that is answered. */
  #connection: BrokerConnection | undefined
  #pumpPlanned = false
  #recovering = false
  #stopped: unknown
  #failures = 0
  /** Why there was no connection to the leader at the last attempt; undefined = there was one. */
  #unreached: unknown
  #progressAtMs: number
  /** When the pump was planned: the time of all appends that are enqueued before it runs. */
  #turnMs = 0
  #tick: Timer | undefined
  #idleWaiters: (() => void)[] = []
  /** Called after batches have left for the broker or settled: there may be room for more. */
  onRoom: () => void = () => {}

  constructor(cluster: Cluster, options: LaneOptions) {
    this.#cluster = cluster
    this.#options = options
    this.#nextSequence = options.firstSequence
    this.#progressAtMs = cluster.clock.monotonicMs()
  }

  /** True when a batch enqueued now would be sent at once. */
  get hasRoom(): boolean {
    return this.#waiting.length === 0 && this.#inFlight.length < this.#options.framesInFlightMax && !this.#recovering
  }

  get #earlyBatches(): number {
    return this.#batchesInFlight < earlyBatchesMany ? earlyBatchesFew : earlyBatchesMany
  }

  get isIdle(): boolean {
    return this.#waiting.length === 0 && this.#inFlight.length === 0
  }

  /** Takes the next sequences for the batch and sends it as soon as there is room. Undefined if it has failed already. */
  enqueue(batch: LaneBatch): LaneEntry | undefined {
    const refusal = this.#refusal()
    if (refusal !== undefined) {
      batch.failed(refusal)
      return undefined
    }
    this.#planPump()
    const entry: Entry = {
      batch,
      order: this.#nextOrder++,
      bytes: batch.encode(this.#number(batch.recordCount)),
      conditionBytes: conditionBytesOf(batch.expected),
      sends: 0,
      isInFlight: false,
      isInDoubt: false,
      failure: undefined,
      settled: false,
      enqueuedAtMs: this.#turnMs,
    }
    if (this.isIdle) this.#progressAtMs = entry.enqueuedAtMs
    this.#waiting.push(entry)
    if (this.#tick === undefined) this.#tick = this.#cluster.clock.after(tickMs, () => this.#onTick())
    if (this.#waiting.length >= this.#earlyBatches && this.#inFlight.length < this.#options.framesInFlightMax)
      this.#pump()
    return entry
  }

  /** Its owner does not wait for it any more: it fails with the reason, unless it has settled. */
  giveUp(entry: LaneEntry, reason: unknown): void {
    this.#fail(entry as Entry, reason)
  }

  /** Resolves when everything enqueued so far has settled. */
  idle(): Promise<void> {
    if (this.isIdle) return Promise.resolve()
    return new Promise((resolve) => this.#idleWaiters.push(resolve))
  }

  #refusal(): unknown {
    if (this.#stopped !== undefined) return this.#stopped
    if (this.#cluster.isClosed) return closed()
    if (this.#waiting.length < waitingBatchesMax) return undefined
    const { topic, partition } = this.#options
    const message = `${topic} partition ${partition}: found ${waitingBatchesMax} appends waiting, wanted fewer; await earlier ones first`
    return new PlayheadError('overloaded', message, { outcome: 'notApplied' })
  }

  #number(recordCount: number): Numbering {
    const baseSequence = this.#nextSequence
    // As RecordBatch v2: after 2^31 - 1 comes 0.
    this.#nextSequence = (baseSequence + recordCount) % (sequenceMax + 1)
    return { producerId: this.#options.producerId, producerEpoch: this.#options.producerEpoch, baseSequence }
  }

  /** One turn's appends share a frame, if there are not very many, and one reading of the clock: the pump runs after the callers of this turn. */
  #planPump(): void {
    if (this.#pumpPlanned) return
    this.#pumpPlanned = true
    this.#turnMs = this.#cluster.clock.monotonicMs()
    queueMicrotask(() => {
      this.#pumpPlanned = false
      this.#pump()
    })
  }

  #pump(): void {
    if (this.#recovering) return
    const framesMax = this.#failures > 1 ? 1 : this.#options.framesInFlightMax
    while (this.#waiting.length > 0 && this.#inFlight.length < framesMax) {
      if (this.#inFlight.some(({ answered }) => answered)) return // something is to be sent again, before anything new
      const connection = this.#liveConnection()
      if (connection === undefined) {
        if (this.#inFlight.length === 0) void this.#recover()
        return
      }
      const entries = this.#take(connection)
      if (entries.length === 0) break
      this.#send(connection, entries)
    }
    if (this.#waiting.length === 0) this.onRoom()
    if (!this.isIdle) return
    this.#tick?.cancel()
    this.#tick = undefined
    for (const resolve of this.#idleWaiters.splice(0)) resolve()
  }

  /** Where the next frame may go: to the leader as it is known, and not past frames that another connection has not answered. */
  #liveConnection(): BrokerConnection | undefined {
    const { broker, isStale } = this.#options.route
    if (isStale) return undefined
    const live = this.#cluster.liveConnection('requests', broker)
    if (this.#inFlight.length > 0 && live !== this.#connection) return undefined
    this.#connection = live
    return live
  }

  /** The next frame's batches, in order. */
  #take(connection: BrokerConnection): Entry[] {
    const { dedupeBatches, frameBytesMax } = connection.broker
    const countMax = Math.min(this.#options.batchesPerFrameMax, dedupeBatches - this.#batchesInFlight)
    const count = batchesInFrame(this.#waiting, { countMax, frameBytesMax, failures: this.#failures })
    return this.#waiting.splice(0, count)
  }

  #send(connection: BrokerConnection, entries: Entry[]): void {
    const { topic, partition, acks } = this.#options
    const frame: FlightFrame = { broker: connection.broker.brokerId, entries, answered: false }
    this.#inFlight.push(frame)
    this.#batchesInFlight += entries.length
    for (const entry of entries) {
      entry.sends++
      entry.isInFlight = true
    }
    const groups = entries.map(({ batch, bytes }) => ({
      batchBytes: bytes.length,
      expected: batch.expected as Expectation[],
      wantVersions: batch.wantVersions,
    }))
    // Half the patience of the most patient batch, so that a dead connection leaves time for another one.
    const timeoutMs = Math.max(...entries.map(({ batch }) => batch.timeoutMs)) / 2
    connection.request('append', { topic, partition, acks, groups }, frameBody(entries), { timeoutMs }).then(
      ({ header }) => this.#onReply(frame, header),
      (error: unknown) => this.#onFailure(frame, error),
    )
  }

  #onReply(frame: FlightFrame, reply: ReplyOf<'append'>): void {
    const token = { topicId: reply.topicId, partition: this.#options.partition, endOffset: reply.endOffset }
    const open = frame.entries.filter(({ settled }) => !settled).length
    let writtenCount = 0
    const again = frame.entries.filter((entry, index) => {
      const verdict = reply.groups[index]
      if (verdict === undefined) return this.#fail(entry, missingVerdict(index, reply.groups.length))
      if (verdict.failure !== undefined) return this.#judge(entry, this.#failed(frame, errorOf(verdict.failure)))
      writtenCount++
      return this.#written(entry, writtenOf(token, verdict))
    })
    // A reply that only refuses for now is no progress, also to those who have given up: a disk that stays full is waited for no longer than a
    // broker that is gone.
    if (writtenCount > 0 || again.length < open) {
      this.#progressAtMs = this.#cluster.clock.monotonicMs()
      this.#failures = 0
    }
    this.#answered(frame, again)
  }

  #onFailure(frame: FlightFrame, error: unknown): void {
    const failure = this.#failed(frame, error)
    this.#answered(
      frame,
      frame.entries.filter((entry) => this.#judge(entry, failure)),
    )
  }

  /** The failure as it is to be taken, now that the route knows of it. */
  #failed({ broker }: FlightFrame, failure: unknown): unknown {
    return this.#options.route.failed(failure, broker)
  }

  /** True if the batch is to be tried again; else it has settled. */
  #judge(entry: Entry, failure: unknown): boolean {
    if (entry.settled) return false
    const earlier = entry.failure
    entry.failure = failure
    if (isIndefinite(failure)) entry.isInDoubt = true
    if (isPlayheadError(failure) && failure.retriable) return true
    if (!isPlayheadError(failure, 'outOfOrderSequence') || entry.sends === 1) return this.#fail(entry, failure)
    // Sent again and not in the window, which knows every batch that may have been written: an earlier attempt was refused, and a later
    // batch was written. The refusal is the reason, if its reply was not lost.
    entry.isInDoubt = false
    if (entry.batch.expected.length > 0) return true
    return this.#fail(entry, isPlayheadError(earlier) && !isIndefinite(earlier) ? earlier : failure)
  }

  #answered(frame: FlightFrame, again: Entry[]): void {
    this.#batchesInFlight -= frame.entries.length
    for (const entry of again) entry.isInFlight = false
    frame.entries = again
    frame.answered = true
    if (again.length === 0) this.#inFlight.splice(this.#inFlight.indexOf(frame), 1)
    if (this.#inFlight.length > 0 && this.#inFlight.every(({ answered }) => answered)) void this.#recover()
    else this.#pump()
  }

  /** Every frame has its answer: puts back, in order, what is to be sent again, and waits for a connection to the leader. */
  async #recover(): Promise<void> {
    if (this.#recovering) return
    this.#recovering = true
    const again = this.#inFlight.flatMap(({ entries }) => entries).filter((entry) => !entry.settled)
    this.#inFlight = []
    const kept = again.filter((entry) => this.#keepsPlace(entry))
    this.#waiting = [...kept, ...this.#waiting]
    while (this.#waiting.length > 0) {
      try {
        if (this.#failures > 0) {
          await new Deadline(this.#cluster.clock, this.#cluster.timeoutMs).sleep(
            pauseMs(this.#failures, this.#cluster.random),
          )
        }
        this.#failures++
        await this.#connect()
        this.#unreached = undefined
        break
      } catch (error) {
        this.#unreached = error
        if (isPlayheadError(error) && error.retriable) continue
        for (const entry of this.#waiting.splice(0)) this.#fail(entry, error)
      }
    }
    this.#recovering = false
    this.#pump()
  }

  async #connect(): Promise<void> {
    const { route } = this.#options
    const deadline = new Deadline(this.#cluster.clock, this.#cluster.timeoutMs)
    let asked: number | undefined
    try {
      if (route.isStale) await route.ready(deadline)
      asked = route.broker
      await this.#cluster.connection('requests', deadline, route)
    } catch (error) {
      throw route.failed(error, asked)
    }
  }

  /** A batch that was refused while a later one was written cannot keep its place: it goes to the end, if it may, or fails. */
  #keepsPlace(entry: Entry): boolean {
    const { failure, batch } = entry
    const isOvertaken = entry.order < this.#writtenOrderMax || isPlayheadError(failure, 'outOfOrderSequence')
    if (entry.isInDoubt || !isOvertaken) return true
    if (batch.expected.length === 0) return this.#fail(entry, failure)
    entry.order = this.#nextOrder++
    entry.bytes = batch.encode(this.#number(batch.recordCount))
    this.#waiting.push(entry)
    return false
  }

  #written(entry: Entry, written: Written): false {
    if (entry.order > this.#writtenOrderMax) this.#writtenOrderMax = entry.order
    if (this.#options.acks === 'all') this.#options.onToken(written.token)
    if (entry.settled) return false
    entry.settled = true
    entry.batch.written(written)
    if (entry.sends === 1) entry.batch.release?.()
    return false
  }

  #fail(entry: Entry, reason: unknown): false {
    if (entry.settled) return false
    entry.settled = true
    const index = this.#waiting.indexOf(entry)
    if (index >= 0) this.#waiting.splice(index, 1)
    entry.batch.failed(entry.isInDoubt ? inDoubt(reason) : reason)
    if (this.#options.onFailure === 'stop' && this.#stopped === undefined) {
      this.#stopped = reason
      for (const other of this.#waiting.splice(0)) this.#fail(other, reason)
    }
    this.#planPump()
    return false
  }

  #onTick(): void {
    this.#tick = undefined
    const nowMs = this.#cluster.clock.monotonicMs()
    for (const entry of [...this.#waiting, ...this.#inFlight.flatMap(({ entries }) => entries)]) {
      const { timeoutMs } = entry.batch
      if (nowMs - Math.max(entry.enqueuedAtMs, this.#progressAtMs) >= timeoutMs) this.#fail(entry, this.#expired(entry))
    }
    if (!this.isIdle) this.#tick = this.#cluster.clock.after(tickMs, () => this.#onTick())
  }

  #expired({ isInFlight, isInDoubt, failure, batch }: Entry): PlayheadError {
    const { topic, partition } = this.#options
    const isOpen = isInFlight || isInDoubt
    const reason = failure ?? this.#unreached
    const why = reason instanceof Error ? ` (${reason.message})` : ''
    const known = isOpen ? 'whether it was written is unknown' : 'it was not written'
    // A refusal that lasted is more telling than silence.
    const code = isPlayheadError(failure) && !isOpen ? failure.code : 'unavailable'
    const message = `${topic} partition ${partition}: append found no progress within ${batch.timeoutMs} ms${why}; ${known}`
    return new PlayheadError(code, message, { outcome: isOpen ? 'unknown' : 'notApplied', timeoutMs: batch.timeoutMs })
  }
}

function writtenOf(token: Token, verdict: ReplyOf<'append'>['groups'][number]): Written {
  const { baseOffset, appendTimeMs, duplicate, versions } = verdict
  return { token, baseOffset, appendTimeMs, duplicate, versions }
}

function missingVerdict(index: number, count: number): PlayheadError {
  return new PlayheadError('malformedHeader', `append reply: found ${count} verdicts, wanted one for group ${index}`, {
    outcome: 'unknown',
  })
}
