/**
 * OffsetIndex: the sparse index of one segment, offset -> position. An entry stands for the frame of the batch that begins at its offset;
 * there is one for the first batch and one for each batch that begins at least `indexIntervalBytes` after the last entry's.
 * Derived: rebuilt from the segment. TimeIndex has one entry for each entry here, under the same number.
 *
 * Encoded: u32 count, then count x (u64 offset, u64 position), little-endian.
 */
import assert from 'node:assert/strict'
import { TWO_TO_32, writeU64LE } from '../protocol/bytes.ts'
import { grown } from './grown.ts'

const ENTRY_BYTES = 16

export class OffsetIndex {
  #offsets = new Float64Array(16)
  #positions = new Float64Array(16)
  #count = 0

  get count(): number {
    return this.#count
  }

  get memoryBytes(): number {
    return this.#offsets.byteLength + this.#positions.byteLength
  }

  add(offset: number, position: number): void {
    if (this.#count > 0) assert(offset > this.offset(this.#count - 1) && position > this.position(this.#count - 1))
    if (this.#count === this.#offsets.length) {
      this.#offsets = grown(this.#offsets)
      this.#positions = grown(this.#positions)
    }
    this.#offsets[this.#count] = offset
    this.#positions[this.#count] = position
    this.#count++
  }

  offset(entry: number): number {
    assert(entry >= 0 && entry < this.#count)
    return this.#offsets[entry] ?? 0
  }

  position(entry: number): number {
    assert(entry >= 0 && entry < this.#count)
    return this.#positions[entry] ?? 0
  }

  /** The last entry at or before `offset`; -1 when there is none. */
  floorOffset(offset: number): number {
    return floorEntry(this.#offsets, this.#count, offset)
  }

  /** The last entry at or before `position`; -1 when there is none. */
  floorPosition(position: number): number {
    return floorEntry(this.#positions, this.#count, position)
  }

  encode(): Buffer {
    const bytes = Buffer.allocUnsafe(4 + this.#count * ENTRY_BYTES)
    bytes.writeUInt32LE(this.#count, 0)
    for (let entry = 0, at = 4; entry < this.#count; entry++, at += ENTRY_BYTES) {
      writeU64LE(bytes, at, this.offset(entry))
      writeU64LE(bytes, at + 8, this.position(entry))
    }
    return bytes
  }

  /** Undefined when the bytes are not an index. */
  static decode(bytes: Buffer): OffsetIndex | undefined {
    if (bytes.length < 4 || bytes.length !== 4 + bytes.readUInt32LE(0) * ENTRY_BYTES) return undefined
    const count = bytes.readUInt32LE(0)
    const view = new DataView(bytes.buffer, bytes.byteOffset + 4, count * ENTRY_BYTES)
    const [offsets, positions] = [new Float64Array(Math.max(1, count)), new Float64Array(Math.max(1, count))]
    let offsetBefore = -1
    let positionBefore = -1
    // A cold read of a stream decodes the indexes of many segments before the compiler has seen this loop: few calls, and none that checks again.
    for (let entry = 0, at = 0; entry < count; entry++, at += ENTRY_BYTES) {
      const offset = view.getUint32(at + 4, true) * TWO_TO_32 + view.getUint32(at, true)
      const position = view.getUint32(at + 12, true) * TWO_TO_32 + view.getUint32(at + 8, true)
      if (!(offset > offsetBefore && position > positionBefore)) return undefined
      offsets[entry] = offset
      positions[entry] = position
      offsetBefore = offset
      positionBefore = position
    }
    // They ascend: if the last ones are safe integers, all are.
    if (!Number.isSafeInteger(offsetBefore) || !Number.isSafeInteger(positionBefore)) return undefined
    const index = new OffsetIndex()
    index.#offsets = offsets
    index.#positions = positions
    index.#count = count
    return index
  }
}

/** The last of the first `count` values that is ≤ `target`; -1 when there is none. Values ascend. */
export function floorEntry(values: Float64Array, count: number, target: number): number {
  let low = 0
  let high = count
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((values[middle] ?? 0) <= target) low = middle + 1
    else high = middle
  }
  return low - 1
}
