/**
 * Utf8Lines: the bytes of a file that have been read and not been used yet, without byte order mark, and how many of them can be: whole
 * lines (at the end of the file also the last one), all of them UTF-8, whatever the cuts between the pieces.
 * Invariant: at ≤ end; no character is cut at `end`. Called by csv-rows.ts and ndjson-records.ts, who move `at`.
 */
import { isUtf8 } from 'node:buffer'
import { RowProblem } from './row-problem.ts'

const NEWLINE = 0x0a
const byteOrderMark = Buffer.from([0xef, 0xbb, 0xbf])

export class Utf8Lines {
  bytes: Buffer = Buffer.alloc(0)
  /** Where what is not used yet begins. */
  at = 0
  /** Where what can be used ends. */
  end = 0
  /** Nothing comes after `end`: the file ends there. */
  isLast = false
  /** The line that begins at `end` is not UTF-8. */
  isBroken = false
  #hasBegun = false

  /** The piece is this one's from now on. */
  push(piece: Buffer): void {
    const checked = this.end - this.at
    this.bytes = this.at === this.bytes.length ? piece : Buffer.concat([this.bytes.subarray(this.at), piece])
    this.at = 0
    this.end = checked
    if (!this.#hasBegun && this.bytes.length < byteOrderMark.length) return
    this.#begin()
    this.#check(this.bytes.lastIndexOf(NEWLINE) + 1)
  }

  /** Nothing follows. */
  finish(): void {
    this.#begin()
    this.#check(this.bytes.length)
    this.isLast = !this.isBroken
  }

  /** Bytes that wait to be used, those of a line that is not whole yet included. */
  get restBytes(): number {
    return this.bytes.length - this.at
  }

  #begin(): void {
    if (this.#hasBegun) return
    this.#hasBegun = true
    if (this.bytes.subarray(0, byteOrderMark.length).equals(byteOrderMark)) this.at = this.end = byteOrderMark.length
  }

  #check(to: number): void {
    if (this.isBroken || to <= this.end) return
    if (isUtf8(this.bytes.subarray(this.end, to))) {
      this.end = to
      return
    }
    this.isBroken = true
    for (let next = this.#lineEnd(to); isUtf8(this.bytes.subarray(this.end, next)); next = this.#lineEnd(to)) {
      this.end = next
    }
  }

  /** Where the line that begins at `end` ends. */
  #lineEnd(to: number): number {
    const newline = this.bytes.indexOf(NEWLINE, this.end)
    return newline < 0 || newline >= to ? to : newline + 1
  }
}

/** What is wrong with the line at which Utf8Lines found isBroken. */
export function notUtf8(): RowProblem {
  return new RowProblem(
    'found bytes that are not UTF-8, wanted UTF-8; convert the file first (iconv -f latin1 -t utf-8)',
  )
}
