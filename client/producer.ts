/**
 * Producer: records in, batches out, as fast as the broker takes them. Sends keep their order per partition, also across retries, and a
 * retry never duplicates (producer id and sequence, see append-lane.ts). Invariant: memory is bounded by `bufferBytesMax`: `send`
 * says when to wait, and refuses at twice that. Neighbours: RecordAccumulator makes batches, AppendLane sends them.
 */
import { untilAborted } from '../platform/abort.ts'
import type { Acks } from '../protocol/append.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { KiB, MiB, streamNameBytesMax } from '../protocol/limits.ts'
import { checkStream } from '../protocol/names.ts'
import { BatchMemory } from '../protocol/batch-memory.ts'
import { RecordBatch, checkTimestamp } from '../protocol/record-batch.ts'
import type { Compression } from '../protocol/record-batch.ts'
import type { LogRecord, RecordContent, RecordInput } from '../protocol/record.ts'
import type { Timer } from '../platform/clock.ts'
import { AppendLane } from './append-lane.ts'
import type { Written } from './append-lane.ts'
import { closed } from './cluster.ts'
import { Partitioner } from './partitioner.ts'
import { RecordAccumulator } from './record-accumulator.ts'
import type { SealedBatch } from './record-accumulator.ts'
import type { TopicLayout, TopicState } from './topic-state.ts'
import { Turn } from './turn.ts'

export interface ProducerOptions {
  /** How long a record may wait for others before its batch leaves, ms; default 0: as long as the in-flight limit makes it wait. */
  readonly lingerMs?: number
  /** A batch leaves when it has this many bytes, before compression; default 64 KiB. */
  readonly batchBytes?: number
  /** Records buffered, waiting or unanswered, bytes; beyond, `send` answers a promise; default 32 MiB. */
  readonly bufferBytesMax?: number
  /**
   * Append requests without an answer, per partition; default 5. With more than 1, a batch that the broker refused for a passing reason
   * (`overloaded`, `diskFull`) while a later one was written fails, since to send it again would change the order; with 1 it is retried.
   */
  readonly inFlight?: number
  readonly compression?: Compression
  /** When a batch counts as written; default `all`: durable on every in-sync replica. */
  readonly acks?: Acks
  /** Without progress for this long a batch fails, ms; the client's default when absent. */
  readonly timeoutMs?: number
  /** Told of every batch that failed for good. Without it the next `send`, `flush` or `close` throws the first failure. */
  readonly onError?: (error: unknown, batch: FailedBatch) => void
}

/** A record to be sent. */
export interface ProducerRecord {
  /** The stream; null or absent = no stream, any partition. */
  readonly key?: string | Buffer | null
  readonly value: string | Buffer | null
  readonly headers?: RecordInput['headers']
  /** The event's own time, ms since the epoch; now by default. */
  readonly timestamp?: number
}

export interface FailedBatch {
  readonly partition: number
  readonly recordCount: number
  /** Decodes the records that were not written, or not surely written (`details.outcome` of the error). */
  readonly records: () => LogRecord[]
}

/** Plain counters of a producer. */
export interface ProducerStats {
  sentRecords: number
  writtenRecords: number
  writtenBatches: number
  writtenBytes: number
  failedRecords: number
  /** Batches that an earlier attempt had written: retries that were recognised. */
  duplicateBatches: number
}

/** Lanes that continue an earlier run; a fresh producer id when absent. */
export interface ProducerIdentity {
  readonly producerId: number
  readonly producerEpoch: (partition: number) => number
  readonly firstSequence: (partition: number) => number
  readonly onFailure: 'continue' | 'stop'
  readonly batchesPerFrameMax: number
}

const inFlightDefault = 5
/** Memory of written batches that a producer keeps for its next ones. */
const keptBytesMax = 8 * MiB

