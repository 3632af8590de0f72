/**
 * LogEnd: where a log ends, and what an append finds there. `decide` is the one synchronous step in which an append takes effect or is refused:
 * duplicate? conditions? then offset, time, versions, and the bytes to the Appender. What is decided may be told when what it rests on is
 * durable: Log waits for that. Invariant: between the first look and the last effect nothing else runs.
 * Called by Log through Admission; asks StreamIndex and ProducerState, hands on to SegmentChain and Appender.
 */
import { PlayheadError } from '../protocol/errors.ts'
import type { VersionConflict } from '../protocol/errors.ts'
import { baseSequence, maxTimestamp, producerEpoch, producerId, stampBatch } from '../protocol/record-batch.ts'
import type { FramePiece } from '../protocol/frame-memory.ts'
import type { Appender } from './appender.ts'
import { producerBatchAt } from './batch-facts.ts'
import type { FollowerAppend } from './follower-append.ts'
import type { Appended, IncomingAppend } from './incoming-append.ts'
import type { DuplicateBatch, ProducerBatch, ProducerState } from './producer-state.ts'
import type { BatchFacts } from './segment.ts'
import type { SegmentChain } from './segment-chain.ts'
import type { LogIdentity, StorageContext } from './storage-context.ts'
import type { StreamIndex } from './stream-index.ts'

/** What became of an append, and when it may be told. */
export interface Decision {
  /** Why nothing of it was written, or what was. */
  readonly outcome: Appended | PlayheadError
  /** Everything below this offset must be durable first; 0 = it may be told at once. */
  readonly restsOn: number
  /** It rests on this broker's disk alone: acks=leader. */
  readonly onLeader: boolean
}

/** What takes effect: an append of ours, or one that the leader decided. */
interface DecidedAppend {
  readonly group: { readonly batch: Buffer; readonly piece?: FramePiece | undefined }
  /** Puts its streams into the index. */
  addTo(index: StreamIndex, baseOffset: number): void
}

export interface LogEndOptions {
  readonly context: StorageContext
  readonly identity: LogIdentity
  readonly index: StreamIndex
  readonly producers: ProducerState
  readonly chain: SegmentChain
  readonly appender: Appender
  readonly offset: number
  readonly appendTimeMs: number
  /** Of the last batch; -1 = there is none. */
  readonly lastEpoch: number
  /** As of now: what appends are stamped with. */
  readonly leaderEpoch: () => number
  /** An append of so many bytes took effect. */
  readonly onAppended: (batchBytes: number) => void
}

export class LogEnd {
  readonly counts = { appendedBatches: 0, appendedRecords: 0, appendedBytes: 0, duplicates: 0, refusals: 0 }
  readonly #options: LogEndOptions
  #offset: number
  #appendTimeMs: number
  /** Of the last batch; -1 = there is none. */
  #leaderEpoch: number

  constructor(options: LogEndOptions) {
    this.#options = options
    this.#offset = options.offset
    this.#appendTimeMs = options.appendTimeMs
    this.#leaderEpoch = options.lastEpoch
  }

  /** Of the next record. */
  get offset(): number {
    return this.#offset
  }

  /** The leader epoch of the last batch; -1 = there is none. */
  get lastEpoch(): number {
    return this.#leaderEpoch
  }

