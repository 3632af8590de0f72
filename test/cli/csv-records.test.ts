import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { CsvRecords } from '../../cli/csv-records.ts'
import { numberJson } from '../../cli/import-mapping.ts'
import type { ImportMapping } from '../../cli/import-mapping.ts'
import { RowProblem } from '../../cli/row-problem.ts'
import { StreamKeys } from '../../cli/stream-keys.ts'
import type { RecordInput } from '../../protocol/record.ts'
import { formatUuid } from '../../protocol/uuid.ts'
import { piecesOf, readSource } from './read-source.ts'

const hash = Buffer.from('00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff', 'hex')
const orders: ImportMapping = { format: 'csv', stream: 'customer', type: '=Line', numbers: [] }

function recordsOf(text: string | Buffer, mapping: Partial<ImportMapping> = {}, pieceBytes = 7) {
  const whole = { ...orders, ...mapping }
  const streams = new StreamKeys(whole)
  const source = new CsvRecords(whole, streams, { fileHash: hash, nowMs: 1_700_000_000_000 })
  const records = readSource(source, piecesOf(text, pieceBytes))
  return { records, streams: streams.count }
}

const dataOf = (record: RecordInput | undefined): unknown => JSON.parse(String(record?.value))

test('csv records: every column is kept in data as the string it was, in order, empty as ""', () => {
  const { records, streams } = recordsOf('customer,sku,quantity\n17850,85123A,6\n17850,,007\n13047,"a ""b"" \\c",-1\n')
  assert.equal(streams, 2)
  assert.deepEqual(
    records.map(({ key }) => String(key)),
    ['17850', '17850', '13047'],
  )
  assert.equal(String(records[0]?.value), '{"customer":"17850","sku":"85123A","quantity":"6"}')
  assert.deepEqual(dataOf(records[1]), { customer: '17850', sku: '', quantity: '007' })
  assert.deepEqual(dataOf(records[2]), { customer: '13047', sku: 'a "b" \\c', quantity: '-1' })
  assert.equal(String(records[0]?.headers?.[0]?.value), 'Line')
  assert.equal(records[0]?.timestamp, 1_700_000_000_000)
})

test('csv records: any values survive, whatever characters they hold', () => {
  const value = fc.string({ unit: 'binary', maxLength: 12 }).filter((text) => text.isWellFormed())
  fc.assert(
    fc.property(fc.array(value, { minLength: 1, maxLength: 5 }), (values) => {
      const rows = values.map((text) => `c,"${text.replaceAll('"', '""')}"\n`).join('')
      const { records } = recordsOf(`customer,value\n${rows}`)
      assert.deepEqual(
        records.map((record) => (dataOf(record) as { value: string }).value),
        values,
      )
    }),
  )
})

test('csv records: --number columns are JSON numbers with all their digits, null when empty', () => {
  const mapping = { numbers: ['n'] }
  const values = ['6', '2.55', '-0.10', '+5', '.5', '1e3', '12345678901234567890', '', ' 7']
  const { records } = recordsOf(`customer,n\n${values.map((value) => `c,${value}\n`).join('')}`, mapping)
  assert.deepEqual(
    records.map(({ value }) => /"n":([^}]*)/.exec(String(value))?.[1]),
    ['6', '2.55', '-0.10', '5', '0.5', '1e3', '12345678901234567890', 'null', '7'],
  )
  for (const bad of ['six', '1,5', '0x10', 'NaN', 'Infinity', '1e999', '-', '1 2']) {
    assert.throws(
      () => recordsOf(`customer,n\nc,1\nc,"${bad}"\n`, mapping),
      /line 3: column n: found .* wanted a number/,
      bad,
    )
  }
})

test('csv records: a number column holds the digits exactly when JSON allows them (every text of 5 characters of -0.1e)', () => {
  const characters = '-0.1e'
  for (let index = 0; index < characters.length ** 5; index++) {
    const text = [0, 1, 2, 3, 4].map((place) => characters[Math.floor(index / 5 ** place) % 5]).join('')
    const isJson = /^-?(0|[1-9]\d*)(\.\d+)?(e-?\d+)?$/.test(text)
    const isNumber = /^-?(\d+\.?\d*|\.\d+)(e-?\d+)?$/.test(text)
    if (isNumber) assert.equal(numberJson(text, 'n'), isJson ? text : String(Number(text)), text)
    else assert.throws(() => numberJson(text, 'n'), RowProblem, text)
  }
})

test('csv records: times are ISO-8601 or epoch seconds or milliseconds; anything else stops at its line', () => {
  const mapping = { time: 'at' }
  const text =
    'customer,at\nc,2011-06-01T00:00:00Z\nc,2011-06-01\nc,1306886400\nc,1306886400000\nc,2011-06-01T02:00:00+02:00\n'
  const { records } = recordsOf(text, mapping)
  for (const { timestamp } of records) assert.equal(timestamp, 1_306_886_400_000)
  for (const bad of ['', 'yesterday', '01/06/2011', '2011-02-30']) {
    assert.throws(
      () => recordsOf(`customer,at\nc,2011-06-01\n\nc,${bad}\n`, mapping),
      /line 4: column at: found .* wanted a time/,
      bad,
    )
  }
})

test('csv records: types come from a column when it is named', () => {
  const { records } = recordsOf('customer,kind\nc,Added\nc,Removed\n', { type: 'kind' })
  assert.deepEqual(
    records.map(({ headers }) => String(headers?.[0]?.value)),
    ['Added', 'Removed'],
  )
  assert.throws(
    () => recordsOf('customer,kind\nc,\n', { type: 'kind' }),
    /line 2: column kind: found a type of 0 bytes/,
  )
})

