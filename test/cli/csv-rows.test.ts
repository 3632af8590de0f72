import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import Papa from 'papaparse'
import { CsvRows, rowBytesMax } from '../../cli/csv-rows.ts'
import { RowProblem } from '../../cli/row-problem.ts'

/** All rows of a text that comes in pieces cut at `cuts` (bytes), with the line each begins on, and the first problem. */
function rowsOf(text: string, cuts: readonly number[] = []) {
  const source = new CsvRows()
  const rows: string[][] = []
  const lines: number[] = []
  const bytes = Buffer.from(text)
  let problem: { line: number; message: string } | undefined
  const take = (): void => {
    if (problem !== undefined) return
    try {
      while (source.next()) {
        rows.push(source.row.texts())
        lines.push(source.line)
      }
    } catch (error) {
      if (!(error instanceof RowProblem)) throw error
      problem = { line: source.line, message: error.message }
    }
  }
  let at = 0
  for (const cut of [...cuts, bytes.length].map((place) => Math.min(place, bytes.length)).toSorted((a, b) => a - b)) {
    source.push(Buffer.from(bytes.subarray(at, cut)))
    take()
    at = cut
  }
  source.end()
  take()
  return { rows, lines, problem }
}

test('csv rows: quotes, doubled quotes, commas and line ends inside quotes, no line end at the end of the file', () => {
  const { rows, lines, problem } = rowsOf('a,b\n"1,5","say ""hi"""\n"two\nlines",\n,last')
  assert.equal(problem, undefined)
  assert.deepEqual(rows, [
    ['a', 'b'],
    ['1,5', 'say "hi"'],
    ['two\nlines', ''],
    ['', 'last'],
  ])
  assert.deepEqual(lines, [1, 2, 3, 5])
})

test('csv rows: any table comes back, and on its lines, however the text is cut', () => {
  const field = fc.string({ unit: fc.constantFrom('a', 'é', '"', ',', '\n', ' ', '€', '😀', '\t'), maxLength: 6 })
  const table = fc.array(fc.array(field, { minLength: 2, maxLength: 4 }), { minLength: 1, maxLength: 8 })
  const cuts = fc.array(fc.nat(120), { maxLength: 6 })
  fc.assert(
    fc.property(table, cuts, fc.boolean(), (wanted, where, endsInLine) => {
      const starts: number[] = []
      let line = 1
      const texts = wanted.map((row) => {
        starts.push(line)
        const text = row.map((value) => (/[",\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value)).join(',')
        line += text.split('\n').length
        return text
      })
      const { rows, lines, problem } = rowsOf(texts.join('\n') + (endsInLine ? '\n' : ''), where)
      assert.equal(problem, undefined)
      assert.deepEqual(rows, wanted)
      assert.deepEqual(lines, starts)
    }),
  )
})

test('csv rows: any text, also a broken one, gives the rows and the problem that Papa Parse finds, however it is cut', () => {
  const part = fc.constantFrom(
    'a',
    ',',
    '\n',
    '"',
    '""',
    '\r\n',
    ' ',
    'é',
    '😀',
    '\t',
    '\u00a0',
    '\ufeff',
    'x,y\n',
    '"q",',
    '"q"\n',
  )
  const problems: Record<string, RegExp> = {
    MissingQuotes: /without a closing one/,
    InvalidQuotes: /text after a closing/,
  }
  fc.assert(
    fc.property(fc.array(part, { maxLength: 16 }), fc.array(fc.nat(40), { maxLength: 6 }), (parts, cuts) => {
      const text = parts.join('').replace(/^\ufeff+/, '')
      const parsed = new Papa.Parser({ delimiter: ',', newline: '\n', fastMode: false }).parse(text, 0, false) as {
        data: string[][]
        errors: { code: string; row: number }[]
      }
      const error = parsed.errors[0]
      // What it makes of nothing behind the last newline is a row of one empty field.
      const wanted =
        text.endsWith('\n') && error === undefined ? parsed.data.slice(0, -1) : parsed.data.slice(0, error?.row)
      // A carriage return before the newline is csv-records.ts' to judge; behind a quote both drop it.
      const { rows, problem } = rowsOf(text, cuts)
      assert.deepEqual(rows, wanted)
      if (error === undefined) assert.equal(problem, undefined)
      else assert.match(problem?.message ?? '', problems[error.code]!)
    }),
    { numRuns: 3_000 },
  )
})

test('csv rows: more fields than a row had before (1,000 in one row)', () => {
  const wide = Array.from({ length: 1_000 }, (_, index) => (index % 7 === 0 ? `"${index}"",${index}"` : String(index)))
  const { rows } = rowsOf(`a,b\n${wide.join(',')}\nc,d\n`, [100, 2_000])
  assert.deepEqual(
    rows[1],
    wide.map((_, index) => (index % 7 === 0 ? `${index}",${index}` : String(index))),
  )
  assert.deepEqual(rows[2], ['c', 'd'])
})

test('csv rows: a quote that is never closed is named by the line it opens on, and the rows before it are given out', () => {
  const { rows, problem } = rowsOf('a,b\n1,2\n"x\ny",3\n4,"open\n5,6\n7,8\n', [3, 9, 20])
  assert.deepEqual(rows, [
    ['a', 'b'],
    ['1', '2'],
    ['x\ny', '3'],
  ])
  assert.equal(problem?.line, 5)
  assert.match(problem?.message ?? '', /opening quote without a closing one/)
})

test('csv rows: text after a closing quote is named by its line, wherever the text is cut', () => {
  const text = 'a,b\n1,2\n"bro"ken,3\n4,5\n'
  for (let cut = 0; cut <= text.length; cut++) {
    const { rows, problem } = rowsOf(text, [cut])
    assert.equal(rows.length, 2, `cut at ${cut}`)
    assert.equal(problem?.line, 3, `cut at ${cut}`)
    assert.match(problem?.message ?? '', /text after a closing quote/)
  }
})

test('csv rows: a row longer than the limit is refused instead of being collected for ever', () => {
  const source = new CsvRows()
  source.push(Buffer.from('a,b\n'))
  assert.equal(source.next(), true)
  source.push(Buffer.from(`"${'x'.repeat(rowBytesMax - 1)}`))
  assert.equal(source.next(), false)
  source.push(Buffer.from('x'))
  assert.throws(() => source.next(), /found no end of the row within 8 Mi bytes/)
  assert.equal(source.line, 2)
})
