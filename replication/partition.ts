/**
 * Partition: this broker's replica of one partition. Says who may write (leader epoch), what is safe (high watermark) and who waits
 * for it. Invariant: nothing at or past the high watermark is answered to a reader. On a broker by itself it leads, and the high watermark is
 * the log's durable offset; in a cluster it leads with a ReplicaSet, or follows (Following). Called by broker/, calls Log.
 */
import type { Clock } from '../platform/clock.ts'
import { PlayheadError } from '../protocol/errors.ts'
import type { FramePiece } from '../protocol/frame-memory.ts'
import type { Token } from '../protocol/token.ts'
import type { AppendGroup, Appended, Log, ReadStream, StreamPage } from '../storage/log.ts'
import { divergenceOf } from './divergence.ts'
import { Following, handingOver, notLeader, steppedDown } from './following.ts'
import type { SeenPartition } from './isr-transaction.ts'
import { OffsetWaiters } from './offset-waiters.ts'
import { PartitionCleaning } from './partition-cleaning.ts'
import type { AgreeOnStart } from './partition-cleaning.ts'
import { filesNeeded } from './replica-read.ts'
import type { ReplicaFetch, ReplicaFetchContext, ReplicaProgress, ReplicaRead } from './replica-read.ts'
import { ReplicaSet } from './replica-set.ts'

export interface PartitionOptions {
  readonly topic: string
  readonly topicId: string
  readonly partition: number
  readonly leaderEpoch: number
  readonly log: Log
  readonly clock: Clock
  /** Requests that may wait for the high watermark at one time. */
  readonly waitersMax: number
  /** It has replicas elsewhere, or may have: it follows nobody until it is told whom, or to lead. */
  readonly isReplicated?: boolean
}

export interface LeadOptions {
  /** This broker's id. */
  readonly self: number
  /** As the store has it: with this broker as leader. */
  readonly seen: SeenPartition
  readonly lagMsMax: number
  readonly clock: Clock
  /** How the start of the log is moved. */
  readonly agreeOnStart: AgreeOnStart
}

export interface PartitionRead {
  readonly batches: readonly Buffer[]
  readonly nextOffset: number
  /** What the batches lie in, held for the caller; who does not let go leaves it to the collector. */
  readonly piece?: FramePiece | undefined
  /** Taken before the first batch was chosen. */
  readonly highWatermark: number
}

/** Followers that are there answer within milliseconds. */
const settleMsMax = 3_000

export class Partition {
  /** Set by whoever follows with it: more is on this disk. */
  onDurable: () => void = () => undefined
  readonly topic: string
  readonly topicId: string
  readonly partition: number
  readonly #clock: Clock
  #leaderEpoch: number
  #log: Log
  readonly #waiters: OffsetWaiters
  /** Followers that wait for more to be on this disk. */
  readonly #followers: OffsetWaiters
  /** Of these, those who wait for the high watermark too. */
  #watching = 0
  /** Who waits for a round of confirmation. */
  readonly #confirming: OffsetWaiters
  readonly #cleaning = new PartitionCleaning(this)
  #leading: ReplicaSet | undefined
  #following: Following | undefined
  /** Calls of appendEach that are not answered yet. */
  #appends = 0
  /** While another broker is to take over: nothing more is taken in. */
  #leaving: PromiseWithResolvers<void> | undefined

  constructor(options: PartitionOptions) {
    this.topic = options.topic
    this.topicId = options.topicId
    this.partition = options.partition
    this.#leaderEpoch = options.leaderEpoch
    this.#log = options.log
    this.#clock = options.clock
    this.#waiters = new OffsetWaiters(options.clock, options.waitersMax)
    this.#followers = new OffsetWaiters(options.clock, options.waitersMax)
    this.#confirming = new OffsetWaiters(options.clock, options.waitersMax)
    this.#log.onDurableMoved = () => this.#durableMoved()
    if (options.isReplicated === true) this.#followNobody()
  }