export class Producer {
  readonly stats: ProducerStats = {
    sentRecords: 0,
    writtenRecords: 0,
    writtenBatches: 0,
    writtenBytes: 0,
    failedRecords: 0,
    duplicateBatches: 0,
  }
  /** @internal Called with every batch written. */
  onWritten: (batch: SealedBatch, written: Written) => void = () => {}
  readonly #state: TopicState
  readonly #options: ProducerOptions
  readonly #identity: ProducerIdentity
  readonly #bufferBytesMax: number
  readonly #onClosed: (producer: Producer) => void
  #partitioner: Partitioner | undefined
  readonly #accumulators: RecordAccumulator[] = []
  readonly #lanes: AppendLane[] = []
  /** Sent before the topic's layout was known. */
  #early: RecordInput[] = []
  #bufferedBytes = 0
  #room: { promise: Promise<void>; resolve: () => void } | undefined
  readonly #turn: Turn
  #linger: Timer | undefined
  #turnPlanned = false
  #failure: { error: unknown } | undefined
  #isClosed = false
  readonly #ready: Promise<void>

  /** @internal Use `topic.producer(options)`. */
  constructor(
    state: TopicState,
    options: ProducerOptions,
    onClosed: (producer: Producer) => void,
    identity?: ProducerIdentity,
  ) {
    this.#state = state
    this.#turn = new Turn(state.cluster.clock)
    this.#options = options
    this.#bufferBytesMax = options.bufferBytesMax ?? 32 * MiB
    this.#onClosed = onClosed
    this.#identity = identity ?? {
      producerId: state.cluster.random.integer52(),
      producerEpoch: () => 0,
      firstSequence: () => 0,
      onFailure: 'continue',
      batchesPerFrameMax: Number.MAX_SAFE_INTEGER,
    }
    checkOptions(options)
    this.#ready = state.layout({ ...(options.timeoutMs !== undefined && { timeoutMs: options.timeoutMs }) }).then(
      (layout) => this.#onLayout(layout),
      (error: unknown) => this.#onNoLayout(error),
    )
  }

  /**
   * Takes a record. Answers undefined, or a promise to await before sending more (the record is taken either way): when the buffer is full, and
   * once in a while so that what was sent can leave. Order is kept per partition.
   *
   * @throws PlayheadError `invalidStream`, `invalidEvent` (its time), `invalidArgument` (no value, or not text or bytes), `overloaded` (the promises were not
   * awaited), `closed`; without `onError`, the first failure
   * @example
   * for (const row of rows) await producer.send({ key: row.customer, value: JSON.stringify(row) })   // awaiting undefined is fine
   */
  send(record: ProducerRecord): Promise<void> | undefined {
    this.#checkOpen()
    checkRecord(record)
    return this.#take(record)
  }

  /**
   * Takes records in their order, all of them or none. Answers as `send`.
   *
   * @throws PlayheadError as `send`; then none was taken
   * @example
   * await producer.append(rows.map((row) => ({ key: row.customer, value: JSON.stringify(row) })))
   */
  append(records: readonly ProducerRecord[]): Promise<void> | undefined {
    this.#checkOpen()
    for (const record of records) checkRecord(record)
    let room: Promise<void> | undefined
    for (const record of records) room = this.#take(record)
    return room
  }

  /**
   * Resolves when everything sent so far is written, or has failed.
   *
   * @throws without `onError`, the first failure since the last throw; the signal's reason
   */
  async flush(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    const { signal } = options
    signal?.throwIfAborted()
    const settled = this.#ready.then(() => {
      for (const accumulator of this.#accumulators) accumulator.seal()
      return Promise.all(this.#lanes.map((lane) => lane.idle()))
    })
    await (signal ? untilAborted(settled, signal) : settled)
    this.#throwFailure()
  }

  /** Flushes, then takes no more. Idempotent. @throws as `flush` */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    try {
      await this.flush()
    } finally {
      this.#linger?.cancel()
      this.#onClosed(this)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Bytes of records that are buffered, waiting or unanswered. */
  get bufferedBytes(): number {
    return this.#bufferedBytes
  }

  #checkOpen(): void {
    if (this.#isClosed) throw closed()
    this.#throwFailure()
    if (this.#bufferedBytes >= 2 * this.#bufferBytesMax) {
      throw new PlayheadError(
        'overloaded',
        `producer of ${this.#state.name}: found ${this.#bufferedBytes} bytes buffered, wanted at most ${this.#bufferBytesMax}; await what send answers`,
      )
    }
  }

  #take(record: ProducerRecord): Promise<void> | undefined {
    const timestamp = record.timestamp ?? this.#turn.nowMs()
    this.stats.sentRecords++
    if (this.#partitioner === undefined) {
      const early = { key: record.key ?? null, value: record.value, timestamp, headers: record.headers }
      this.#early.push(early)
      this.#bufferedBytes += earlyBytes(early)
    } else {
      this.#add(this.#partitioner, record, timestamp)
    }
    if (this.#bufferedBytes >= this.#bufferBytesMax) return this.#untilRoom()
    return this.#turn.untilNext()
  }

  #add(partitioner: Partitioner, record: RecordContent, timestamp: number): void {
    const partition = partitioner.partition(record.key ?? null)
    const accumulator = this.#accumulators[partition]!
    const wasEmpty = accumulator.isEmpty
    const bytes = accumulator.add(record, timestamp)
    this.#bufferedBytes += bytes
    this.#turn.took(bytes)
    if (accumulator.isFull) {
      accumulator.seal()
      partitioner.onBatchFull(partition)
    } else if (wasEmpty) {
      this.#planSeal()
    }
  }

  #planSeal(): void {
    const { lingerMs = 0 } = this.#options
    if (lingerMs > 0) {
      this.#linger ??= this.#state.cluster.clock.after(lingerMs, () => {
        this.#linger = undefined
        for (const accumulator of this.#accumulators) accumulator.seal()
      })
    } else if (!this.#turnPlanned) {
      this.#turnPlanned = true
      queueMicrotask(() => {
        this.#turnPlanned = false
        this.#sealWhereRoom()
      })
    }
  }

  /** A batch leaves when its lane has room, and grows meanwhile. */
  #sealWhereRoom(): void {
    for (const accumulator of this.#accumulators) if (accumulator.hasRoom) accumulator.seal()
  }

  #onLayout(layout: TopicLayout): void {
    const {
      inFlight = inFlightDefault,
      batchBytes = 64 * KiB,
      compression = 'none',
      acks = 'all',
      lingerMs = 0,
    } = this.#options
    const timeoutMs = this.#options.timeoutMs ?? this.#state.cluster.timeoutMs
    const { producerId, producerEpoch, firstSequence, onFailure, batchesPerFrameMax } = this.#identity
    // A batch is full with the record that takes it over its size: most fit into the room behind it.
    const memory = new BatchMemory(batchBytes + Math.max(batchBytes >> 3, 2 * KiB), keptBytesMax)
    for (let partition = 0; partition < layout.partitions; partition++) {
      const lane = new AppendLane(this.#state.cluster, {
        topic: this.#state.name,
        partition,
        route: this.#state.routes.of(partition),
        acks,
        producerId,
        producerEpoch: producerEpoch(partition),
        firstSequence: firstSequence(partition),
        framesInFlightMax: inFlight,
        batchesPerFrameMax,
        onFailure,
        onToken: (token) => this.#state.observe(token),
      })
      const accumulator = new RecordAccumulator({
        partition,
        lane,
        batchBytes,
        compression,
        timeoutMs,
        memory,
        onWritten: (batch, written) => this.#onBatchWritten(batch, written),
        onFailed: (batch, error) => this.#onBatchFailed(batch, error),
      })
      if (lingerMs === 0) {
        lane.onRoom = () => {
          if (lane.hasRoom) accumulator.seal()
        }
      }
      this.#lanes.push(lane)
      this.#accumulators.push(accumulator)
    }
    this.#partitioner = new Partitioner(layout, this.#state.cluster.random.bytes(1)[0]!)
    const early = this.#early
    this.#early = []
    this.#bufferedBytes = 0
    for (const record of early) this.#add(this.#partitioner, record, record.timestamp)
    this.#release(0)
  }

  #onNoLayout(error: unknown): void {
    const early = this.#early
    this.#early = []
    this.#isClosed = true
    this.stats.failedRecords += early.length
    const records = () => early.map((record, offset) => asLogRecord(record, offset))
    this.#report(error, { partition: -1, recordCount: early.length, records })
    this.#release(this.#bufferedBytes)
  }

  #onBatchWritten(batch: SealedBatch, written: Written): void {
    this.stats.writtenRecords += batch.recordCount
    this.stats.writtenBatches++
    this.stats.writtenBytes += batch.bytes.length
    if (written.duplicate) this.stats.duplicateBatches++
    this.onWritten(batch, written)
    this.#release(batch.bufferedBytes)
  }

  #onBatchFailed({ partition, recordCount, bytes, bufferedBytes }: SealedBatch, error: unknown): void {
    this.stats.failedRecords += recordCount
    this.#report(error, { partition, recordCount, records: () => [...new RecordBatch(bytes)] })
    this.#release(bufferedBytes)
  }

  #report(error: unknown, batch: FailedBatch): void {
    const { onError } = this.#options
    if (onError === undefined) this.#failure ??= { error }
    // In its own turn: what the user's function throws is his to see, and must not stop what is going on here.
    else queueMicrotask(() => onError(error, batch))
  }

  #throwFailure(): void {
    const failure = this.#failure
    if (failure === undefined) return
    if (this.#identity.onFailure === 'continue') this.#failure = undefined
    throw failure.error
  }

  #release(bytes: number): void {
    this.#bufferedBytes -= bytes
    if (this.#room === undefined || this.#bufferedBytes >= this.#bufferBytesMax) return
    this.#room.resolve()
    this.#room = undefined
  }

  #untilRoom(): Promise<void> {
    // Full while everything waits for linger: nothing would ever leave. Where a lane is busy its answer makes room, and the batch
    // grows meanwhile: sealed now, every full buffer would end in small batches.
    this.#sealWhereRoom()
    if (this.#room === undefined) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#room = { promise, resolve }
    }
    return this.#room.promise
  }
}

