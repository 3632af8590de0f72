/**
 * Damage: ranges of offsets of one log whose bytes were proven durable and are not valid any more. They are kept as they are, never
 * served, and named to whoever asks; what lies before and after is served.
 * Neighbours: recovery.ts and segment-reader.ts find them, Log tells them.
 */
import { PlayheadError } from '../protocol/errors.ts'

export interface DamagedRange {
  readonly file: string
  /** Where the bytes that cannot be read begin. */
  readonly position: number
  /** Where the frame of `nextOffset` begins, in the same file; its end when that is in another; `position` when that is not known. */
  readonly endPosition: number
  /** First offset lost. */
  readonly offset: number
  /** First offset that can be read again. */
  readonly nextOffset: number
  readonly reason: string
}

export class Damage {
  /** In order of offsets, none overlapping. */
  readonly #ranges: DamagedRange[] = []
  /** What is wrong beside ranges of offsets: headers, names. */
  readonly #notes: string[] = []

  get ranges(): readonly DamagedRange[] {
    return this.#ranges
  }

  /** False when the range was known already. */
  add(range: DamagedRange): boolean {
    if (range.nextOffset <= range.offset || this.at(range.offset) !== undefined) return false
    this.#ranges.push(range)
    this.#ranges.sort((a, b) => a.offset - b.offset)
    return true
  }

  /** The log begins at `offset` now: what was damaged before it is nobody's concern any more. */
  forgetBelow(offset: number): void {
    const kept = this.#ranges.filter(({ nextOffset }) => nextOffset > offset)
    this.#ranges.splice(0, this.#ranges.length, ...kept)
  }

  note(text: string): void {
    this.#notes.push(text)
  }

  /** The damaged range that holds `offset`. */
  at(offset: number): DamagedRange | undefined {
    return this.#ranges.find((range) => range.offset <= offset && offset < range.nextOffset)
  }

  describe(): string[] {
    return [...this.#notes, ...this.#ranges.map(describeRange)]
  }
}

export function describeRange(range: DamagedRange): string {
  return `${range.file}: at byte ${range.position}, offsets ${range.offset} to ${range.nextOffset - 1}: ${range.reason}`
}

export function corruptBatch(range: DamagedRange): PlayheadError {
  return new PlayheadError(
    'corruptBatch',
    `${range.file}: at byte ${range.position}, offset ${range.offset}: found ${range.reason}, wanted the batch that was written; ` +
      `read on from offset ${range.nextOffset}, and restore the file from a copy`,
    { file: range.file, position: range.position, offset: range.offset, nextOffset: range.nextOffset },
  )
}
