/**
 * NamedProducer: a producer whose identity outlives its process, for imports that can be run again. The same name sends the same records
 * in the same order each time; the broker tells how far each partition got, and what it has is skipped.
 * Invariant: what is written is, per partition, a prefix of what was sent: one batch at a time, and nothing after a failure.
 */
import { PlayheadError } from '../protocol/errors.ts'
import { KiB, sequenceMax } from '../protocol/limits.ts'
import { Partitioner } from './partitioner.ts'
import { Producer } from './producer.ts'
import type { ProducerOptions, ProducerRecord } from './producer.ts'
import type { TopicState } from './topic-state.ts'

/** Ids of named producers begin here; random ones are below. */
const namedIdBase = 2 ** 52
const nameBytesMin = 7

export type NamedProducerOptions = Omit<ProducerOptions, 'inFlight' | 'acks' | 'onError'> & {
  readonly signal?: AbortSignal
}

export interface NamedCount {
  /** Records written by this run. */
  readonly appended: number
  /** Records that an earlier run had written. */
  readonly skipped: number
}

export interface NamedCounts extends NamedCount {
  readonly partitions: readonly (NamedCount & { readonly partition: number })[]
}

export class NamedProducer {
  readonly #producer: Producer
  readonly #partitioner: Partitioner
  readonly #counts: { partition: number; appended: number; skipped: number }[]
  /** Per partition, records still to be skipped. */
  readonly #ahead: number[]
  /** The sum of `#ahead`. */
  #aheadCount: number
  /** Records that had no partition looked up here, those skipped by earlier runs included. */
  #sentCount: number

  private constructor(producer: Producer, partitioner: Partitioner, ahead: readonly number[]) {
    this.#producer = producer
    this.#partitioner = partitioner
    this.#ahead = [...ahead]
    this.#aheadCount = ahead.reduce((sum, count) => sum + count, 0)
    this.#sentCount = this.#aheadCount
    this.#counts = ahead.map((_, partition) => ({ partition, appended: 0, skipped: 0 }))
    producer.onWritten = ({ partition, recordCount }) => {
      this.#counts[partition]!.appended += recordCount
    }
  }

  /** @internal Use `topic.namedProducer(nameHash, options)`. */
  static async open(
    state: TopicState,
    nameHash: Buffer,
    options: NamedProducerOptions,
    onClosed: (producer: Producer) => void,
    onOpened: (producer: Producer) => void,
  ): Promise<NamedProducer> {
    const { signal, ...producerOptions } = options
    const producerId = namedProducerId(nameHash)
    const layout = await state.layout({ ...(signal && { signal }) })
    const epochs: number[] = []
    const ahead: number[] = []
    for (let partition = 0; partition < layout.partitions; partition++) {
      const request = { topic: state.name, partition, producerId }
      const { header } = await state.call(partition, 'producerState', request, {
        policy: 'reads',
        ...(signal && { signal }),
      })
      epochs.push(header.known ? header.producerEpoch : 0)
      ahead.push(header.known ? header.lastSequence + 1 : 0)
    }
    // One batch of a partition in flight: were there more, one could be written after an earlier one was refused.
    const settings = { lingerMs: 5, batchBytes: 256 * KiB, ...producerOptions, inFlight: 1, acks: 'all' as const }
    const producer = new Producer(state, settings, onClosed, {
      producerId,
      producerEpoch: (partition) => epochs[partition]!,
      firstSequence: (partition) => ahead[partition]!,
      onFailure: 'stop',
      batchesPerFrameMax: 1,
    })
    onOpened(producer)
    return new NamedProducer(producer, new Partitioner(layout, 0), ahead)
  }

  /**
   * Takes the next record, or skips it if an earlier run has written it. Answers as `producer.send`. Every record needs a key:
   * without one its partition would differ from run to run.
   *
   * @throws PlayheadError `invalidArgument` (no key), `outOfOrderSequence` (another run under this name is writing), or the failure that
   * stopped this producer; run again to continue
   */
  send(record: ProducerRecord): Promise<void> | undefined {
    if (record.key === null || record.key === undefined) {
      throw new PlayheadError(
        'invalidArgument',
        'named producer: found a record without a key, wanted one in every record',
      )
    }
    // Nothing to skip any more, nor can a partition be full: the producer finds the partition, and once is enough.
    if (this.#aheadCount === 0 && ++this.#sentCount < sequenceMax) return this.#producer.send(record)
    const partition = this.#partitioner.partition(record.key)
    const count = this.#counts[partition]!
    if (this.#ahead[partition]! > 0) {
      this.#ahead[partition]!--
      this.#aheadCount--
      count.skipped++
      return undefined
    }
    if (count.skipped + count.appended >= sequenceMax) {
      throw new PlayheadError(
        'invalidArgument',
        `named producer: found more than ${sequenceMax} records in one partition, wanted fewer; split the input`,
      )
    }
    return this.#producer.send(record)
  }

  /** How many records this run has written and skipped so far, in all and per partition; complete after `flush`. */
  get counts(): NamedCounts {
    const appended = this.#counts.reduce((sum, count) => sum + count.appended, 0)
    const skipped = this.#counts.reduce((sum, count) => sum + count.skipped, 0)
    return { appended, skipped, partitions: this.#counts.map((count) => ({ ...count })) }
  }

  /** Resolves when everything sent so far is durable. @throws the failure that stopped this producer; the signal's reason */
  flush(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    return this.#producer.flush(options)
  }

  /** Flushes, then takes no more. */
  close(): Promise<void> {
    return this.#producer.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/** 2^52 + the first 52 bits of the hash. */
export function namedProducerId(nameHash: Buffer): number {
  if (nameHash.length < nameBytesMin) {
    throw new PlayheadError(
      'invalidArgument',
      `named producer: found a hash of ${nameHash.length} bytes, wanted at least ${nameBytesMin}`,
    )
  }
  return namedIdBase + nameHash.readUIntBE(0, 6) * 16 + (nameHash[6]! >> 4)
}