test('csv records: an empty stream stops at its line, or goes to --else-stream', () => {
  const text = 'customer,sku\n1,a\n,b\n'
  assert.throws(() => recordsOf(text), /line 3: column customer: found an empty stream name.*--else-stream/)
  const { records, streams } = recordsOf(text, { elseStream: 'nobody' })
  assert.equal(String(records[1]?.key), 'nobody')
  assert.equal(streams, 2)
  assert.throws(
    () => recordsOf(`customer\n${'x'.repeat(1025)}\n`),
    /line 2: column customer: stream name: found 1025 bytes/,
  )
})

test('csv records: bad columns are named with those that are there (missing, too few, too many, twice, no file)', () => {
  assert.throws(
    () => recordsOf('client,sku\n1,a\n'),
    /line 1: found columns "client", "sku", wanted one named "customer" \(--stream\)/,
  )
  assert.throws(() => recordsOf('customer\n1\n', { type: 'kind' }), /\(--type\)/)
  assert.throws(() => recordsOf('customer\n1\n', { time: 'at' }), /\(--time\)/)
  assert.throws(() => recordsOf('customer\n1\n', { numbers: ['n'] }), /\(--number\)/)
  assert.throws(() => recordsOf('customer,sku\n1,a\n2\n'), /line 3: found 1 columns, wanted 2/)
  assert.throws(() => recordsOf('customer,sku\n1,a\n2,b,c\n'), /line 3: found 3 columns, wanted 2/)
  assert.throws(() => recordsOf('customer,sku,sku\n'), /line 1: found two columns named "sku"/)
  assert.throws(() => recordsOf(''), /line 1: found an empty file/)
})

test('csv records: CRLF line ends, blank lines', () => {
  const { records } = recordsOf('\r\ncustomer,sku\r\n1,a\r\n\r\n2,"b"\r\n3,c')
  assert.deepEqual(records.map(dataOf), [
    { customer: '1', sku: 'a' },
    { customer: '2', sku: 'b' },
    { customer: '3', sku: 'c' },
  ])
})

test('csv records: CRLF: a carriage return belongs to the line end, whether the names are quoted or not, and to a field inside quotes', () => {
  for (const header of ['customer,sku', '"customer","sku"', '"customer" , "sku" '.replace(', ', ',')]) {
    const { records } = recordsOf(`${header}\r\n1,a\r\n2,"b\r"\r\n3,c\n4,d\r`)
    assert.deepEqual(
      records.map((record) => (dataOf(record) as { sku: string }).sku),
      ['a', 'b\r', 'c', 'd'],
      header,
    )
  }
})

test('csv records: a byte order mark is left out, however the file is cut; only one', () => {
  for (let pieceBytes = 1; pieceBytes < 6; pieceBytes++) {
    const { records } = recordsOf('\ufeff"customer",sku\n1,\ufeff\n', {}, pieceBytes)
    assert.deepEqual(dataOf(records[0]), { customer: '1', sku: '\ufeff' })
    assert.throws(() => recordsOf('\ufeff', {}, pieceBytes), /line 1: found an empty file/)
    assert.throws(() => recordsOf('\ufeff\ufeffcustomer\n', {}, pieceBytes), /wanted one named "customer"/)
  }
})

test('csv records: bytes that are not UTF-8 are named by their line, and the rows before it are given out, however the file is cut', () => {
  const bytes = Buffer.from('customer,sku\n1,\xe9\n2,"x\ncaf', 'latin1')
  const good = Buffer.from('customer,sku\n1,é\n2,"x\ny"\n')
  for (let pieceBytes = 1; pieceBytes < good.length + 9; pieceBytes++) {
    assert.throws(() => recordsOf(bytes, {}, pieceBytes), /line 2: found bytes that are not UTF-8/)
    for (const [bad, line] of [
      ['3,caf\xe9\n4,d\n', 5],
      ['3,"a\nb\nc\xe9\n"\n', 7],
      ['3,\xc3', 5],
    ] as const) {
      const source = new CsvRecords(orders, new StreamKeys(orders), { fileHash: hash, nowMs: 0 })
      let count = 0
      const pieces = piecesOf(Buffer.concat([good, Buffer.from(bad, 'latin1')]), pieceBytes)
      const read = (): void => {
        while (source.next() !== undefined) count++
      }
      assert.throws(() => {
        for (const piece of pieces) {
          source.push(piece)
          read()
        }
        source.end()
        read()
      }, /not UTF-8, wanted UTF-8; convert the file first/)
      assert.equal(source.line, line)
      assert.equal(count, 2)
    }
  }
})

test('csv records: ids are UUIDv7 from file and row: the same on every run, different in every row', () => {
  const text = `customer,at\n${'c,2011-06-01T00:00:00Z\n'.repeat(50)}`
  const idsOf = (pieceBytes: number): string[] =>
    recordsOf(text, { time: 'at' }, pieceBytes).records.map(({ headers }) => formatUuid(headers?.[1]?.value as Buffer))
  const ids = idsOf(5)
  assert.deepEqual(idsOf(1000), ids)
  assert.equal(new Set(ids).size, 50)
  assert.deepEqual(ids, ids.toSorted())
  for (const id of ids) assert.match(id, /^0130487f-e800-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
})
