/**
 * PartitionHistory: one partition's offsets and what stands at them, filled from every answer that names an offset. Two answers that
 * disagree are an anomaly at once; what only the end can tell (lost, torn, aborted) waits for `finish`.
 * Invariant: operations come in order of their completion. Neighbours: history-checker.ts feeds it, StreamHistory has the streams.
 */
import type { Findings } from './findings.ts'
import type { AppendOperation, Dump, LogEntry, ReadOperation, TailOperation } from './history.ts'
import { Staircase } from './staircase.ts'

export class PartitionHistory {
  readonly partition: number
  readonly #findings: Findings
  readonly #values: (string | undefined)[] = []
  readonly #offsets = new Map<string, number>()
  /** Of values that were written again: where they stood first. */
  readonly #firstOffsets = new Map<string, number>()
  /** Values that a reader saw. */
  readonly #seen = new Set<string>()
  /** Offsets acknowledged, high watermarks and log starts told, each as far as known at a time. */
  readonly #acknowledged = new Staircase()
  readonly #highWatermarks = new Staircase()
  readonly #logStarts = new Staircase()
  /** Per session, the end of what it has seen or written. */
  readonly #sessionEnds = new Map<string, Staircase>()
  /** Somebody asked for the removal of what lies before it. */
  #trimmedTo = 0
  #dump: Dump | undefined
  readonly #dumped = new Set<string>()

  constructor(partition: number, findings: Findings) {
    this.partition = partition
    this.#findings = findings
  }

  get dump(): Dump | undefined {
    return this.#dump
  }

  /** Where a value was seen; undefined = nowhere. */
  offsetOf(value: string): number | undefined {
    return this.#offsets.get(value)
  }

  /** What was ever seen or told to stand at an offset. */
  valueAt(offset: number): string | undefined {
    return this.#values[offset]
  }

  /** Its producer had been forgotten with what it wrote first. */
  isWrittenAgain(value: string, offset: number): boolean {
    const first = this.#firstOffsets.get(value)
    return first !== undefined && offset > first
  }

  values(): IterableIterator<[string, number]> {
    return this.#offsets.entries()
  }

  written(append: AppendOperation, baseOffset: number): void {
    for (const [index, { value }] of append.events.entries()) this.#place(baseOffset + index, value)
    const before = this.#acknowledged.before(append.invokedAt)
    if (before !== undefined && baseOffset <= before) {
      this.#found('nonmonotonicSend', `${name(append)} at ${baseOffset}, ${before} was acknowledged before it began`)
    }
    const last = baseOffset + append.events.length - 1
    this.#acknowledged.raise(append.completedAt, last)
    this.#sessionSaw(append.session, append.completedAt, last + 1)
  }

  read(read: ReadOperation): void {
    let next: number | undefined
    for (const { offset, value } of read.entries) {
      if (next === undefined ? offset > read.fromOffset : offset > next) {
        this.#found('skippedRead', `a read from ${next ?? read.fromOffset} goes on at ${offset}`)
      } else if (offset < (next ?? read.fromOffset)) {
        this.#found('nonmonotonicRead', `a read from ${next ?? read.fromOffset} goes back to ${offset}`)
      }
      next = offset + 1
      this.#place(offset, value)
      this.#seen.add(value)
      if (offset >= read.highWatermark) {
        this.#found('uncommittedRead', `offset ${offset} was read under high watermark ${read.highWatermark}`)
      }
    }
    this.#sawHighWatermark(read)
  }

  /** An entry of a stream read: no high watermark comes with it. */
  sawEntry(entry: LogEntry, session: string, completedAt: number): void {
    this.#place(entry.offset, entry.value)
    this.#seen.add(entry.value)
    this.#sessionSaw(session, completedAt, entry.offset + 1)
  }

  /** From now on what lies before `offset` may be gone. */
  trimming(offset: number): void {
    this.#trimmedTo = Math.max(this.#trimmedTo, offset)
  }

