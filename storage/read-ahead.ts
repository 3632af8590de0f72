/**
 * ReadAhead: what somebody who goes through a log will ask for next, read while what he asked for last is on its way to him: a disk, a processor
 * and a network that take turns become three that work at once. A read that begins where a recent one ended is taken for such a one.
 * Invariants: what is read ahead has been checked like any other read; over all logs it is at most the budget, and whoever does not come
 * for his within `keptMsMax` has it read again. Called by LogReader.
 */
import type { Clock, Timer } from '../platform/clock.ts'
import type { ByteBudget } from './byte-budget.ts'
import type { ReadRange, ReadResult } from './read-range.ts'

/** Ends of reads that are remembered for each log: so many may go through one at the same time. */
const endsMax = 16

export interface ReadAheadOptions {
  readonly budget: ByteBudget
  readonly clock: Clock
  readonly keptMsMax: number
  readonly read: (range: ReadRange) => Promise<ReadResult>
}

interface Ahead {
  readonly range: ReadRange
  /** Undefined: it has failed. Whoever wanted it reads for himself, and hears why. */
  readonly result: Promise<ReadResult | undefined>
  readonly timer: Timer
}

export class ReadAhead {
  readonly #options: ReadAheadOptions
  /** By their offset. */
  readonly #aheads = new Map<number, Ahead>()
  /** Where the latest reads ended, the oldest first. */
  readonly #ends: number[] = []
  #closed = false

  constructor(options: ReadAheadOptions) {
    this.#options = options
  }

  /** What was read for this range, which is the caller's now; undefined when nothing was, or it failed. */
  async take({ offset, maxBytes, limitOffset, wantsTimes }: ReadRange): Promise<ReadResult | undefined> {
    const ahead = this.#aheads.get(offset)
    if (ahead === undefined || ahead.range.maxBytes !== maxBytes || ahead.range.wantsTimes !== wantsTimes)
      return undefined
    this.#remove(ahead)
    const result = await ahead.result
    if (result === undefined || result.nextOffset <= limitOffset) return result
    result.piece?.letGo()
    return undefined
  }

  /** Somebody has read `range`, up to `nextOffset`. What he asks for next ends at or before `untilOffset`. */
  follow(range: ReadRange, nextOffset: number, untilOffset: number): void {
    const at = this.#ends.indexOf(range.offset)
    if (at >= 0) this.#ends.splice(at, 1)
    else if (this.#ends.length >= endsMax) this.#ends.shift()
    this.#ends.push(nextOffset)
    if (at >= 0 && nextOffset < untilOffset) this.#begin({ ...range, offset: nextOffset, limitOffset: untilOffset })
  }

  /** Drops all; nothing is read any more. */
  close(): void {
    this.#closed = true
    for (const ahead of this.#aheads.values()) this.#drop(ahead)
  }

  #begin(range: ReadRange): void {
    const { budget, clock, keptMsMax, read } = this.#options
    if (this.#closed || this.#aheads.has(range.offset) || !budget.take(range.maxBytes)) return
    const ahead: Ahead = {
      range,
      result: read(range).catch(() => undefined),
      timer: clock.after(keptMsMax, () => this.#drop(ahead)),
    }
    this.#aheads.set(range.offset, ahead)
  }

  #drop(ahead: Ahead): void {
    this.#remove(ahead)
    void ahead.result.then((result) => result?.piece?.letGo())
  }

  #remove(ahead: Ahead): void {
    this.#aheads.delete(ahead.range.offset)
    ahead.timer.cancel()
    this.#options.budget.give(ahead.range.maxBytes)
  }
}
