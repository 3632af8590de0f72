/**
 * RecordAccumulator: the records of one partition that wait to become a batch, and when they do: when the batch is full, when linger has
 * passed, or at once if the lane has room and there is no linger. Called by Producer; hands sealed batches to the partition's AppendLane.
 */
import { RecordBatchBuilder } from '../protocol/record-batch.ts'
import type { Compression } from '../protocol/record-batch.ts'
import type { BatchMemory } from '../protocol/batch-memory.ts'
import type { RecordContent } from '../protocol/record.ts'
import type { AppendLane, Written } from './append-lane.ts'

export interface SealedBatch {
  readonly partition: number
  /** To be looked at while it is handed over only: the memory of a written batch is used again. */
  readonly bytes: Buffer
  readonly recordCount: number
  /** What the records were counted as while they waited. */
  readonly bufferedBytes: number
}

export interface AccumulatorOptions {
  readonly partition: number
  readonly lane: AppendLane
  readonly batchBytes: number
  readonly compression: Compression
  readonly timeoutMs: number
  readonly memory: BatchMemory
  readonly onWritten: (batch: SealedBatch, written: Written) => void
  readonly onFailed: (batch: SealedBatch, error: unknown) => void
}

export class RecordAccumulator {
  readonly partition: number
  readonly #options: AccumulatorOptions
  readonly #builder: RecordBatchBuilder
  readonly #batchBytes: number
  readonly #emptyBytes: number

  constructor(options: AccumulatorOptions) {
    this.partition = options.partition
    this.#options = options
    this.#batchBytes = options.batchBytes
    this.#builder = new RecordBatchBuilder(options.memory)
    this.#emptyBytes = this.#builder.sizeBytes
  }

  get isEmpty(): boolean {
    return this.#builder.recordCount === 0
  }

  /** True when a batch sealed now would leave at once. */
  get hasRoom(): boolean {
    return this.#options.lane.hasRoom
  }

  /** Encodes the record; `timestamp`: ms since the epoch. Answers the bytes by which the buffer has grown. */
  add(record: RecordContent, timestamp: number): number {
    const before = this.#builder.sizeBytes
    this.#builder.appendContent(record, timestamp)
    return this.#builder.sizeBytes - before
  }

  get isFull(): boolean {
    return this.#builder.sizeBytes >= this.#batchBytes
  }

  /** Makes a batch of what there is and gives it to the lane. */
  seal(): void {
    if (this.isEmpty) return
    const { lane, partition, compression, timeoutMs, memory, onWritten, onFailed } = this.#options
    const recordCount = this.#builder.recordCount
    const bufferedBytes = this.#builder.sizeBytes - this.#emptyBytes
    let bytes: Buffer = Buffer.alloc(0)
    const sealed = () => ({ partition, bytes, recordCount, bufferedBytes })
    lane.enqueue({
      encode: (numbering) => (bytes = this.#builder.build({ ...numbering, compression })),
      recordCount,
      expected: [],
      wantVersions: false,
      timeoutMs,
      written: (written) => onWritten(sealed(), written),
      failed: (error) => {
        if (bytes.length === 0) bytes = this.#builder.build({ compression })
        onFailed(sealed(), error)
      },
      release: () => memory.give(bytes),
    })
  }
}
