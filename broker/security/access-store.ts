/**
 * AccessStore: the access topic, which is where users, tokens, grants and quotas are kept: an internal topic of this broker, or of its cluster, so that they are as
 * durable as events, are backed up with them and follow the log wherever it goes. Read from its start when the broker starts; each change
 * is appended where the topic is led, and in force once it is durable; the other brokers of a cluster read it from there.
 * Invariants: changes happen one after the other, each decided on all before it; facts are exactly what the topic says up to where it was read;
 * the topic is answered to nobody.
 * Neighbours: Security owns it; AccessFacts is what it makes of the topic.
 */
import type { Clock } from '../../platform/clock.ts'
import type { Random } from '../../platform/random.ts'
import { isPlayheadError, PlayheadError } from '../../protocol/errors.ts'
import { encodeEvent } from '../../protocol/event.ts'
import { encodeRecordBatch } from '../../protocol/record-batch.ts'
import type { LogRecord } from '../../protocol/record.ts'
import { uuidV7 } from '../../protocol/uuid.ts'
import type { Partitions } from '../../replication/partitions.ts'
import { AccessFacts } from './access-facts.ts'
import type { AccessEvent } from './access-facts.ts'
import { InternalFollower } from '../internal-follower.ts'
import { InternalLog } from '../internal-log.ts'
import type { OtherBrokers } from '../internal-log.ts'

export const accessTopic = '__access'
/** How long a change is held back for other brokers that have not heard of it. */
const othersMsMax = 2_000
const secretBytes = 32
/** How long one look for changes that somebody else has written may take. */
const followWaitMs = 60_000
/** The same at another broker: one that has gone without a word is missed soon. */
const askWaitMs = 1_000
/** Changes that may wait for each other. */
const waitingChangesMax = 1_000

/** A connection of another broker; it is one until it ends. */
export interface Reader {
  readonly isBroker: boolean
}

export interface AccessStoreOptions {
  readonly partitions: Partitions
  readonly clock: Clock
  readonly random: Random
  /** Undefined = this broker is by itself. */
  readonly others: OtherBrokers | undefined
  /** The facts are other ones than before. */
  readonly onChange: () => void
  /** What others have changed cannot be read: a right that was taken may still be in force here. */
  readonly onFailure: (error: Error) => void
  readonly report: (level: 'info' | 'warn', message: string) => void
}

export class AccessStore {
  readonly #options: AccessStoreOptions
  readonly #log: InternalLog
  readonly #gone = new AbortController()
  /** How far other brokers have read, by their connections. */
  readonly #readers = new Map<Reader, number>()
  #readerMoved = Promise.withResolvers<void>()
  readonly #follower: InternalFollower<AccessFacts>
  /** What keeps it from following, as it was reported. */
  #trouble = ''
  #last: Promise<unknown> = Promise.resolve()
  #waiting = 0

