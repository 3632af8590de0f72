/**
 * ImportMapping: which column of a file is what of an event. Two imports with the same file and mapping are the same import: their hash
 * names the producer, so running one again continues it. Neighbours: csv-records.ts and ndjson-records.ts follow it.
 */
import { createHash } from 'node:crypto'
import { parseTime } from '../protocol/time.ts'
import { RowProblem } from './row-problem.ts'

export type ImportFormat = 'csv' | 'ndjson'

export interface ImportMapping {
  readonly format: ImportFormat
  /** Column whose value names the stream. */
  readonly stream: string
  /** Stream of the rows whose stream column is empty; undefined = such a row stops the import. */
  readonly elseStream?: string
  /** `COLUMN`, or `=LITERAL` for the same type everywhere. */
  readonly type: string
  /** Column with the event's own time; undefined = the time of the import. */
  readonly time?: string
  /** Columns that become JSON numbers. */
  readonly numbers: readonly string[]
}

/** Names the producer of an import: the same for the same file content and mapping, whatever the file is called. */
export function importHash(fileHash: Buffer, mapping: ImportMapping): Buffer {
  const { format, stream, elseStream, type, time, numbers } = mapping
  const described = JSON.stringify([
    1,
    format,
    stream,
    elseStream ?? null,
    type,
    time ?? null,
    [...new Set(numbers)].toSorted(),
  ])
  return createHash('sha256').update(fileHash).update(described).digest()
}

/** Rows near one another often have the same time: the last one is kept. */
export class RowTimes {
  #text: Buffer = Buffer.alloc(0)
  #timeMs = Number.NaN

  timeOf(text: string, column: string): number {
    try {
      return parseTime(text)
    } catch {
      throw new RowProblem(
        `column ${column}: found ${shown(text)}, wanted a time: ISO-8601 (2011-06-01T12:00:00Z), or seconds or milliseconds since the epoch`,
      )
    }
  }

  /** The same for a text that is bytes `from` … `to`. */
  timeOfBytes(bytes: Buffer, from: number, to: number, column: string): number {
    if (this.#isLast(bytes, from, to)) return this.#timeMs
    const text = Buffer.from(bytes.subarray(from, to))
    this.#timeMs = this.timeOf(text.toString(), column)
    this.#text = text
    return this.#timeMs
  }

  #isLast(bytes: Buffer, from: number, to: number): boolean {
    const last = this.#text
    if (last.length === 0 || last.length !== to - from) return false
    // From the end: there the times of a file differ.
    for (let index = last.length - 1; index >= 0; index--) if (last[index] !== bytes[from + index]) return false
    return true
  }
}

const MINUS = 0x2d
const DOT = 0x2e
const ZERO = 0x30
const NINE = 0x39
/** A number of so many digits is finite whatever they are. */
const plainDigitsMax = 200

const jsonNumber = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/
const looseNumber = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/

/** The JSON of a number column: its digits as they were where JSON allows them, so that nothing is rounded; null when it is empty. */
export function numberJson(text: string, column: string): string {
  if (text === '') return 'null'
  if (jsonNumber.test(text) && Number.isFinite(Number(text))) return text
  const number = looseNumber.test(text.trim()) ? Number(text) : Number.NaN
  if (Number.isFinite(number)) return String(number)
  throw new RowProblem(`column ${column}: found ${shown(text)}, wanted a number (--number ${column})`)
}

/** Digits, perhaps a sign before and a fraction behind, as JSON has them: nearly all numbers are, and this is asked for each of them. */
export function isPlainNumber(bytes: Buffer, from: number, to: number): boolean {
  const first = bytes[from] === MINUS && from < to ? from + 1 : from
  let digits = 0
  let dotAt = -1
  for (let at = first; at < to; at++) {
    const byte = bytes[at]!
    if (byte >= ZERO && byte <= NINE) digits++
    else if (byte === DOT && dotAt < 0 && digits > 0) dotAt = at
    else return false
  }
  if (digits === 0 || digits > plainDigitsMax || dotAt === to - 1) return false
  // JSON allows no zero before other digits.
  return bytes[first] !== ZERO || digits === 1 || dotAt === first + 1
}

/** A value in a message: quoted, and cut when it is long. */
export function shown(text: string): string {
  return JSON.stringify(text.length > 64 ? `${text.slice(0, 64)}…` : text)
}
