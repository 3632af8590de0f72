import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ImportMapping } from '../../cli/import-mapping.ts'
import { NdjsonRecords } from '../../cli/ndjson-records.ts'
import { StreamKeys } from '../../cli/stream-keys.ts'
import { piecesOf, readSource } from './read-source.ts'

const base: ImportMapping = { format: 'ndjson', stream: 'id', type: '=Article', numbers: [] }

function recordsOf(text: string | Buffer, mapping: Partial<ImportMapping> = {}) {
  const whole = { ...base, ...mapping }
  const source = new NdjsonRecords(whole, new StreamKeys(whole), { fileHash: Buffer.alloc(32, 7), nowMs: 5 })
  return readSource(source, piecesOf(text, 1))
}

test('ndjson records: data is the line as it was, digit for digit; numbers may name streams', () => {
  const records = recordsOf('{"id": 7, "price": 1.10, "big": 12345678901234567890}\r\n\n{"id":"x"}')
  assert.deepEqual(
    records.map(({ key, value }) => [String(key), value]),
    [
      ['7', '{"id": 7, "price": 1.10, "big": 12345678901234567890}'],
      ['x', '{"id":"x"}'],
    ],
  )
})

test('ndjson records: --number turns texts into numbers, --time and --type name members', () => {
  const mapping = { numbers: ['n'], time: 'at', type: 'kind' }
  const [first, second] = recordsOf(
    '{"id":"a","n":"1.50","at":1306886400,"kind":"K"}\n{"id":"a","n":2,"at":"2011-06-01","kind":"L"}',
    mapping,
  )
  assert.equal(first?.value, '{"id":"a","n":1.50,"at":1306886400,"kind":"K"}')
  assert.equal(second?.value, '{"id":"a","n":2,"at":"2011-06-01","kind":"L"}')
  assert.deepEqual([first?.timestamp, second?.timestamp], [1_306_886_400_000, 1_306_886_400_000])
  assert.deepEqual([first?.headers?.[0]?.value, second?.headers?.[0]?.value], ['K', 'L'])
})

test('ndjson records: what is wrong is named by its line', () => {
  const good = '{"id":"a"}\n'
  for (const [line, wanted] of [
    ['{"id":', /line 2: found no JSON/],
    ['[1]', /line 2: found "\[1\]", wanted a JSON object/],
    ['{"x":1}', /line 2: found members "x", wanted one named "id" \(--stream\)/],
    ['{"id":{}}', /line 2: member id: found "\{\}", wanted a text or a number/],
    ['{"id":null}', /line 2: column id: found an empty stream name/],
    ['{"id":"\\ud800"}', /line 2: column id: stream name: found text with half a surrogate pair/],
  ] as const) {
    assert.throws(() => recordsOf(good + line), wanted, line)
  }
  assert.throws(
    () => recordsOf('{"id":"a","n":"x"}', { numbers: ['n'] }),
    /line 1: column n: found "x", wanted a number/,
  )
})

test('ndjson records: a byte order mark is left out; bytes that are not UTF-8 are named by their line', () => {
  assert.equal(recordsOf('\ufeff{"id":"é"}\n')[0]?.value, '{"id":"é"}')
  assert.throws(
    () => recordsOf(Buffer.from('{"id":"a"}\n\n{"id":"\xe9"}\n', 'latin1')),
    /line 3: found bytes that are not UTF-8/,
  )
})
