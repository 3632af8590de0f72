/**
 * CsvRows: bytes of a CSV file in, rows out, whatever the cuts between the pieces; every problem names its line. RFC 4180: comma, double
 * quotes, LF or CRLF; as forgiving as the library it was measured against (docs/decisions/0010): a quote inside an unquoted field is
 * itself, white space may stand behind a closing quote. Invariant: a row is given out once, whole, after all rows before it.
 * Neighbours: utf8-lines.ts says what can be read, csv-row.ts holds the row, csv-records.ts asks for rows.
 */
import { MiB } from '../protocol/limits.ts'
import { CsvRow } from './csv-row.ts'
import { RowProblem } from './row-problem.ts'
import { Utf8Lines, notUtf8 } from './utf8-lines.ts'

/** Also the bound of what an unclosed quote can swallow. */
export const rowBytesMax = 8 * MiB

const NEWLINE = 0x0a
const CARRIAGE_RETURN = 0x0d
const QUOTE = 0x22
const COMMA = 0x2c
const BACKSLASH = 0x5c
const NO_END = -1

/** What a byte is to a field: 0 itself, 1 itself but JSON escapes it, 2 its end. */
const FIELD_END = 2
const kinds = Uint8Array.from({ length: 256 }, (_, byte) => {
  if (byte === COMMA || byte === NEWLINE) return FIELD_END
  return byte < 0x20 || byte === QUOTE || byte === BACKSLASH ? 1 : 0
})

export class CsvRows {
  /** The row that `next` has found. Blank lines are rows of one field, empty or a carriage return. */
  readonly row = new CsvRow()
  readonly #lines = new Utf8Lines()
  #line = 1
  #nextLine = 1
  /** Newlines inside of the row. */
  #newlines = 0
  /** Fields of the row with doubled quotes in them. */
  readonly #doubled: number[] = []

  /** The line of the file, from 1, on which the row begins that `next` has found, found broken, or found no end of. */
  get line(): number {
    return this.#line
  }

  /** Takes more of the file. The bytes are changed in place. */
  push(bytes: Buffer): void {
    this.#lines.push(bytes)
  }

  /** The file has ended: what is left is its last row. */
  end(): void {
    this.#lines.finish()
  }

  /** Reads a row into `row`; false = more of the file is needed for one, or it has ended. Throws RowProblem. */
  next(): boolean {
    const lines = this.#lines
    const from = lines.at
    this.#line = this.#nextLine
    const next = from === lines.end ? NO_END : this.#scan(lines.bytes, from, lines.end)
    if (next === NO_END) {
      this.#checkRest(from)
      return false
    }
    for (const index of this.#doubled) this.row.ends[index] = undouble(lines.bytes, this.row, index)
    lines.at = next
    this.#nextLine += this.#newlines + 1
    return true
  }

  /** There is no row at `from`: throws RowProblem unless that is because more is to come, or all of the file has been read. */
  #checkRest(from: number): void {
    const { bytes, end, isBroken, isLast, restBytes } = this.#lines
    if (isBroken) {
      for (let at = from; at < end; at++) if (bytes[at] === NEWLINE) this.#line++
      throw notUtf8()
    }
    if (isLast && from < end) {
      throw new RowProblem('found an opening quote without a closing one, wanted both; close the quote or double it')
    }
    if (restBytes > rowBytesMax) {
      throw new RowProblem(
        `found no end of the row within ${rowBytesMax / MiB} Mi bytes, wanted shorter rows; a quote may not be closed`,
      )
    }
  }

  /** Fills the row with the fields from `from` on; answers where the next row begins, or NO_END. */
  #scan(bytes: Buffer, from: number, end: number): number {
    const { row } = this
    row.bytes = bytes
    row.count = 0
    this.#newlines = 0
    this.#doubled.length = 0
    let at = from
    do {
      if (bytes[at] === QUOTE && at < end) {
        at = this.#quotedField(bytes, at + 1, end)
        if (at === NO_END) return NO_END
      } else {
        const start = at
        let escapes = 0
        for (; at < end; at++) {
          const kind = kinds[bytes[at]!]!
          if (kind === FIELD_END) break
          escapes |= kind
        }
        row.add(start, at, escapes)
      }
      // Without a newline this is the end of the file, or of what is UTF-8 of it.
      if (at === end && !this.#lines.isLast) return NO_END
    } while (at < end && bytes[at++] === COMMA)
    row.end = bytes[at - 1] === NEWLINE ? at - 1 : at
    return at
  }

  /** The field whose opening quote is before `start`; answers where the comma or newline behind it is, or NO_END. */
  #quotedField(bytes: Buffer, start: number, end: number): number {
    let isDoubled = false
    let escapes = 0
    for (let at = start; at < end; at++) {
      const byte = bytes[at]!
      if (byte === QUOTE) {
        if (at + 1 === end || bytes[at + 1] !== QUOTE) {
          if (isDoubled) this.#doubled.push(this.row.count)
          this.row.add(start, at, escapes)
          return behindQuote(bytes, at + 1, end)
        }
        isDoubled = true
        escapes = 1
        at++
      } else {
        if (byte === NEWLINE) this.#newlines++
        if (kinds[byte] !== 0 && byte !== COMMA) escapes = 1
      }
    }
    return NO_END
  }
}

/** `at`: behind a closing quote. Answers where the field's comma, newline or end of the file is. Throws RowProblem. */
function behindQuote(bytes: Buffer, at: number, end: number): number {
  if (at === end || bytes[at] === COMMA || bytes[at] === NEWLINE) return at
  if (bytes[at] === CARRIAGE_RETURN && at + 1 < end && bytes[at + 1] === NEWLINE) return at + 1
  let next = at
  while (next < end && bytes[next] !== COMMA && bytes[next] !== NEWLINE) next++
  if (next < end && bytes.toString('utf8', at, next).trim() === '') return next
  throw new RowProblem(
    'found text after a closing quote, wanted a comma or the end of the line; double the quotes inside a field',
  )
}

/** Makes one quote of every two in a field, in place; answers where it ends then. */
function undouble(bytes: Buffer, { starts, ends }: CsvRow, index: number): number {
  const end = ends[index]!
  let to = starts[index]!
  for (let at = to; at < end; at++) {
    const byte = bytes[at]!
    bytes[to++] = byte
    if (byte === QUOTE) at++
  }
  return to
}
