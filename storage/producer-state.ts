/**
 * ProducerState: how far each idempotent producer got in one log, and its newest batches, so that a retry is answered with the original
 * result instead of being appended again.
 * Invariant: what batches say is a function of the batch headers in the log, in order, with their append times; a snapshot restored and the
 * rest replayed gives the same state. What refusals say (sequences they used up) lives in memory only.
 * Neighbours: Log calls check() and record() in the synchronous step of an append; recovery replays record(); the snapshot goes into the
 * recovery checkpoint and the sidecars.
 */
import { RecencyMap } from '../protocol/recency-map.ts'
import assert from 'node:assert/strict'
import { PlayheadError } from '../protocol/errors.ts'
import { sequenceMax } from '../protocol/limits.ts'
import { ProducerWindow } from './producer-window.ts'
import { VarintReader, varintBytesMax, writeVarint } from './postings.ts'

/** From the header of a batch. producerId -1: no idempotence asked for, nothing is checked or kept. */
export interface ProducerBatch {
  readonly producerId: number
  readonly producerEpoch: number
  readonly baseSequence: number
  readonly recordCount: number
}

/** The batch came before: what it was answered then. */
export interface DuplicateBatch {
  readonly baseOffset: number
  readonly lastOffset: number
  readonly appendTimeMs: number
}

export interface ProducerProgress {
  readonly producerEpoch: number
  /** The newest sequence used up, by a batch or a refusal. */
  readonly lastSequence: number
  /** The offset of its newest record in this log; -1 when it has none. */
  readonly lastOffset: number
}

/** Ids from here on are named producers (imports): their progress is never forgotten while the log exists. */
export const namedProducerIdMin = 2 ** 52
/** Batches remembered per producer at least, which is also the in-flight limit told in `hello`. */
export const dedupeWindowBatches = 1024
/** A random producer that was silent for so long, by append time, is forgotten; a named one keeps its newest batch only. */
export const producerExpiryMs = 24 * 60 * 60 * 1000
const sequences = sequenceMax + 1
const snapshotVersion = 1

/** What one epoch of a producer used up. */
interface Progress {
  readonly epoch: number
  lastSequence: number
  lastTimeMs: number
  window: ProducerWindow
}

interface Producer extends Progress {
  lastOffset: number
}

export class ProducerState {
  readonly #producersMax: number
  /** Least recently appended first; random and named apart, because only the random ones are bounded and expire. */
  readonly #random = new RecencyMap<Producer>()
  readonly #named = new RecencyMap<Producer>()
  /** Of refusals only, apart, so that they never change what batches say. Least recently refused first. */
  readonly #refusals = new RecencyMap<Progress>()

  /** `producersMax`: random producers remembered; beyond it the least recent ones are forgotten. */
  constructor(producersMax: number) {
    this.#producersMax = producersMax
  }

  get count(): number {
    return this.#random.size + this.#named.size
  }