  tail(tail: TailOperation): void {
    const start = this.#logStarts.before(tail.invokedAt) ?? 0
    if (tail.logStartOffset < start) {
      this.#found('logStartRegression', `log start ${tail.logStartOffset} after ${start}`)
    }
    this.#logStarts.raise(tail.completedAt, tail.logStartOffset)
    this.#sawHighWatermark(tail)
  }

  end(dump: Dump): void {
    this.#dump = dump
    let epoch = 0
    for (const entry of dump.entries) {
      this.#place(entry.offset, entry.value)
      this.#dumped.add(entry.value)
      if (entry.epoch === undefined) continue
      if (entry.epoch < epoch) this.#found('epochRegression', `epoch ${entry.epoch} at ${entry.offset} after ${epoch}`)
      epoch = Math.max(epoch, entry.epoch)
    }
  }

  /** All that somebody has read is in the dump. */
  finish(): void {
    const dump = this.#dump
    if (dump === undefined) return
    for (const value of this.#seen) {
      const offset = this.#offsets.get(value) ?? -1
      if (!this.#dumped.has(value) && !this.isDamaged(offset)) {
        this.#found('vanishedRead', `${value} was seen at ${offset} and is not there at the end`)
      }
    }
  }

  /** In the dump, or in a place of it that is damaged. Without a known offset, damage anywhere may have hit it. */
  isDumped(value: string): boolean {
    if (this.#dumped.has(value)) return true
    const offset = this.#offsets.get(value)
    return offset === undefined ? this.#dump?.damaged.length !== 0 : this.isDamaged(offset)
  }

  isTrimmed(offset: number): boolean {
    return offset < this.#trimmedTo
  }

  isDamaged(offset: number): boolean {
    return this.#dump?.damaged.some(({ from, until }) => offset >= from && offset < until) ?? false
  }

  #place(offset: number, value: string): void {
    const there = this.#values[offset]
    if (there === undefined) this.#values[offset] = value
    else if (there !== value) this.#found('inconsistentOffset', `offset ${offset} is ${there} and ${value}`)
    const at = this.#offsets.get(value)
    if (at === undefined) this.#offsets.set(value, offset)
    else if (at === offset) return
    // A producer of which every record was removed is forgotten: what it sends again is written anew.
    else if (this.isTrimmed(Math.min(at, offset))) {
      this.#firstOffsets.set(value, Math.min(at, offset, this.#firstOffsets.get(value) ?? offset))
      this.#offsets.set(value, Math.max(at, offset))
    } else this.#found('duplicate', `${value} is at ${at} and at ${offset}`)
  }

  #sawHighWatermark({ session, invokedAt, completedAt, highWatermark, isLinearizable }: ReadOperation | TailOperation) {
    const own = this.#sessionEnds.get(session)?.before(invokedAt) ?? 0
    if (highWatermark < own) {
      this.#found('sessionRegression', `${session} saw ${own} and then high watermark ${highWatermark}`)
    }
    if (isLinearizable) {
      const acknowledged = this.#acknowledged.before(invokedAt) ?? -1
      if (highWatermark <= acknowledged) {
        this.#found('staleRead', `high watermark ${highWatermark} after ${acknowledged} was acknowledged`)
      }
      const told = this.#highWatermarks.before(invokedAt) ?? 0
      if (highWatermark < told) this.#found('highWatermarkRegression', `high watermark ${highWatermark} after ${told}`)
    }
    this.#highWatermarks.raise(completedAt, highWatermark)
    this.#sessionSaw(session, completedAt, highWatermark)
  }

  #sessionSaw(session: string, completedAt: number, end: number): void {
    let ends = this.#sessionEnds.get(session)
    if (ends === undefined) this.#sessionEnds.set(session, (ends = new Staircase()))
    ends.raise(completedAt, end)
  }

  #found(kind: Parameters<Findings['add']>[0], message: string): void {
    this.#findings.add(kind, this.partition, `partition ${this.partition}: ${message}`)
  }
}

function name({ producer, sequence }: AppendOperation): string {
  return `append ${producer}#${sequence}`
}
