/**
 * ReplayBatch and ReplayRecord: what a replay yields. A batch is walked only when it is iterated, and a record's fields are decoded
 * only when they are asked for; they share the memory of the reply they came in.
 */
import { decodeEvent } from '../protocol/event.ts'
import type { StreamEvent } from '../protocol/event.ts'
import type { RecordBatch } from '../protocol/record-batch.ts'
import { RecordCursor, RecordFields } from '../protocol/record-cursor.ts'
import type { RecordHeader } from '../protocol/record.ts'

/** Which records of a batch are wanted: a batch is read whole, the asked offsets may begin and end inside it. */
export interface ReplayWindow {
  readonly fromOffset: number
  /** Exclusive. */
  readonly untilOffset: number
  /** Event types wanted; undefined = all records. */
  readonly types: ReadonlySet<string> | undefined
}

/**
 * One record of a replay. Its fields are read from the batch each time they are asked for: what is not asked for costs nothing, and what is
 * used more than once is better kept in a variable.
 */
export class ReplayRecord {
  readonly partition: number
  readonly #fields: RecordFields
  readonly #at: number
  readonly #end: number
  readonly #offsetDelta: number
  readonly #timestampDelta: number

  /** @internal The record that the cursor stands at. */
  constructor(partition: number, fields: RecordFields, cursor: RecordCursor) {
    this.partition = partition
    this.#fields = fields
    this.#at = cursor.fieldsAt
    this.#end = cursor.end
    this.#offsetDelta = cursor.offsetDelta
    this.#timestampDelta = cursor.timestampDelta
  }

  get offset(): number {
    return this.#fields.baseOffset + this.#offsetDelta
  }

  /** The event's own time, ms since the epoch. */
  get timestamp(): number {
    return this.#fields.timestamp(this.#timestampDelta)
  }

  /** Bytes of the key, a slice of the batch; null for a record of no stream. @throws PlayheadError `invalidBatch`, as all that follow */
  get key(): Buffer | null {
    return this.#fields.key(this.#at, this.#end)
  }

  /** The key as text: the name of the stream; null for a record of no stream. */
  get stream(): string | null {
    const { key } = this
    return key === null ? null : key.toString('utf8')
  }

  /** A slice of the batch. */
  get value(): Buffer | null {
    return this.#fields.value(this.#at, this.#end)
  }

  get headers(): readonly RecordHeader[] {
    return this.#fields.headers(this.#at, this.#end)
  }

  /** The event type; null for a record that was not written as an event. */
  get type(): string | null {
    for (const { key, value } of this.headers) {
      if (key === 'type') return value === null ? null : value.toString('utf8')
    }
    return null
  }

  /** The record as an event, its data decoded. Its `version` is null: replies to a replay carry no versions. */
  event(): StreamEvent {
    const record = this.#fields.record(this.#at, this.#end, this.#offsetDelta, this.#timestampDelta)
    return decodeEvent(record, this.partition, null)
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
  [Symbol.iterator](): IterableIterator<ReplayRecord, undefined, undefined> {
    return new ReplayIterator(this.partition, this.batch, this.#window)
  }
}

/** Not a generator: those cost as much per record as all the decoding. */
class ReplayIterator implements IterableIterator<ReplayRecord, undefined, undefined> {
  readonly #partition: number
  readonly #cursor: RecordCursor
  readonly #fields: RecordFields
  readonly #types: ReadonlySet<string> | undefined
  readonly #fromDelta: number
  readonly #untilDelta: number

  constructor(partition: number, batch: RecordBatch, { fromOffset, untilOffset, types }: ReplayWindow) {
    const { bytes, records } = batch
    this.#partition = partition
    this.#cursor = new RecordCursor(bytes, records)
    this.#fields = new RecordFields(bytes, records)
    this.#types = types
    this.#fromDelta = fromOffset - batch.baseOffset
    this.#untilDelta = untilOffset - batch.baseOffset
  }

  next(): IteratorResult<ReplayRecord, undefined> {
    const cursor = this.#cursor
    while (cursor.next() && cursor.offsetDelta < this.#untilDelta) {
      if (cursor.offsetDelta < this.#fromDelta) continue
      const record = new ReplayRecord(this.#partition, this.#fields, cursor)
      if (this.#types !== undefined && !this.#types.has(record.type ?? '')) continue
      return { done: false, value: record }
    }
    return { done: true, value: undefined }
  }

  [Symbol.iterator](): this {
    return this
  }
}
