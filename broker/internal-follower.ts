/**
 * InternalFollower: what an internal topic says, as far as it was read: from its start on, and then only what is new, also where another broker leads it.
 * Invariants: the facts are exactly what the topic says up to `nextOffset`; facts of a topic that was given up by a recovery stay as they are until all
 * that is there now is read.
 * Neighbours: AccessStore and LimitedStreams each own one; InternalLog reads.
 */
import type { Clock } from '../platform/clock.ts'
import type { Consistency } from '../protocol/consistency.ts'
import { isPlayheadError, PlayheadError } from '../protocol/errors.ts'
import type { LogRecord } from '../protocol/record.ts'
import type { InternalLog, InternalRead } from './internal-log.ts'

export interface InternalFollowerOptions<F> {
  readonly log: InternalLog
  readonly clock: Clock
  readonly topic: string
  /** Of a topic of which nothing was read yet; `before`: of the one that was there before. */
  readonly fresh: (before?: F) => F
  /** In the order of offsets, each once. */
  readonly apply: (facts: F, record: LogRecord) => void
  /** The facts are other ones than before. */
  readonly onChange: () => void
  /** The topic was read anew from its start, since it is not what it was; so many offsets now. */
  readonly onReadAnew: (count: number, countBefore: number) => void
  readonly consistency?: Consistency
}

/** Without an answer for so long, beyond what a broker was asked to wait, it is asked again: by then another one may lead. */
const askLateMs = 1_000

/** The topic from its start on, as far as it was read. */
class Reading<F> {
  readonly facts: F
  readonly uncleanEpoch: number
  readonly #apply: (facts: F, record: LogRecord) => void
  nextOffset = 0

  constructor(facts: F, uncleanEpoch: number, apply: (facts: F, record: LogRecord) => void) {
    this.facts = facts
    this.uncleanEpoch = uncleanEpoch
    this.#apply = apply
  }

  /** In one step: several may read the same at one time. Answers whether there was anything new. */
  take({ records, nextOffset }: InternalRead): boolean {
    if (nextOffset <= this.nextOffset) return false
    for (const record of records) if (record.offset >= this.nextOffset) this.#apply(this.facts, record)
    this.nextOffset = nextOffset
    return true
  }
}

export class InternalFollower<F> {
  readonly #options: InternalFollowerOptions<F>
  #reading: Reading<F>
  /** The topic is not what it was: read anew from its start. */
  #rereading: Promise<void> | undefined

  constructor(options: InternalFollowerOptions<F>) {
    this.#options = options
    this.#reading = this.#fresh()
  }

  /** As they are now: of a topic that was read anew they are others. */
  get facts(): F {
    return this.#reading.facts
  }

  get nextOffset(): number {
    return this.#reading.nextOffset
  }

  /** To where the topic ends now. */
  async catchUp(): Promise<void> {
    const { log, consistency } = this.#options
    const end = await log.end(consistency)
    if (this.#isGivenUp || end < this.#reading.nextOffset) await this.readAnew() // it may have been under way, to an end before this one
    await this.readTo(end)
  }

  /** Throws unavailable when it does not get there: who leads by then knows less yet. */
  readTo(end: number): Promise<void> {
    return this.#readTo(end, this.#reading)
  }

  /** Waits so long for something new. In a cluster no longer than that for an answer, either. */
  async followOnce(waitMs: number, signal: AbortSignal): Promise<void> {
    const { log, clock } = this.#options
    const reading = this.#reading
    if (this.#isGivenUp) return await this.readAnew()
    const late = new AbortController()
    const timer = clock.after(waitMs + askLateMs, () => late.abort(this.#noAnswer(waitMs + askLateMs)))
    try {
      const read = await log.read(reading.nextOffset, waitMs, AbortSignal.any([signal, late.signal]))
      this.#take(reading, read)
    } catch (error) {
      if (!log.isShared || !isPlayheadError(error, 'offsetOutOfRange')) throw error
      await this.catchUp() // it may end before what was read
    } finally {
      timer.cancel()
    }
  }

  /** What was read may have been given up. It stays in force until all that is there now is read. */
  readAnew(): Promise<void> {
    this.#rereading ??= this.#readAnewNow().finally(() => (this.#rereading = undefined))
    return this.#rereading
  }

  async #readAnewNow(): Promise<void> {
    const { log, consistency, onReadAnew, onChange } = this.#options
    const before = this.#reading
    const fresh = this.#fresh(before.facts)
    let [had, end] = [0, 0]
    do {
      had = before.nextOffset
      end = await log.end(consistency)
      await this.#readTo(end, fresh)
    } while (end >= had && before.nextOffset > fresh.nextOffset) // what was read meanwhile is in force
    this.#reading = fresh
    onReadAnew(fresh.nextOffset, before.nextOffset)
    onChange()
  }

  async #readTo(end: number, reading: Reading<F>): Promise<void> {
    while (reading.nextOffset < end) {
      const from = reading.nextOffset
      this.#take(reading, await this.#options.log.read(from, 0))
      if (reading.nextOffset > from) continue // somebody else may have taken it already
      const message = `${this.#options.topic}: found events up to ${from}, wanted all up to ${end}; ask again`
      throw new PlayheadError('unavailable', message, { outcome: 'notApplied' })
    }
  }

  #take(reading: Reading<F>, read: InternalRead): void {
    if (reading.take(read) && reading === this.#reading) this.#options.onChange()
  }

  #fresh(before?: F): Reading<F> {
    const { log, fresh, apply } = this.#options
    return new Reading(fresh(before), log.uncleanEpoch, apply)
  }

  get #isGivenUp(): boolean {
    return this.#options.log.uncleanEpoch > this.#reading.uncleanEpoch
  }

  #noAnswer(afterMs: number): PlayheadError {
    const message = `${this.#options.topic}: found no answer of its leader within ${afterMs} ms, wanted one`
    return new PlayheadError('timedOut', message)
  }
}