  /** What it has on its disk may be committed or not: who leads will tell. */
  #followNobody(): void {
    const { logStartOffset, replica } = this.#log
    const { epochs } = replica
    this.#following = new Following(null, epochs.latest, logStartOffset)
    replica.cleaning = this.#cleaning
    void replica.follow(notLeader(this, null, epochs.latest)) // nothing is under way yet that it could wait for
  }

  get leaderEpoch(): number {
    return this.#leaderEpoch
  }

  /** Offsets below it are committed. */
  get highWatermark(): number {
    const { durableOffset } = this.#log
    return this.#leading?.highWatermark ?? this.#following?.highWatermark(durableOffset) ?? durableOffset
  }

  /** What this broker knows of the other replicas, while it leads them. */
  get leading(): ReplicaSet | undefined {
    return this.#leading
  }

  get following(): Following | undefined {
    return this.#following
  }

  get log(): Log {
    return this.#log
  }

  /** Requests that wait for the high watermark. */
  get waiting(): number {
    return this.#waiters.count
  }

  /** Hands the group to the log at once: groups take effect in the order of these calls. Resolves as its `acks` says. */
  async append(group: AppendGroup): Promise<Appended> {
    const [outcome] = await this.appendEach([group])
    if (outcome instanceof PlayheadError) throw outcome
    return outcome!
  }

  /** The same for groups that have nothing to do with one another, with one wait for all: what became of each, or why it was refused. */
  async appendEach(groups: readonly AppendGroup[]): Promise<(Appended | PlayheadError)[]> {
    if (this.#leading?.hasEnough === false && groups.some(({ acks }) => acks === 'all')) {
      const refusal = this.#notEnough(this.#leading)
      return groups.map(() => refusal)
    }
    if (this.#leaving !== undefined) {
      const refusal = handingOver(this, this.#leaderEpoch)
      return groups.map(() => refusal)
    }
    this.#appends++
    try {
      return await this.#log.appendEach(groups)
    } finally {
      this.#answered()
    }
  }

  #answered(): void {
    this.#appends--
    if (this.#appends === 0) this.#leaving?.resolve()
  }

  /**
   * Before another broker is to lead: takes no more appends, until it leads anew, and resolves once all that it took is answered and on every replica in sync:
   * whoever they elect has it. Rejects when it leads no more before that.
   */
  async prepareToLeave(): Promise<void> {
    this.#leaving ??= Promise.withResolvers()
    if (this.#appends > 0) await this.#leaving.promise
    // Those with weaker acks were answered before.
    await this.#leading?.reached(this.#log.logEndOffset)
  }

  /** Whole committed batches from the one that holds `offset`; none when there are none yet. */
  async read(offset: number, maxBytes: number): Promise<PartitionRead> {
    const highWatermark = this.highWatermark
    const read = await this.#log.read({ offset, maxBytes, limitOffset: highWatermark })
    return { ...read, highWatermark }
  }

  /**
   * Committed events of one stream, with the high watermark taken before the first was chosen. Where the stream ends is said only when that is certain.
   * Throws as `settled` does.
   */
  async readStream(request: Omit<ReadStream, 'limitOffset'>): Promise<StreamPage & { highWatermark: number }> {
    const isUnsettled = this.#leading?.isSettled === false
    if (isUnsettled && request.backwards) await this.settled()
    const highWatermark = this.highWatermark
    const read = await this.#log.readStream({ ...request, limitOffset: highWatermark })
    if (isUnsettled && !request.backwards && read.nextVersion === undefined) {
      await this.settled()
      if (this.highWatermark > highWatermark) return await this.readStream(request)
    }
    return { ...read, highWatermark }
  }

  /**
   * Before a read that is to see all that was acknowledged before this call, whoever acknowledged it: resolves once it is certain that nobody else led
   * by then, and the high watermark says all that is committed. A broker by itself need not ask. Throws notLeader, timedOut.
   */
  async linearized(): Promise<void> {
    this.checkLeads()
    const set = this.#leading
    if (set !== undefined && !(await this.#isConfirmed(set))) {
      const message = `${this.topic}/${this.partition}: found followers that do not answer whether this broker leads still, wanted all that could lead instead (in sync: brokers ${set.seen.state.isr.join(', ')}); ask again, or read what is committed as far as it knows`
      throw new PlayheadError('timedOut', message, { leaderEpoch: set.leaderEpoch, waitMs: settleMsMax })
    }
    await this.settled()
  }

  /**
   * Resolves once the high watermark says all that is committed. A leader that has just begun knows less than those before it have told: until its
   * followers have answered, nobody may be told where something ends. Throws notLeader, timedOut.
   */
  async settled(): Promise<void> {
    this.checkLeads()
    const leading = this.#leading
    if (leading === undefined || leading.isSettled) return
    const isReached = await this.#waiters.wait(leading.startOffset, settleMsMax)
    if (isReached || this.#leading !== leading) return await this.settled()
    const { isr, isrMin } = leading.seen.state
    const message = `${this.topic}/${this.partition}: found too few of its replicas answering to know what is committed (in sync: brokers ${isr.join(', ')}), wanted ${isrMin}; start the missing brokers, or ask again later`
    throw new PlayheadError('timedOut', message, { highWatermark: leading.highWatermark })
  }

  /** Gives up all records below `offset`; resolves with the start of the log, which is on disk then. Throws offsetOutOfRange beyond the high watermark. */
  deleteRecords(offset: number): Promise<number> {
    const { highWatermark } = this
    if (offset <= highWatermark) return this.#log.deleteRecords(offset)
    const message = `${this.topic}/${this.partition}: found offset ${offset}, wanted at most the high watermark ${highWatermark}`
    return Promise.reject(new PlayheadError('offsetOutOfRange', message, { offset, highWatermark }))
  }

  /** Resolves with true once the high watermark is `offset` or more; with false after `waitMs` or when the signal aborts. */
  waitForHighWatermark(offset: number, waitMs: number, signal?: AbortSignal): Promise<boolean> {
    if (this.highWatermark >= offset) return Promise.resolve(true)
    return this.#waiters.wait(offset, waitMs, signal)
  }

  /**
   * Read your writes: resolves once all that the token has seen is committed, and this broker leads. Throws notLeader, tokenMismatch as `checkToken`,
   * timedOut when it takes longer than `waitMsMax`, stopping when the signal aborts.
   */
  async reach(token: Token, waitMsMax: number, signal?: AbortSignal): Promise<void> {
    this.checkToken(token)
    this.checkLeads()
    const isReached = await this.waitForHighWatermark(token.endOffset, waitMsMax, signal)
    this.checkLeads()
    if (isReached) return
    if (signal?.aborted) {
      throw new PlayheadError(
        'stopping',
        `${this.topic}/${this.partition}: found the broker stopping, wanted it running; try again`,
      )
    }
    throw new PlayheadError(
      'timedOut',
      `${this.topic}/${this.partition}: found high watermark ${this.highWatermark} after ${waitMsMax} ms, wanted ${token.endOffset} as the token says; try again`,
      { highWatermark: this.highWatermark, endOffset: token.endOffset, waitMs: waitMsMax },
    )
  }

  /** Throws tokenMismatch when the token is of another topic: of that name, before it was deleted. */
  checkToken({ topicId }: Token): void {
    if (topicId === this.topicId) return
    throw new PlayheadError(
      'tokenMismatch',
      `token for ${this.topic}: found topic id ${topicId}, wanted ${this.topicId}; the topic was created anew: drop the token`,
    )
  }

  /**
   * Leads from now on, with the replicas that the store has; resolves when appends are taken. Nothing may be fetched for it any more. Throws fencedEpoch
   * when it has taken part in this epoch, or in a later one.
   */
  async lead(options: LeadOptions): Promise<void> {
    const { self, seen, lagMsMax, clock, agreeOnStart } = options
    const { leaderEpoch } = seen.state
    // Nor in one that it led in before it was started again: what it had told nobody of may be gone.
    if (leaderEpoch <= this.#log.replica.epochs.latest) throw this.#fenced(leaderEpoch)
    // It has not heard of the epochs between, in which another one may have led; what came in now would stand behind the beginning of the new one.
    if (this.#leading !== undefined) await this.#stepDown(null, leaderEpoch, this.highWatermark)
    const startOffset = await this.#log.replica.beginEpoch(leaderEpoch)
    const set: ReplicaSet = new ReplicaSet({
      self,
      seen,
      startOffset,
      highWatermark: this.highWatermark,
      durableOffset: () => this.#log.durableOffset,
      nowMs: () => clock.monotonicMs(),
      lagMsMax,
      onHighWatermark: () => {
        this.#waiters.release(set.highWatermark)
        if (this.#watching > 0) this.#followers.wake()
      },
      onConfirmed: (round) => this.#confirming.release(round),
    })
    this.#leaderEpoch = leaderEpoch
    this.#following = undefined
    this.#leaving = undefined
    this.#leading = set
    this.#cleaning.agree = agreeOnStart
    this.#log.replica.lead(leaderEpoch, {
      get offset() {
        return set.offset
      },
      reached: (offset) => set.reached(offset),
      confirm: () => this.#confirm(set),
    })
    set.advance()
  }

  /**
   * Follows from now on: `leader` in `leaderEpoch`; nobody when it is null. Whoever waits here for an append is told that this broker does not lead.
   * Resolves once it is on disk that it takes part in this epoch, and with false when it takes part in a later one. `uncleanEpoch`: the last that an operator
   * began by giving data up; what was committed before that may be committed no more, and only then is anything of it cut off here.
   */
  async follow(leader: number | null, leaderEpoch: number, uncleanEpoch = 0): Promise<boolean> {
    const isGivenUp = uncleanEpoch > this.#leaderEpoch
    const highWatermark = isGivenUp ? this.#log.logStartOffset : this.highWatermark
    await this.#stepDown(leader, leaderEpoch, highWatermark)
    return await this.#log.replica.epochs.accept(leaderEpoch)
  }

  /**
   * Leads no more, if it did. Whoever waits here is told so: what they wait for may be with those that have the partition now. Resolves when nothing more is
   * taken in.
   */
  async #stepDown(leader: number | null, leaderEpoch: number, highWatermark: number): Promise<void> {
    this.#leading?.close(steppedDown(this, leader, leaderEpoch))
    this.#leading = undefined
    this.#confirming.wake()
    this.#following = new Following(leader, leaderEpoch, highWatermark)
    this.#leaderEpoch = leaderEpoch
    this.#waiters.wake()
    await this.#log.replica.follow(notLeader(this, leader, leaderEpoch))
  }

  /** This broker has no replica of it: only whom to ask. Resolves when nothing more is written here. */
  async knowLeader(leader: number | null, leaderEpoch: number): Promise<void> {
    if (this.#following?.leader === leader && this.#following.leaderEpoch === leaderEpoch) return
    await this.#stepDown(leader, leaderEpoch, this.#log.logStartOffset)
  }

  /** What it took to be committed was given up. */
  forgetHighWatermark(): void {
    const following = this.#following
    if (following !== undefined) this.#following = new Following(following.leader, following.leaderEpoch, 0)
  }

  /** The follower's log was cut back, and another one has taken its place. */
  replaceLog(log: Log): void {
    this.#log.onDurableMoved = () => undefined
    log.limits.share(this.#log.limits)
    this.#log = log
    log.onDurableMoved = () => this.#durableMoved()
    log.replica.cleaning = this.#cleaning
    const following = this.#following
    if (following !== undefined) void log.replica.follow(notLeader(this, following.leader, following.leaderEpoch))
  }

  /** As its leader has it. */
  followHighWatermark(highWatermark: number): void {
    this.#following?.heard(highWatermark, this.#clock.monotonicMs())
    this.#waiters.release(this.highWatermark)
  }

  /**
   * Before a read at `offset` that a follower may answer for its leader: resolves once it knows so much to be committed. Throws notLeader when it
   * does not within `waitMsMax`, or is not in touch with its leader.
   */
  async reachAsFollower(offset: number, waitMsMax: number, signal?: AbortSignal): Promise<void> {
    const isInTouch = () => this.#following?.isInTouch(this.#clock.monotonicMs()) === true
    if (isInTouch() && (await this.waitForHighWatermark(offset, waitMsMax, signal)) && isInTouch()) return
    this.checkLeads()
  }

  /** Throws notLeader unless this broker leads. */
  checkLeads(): void {
    if (this.#following !== undefined) throw notLeader(this, this.#following.leader, this.#following.leaderEpoch)
  }

  /**
   * A follower's question, and what it says of itself; `reserve` is asked for memory once there is something to read. Throws fencedEpoch, notLeader,
   * offsetOutOfRange, corruptBatch, overloaded.
   */
  async replicaFetch(request: ReplicaFetch, { signal, reserve }: ReplicaFetchContext): Promise<ReplicaRead> {
    const { leaderEpoch, offset, lastEpoch, durableOffset, maxBytes, waitMsMax, confirmed = 0 } = request
    const log = this.#log
    const diverging = divergenceOf(log, lastEpoch, offset)
    // What is not a beginning of this log says nothing about it.
    const set = this.#leadingIn(leaderEpoch)
    if (diverging !== undefined)
      return { diverging, batches: [], appendTimes: [], highWatermark: set.highWatermark, confirm: undefined }
    set.heard(request, durableOffset, confirmed)
    if (log.files.shared.areNeededFrom(offset)) return filesNeeded(set.highWatermark)
    // Who has a round to answer does so at once; and whose readers wait hears of what is committed.
    const isToldAll = confirmed >= set.round && (request.highWatermark ?? Infinity) >= set.highWatermark
    if (offset >= log.durableOffset && isToldAll) {
      const watching = request.highWatermark === undefined ? 0 : 1
      this.#watching += watching
      await this.#followers.wait(offset + 1, waitMsMax, signal).finally(() => (this.#watching -= watching))
    }
    if (offset < log.durableOffset) await reserve(maxBytes)
    this.#leadingIn(leaderEpoch)
    const read = await log.read({ offset, maxBytes, limitOffset: Number.MAX_SAFE_INTEGER, wantsTimes: true })
    const { batches, appendTimes = [], piece } = read
    if (log.files.shared.areNeededFrom(offset)) {
      piece?.letGo()
      return filesNeeded(set.highWatermark) // some of it was rewritten while it was read
    }
    const confirm = set.round > 0 ? set.round : undefined
    return { diverging, batches, appendTimes, piece, highWatermark: set.highWatermark, confirm }
  }

  /** What a follower has on its disk; answers the high watermark. Throws fencedEpoch, notLeader. */
  replicaProgress({ leaderEpoch, durableOffset, ...follower }: ReplicaProgress): number {
    const set = this.#leadingIn(leaderEpoch)
    set.heard(follower, durableOffset)
    return set.highWatermark
  }

  /**
   * Resolves once all who could lead instead have said, after now, that they follow this leader. Without that a leader that others have replaced, and does
   * not know it, would refuse by what was last long ago. Throws notLeader.
   */
  async #confirm(set: ReplicaSet): Promise<void> {
    if (await this.#isConfirmed(set)) return
    const message = `${this.topic}/${this.partition}: found followers that do not answer whether this broker leads still, wanted all that could lead instead; ask again`
    throw new PlayheadError('notLeader', message, { leaderEpoch: set.leaderEpoch, outcome: 'notApplied' })
  }

  /** Resolves with true once all who could lead instead have said so, after now; with false when some do not answer. Throws notLeader. */
  async #isConfirmed(set: ReplicaSet): Promise<boolean> {
    const round = set.beginRound()
    if (this.#leading === set && set.confirmed < round) {
      this.#followers.wake()
      await this.#confirming.wait(round, settleMsMax)
    }
    if (this.#leading !== set) throw notLeader(this, this.#following?.leader ?? null, this.#leaderEpoch)
    return set.confirmed >= round
  }

  /** The topic is gone: whoever waits here is told so. */
  close(error: Error): void {
    this.#leading?.close(error)
    this.#waiters.close(error)
    this.#followers.close(error)
    this.#confirming.close(error)
  }

  #durableMoved(): void {
    this.onDurable()
    this.#followers.release(this.#log.durableOffset)
    if (this.#leading === undefined) this.#waiters.release(this.highWatermark)
    else this.#leading.advance()
  }

  #leadingIn(leaderEpoch: number): ReplicaSet {
    const set = this.#leading
    if (set === undefined || set.leaderEpoch < leaderEpoch)
      throw notLeader(this, this.#following?.leader ?? null, this.#leaderEpoch)
    if (set.leaderEpoch > leaderEpoch) throw this.#fenced(leaderEpoch)
    return set
  }

  #fenced(leaderEpoch: number): PlayheadError {
    const latest = Math.max(this.#leaderEpoch, this.#log.replica.epochs.latest)
    return new PlayheadError(
      'fencedEpoch',
      `${this.topic}/${this.partition}: found leader epoch ${leaderEpoch}, wanted ${latest}; read the metadata again`,
      { leaderEpoch, wanted: latest },
    )
  }

  #notEnough({ seen: { state } }: ReplicaSet): PlayheadError {
    return new PlayheadError(
      'notEnoughReplicas',
      `${this.topic}/${this.partition}: found ${state.isr.length} of ${state.replicas.length} replicas in sync (brokers ${state.isr.join(', ')}), wanted ${state.isrMin}; start the missing brokers, or send again later`,
      { inSync: state.isr.length, wanted: state.isrMin },
    )
  }
}
