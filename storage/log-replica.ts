/**
 * LogReplica: a log as one replica of several: who says what comes next in it, this broker or its leader, and in which epochs. Invariant: an epoch
 * is on disk before anything of it is written, and before this broker leads in it.
 * Neighbours: Log has one; replication changes it; Leadership, LeaderEpochs and FollowerLane are its parts.
 */
import type { PlayheadError } from '../protocol/errors.ts'
import type { Admission } from './admission.ts'
import type { Appender } from './appender.ts'
import type { LeaderBatch } from './follower-append.ts'
import type { FollowerLane } from './follower-lane.ts'
import type { LeaderEpochs } from './leader-epochs.ts'
import type { CommitPoint, Leadership } from './leadership.ts'
import type { LogEnd } from './log-end.ts'
import type { LogCleaning } from './log-cleaning.ts'
import type { LogFacts } from './log-facts.ts'
import type { SegmentChain } from './segment-chain.ts'

export interface LogReplicaParts {
  readonly facts: LogFacts
  readonly leadership: Leadership
  readonly epochs: LeaderEpochs
  readonly lane: FollowerLane
  readonly admission: Admission
  readonly appender: Appender
  readonly end: LogEnd
  /** Of the log, on disk when it resolves. */
  readonly startAt: (offset: number) => Promise<void>
  /** Until somebody else says. */
  readonly cleaning: LogCleaning
  readonly chain: SegmentChain
  /** Of the log: all of its parts have this very buffer. */
  readonly salt: Buffer
}

/** How a log lies in files, for replicas that are to have the same. */
export interface LogShape {
  readonly salt: Buffer
  /** Where segments begin, of a part of the log. */
  readonly segmentStarts: readonly number[]
}

export class LogReplica {
  /** Which leader epochs it has seen. */
  readonly epochs: LeaderEpochs
  /** How far records may be removed here. */
  cleaning: LogCleaning
  readonly #parts: LogReplicaParts

  constructor(parts: LogReplicaParts) {
    this.#parts = parts
    this.epochs = parts.epochs
    this.cleaning = parts.cleaning
  }

  /** Below it retention or compaction has removed records, or may have: 0 = it has all that it ever had. */
  get wholeFromOffset(): number {
    const { logStartOffset, compactedTo } = this.#parts.facts.values
    return Math.max(logStartOffset, compactedTo)
  }

  /** The log starts at `offset`, as all replicas have agreed; resolves when that is on disk. What this one has not got to it must not give up yet: nothing happens. */
  async adoptStart(offset: number): Promise<void> {
    const { facts, end, startAt } = this.#parts
    if (offset > facts.logStartOffset && offset <= end.offset) await startAt(offset)
  }

  /** The leader epoch of the newest batch that there was, also where compaction has taken it; -1 = there was none. */
  get lastEpoch(): number {
    const { end } = this.#parts
    const began = this.epochs.starts.findLast(({ startOffset }) => startOffset < end.offset)
    return Math.max(end.lastEpoch, began?.epoch ?? -1)
  }

  /** Before it leads in `epoch`, in which nobody else leads: resolves with where that begins, once all before it, and that, is on disk. */
  async beginEpoch(epoch: number): Promise<number> {
    const { lane, appender, end } = this.#parts
    await lane.drained()
    await appender.drained()
    const startOffset = end.offset
    await this.epochs.begin(epoch, startOffset)
    return startOffset
  }

  /** Takes appends from now on, in an epoch that was begun. What they rest on is told when `committed` has it. */
  lead(epoch: number, committed: CommitPoint): void {
    this.#parts.leadership.lead(epoch, committed)
  }

  /** Takes no appends but those of a leader from now on; resolves when what was under way has been refused, or is durable. */
  async follow(refusal: PlayheadError): Promise<void> {
    const { leadership, admission, appender, end } = this.#parts
    leadership.follow(refusal)
    await admission.drained()
    await appender.drained()
    await this.epochs.endAt(end.offset)
  }

  /**
   * Puts batches of the leader behind what is here, as they are. Resolves when they have taken effect; the log's `durableOffset` tells when they are
   * durable. Rejects with replicaDiverged when they do not continue this log, and with what ends it.
   */
  async append(batches: readonly LeaderBatch[], isCutBehind = false): Promise<void> {
    await this.#parts.lane.append(batches, isCutBehind)
  }

  /** In all of its files. */
  get salt(): Buffer {
    return this.#parts.salt
  }

  /** From `offset` to `endOffset`, both included: where nothing is yet a segment may begin as well. */
  shape(offset: number, endOffset: number): LogShape {
    const { chain, salt } = this.#parts
    const segmentStarts: number[] = []
    for (const { baseOffset } of chain.segments.toReversed()) {
      if (baseOffset < offset) break
      if (baseOffset <= endOffset) segmentStarts.unshift(baseOffset)
    }
    return { salt, segmentStarts }
  }

  /** Of its leader, while it has no file that has another one: so a segment of one replica can stand in for that of another. */
  async takeSalt(salt: Buffer): Promise<void> {
    const { chain, salt: own } = this.#parts
    if (salt.equals(own) || salt.length !== own.length) return
    await chain.settled() // a first segment may be on its way
    if (chain.segments.length === 0) salt.copy(own)
  }
}
