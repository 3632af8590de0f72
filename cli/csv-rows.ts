/**
 * CsvRows: text of a CSV file in, rows out, whatever the cuts between the pieces; every problem names its line. RFC 4180: comma, double
 * quotes, LF or CRLF. Papa Parse does the parsing (its low-level parser: no queue or event between it and us).
 * Invariant: a row is given out once, whole, and only if it and all before it in its block are well-formed.
 * Neighbours: row-reader.ts feeds it, row-record.ts maps the rows.
 */
import Papa from 'papaparse'
import { MiB } from '../protocol/limits.ts'
import { RowProblem } from './row-problem.ts'

/** Also the bound of what an unclosed quote can swallow. */
export const rowCharsMax = 8 * MiB

/** Rows of one piece of the file. Blank lines are in `rows` (as [''] or ['\r']) so that lines can be counted: the reader skips them. */
export interface CsvBlock {
  readonly rows: readonly string[][]
  /** Set when the row after the last of `rows` is broken. */
  readonly problem?: RowProblem
  /** Line of the file, from 1, on which row `index` of this block begins. */
  readonly lineOf: (index: number) => number
}

interface Parsed {
  readonly data: string[][]
  readonly errors: readonly { readonly code: string; readonly row: number }[]
  readonly meta: { readonly cursor: number }
}

export class CsvRows {
  #rest = ''
  /** Lines before `#rest`. */
  #lines = 0

  /** Takes the next text of the file; answers the rows that are complete with it. */
  push(text: string): CsvBlock {
    return this.#parse(this.#rest + text, 'more follows')
  }

  /** The last row, when the file does not end with a line end. */
  end(): CsvBlock {
    return this.#parse(this.#rest, 'end of file')
  }

  /** The line on which the text not given out yet begins. */
  get line(): number {
    return this.#lines + 1
  }

  #parse(text: string, what: 'more follows' | 'end of file'): CsvBlock {
    const linesBefore = this.#lines
    const parsed = parse(text, what)
    const used = what === 'end of file' ? text.length : parsed.meta.cursor
    this.#rest = text.slice(used)
    this.#lines += countLines(text, used)
    const lineOf = (index: number): number => linesBefore + 1 + countLines(text, endOfRows(text, index))
    // Errors of the row that is not complete yet are judged again with the text that follows.
    const error = parsed.errors.find(({ row }) => row < parsed.data.length)
    if (error !== undefined) {
      const problem = new RowProblem(
        problems[error.code] ?? 'found a broken quote, wanted quotes doubled inside a field',
      )
      return { rows: parsed.data.slice(0, error.row), problem, lineOf }
    }
    if (this.#rest.length > rowCharsMax) {
      const problem = new RowProblem(
        `found no end of the row within ${rowCharsMax / MiB} Mi characters, wanted shorter rows; a quote may not be closed`,
      )
      return { rows: parsed.data, problem, lineOf }
    }
    return { rows: parsed.data, lineOf }
  }
}

const problems: Readonly<Record<string, string>> = {
  MissingQuotes: 'found an opening quote without a closing one, wanted both; close the quote or double it',
  InvalidQuotes:
    'found text after a closing quote, wanted a comma or the end of the line; double the quotes inside a field',
}

function parse(text: string, what: 'more follows' | 'end of file'): Parsed {
  return new Papa.Parser({ delimiter: ',', newline: '\n' }).parse(text, 0, what === 'more follows') as Parsed
}

/** Where in `text` the first `count` rows end. Only for error messages: it parses them again. */
function endOfRows(text: string, count: number): number {
  if (count === 0) return 0
  const parser = new Papa.Parser({ delimiter: ',', newline: '\n', preview: count, fastMode: false })
  return (parser.parse(text, 0, false) as Parsed).meta.cursor
}

function countLines(text: string, end: number): number {
  let count = 0
  for (let at = text.indexOf('\n'); at >= 0 && at < end; at = text.indexOf('\n', at + 1)) count++
  return count
}