  /** Throws invalidProducerEpoch and outOfOrderSequence, and what ends the log. */
  decide(append: IncomingAppend): Decision {
    const { batch } = append.group
    const { producers } = this.#options
    const producer: ProducerBatch = {
      producerId: producerId(batch),
      producerEpoch: producerEpoch(batch),
      baseSequence: baseSequence(batch),
      recordCount: append.recordCount,
    }
    const seen = producers.check(producer)
    if (seen !== 'new') return this.#duplicate(append, seen)
    const conflicts = this.#conflicts(append)
    if (conflicts.length === 0) return this.#write(append, producer)
    producers.refused(producer, this.#nextAppendTime())
    return this.#refuse(conflicts)
  }

  #write(append: IncomingAppend, producer: ProducerBatch): Decision {
    const { batch, acks } = append.group
    const { recordCount } = append
    const { index } = this.#options
    const leaderEpoch = this.#options.leaderEpoch()
    // May read the cache, so it comes before the first thing that takes effect.
    const versions = this.#versionsOf(
      append,
      (stream) => (heldVersion(append, stream) ?? index.lastVersion(stream)) + 1,
    )
    const baseOffset = this.#offset
    const endOffset = baseOffset + recordCount
    const appendTimeMs = this.#nextAppendTime()
    stampBatch(batch, 0, baseOffset, leaderEpoch)
    const facts = { baseOffset, nextOffset: endOffset, recordCount, leaderEpoch, maxTimestamp: maxTimestamp(batch) }
    this.#take(append, facts, producer, appendTimeMs)
    const outcome: Appended = { baseOffset, endOffset, appendTimeMs, duplicate: false, versions }
    return { outcome, restsOn: acks === 'none' ? 0 : endOffset, onLeader: acks === 'leader' }
  }

  /** Puts a batch of the leader behind what is here, as it is. Throws replicaDiverged when it does not fit there. */
  follow(append: FollowerAppend): void {
    const { facts, appendTimeMs } = append
    if (facts.baseOffset !== this.#offset)
      throw this.#diverged(`a batch from offset ${facts.baseOffset}`, `one from ${this.#offset}`)
    if (facts.leaderEpoch < this.#leaderEpoch)
      throw this.#diverged(`leader epoch ${facts.leaderEpoch}`, `${this.#leaderEpoch} or later`)
    if (appendTimeMs < this.#appendTimeMs)
      throw this.#diverged(`append time ${appendTimeMs}`, `${this.#appendTimeMs} or later`)
    this.#take(append, facts, producerBatchAt(append.group.batch, 0), appendTimeMs)
  }

  /** Everything that takes effect with a batch, in one step. */
  #take(append: DecidedAppend, facts: BatchFacts, producer: ProducerBatch, appendTimeMs: number): void {
    const { index, producers, chain, appender } = this.#options
    const { batch, piece } = append.group
    const { baseOffset, nextOffset, leaderEpoch } = facts
    this.#appendTimeMs = appendTimeMs
    this.#leaderEpoch = leaderEpoch
    try {
      const position = chain.take(facts, batch.length, appendTimeMs)
      append.addTo(index, baseOffset)
      producers.record(producer, baseOffset, appendTimeMs)
      this.#offset = nextOffset
      piece?.hold() // by the appender, then by the tail cache
      appender.add({ baseOffset, nextOffset, position, batch, piece, appendTimeMs })
    } catch (error) {
      throw appender.fail(error) // half of it has taken effect: what came next would stand behind a hole
    }
    this.counts.appendedBatches++
    this.counts.appendedRecords += facts.recordCount
    this.counts.appendedBytes += batch.length
    this.#options.onAppended(batch.length)
  }

  #diverged(found: string, wanted: string): PlayheadError {
    const { topic, partition } = this.#options.identity
    return new PlayheadError(
      'replicaDiverged',
      `${topic}/${partition}: found ${found} from its leader, wanted ${wanted}; the follower compares epochs with it again`,
    )
  }

  /** The version of each record, if they were asked for; `firstOf`: of a stream's first record in the batch, -1 when the index lacks it. */
  #versionsOf(append: IncomingAppend, firstOf: (stream: string, delta: number) => number): number[] {
    if (!append.group.wantVersions) return []
    const { keys, onlyStream } = append
    if (onlyStream !== undefined) return [firstOf(onlyStream, 0)]
    const versions = noVersions(append.recordCount)
    if (keys === undefined || keys.count === 0) return versions
    const nextVersions = new Map<string, number>()
    return versions.map((none, delta) => {
      const stream = keys.stream(delta)
      if (stream === null) return none
      const version = nextVersions.get(stream) ?? firstOf(stream, delta)
      nextVersions.set(stream, version < 0 ? -1 : version + 1)
      return version
    })
  }

  /** The answer of the first time, once that is durable. */
  #duplicate(append: IncomingAppend, seen: DuplicateBatch): Decision {
    this.counts.duplicates++
    const { baseOffset, lastOffset, appendTimeMs } = seen
    const { index } = this.#options
    const endOffset = lastOffset + 1
    const versions = this.#versionsOf(append, (stream, delta) => index.versionAt(stream, baseOffset + delta))
    const outcome: Appended = { baseOffset, endOffset, appendTimeMs, duplicate: true, versions }
    const { acks } = append.group
    return { outcome, restsOn: acks === 'none' ? 0 : endOffset, onLeader: acks === 'leader' }
  }

  #conflicts({ group: { expected }, keys, onlyStream }: IncomingAppend): readonly VersionConflict[] {
    const { index } = this.#options
    if (keys !== undefined && onlyStream !== undefined && index.hotVersion(keys) === expected[0]?.version)
      return noConflicts
    const conflicts: VersionConflict[] = []
    for (const { stream, version } of expected) {
      const found = index.lastVersion(stream)
      if (found !== version) conflicts.push({ stream, expected: version, found })
    }
    return conflicts
  }

  /** Held back until the events that the versions found rest on are durable: a refusal must not name what could still vanish. */
  #refuse(conflicts: readonly VersionConflict[]): Decision {
    this.counts.refusals++
    const { identity, index } = this.#options
    let lastOffset = -1
    for (const { stream } of conflicts) {
      lastOffset = Math.max(lastOffset, index.lastBelow(stream, this.#offset).lastOffset)
    }
    const name = (version: number) => (version < 0 ? 'none' : String(version))
    const texts = conflicts.map(
      (each) => `${identity.topic}/${each.stream}: expected ${name(each.expected)}, found ${name(each.found)}`,
    )
    const outcome = new PlayheadError('wrongExpectedVersion', texts.join('; '), {}, conflicts)
    return { outcome, restsOn: lastOffset + 1, onLeader: false }
  }

  /** Never goes back, whatever the clock does. */
  #nextAppendTime(): number {
    return Math.max(this.#appendTimeMs, Math.floor(this.#options.context.clock.now()))
  }
}

/** The version that the one condition says the stream is at, which has been found to hold. */
function heldVersion({ group: { expected } }: IncomingAppend, stream: string): number | undefined {
  return expected.length === 1 && expected[0]?.stream === stream ? expected[0].version : undefined
}

const noConflicts: readonly VersionConflict[] = []

/** Records without a key have none. */
function noVersions(count: number): number[] {
  const versions: number[] = []
  for (let index = 0; index < count; index++) versions.push(-1)
  return versions
}
