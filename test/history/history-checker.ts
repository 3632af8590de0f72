/**
 * HistoryChecker: judges what clients saw. A log that answers offsets fixes the order, so nothing is searched: O(n log n) in the number of
 * events. Operations are added in order of their completion (those without an answer at any time), the dumps of the partitions last. Where
 * several attempts are made under one producer and sequence, `begin` says so when each is called.
 * Each class of error is named in history.ts, and has a history of its own in history-checker.test.ts.
 */
import assert from 'node:assert/strict'
import { Findings } from './findings.ts'
import type { Anomaly, AppendOperation, LogEntry, Operation, StreamReadOperation } from './history.ts'
import { PartitionHistory } from './partition-history.ts'
import { StreamHistory } from './stream-history.ts'

export interface Verdict {
  readonly anomalies: readonly Anomaly[]
  /** All of them; `anomalies` holds the first. */
  readonly anomalyCount: number
  readonly operations: number
  /** Appends acknowledged and found again. */
  readonly acknowledged: number
}

/** All attempts under one producer and sequence. */
interface Name {
  readonly invokedAt: number
  readonly partition: number
  baseOffset: number | undefined
}

export class HistoryChecker {
  readonly #findings = new Findings()
  readonly #partitions = new Map<number, PartitionHistory>()
  /** By partition, then name. */
  readonly #streams = new Map<number, Map<string, StreamHistory>>()
  readonly #appends: AppendOperation[] = []
  /** The attempt that speaks for a value: written before unknown before refused. */
  readonly #writers = new Map<string, AppendOperation>()
  readonly #names = new Map<string, Map<number, Name>>()
  #operations = 0
  #completedAt = -Infinity

  /** An append is called: it may take effect from now on. */
  begin(append: Pick<AppendOperation, 'producer' | 'sequence' | 'partition' | 'invokedAt'>): void {
    this.#nameOf(append)
  }

  /** A removal of what lies before `offset` is called: it may take effect from now on. */
  trimming(partition: number, offset: number): void {
    this.#partition(partition).trimming(offset)
  }

  add(operation: Operation): void {
    this.#operations++
    if (operation.kind === 'dump') return this.#partition(operation.partition).end(operation)
    if (operation.completedAt !== Infinity) {
      assert(operation.completedAt >= this.#completedAt, 'operations come in order of their completion')
      this.#completedAt = operation.completedAt
    }
    if (operation.kind === 'append') this.#append(operation)
    else if (operation.kind === 'read') this.#partition(operation.partition).read(operation)
    else if (operation.kind === 'tail') this.#partition(operation.partition).tail(operation)
    else this.#readStream(operation)
  }

  /** Nothing may be added afterwards. */
  finish(): Verdict {
    for (const partition of this.#partitions.values()) partition.finish()
    this.#finishStreams()
    let acknowledged = 0
    for (const append of this.#appends) if (this.#finishAppend(append)) acknowledged++
    this.#finishValues()
    this.#finishProducers()
    const { kept, count } = this.#findings
    return { anomalies: kept, anomalyCount: count, operations: this.#operations, acknowledged }
  }

  #append(attempt: AppendOperation): void {
    const name = this.#nameOf(attempt)
    // An attempt may have been written any time after the first one under its name was sent.
    const append = attempt.invokedAt > name.invokedAt ? { ...attempt, invokedAt: name.invokedAt } : attempt
    this.#appends.push(append)
    const { outcome } = append
    for (const { value } of append.events) {
      const other = this.#writers.get(value)
      if (other === undefined || weight(append) > weight(other)) this.#writers.set(value, append)
    }
    if (outcome.kind === 'refused') {
      for (const conflict of outcome.conflicts)
        this.#stream(append.partition, conflict.stream).conflict(append, conflict)
    }
    if (outcome.kind !== 'written' || outcome.baseOffset === undefined) return
    const { baseOffset, versions } = outcome
    if (name.baseOffset === undefined) name.baseOffset = baseOffset
    else if (name.baseOffset !== baseOffset) {
      const message = `${append.producer}#${append.sequence} was told ${name.baseOffset} and ${baseOffset}`
      this.#findings.add('disagreeingRetry', append.partition, message)
    }
    this.#partition(append.partition).written(append, baseOffset)
    for (const { stream, version } of append.expected) {
      this.#stream(append.partition, stream).conditionHeld(append, version, baseOffset)
    }
    for (const [index, { stream }] of append.events.entries()) {
      const version = versions?.[index]
      if (stream === null || version === undefined) continue
      const history = this.#stream(append.partition, stream)
      history.claimed(baseOffset + index, version)
      history.acknowledged(append, version)
    }
  }

  #readStream(read: StreamReadOperation): void {
    const partition = this.#partition(read.partition)
    for (const { offset, value } of read.entries) {
      partition.sawEntry({ offset, value, stream: read.stream }, read.session, read.completedAt)
    }
    this.#stream(read.partition, read.stream).read(read)
  }

  #finishStreams(): void {
    const judged = new Set<number>()
    for (const history of this.#partitions.values()) {
      const entries = this.#wholeLog(history)
      if (entries === undefined) continue
      judged.add(history.partition)
      for (const entry of entries) {
        const { stream, offset } = entry
        if (stream !== null) this.#stream(history.partition, stream).stands(offset, this.#writerAt(history, entry))
      }
    }
    for (const partition of judged) for (const stream of this.#streamsOf(partition).values()) stream.finish()
  }

  /**
   * The final log, with what is known of the events that damage took. Undefined where it took some that nobody knows of, or what is derived too: then
   * nothing after them can be counted, and versions are judged by what was told of them alone.
   */
  #wholeLog(history: PartitionHistory): LogEntry[] | undefined {
    const { dump } = history
    if (dump === undefined || dump.isDerivedLost === true) return undefined
    if (dump.damaged.length === 0) return [...dump.entries]
    const entries: LogEntry[] = [...dump.entries]
    for (const { from, until } of dump.damaged) {
      for (let offset = from; offset < until; offset++) {
        const value = history.valueAt(offset)
        const event = this.#writers.get(value ?? '')?.events.find((each) => each.value === value)
        if (event === undefined) return undefined
        entries.push({ ...event, offset })
      }
    }
    return entries.toSorted((a, b) => a.offset - b.offset)
  }

  /** Who wrote an entry, and when. What was written again may be of any attempt: the answer to one of them tells nothing of when. */
  #writerAt(history: PartitionHistory, { value, offset }: LogEntry): AppendOperation | undefined {
    const writer = this.#writers.get(value)
    if (writer === undefined || !history.isWrittenAgain(value, offset)) return writer
    return { ...writer, completedAt: Infinity, outcome: { kind: 'unknown' } }
  }