  private constructor(options: AccessStoreOptions, log: InternalLog) {
    this.#options = options
    this.#log = log
    this.#follower = new InternalFollower({
      log,
      clock: options.clock,
      topic: accessTopic,
      fresh: (before?: AccessFacts) => (before ? new AccessFacts(before.revision + 1) : new AccessFacts()),
      apply: (facts, record) => facts.apply(eventOf(record), record.timestamp),
      onChange: () => this.#options.onChange(),
      onReadAnew: (count, countBefore) => this.#readAnew(count, countBefore),
    })
  }

  /** As they are now: of a topic that was read anew they are others. */
  get facts(): AccessFacts {
    return this.#follower.facts
  }

  /**
   * Creates the topic when it is missing. Throws corruptBatch when it cannot be read whole: nobody may get a right back that was taken. In a cluster also
   * what asking its leader throws.
   */
  static async open(options: AccessStoreOptions): Promise<AccessStore> {
    const log = new InternalLog({ ...options, topic: accessTopic })
    await log.create()
    const store = new AccessStore(options, log)
    await store.#follower.catchUp()
    await store.#makeSecret()
    void store.#follow()
    return store
  }

  /**
   * Appends what `decide` answers, decided on the facts as all changes before have left them; nothing when it answers undefined. Resolves when
   * it is durable and in force: here, and at all other brokers that follow within `othersMsMax`. Throws what `decide` throws, what an append does, and notLeader.
   */
  async change(stream: string, decide: (facts: AccessFacts) => AccessEvent | undefined): Promise<void> {
    if (this.#waiting >= waitingChangesMax) {
      const message = `access: found ${this.#waiting} changes waiting, wanted fewer than ${waitingChangesMax}; send again later`
      throw new PlayheadError('overloaded', message, { limit: waitingChangesMax })
    }
    this.#waiting++
    const turn = this.#last.then(() => this.#change(stream, decide))
    this.#last = turn.catch(() => {})
    try {
      await turn
    } finally {
      this.#waiting--
    }
    await this.#othersHave(this.#follower.nextOffset)
  }

  /** Another broker reads on from there: it has what is before, unless it has something else. */
  hasRead(reader: Reader, offset: number): void {
    if (offset > this.#log.highWatermark) return
    this.#readers.set(reader, offset)
    this.#readerMoved.resolve()
    this.#readerMoved = Promise.withResolvers()
  }

  close(): void {
    this.#gone.abort()
  }

  async #change(stream: string, decide: (facts: AccessFacts) => AccessEvent | undefined): Promise<void> {
    const epoch = this.#log.leadingEpoch()
    await this.#follower.catchUp()
    // Who has led meanwhile may have written what this would have to be decided on.
    if (this.#log.leadingEpoch() !== epoch) return await this.#change(stream, decide)
    const event = decide(this.facts)
    if (event === undefined) return
    const { clock, random } = this.#options
    const nowMs = clock.now()
    const defaults = { id: uuidV7(random.bytes(10), nowMs), timestampMs: nowMs }
    await this.#log.append(
      stream,
      encodeRecordBatch([encodeEvent(stream, { type: event.type, data: event.data }, defaults)]),
    )
    await this.#follower.catchUp()
  }

  /** Those that do not follow are not waited for long: they have lost touch, and hear of it when they are back. */
  async #othersHave(offset: number): Promise<void> {
    const { others, clock } = this.#options
    if (others === undefined) return
    const overdue = Promise.withResolvers<void>()
    const timer = clock.after(othersMsMax, overdue.resolve)
    const deadlineMs = clock.monotonicMs() + othersMsMax
    while (clock.monotonicMs() < deadlineMs && this.#readersAt(offset) < others.count)
      await Promise.race([this.#readerMoved.promise, overdue.promise])
    timer.cancel()
  }

  #readersAt(offset: number): number {
    let count = 0
    for (const [reader, at] of this.#readers) {
      if (!reader.isBroker) this.#readers.delete(reader)
      else if (at >= offset) count++
    }
    return count
  }

  async #makeSecret(): Promise<void> {
    if (this.facts.secret !== undefined || !this.#log.leads) return
    const secret = this.#options.random.bytes(secretBytes).toString('base64')
    await this.#change('secret', ({ secret: made }) =>
      made === undefined ? { type: 'SecretMade', data: { secret } } : undefined,
    )
  }

  /** Nobody got or lost anything while it was read. */
  #readAnew(count: number, countBefore: number): void {
    this.#readers.clear() // they say again where they are
    const message = `access: found a log of users and grants that is not the one before it, with ${count} events where there were ${countBefore}; read it anew: what was given up is in \`playhead user list\`, \`grant list\` and \`token list\` no more`
    this.#options.report('warn', message)
  }

  /** Where another broker leads the topic, its changes arrive here. */
  async #follow(): Promise<void> {
    const { signal } = this.#gone
    const { others } = this.#options
    while (!signal.aborted) {
      try {
        await this.#follower.followOnce(others === undefined ? followWaitMs : askWaitMs, signal)
        await this.#makeSecret()
        this.#tell('')
      } catch (error) {
        if (signal.aborted) return
        if (isPlayheadError(error, 'unknownTopic')) return // it is closed
        const isElsewhere = others !== undefined && error instanceof PlayheadError
        // Of damage on another broker's disk that one knows; others lead when it does not come up.
        if (!isElsewhere || (isPlayheadError(error, 'corruptBatch') && this.#log.leads)) return this.#failed(error)
        this.#tell(error.message)
        await this.#log.pause(signal).catch(() => undefined)
      }
    }
  }

  /** What lasts is said once. */
  #tell(trouble: string): void {
    if (trouble === this.#trouble) return
    this.#trouble = trouble
    if (trouble === '') return this.#options.report('info', 'access: users and grants are followed again')
    const message = `access: users and grants cannot be followed: ${trouble}; what others change now is not in force here until they can`
    this.#options.report('warn', message)
  }

  #failed(error: unknown): void {
    if (this.#gone.signal.aborted) return
    this.#gone.abort()
    this.#options.onFailure(error instanceof Error ? error : new Error(String(error)))
  }
}

function eventOf(record: LogRecord): AccessEvent {
  const type = record.headers.find(({ key }) => key === 'type')?.value?.toString() ?? ''
  // Only this file writes the topic: what does not parse is a bug, not an expected failure.
  return { type, data: JSON.parse(record.value?.toString() ?? '') as unknown } as AccessEvent
}
