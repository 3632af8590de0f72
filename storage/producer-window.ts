/**
 * ProducerWindow: the newest batches of one producer in one log, in a ring of flat arrays that doubles up to `batchesMax` and then forgets
 * the oldest.
 * Invariant: places 0 … count-1 are oldest to newest; offsets and append times never go back.
 * Neighbours: ProducerState.
 */
import { PlayheadError } from '../protocol/errors.ts'
import type { VarintReader } from './postings.ts'

const batchesMin = 4

export class ProducerWindow {
  readonly #batchesMax: number
  #baseSequences = new Int32Array(batchesMin)
  #recordCounts = new Int32Array(batchesMin)
  #baseOffsets = new Float64Array(batchesMin)
  #appendTimesMs = new Float64Array(batchesMin)
  #start = 0
  count = 0

  constructor(batchesMax: number) {
    this.#batchesMax = batchesMax
  }

  /** The place of a batch, newest first because that is what is retried; -1 when it is not here. */
  find(baseSequence: number, recordCount: number): number {
    for (let place = this.count - 1; place >= 0; place--) {
      const at = this.#at(place)
      if (this.#baseSequences[at] === baseSequence && this.#recordCounts[at] === recordCount) return place
    }
    return -1
  }

  baseOffset(place: number): number {
    return this.#baseOffsets[this.#at(place)]!
  }

  appendTimeMs(place: number): number {
    return this.#appendTimesMs[this.#at(place)]!
  }

  push(baseSequence: number, recordCount: number, baseOffset: number, appendTimeMs: number): void {
    if (this.count === this.#batchesMax) {
      this.#start = (this.#start + 1) % this.#baseSequences.length
      this.count--
    } else if (this.count === this.#baseSequences.length) this.#grow()
    const at = this.#at(this.count++)
    this.#baseSequences[at] = baseSequence
    this.#recordCounts[at] = recordCount
    this.#baseOffsets[at] = baseOffset
    this.#appendTimesMs[at] = appendTimeMs
  }

  /** The newest `count` batches in a window of their own. */
  newest(count: number): ProducerWindow {
    const window = new ProducerWindow(this.#batchesMax)
    for (let place = Math.max(0, this.count - count); place < this.count; place++) {
      const at = this.#at(place)
      window.push(this.#baseSequences[at]!, this.#recordCounts[at]!, this.#baseOffsets[at]!, this.#appendTimesMs[at]!)
    }
    return window
  }

  /** For a snapshot: each batch as its distance from the one before. */
  numbers(): number[] {
    const numbers = [this.count]
    let [offset, timeMs] = [0, 0]
    for (let place = 0; place < this.count; place++) {
      const at = this.#at(place)
      numbers.push(
        this.#baseSequences[at]!,
        this.#recordCounts[at]!,
        this.#baseOffsets[at]! - offset,
        this.#appendTimesMs[at]! - timeMs,
      )
      offset = this.#baseOffsets[at]!
      timeMs = this.#appendTimesMs[at]!
    }
    return numbers
  }

  static read(reader: VarintReader, batchesMax: number): ProducerWindow {
    const count = reader.next()
    if (count > batchesMax)
      throw new PlayheadError('damagedData', `producer window: found ${count} batches, wanted at most ${batchesMax}`)
    const window = new ProducerWindow(batchesMax)
    let [offset, timeMs] = [0, 0]
    for (let left = count; left > 0; left--) {
      const [baseSequence, recordCount] = [reader.next(), reader.next()]
      offset += reader.next()
      timeMs += reader.next()
      window.push(baseSequence, recordCount, offset, timeMs)
    }
    return window
  }

  #at(place: number): number {
    return (this.#start + place) % this.#baseSequences.length
  }

  /** Doubles the ring; the oldest batch is at 0 again. */
  #grow(): void {
    const order = Array.from({ length: this.count }, (_, place) => this.#at(place))
    const length = Math.min(this.#batchesMax, this.count * 2)
    const [baseSequences, recordCounts] = [new Int32Array(length), new Int32Array(length)]
    const [baseOffsets, appendTimesMs] = [new Float64Array(length), new Float64Array(length)]
    for (const [place, at] of order.entries()) {
      baseSequences[place] = this.#baseSequences[at]!
      recordCounts[place] = this.#recordCounts[at]!
      baseOffsets[place] = this.#baseOffsets[at]!
      appendTimesMs[place] = this.#appendTimesMs[at]!
    }
    this.#baseSequences = baseSequences
    this.#recordCounts = recordCounts
    this.#baseOffsets = baseOffsets
    this.#appendTimesMs = appendTimesMs
    this.#start = 0
  }
}
