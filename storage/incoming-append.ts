/**
 * IncomingAppend: a group on its way into a log, with everything about its bytes checked that needs no state of the log: the batch itself,
 * its size, its streams' names and partition, the form of its conditions. What is compressed is decompressed (`prepare`) for its keys.
 * Invariant: once `streams` is there, the log can take the group in without waiting for anything of the group's own.
 * Neighbours: Log makes it on arrival and hands it to Admission.
 */
import { checkBatch, codec, recordCount, walkKeys, BATCH_HEADER_BYTES } from '../protocol/record-batch.ts'
import { decompressRecords } from '../protocol/compression.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { partitionOf } from '../protocol/murmur2.ts'
import { checkStream, streamOfKey } from '../protocol/names.ts'
import type { Acks, Expectation } from '../protocol/append.ts'

/** One batch with its conditions: written whole or not at all. */
export interface AppendGroup {
  /** Exactly one record batch. It becomes the log's, which writes offset and leader epoch into it. */
  readonly batch: Buffer
  /** Version each stream must be at; -1 = it has no event. */
  readonly expected: readonly Expectation[]
  readonly wantVersions: boolean
  readonly acks: Acks
}

export interface Appended {
  readonly baseOffset: number
  /** Exclusive. */
  readonly endOffset: number
  /** The broker's append time, ms since the epoch. */
  readonly appendTimeMs: number
  /** This was written before: everything here is of the first time. */
  readonly duplicate: boolean
  /** Per record; -1 without a key; empty when not asked for. */
  readonly versions: readonly number[]
}

/** What of the topic decides whether a batch may be here. */
export interface BatchRules {
  readonly partition: number
  readonly partitions: number
  readonly partitionBy: string
  readonly batchBytesMax: number
  readonly decompressedBytesMax: number
}

export class IncomingAppend {
  readonly group: AppendGroup
  readonly recordCount: number
  readonly #rules: BatchRules
  #streams: readonly (string | null)[] | undefined

  /** Throws invalidBatch, batchTooLarge, unsupportedCompression, invalidStream, wrongPartition, invalidExpectedVersion. */
  constructor(group: AppendGroup, rules: BatchRules) {
    const { batch } = group
    if (batch.length > rules.batchBytesMax) throw tooLarge(batch.length, rules.batchBytesMax)
    checkBatch(batch, 0, batch.length)
    checkExpectations(group.expected, rules)
    this.group = group
    this.recordCount = recordCount(batch)
    this.#rules = rules
    if (codec(batch) === 'none') this.#streams = streamsOf(batch.subarray(BATCH_HEADER_BYTES), this.recordCount, rules)
  }

  /** Of each record, null without a key; empty when no record has one; undefined until `prepare` has been awaited. */
  get streams(): readonly (string | null)[] | undefined {
    return this.#streams
  }

  async prepare(): Promise<void> {
    if (this.#streams !== undefined) return
    const records = await decompressRecords(this.group.batch, 0, this.#rules.decompressedBytesMax)
    this.#streams = streamsOf(records, this.recordCount, this.#rules)
  }
}

function streamsOf(records: Buffer, count: number, rules: BatchRules): (string | null)[] {
  let streams = noStreams
  walkKeys(records, count, (offsetDelta, keyStart, keyEnd) => {
    if (keyStart < 0) {
      if (streams !== noStreams) streams.push(null)
      return
    }
    const stream = streamOfKey(records, keyStart, keyEnd)
    checkPartition(stream, rules)
    if (streams === noStreams) streams = Array.from({ length: offsetDelta }, () => null)
    streams.push(stream)
  })
  return streams
}

/** Of every batch without a key: nothing is made for each of its records. */
const noStreams: (string | null)[] = []

/** A condition on a stream that lives elsewhere would always find it empty. */
function checkExpectations(expected: readonly Expectation[], rules: BatchRules): void {
  for (const { stream, version } of expected) {
    checkStream(stream)
    checkPartition(stream, rules)
    if (Number.isSafeInteger(version) && version >= -1) continue
    throw new PlayheadError(
      'invalidExpectedVersion',
      `${stream}: found expected version ${version}, wanted the number of its last event, 0 or more, or none`,
    )
  }
}

function checkPartition(stream: string, { partition, partitions, partitionBy }: BatchRules): void {
  if (partitions === 1) return
  const wanted = partitionOf(stream, partitions, partitionBy)
  if (wanted === partition) return
  throw new PlayheadError(
    'wrongPartition',
    `${stream}: found it in an append to partition ${partition}, wanted partition ${wanted}, where the topic's partition.by puts it`,
    { stream, found: partition, wanted },
  )
}

function tooLarge(bytes: number, limit: number): PlayheadError {
  return new PlayheadError(
    'batchTooLarge',
    `record batch: found ${bytes} bytes, wanted at most max.message.bytes = ${limit}; send smaller batches or raise the setting`,
    { bytes, limit },
  )
}
