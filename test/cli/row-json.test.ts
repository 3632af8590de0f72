import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { CsvRow } from '../../cli/csv-row.ts'
import { RowJson } from '../../cli/row-json.ts'

/** A row of the fields as csv-rows.ts would find it. */
function rowOf(fields: readonly string[]): CsvRow {
  const row = new CsvRow()
  row.bytes = Buffer.from(fields.join(','))
  let at = 0
  for (const field of fields) {
    const end = at + Buffer.byteLength(field)
    row.add(at, end, JSON.stringify(field) === `"${field}"` ? 0 : 1)
    at = end + 1
  }
  return row
}

const anyText = fc.oneof(
  fc.string({ maxLength: 40 }),
  fc.string({ unit: 'grapheme', maxLength: 20 }),
  fc.string({ unit: fc.integer({ min: 0, max: 0x7f }).map((code) => String.fromCharCode(code)), maxLength: 120 }),
  fc.string({ unit: 'binary', maxLength: 20 }).filter((text) => text.isWellFormed()),
  fc.constantFrom('', '"', '\\', '"a":"b"', '\u007f', '\u0141', '","x":"', 'WHITE "HEART" T-LIGHT'),
)

test('row json: the bytes of any row are those of JSON.stringify (any names, any texts)', () => {
  const rows = fc.uniqueArray(anyText, { minLength: 1, maxLength: 6 }).chain((names) =>
    fc.record({
      names: fc.constant(names),
      rows: fc.array(fc.array(anyText, { minLength: names.length, maxLength: names.length }), { maxLength: 20 }),
    }),
  )
  fc.assert(
    fc.property(rows, ({ names, rows: all }) => {
      const json = new RowJson(
        names,
        names.map(() => false),
      )
      const encoded = all.map((fields) => json.encode(rowOf(fields)))
      for (const [place, fields] of all.entries()) {
        // A literal, because JSON.stringify of an object would put names that are digits first.
        const wanted = `{${names.map((name, index) => `${JSON.stringify(name)}:${JSON.stringify(fields[index])}`).join(',')}}`
        assert.equal(encoded[place]?.toString(), wanted)
      }
    }),
    { numRuns: 2_000 },
  )
})

test('row json: numbers keep their digits, first, between and last', () => {
  const json = new RowJson(['a', 'b', 'c', 'd'], [true, false, true, true])
  const row = ['6', 'six', '2.550', '-80995']
  assert.equal(json.encode(rowOf(row)).toString(), '{"a":6,"b":"six","c":2.550,"d":-80995}')
  assert.equal(json.encode(rowOf(['6', '"six"', '2.550', '-1'])).toString(), '{"a":6,"b":"\\"six\\"","c":2.550,"d":-1}')
})

test('row json: rows larger than a slab, one after the other (300,000 characters)', () => {
  const json = new RowJson(['a'], [false])
  for (const char of ['x', '"', 'ü']) {
    const text = char.repeat(300_000)
    assert.equal(json.encode(rowOf([text])).toString(), `{"a":${JSON.stringify(text)}}`)
  }
})