/** Also of what the types rule out: the bytes of anything else would be counted wrong, and with them all of the batch. */
function checkRecord({ key, value, headers, timestamp }: ProducerRecord): void {
  if (!isBlob(value)) throw noBlob('value', value)
  if (key !== undefined && !isBlob(key)) throw noBlob('key', key)
  if (headers !== undefined)
    for (const header of headers) if (!isBlob(header.value)) throw noBlob('header', header.value)
  if (typeof key === 'string' && (key.length === 0 || key.length > streamNameBytesMax / 3)) checkStream(key)
  if (timestamp !== undefined) checkTimestamp(timestamp)
}

function isBlob(value: unknown): boolean {
  return typeof value === 'string' || value === null || value instanceof Uint8Array
}

function noBlob(what: string, value: unknown): PlayheadError {
  const found = value === undefined ? `no ${what}` : `a ${what} of type ${typeof value}`
  return new PlayheadError('invalidArgument', `send: found ${found}, wanted text, bytes or null`)
}

function checkOptions({ lingerMs = 0, batchBytes = KiB, bufferBytesMax = MiB, inFlight = 1 }: ProducerOptions): void {
  for (const [name, value, least] of [
    ['lingerMs', lingerMs, 0],
    ['batchBytes', batchBytes, 1],
    ['bufferBytesMax', bufferBytesMax, 1],
    ['inFlight', inFlight, 1],
  ] as const) {
    if (Number.isFinite(value) && value >= least) continue
    throw new PlayheadError('invalidArgument', `producer: found ${name} ${value}, wanted a number ≥ ${least}`)
  }
}

function earlyBytes({ key, value }: RecordInput): number {
  return (key?.length ?? 0) + (value?.length ?? 0) + 32
}

function asLogRecord({ key, value, headers = [], timestamp }: RecordInput, offset: number): LogRecord {
  return {
    offset,
    timestamp,
    key: bytesOf(key),
    value: bytesOf(value),
    headers: headers.map((header) => ({ key: header.key, value: bytesOf(header.value) })),
  }
}

function bytesOf(text: string | Buffer | null): Buffer | null {
  return typeof text === 'string' ? Buffer.from(text) : text
}
