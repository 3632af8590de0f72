/**
 * TimeIndex: the times of one segment, one entry for each entry of its OffsetIndex, under the same number: the append time of that entry's
 * batch, and the largest event time of all batches of the segment before it (no event = -Infinity). Both ascend, so that the first batch
 * at or after a time is found by halving, although event times themselves are in no order. Derived: rebuilt from the segment.
 *
 * Encoded: u32 count, then count x (u64 append time ms, f64 largest event time ms before), little-endian.
 */
import assert from 'node:assert/strict'
import { TWO_TO_32, writeU64LE } from '../protocol/bytes.ts'
import { grown } from './grown.ts'

const ENTRY_BYTES = 16

export class TimeIndex {
  #appendTimes = new Float64Array(16)
  #eventTimesBefore = new Float64Array(16)
  #count = 0

  get count(): number {
    return this.#count
  }

  get memoryBytes(): number {
    return this.#appendTimes.byteLength + this.#eventTimesBefore.byteLength
  }

  add(appendTimeMs: number, eventTimeMsBefore: number): void {
    if (this.#count > 0) {
      assert(appendTimeMs >= (this.#appendTimes[this.#count - 1] ?? 0))
      assert(eventTimeMsBefore >= (this.#eventTimesBefore[this.#count - 1] ?? 0))
    }
    if (this.#count === this.#appendTimes.length) {
      this.#appendTimes = grown(this.#appendTimes)
      this.#eventTimesBefore = grown(this.#eventTimesBefore)
    }
    this.#appendTimes[this.#count] = appendTimeMs
    this.#eventTimesBefore[this.#count] = eventTimeMsBefore
    this.#count++
  }

  /** The entry from which to look for the first batch whose time is ≥ `timestampMs`: no batch before it can be one. At least 0. */
  startEntry(timestampMs: number, clock: 'event' | 'append'): number {
    const times = clock === 'append' ? this.#appendTimes : this.#eventTimesBefore
    let low = 0
    let high = this.#count
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((times[middle] ?? 0) < timestampMs) low = middle + 1
      else high = middle
    }
    return Math.max(0, low - 1)
  }

  encode(): Buffer {
    const bytes = Buffer.allocUnsafe(4 + this.#count * ENTRY_BYTES)
    bytes.writeUInt32LE(this.#count, 0)
    for (let entry = 0, at = 4; entry < this.#count; entry++, at += ENTRY_BYTES) {
      writeU64LE(bytes, at, this.#appendTimes[entry] ?? 0)
      bytes.writeDoubleLE(this.#eventTimesBefore[entry] ?? 0, at + 8)
    }
    return bytes
  }

  /** Undefined when the bytes are not an index. */
  static decode(bytes: Buffer): TimeIndex | undefined {
    if (bytes.length < 4 || bytes.length !== 4 + bytes.readUInt32LE(0) * ENTRY_BYTES) return undefined
    const count = bytes.readUInt32LE(0)
    const view = new DataView(bytes.buffer, bytes.byteOffset + 4, count * ENTRY_BYTES)
    const [appendTimes, eventTimesBefore] = [new Float64Array(Math.max(1, count)), new Float64Array(Math.max(1, count))]
    let appendTimeBefore = 0
    let eventTimeBefore = -Infinity
    for (let entry = 0, at = 0; entry < count; entry++, at += ENTRY_BYTES) {
      const appendTimeMs = view.getUint32(at + 4, true) * TWO_TO_32 + view.getUint32(at, true)
      const eventTimeMs = view.getFloat64(at + 8, true)
      if (!(appendTimeMs >= appendTimeBefore && eventTimeMs >= eventTimeBefore)) return undefined
      appendTimes[entry] = appendTimeMs
      eventTimesBefore[entry] = eventTimeMs
      appendTimeBefore = appendTimeMs
      eventTimeBefore = eventTimeMs
    }
    const index = new TimeIndex()
    index.#appendTimes = appendTimes
    index.#eventTimesBefore = eventTimesBefore
    index.#count = count
    return index
  }
}
