/**
 * ReplayBatch and ReplayRecord: what a replay yields. A batch is decoded only when it is iterated, record by record; the records share
 * the memory of the reply they came in.
 */
import { decodeEvent } from '../protocol/event.ts'
import type { StreamEvent } from '../protocol/event.ts'
import type { RecordBatch } from '../protocol/record-batch.ts'
import type { LogRecord, RecordHeader } from '../protocol/record.ts'

/** Which records of a batch are wanted: a batch is read whole, the asked offsets may begin and end inside it. */
export interface ReplayWindow {
  readonly fromOffset: number
  /** Exclusive. */
  readonly untilOffset: number
  /** Event types wanted; undefined = all records. */
  readonly types: ReadonlySet<string> | undefined
}

/** One record of a replay. */
export class ReplayRecord {
  readonly partition: number
  readonly #record: LogRecord

  /** @internal */
  constructor(partition: number, record: LogRecord) {
    this.partition = partition
    this.#record = record
  }

  get offset(): number {
    return this.#record.offset
  }

  /** The event's own time, ms since the epoch. */
  get timestamp(): number {
    return this.#record.timestamp
  }

  /** Bytes of the key; null for a record of no stream. */
  get key(): Buffer | null {
    return this.#record.key
  }

  /** The key as text: the name of the stream; null for a record of no stream. */
  get stream(): string | null {
    return this.#record.key === null ? null : this.#record.key.toString('utf8')
  }

  get value(): Buffer | null {
    return this.#record.value
  }

  get headers(): readonly RecordHeader[] {
    return this.#record.headers
  }

  /** The event type; null for a record that was not written as an event. */
  get type(): string | null {
    return typeOf(this.#record)
  }

  /** The record as an event, its data decoded. Its `version` is null: replies to a replay carry no versions. */
  event(): StreamEvent {
    return decodeEvent(this.#record, this.partition, null)
  }
}

/** A batch of one partition. Iterating it yields the records asked for, in offset order; it may be iterated more than once. */
export class ReplayBatch implements Iterable<ReplayRecord> {
  readonly partition: number
  /** The raw batch, as it stands in the log. */
  readonly batch: RecordBatch
  readonly #window: ReplayWindow

  /** @internal */
  constructor(partition: number, batch: RecordBatch, window: ReplayWindow) {
    this.partition = partition
    this.batch = batch
    this.#window = window
  }

  /** Records in the raw batch, those included that iterating leaves out. Costs no decoding. */
  get recordCount(): number {
    return this.batch.recordCount
  }

  /** Size of the raw batch, compressed if it is. */
  get sizeBytes(): number {
    return this.batch.bytes.length
  }

  /** Where to read on after this batch: what a playhead commits once its records are dealt with. */
  get nextOffset(): number {
    return Math.min(this.batch.nextOffset, this.#window.untilOffset)
  }

  /** @throws PlayheadError `invalidBatch`, `unsupportedCompression` or `batchTooLarge` if the batch cannot be decoded */
  *[Symbol.iterator](): Generator<ReplayRecord, void, undefined> {
    const { fromOffset, untilOffset, types } = this.#window
    for (const record of this.batch) {
      if (record.offset < fromOffset) continue
      if (record.offset >= untilOffset) return
      if (types !== undefined && !types.has(typeOf(record) ?? '')) continue
      yield new ReplayRecord(this.partition, record)
    }
  }
}

function typeOf(record: LogRecord): string | null {
  for (const { key, value } of record.headers) {
    if (key === 'type') return value === null ? null : value.toString('utf8')
  }
  return null
}
