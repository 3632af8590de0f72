/**
 * IncomingAppend: a group on its way into a log, with everything about its bytes checked that needs no state of the log: the batch itself,
 * its size, its streams' names and partition, the form of its conditions. What is compressed is decompressed (`prepare`) for its keys.
 * Invariant: once `keys` is there, the log can take the group in without waiting for anything of the group's own.
 * Neighbours: Log makes it on arrival and hands it to Admission.
 */
import { checkBatch, codec, recordCount, BATCH_HEADER_BYTES } from '../protocol/record-batch.ts'
import { PlayheadError } from '../protocol/errors.ts'
import type { FramePiece } from '../protocol/frame-memory.ts'
import { partitionOf, partitionOfKey } from '../protocol/murmur2.ts'
import { checkStream } from '../protocol/names.ts'
import type { Acks, Expectation } from '../protocol/append.ts'
import { BatchKeys } from './batch-streams.ts'
import type { Decompressed, DecompressionMemory } from './decompression-memory.ts'
import type { StreamIndex } from './stream-index.ts'

/** One batch with its conditions: written whole or not at all. */
export interface AppendGroup {
  /** Exactly one record batch. It becomes the log's, which writes offset and leader epoch into it. */
  readonly batch: Buffer
  /** Version each stream must be at; -1 = it has no event. */
  readonly expected: readonly Expectation[]
  readonly wantVersions: boolean
  readonly acks: Acks
  /** What the batch lies in, held by the caller until he has his answer; undefined = memory of the collector. */
  readonly piece?: FramePiece | undefined
  /** Whether whoever appends may do so to this stream; null = a record without a key. Undefined = to all. */
  readonly mayAppend?: ((stream: string | null) => boolean) | undefined
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
  readonly decompression: DecompressionMemory
}

export class IncomingAppend {
  readonly group: AppendGroup
  readonly recordCount: number
  readonly #rules: BatchRules
  #keys: BatchKeys | undefined
  #onlyStream: string | undefined
  #decompressed: Decompressed | undefined
  #isUnusual = false

  /** Throws invalidBatch, batchTooLarge, unsupportedCompression, invalidStream, wrongPartition, invalidExpectedVersion, notAuthorized. */
  constructor(group: AppendGroup, rules: BatchRules) {
    const { batch } = group
    if (batch.length > rules.batchBytesMax) throw tooLarge(batch.length, rules.batchBytesMax)
    checkBatch(batch, 0, batch.length)
    this.group = group
    this.recordCount = recordCount(batch)
    this.#rules = rules
    if (codec(batch) === 'none') this.#take(batch, BATCH_HEADER_BYTES)
    checkExpectations(group.expected, rules, this.#onlyStream)
  }

  /** Undefined until `prepare` has been awaited, once or twice. */
  get keys(): BatchKeys | undefined {
    return this.#keys
  }

  /** The stream of the one record, if that is what the one condition is about. Undefined until `prepare` has been awaited, too. */
  get onlyStream(): string | undefined {
    return this.#onlyStream
  }

  /**
   * Decompresses. Records that are far larger than their batch are left for a second call, to be made when the append is the next to take
   * effect: they are counted until it is `done`, and who waits behind others must not hold what those wait for.
   */
  async prepare(): Promise<void> {
    if (this.#keys !== undefined) return
    const { decompression, decompressedBytesMax } = this.#rules
    const { batch } = this.group
    if (this.#isUnusual) {
      this.#decompressed = await decompression.decompress(batch, decompressedBytesMax)
      return this.#take(this.#decompressed.records, 0)
    }
    const usual = await decompression.decompressUsual(batch, decompressedBytesMax)
    if (usual === undefined) this.#isUnusual = true
    else
      try {
        this.#take(usual.records, 0)
      } finally {
        usual.letGo()
      }
  }

  /** Puts its streams into the index, once its keys are known; where its one condition holds, with the version. */
  addTo(index: StreamIndex, baseOffset: number): void {
    const keys = this.#keys
    if (keys === undefined) return
    const held = this.#onlyStream === undefined ? undefined : this.group.expected[0]
    if (held !== undefined) index.addVersion(keys, baseOffset, held.version + 1)
    else index.addBatch(keys, baseOffset)
  }

  /** It has taken effect, or never will: nobody looks at its keys any more. */
  done(): void {
    this.#decompressed?.letGo()
    this.#decompressed = undefined
  }

  /** `bytes`: with the records from byte `from` on. */
  #take(bytes: Buffer, from: number): void {
    const keys = BatchKeys.of(bytes, from, this.recordCount)
    checkPartitions(keys, this.#rules)
    if (this.group.mayAppend !== undefined) checkStreams(keys, this.group)
    this.#keys = keys
    const [first, second] = this.group.expected
    if (first !== undefined && second === undefined && keys.isOnly(first.stream)) this.#onlyStream = first.stream
  }
}

function checkPartitions(keys: BatchKeys, rules: BatchRules): void {
  const { partition, partitions, partitionBy } = rules
  if (partitions === 1) return
  for (let record = 0; record < keys.count; record++) {
    const [start, end] = [keys.start(record), keys.end(record)]
    if (start < 0) continue
    const wanted = partitionOfKey(keys.bytes, start, end, partitions, partitionBy, keys.hash(record))
    if (wanted !== partition) throw wrongPartition(keys.bytes.toString('utf8', start, end), partition, wanted)
  }
}

/** Also those of its conditions: a refusal would tell their versions. */
function checkStreams(keys: BatchKeys, { expected, mayAppend = () => true }: AppendGroup): void {
  const streams = new Set<string | null>(expected.map(({ stream }) => stream))
  for (let record = 0; record < keys.count; record++) streams.add(keys.stream(record))
  if (keys.count === 0) streams.add(null) // none of the records has a key
  for (const stream of streams) if (!mayAppend(stream)) throw notAuthorized(stream)
}

function notAuthorized(stream: string | null): PlayheadError {
  return new PlayheadError(
    'notAuthorized',
    `${stream ?? 'a record without a stream'}: found no right to append to it, wanted one; nothing of this batch was written`,
  )
}

/** A condition on a stream that lives elsewhere would always find it empty. `checked`: a stream that is known to be one, and of this partition. */
function checkExpectations(expected: readonly Expectation[], rules: BatchRules, checked: string | undefined): void {
  for (const { stream, version } of expected) {
    if (stream !== checked) {
      checkStream(stream)
      checkPartition(stream, rules)
    }
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
  if (wanted !== partition) throw wrongPartition(stream, partition, wanted)
}

function wrongPartition(stream: string, partition: number, wanted: number): PlayheadError {
  return new PlayheadError(
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