  /** The newest append time of any batch that is known; 0 = there is none. */
  get lastTimeMs(): number {
    let newest = 0
    for (const table of [this.#random, this.#named]) {
      for (const [, { lastTimeMs }] of table) newest = Math.max(newest, lastTimeMs)
    }
    return newest
  }

  /** To be asked before expected versions are. Throws `invalidProducerEpoch` and `outOfOrderSequence`; changes nothing. */
  check(batch: ProducerBatch): 'new' | DuplicateBatch {
    const producer = this.#table(batch.producerId).get(batch.producerId)
    const refusals = this.#refusals.get(batch.producerId)
    const known = furthest(producer, refusals)
    if (known === undefined || batch.producerEpoch > known.epoch) return 'new'
    if (batch.producerEpoch < known.epoch) {
      throw new PlayheadError(
        'invalidProducerEpoch',
        `producer ${batch.producerId}: found epoch ${batch.producerEpoch}, wanted ${known.epoch}; another instance took over`,
        { producerId: batch.producerId, epoch: batch.producerEpoch, wanted: known.epoch },
      )
    }
    if (isAfter(batch.baseSequence, known.lastSequence)) return 'new'
    if (producer?.epoch === batch.producerEpoch) {
      const place = producer.window.find(batch.baseSequence, batch.recordCount)
      if (place >= 0) {
        const baseOffset = producer.window.baseOffset(place)
        return {
          baseOffset,
          lastOffset: baseOffset + batch.recordCount - 1,
          appendTimeMs: producer.window.appendTimeMs(place),
        }
      }
    }
    const refused =
      refusals?.epoch === batch.producerEpoch && refusals.window.find(batch.baseSequence, batch.recordCount) >= 0
    if (refused) return 'new' // nothing of it was appended: it is decided again
    throw new PlayheadError(
      'outOfOrderSequence',
      `producer ${batch.producerId}: found sequence ${batch.baseSequence}, wanted one after ${known.lastSequence} or one of the newest batches; ` +
        'start a new producer',
      { producerId: batch.producerId, sequence: batch.baseSequence, lastSequence: known.lastSequence },
    )
  }

  /** The batch was appended at `baseOffset`. Takes any order of sequences and epochs, because the log is right. */
  record(batch: ProducerBatch, baseOffset: number, appendTimeMs: number): void {
    if (batch.producerId < 0) return
    const table = this.#table(batch.producerId)
    let producer = table.get(batch.producerId)
    assert(producer === undefined || baseOffset > producer.lastOffset, 'batches are recorded in order')
    // Time may go back in a log: what could not be read for a while told nobody how late it was, and a clock that was set back went on behind it.
    const timeMs = Math.max(appendTimeMs, producer?.lastTimeMs ?? 0)
    if (producer !== undefined && timeMs - producer.lastTimeMs >= producerExpiryMs)
      producer = this.#aged(batch.producerId, producer)
    if (producer?.epoch !== batch.producerEpoch) producer = { ...startOf(batch), lastOffset: -1 }
    use(producer, batch, baseOffset, timeMs)
    producer.lastOffset = baseOffset + batch.recordCount - 1
    table.touch(batch.producerId, producer, table === this.#named ? Number.POSITIVE_INFINITY : this.#producersMax)
  }

  /** The batch was refused for its conditions: its sequences are used up all the same, and a retry of it is decided again. */
  refused(batch: ProducerBatch, nowMs: number): void {
    if (batch.producerId < 0) return
    let refusals = this.#refusals.get(batch.producerId)
    if (refusals?.epoch !== batch.producerEpoch) refusals = startOf(batch)
    if (refusals.window.find(batch.baseSequence, batch.recordCount) < 0) use(refusals, batch, -1, nowMs)
    this.#refusals.touch(batch.producerId, refusals, this.#producersMax)
  }

  /** How far a producer got; undefined when nothing is known of it. */
  progress(producerId: number): ProducerProgress | undefined {
    const producer = this.#table(producerId).get(producerId)
    const known = furthest(producer, this.#refusals.get(producerId))
    if (known === undefined) return undefined
    return { producerEpoch: known.epoch, lastSequence: known.lastSequence, lastOffset: producer?.lastOffset ?? -1 }
  }

  /** Forgets what `producerExpiryMs` says. Called now and then, with the time the log appends with. */
  expire(nowMs: number): void {
    for (const table of [this.#random, this.#named]) {
      for (const [id, producer] of table) {
        if (nowMs - producer.lastTimeMs >= producerExpiryMs && this.#aged(id, producer) === undefined) table.delete(id)
      }
    }
    for (const [id, refusals] of this.#refusals)
      if (nowMs - refusals.lastTimeMs >= producerExpiryMs) this.#refusals.delete(id)
  }

  /** What batches said, without refusals. Layout: docs/formats/sidecar.md, "producers". */
  snapshot(): Buffer {
    const parts = [encodeNumbers([snapshotVersion, this.count])]
    for (const [id, producer] of [...this.#named, ...this.#random]) {
      const { epoch, lastSequence, lastOffset, lastTimeMs } = producer
      parts.push(encodeNumbers([id % 2 ** 32, Math.floor(id / 2 ** 32), epoch, lastSequence, lastOffset, lastTimeMs]))
      parts.push(encodeNumbers(producer.window.numbers()))
    }
    return Buffer.concat(parts)
  }

  /** Replaces everything by a snapshot. Throws `damagedData`, then nothing is changed. */
  restore(bytes: Buffer): void {
    const reader = new VarintReader(bytes)
    const version = reader.next()
    if (version !== snapshotVersion) throw damagedSnapshot(`found version ${version}, wanted ${snapshotVersion}`)
    const producers: [number, Producer][] = []
    for (let left = reader.next(); left > 0; left--) {
      const id = reader.next() + reader.next() * 2 ** 32
      const [epoch, lastSequence, lastOffset, lastTimeMs] = [reader.next(), reader.next(), reader.next(), reader.next()]
      const window = ProducerWindow.read(reader, dedupeWindowBatches)
      producers.push([id, { epoch, lastSequence, lastOffset, lastTimeMs, window }])
    }
    if (reader.at !== bytes.length) throw damagedSnapshot(`found ${bytes.length - reader.at} bytes after its end`)
    this.clear()
    for (const [id, producer] of producers) this.#table(id).touch(id, producer, Number.POSITIVE_INFINITY)
  }

  clear(): void {
    this.#random.clear()
    this.#named.clear()
    this.#refusals.clear()
  }

  #table(id: number): RecencyMap<Producer> {
    return id >= namedProducerIdMin ? this.#named : this.#random
  }

  /** What is left of a producer that was silent for `producerExpiryMs`. */
  #aged(id: number, producer: Producer): Producer | undefined {
    if (id < namedProducerIdMin) return undefined
    producer.window = producer.window.newest(1)
    return producer
  }
}

function startOf({ producerEpoch, baseSequence }: ProducerBatch): Progress {
  const lastSequence = (baseSequence + sequences - 1) % sequences
  return { epoch: producerEpoch, lastSequence, lastTimeMs: 0, window: new ProducerWindow(dedupeWindowBatches) }
}

/** A batch used its sequences up. */
function use(
  progress: Progress,
  { baseSequence, recordCount }: ProducerBatch,
  baseOffset: number,
  timeMs: number,
): void {
  assert(
    recordCount > 0 && baseSequence >= 0 && baseSequence <= sequenceMax,
    'a producer batch has records and a sequence',
  )
  progress.window.push(baseSequence, recordCount, baseOffset, timeMs)
  progress.lastTimeMs = timeMs
  const lastSequence = (baseSequence + recordCount - 1) % sequences
  if (isAfter(lastSequence, progress.lastSequence)) progress.lastSequence = lastSequence
}

/** What got further: the batches, or the refusals. */
function furthest(batches: Progress | undefined, refusals: Progress | undefined): Progress | undefined {
  if (refusals === undefined) return batches
  if (batches === undefined || refusals.epoch > batches.epoch) return refusals
  return refusals.epoch === batches.epoch && isAfter(refusals.lastSequence, batches.lastSequence) ? refusals : batches
}

function damagedSnapshot(found: string): PlayheadError {
  return new PlayheadError('damagedData', `producer snapshot: ${found}; rebuild it from the log`)
}

/** Whether `sequence` comes after `last` on the circle of sequences, half of which lies ahead. */
function isAfter(sequence: number, last: number): boolean {
  const ahead = (sequence - last + sequences) % sequences
  return ahead > 0 && ahead <= sequences / 2
}

function encodeNumbers(numbers: readonly number[]): Buffer {
  const bytes = Buffer.allocUnsafe(numbers.length * varintBytesMax)
  let at = 0
  for (const value of numbers) at = writeVarint(bytes, at, value)
  return bytes.subarray(0, at)
}
