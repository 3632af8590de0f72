import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { CsvRows, rowCharsMax } from '../../cli/csv-rows.ts'
import type { CsvBlock } from '../../cli/csv-rows.ts'

/** All rows of a text that comes in pieces cut at `cuts`, with the line each begins on, and the first problem. */
function rowsOf(text: string, cuts: readonly number[] = []) {
  const source = new CsvRows()
  const rows: string[][] = []
  const lines: number[] = []
  let problem: { line: number; message: string } | undefined
  const take = (block: CsvBlock): void => {
    if (problem !== undefined) return
    for (let index = 0; index < block.rows.length; index++) {
      rows.push(block.rows[index]!)
      lines.push(block.lineOf(index))
    }
    if (block.problem) problem = { line: block.lineOf(block.rows.length), message: block.problem.message }
  }
  let at = 0
  for (const cut of [...cuts, text.length].map((place) => Math.min(place, text.length)).toSorted((a, b) => a - b)) {
    take(source.push(text.slice(at, cut)))
    at = cut
  }
  take(source.end())
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
  assert.equal(source.push('a,b\n').problem, undefined)
  const block = source.push(`"${'x'.repeat(rowCharsMax + 1)}`)
  assert.match(block.problem?.message ?? '', /found no end of the row within 8 Mi characters/)
  assert.equal(block.lineOf(0), 2)
})