  /** True if it was acknowledged and is there. */
  #finishAppend({ partition: at, events, outcome, producer, sequence }: AppendOperation): boolean {
    const partition = this.#partition(at)
    const offsets = events.map(({ value }) => partition.offsetOf(value))
    const base = offsets.find((offset) => offset !== undefined)
    const named = this.#names.get(producer)?.get(sequence)
    if (named !== undefined) named.baseOffset ??= base
    if (base !== undefined && outcome.kind !== 'refused') {
      const isWhole = offsets.every((offset, index) => offset === base + index || partition.isDamaged(base + index))
      if (!isWhole && partition.dump !== undefined) {
        this.#findings.add('tornAppend', at, `${producer}#${sequence} stands at ${offsets.join(', ')}`)
      }
    }
    if (outcome.kind !== 'written') return false
    if (partition.dump === undefined) {
      this.#findings.add('unseen', at, `${producer}#${sequence} was acknowledged, partition ${at} was never dumped`)
      return false
    }
    const isThere = events.every(({ value }) => partition.isDumped(value))
    if (!isThere) this.#findings.add('lostWrite', at, `${producer}#${sequence} (${events[0]?.value}) was acknowledged`)
    return isThere
  }

  #finishValues(): void {
    for (const partition of this.#partitions.values()) {
      for (const [value, offset] of partition.values()) {
        const writer = this.#writers.get(value)
        const { partition: at } = partition
        const where = `${value} at ${offset} of partition ${at}`
        if (writer === undefined) this.#findings.add('garbage', at, `nobody wrote ${where}`)
        else if (writer.partition !== at) this.#findings.add('garbage', at, `written elsewhere: ${where}`)
        else if (writer.outcome.kind === 'refused')
          this.#findings.add('abortedRead', at, `refused, and there: ${where}`)
      }
    }
  }

  #finishProducers(): void {
    for (const [producer, names] of this.#names) {
      const ends = new Map<number, { sequence: number; baseOffset: number }>()
      for (const [sequence, { partition, baseOffset }] of [...names].toSorted(([a], [b]) => a - b)) {
        if (baseOffset === undefined || this.#partition(partition).isTrimmed(baseOffset)) continue
        const last = ends.get(partition)
        if (last !== undefined && last.baseOffset > baseOffset) {
          const message = `${producer}: #${last.sequence} at ${last.baseOffset}, #${sequence} at ${baseOffset}`
          this.#findings.add('reorderedProducer', partition, message)
        }
        ends.set(partition, { sequence, baseOffset })
      }
    }
  }

  #nameOf({ producer, sequence, partition, invokedAt }: Parameters<HistoryChecker['begin']>[0]): Name {
    let names = this.#names.get(producer)
    if (names === undefined) this.#names.set(producer, (names = new Map<number, Name>()))
    let name = names.get(sequence)
    if (name === undefined) {
      name = { invokedAt, partition, baseOffset: undefined }
      names.set(sequence, name)
    }
    return name
  }

  #partition(partition: number): PartitionHistory {
    let history = this.#partitions.get(partition)
    if (history === undefined) {
      history = new PartitionHistory(partition, this.#findings)
      this.#partitions.set(partition, history)
    }
    return history
  }

  #stream(partition: number, stream: string): StreamHistory {
    const streams = this.#streamsOf(partition)
    let history = streams.get(stream)
    if (history === undefined) streams.set(stream, (history = new StreamHistory(stream, partition, this.#findings)))
    return history
  }

  #streamsOf(partition: number): Map<string, StreamHistory> {
    let streams = this.#streams.get(partition)
    if (streams === undefined) this.#streams.set(partition, (streams = new Map<string, StreamHistory>()))
    return streams
  }
}

function weight({ outcome }: AppendOperation): number {
  return outcome.kind === 'written' ? 2 : outcome.kind === 'unknown' ? 1 : 0
}
