import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { decodeEvent, encodeEvent, eventLine } from '../../protocol/event.ts'
import type { EventInput, StreamEvent } from '../../protocol/event.ts'
import { RecordBatch, encodeRecordBatch } from '../../protocol/record-batch.ts'
import type { LogRecord, RecordInput } from '../../protocol/record.ts'

const id = Buffer.from('0190b7f25c1e7c3a9b412f6d1a0e8c55', 'hex')
const idText = '0190b7f2-5c1e-7c3a-9b41-2f6d1a0e8c55'
const time = Date.UTC(2011, 5, 1)
const defaults = { id, timestampMs: time }

function stored(record: RecordInput): LogRecord {
  const [only] = new RecordBatch(encodeRecordBatch([record]))
  return only as LogRecord
}

const roundTrip = (input: EventInput, version: number | null = 3): StreamEvent =>
  decodeEvent(stored(encodeEvent('carts-1', input, defaults)), 2, version)

test('event: all fields come back', () => {
  const input = {
    type: 'ItemAdded',
    data: { sku: '85123A', quantity: 6 },
    tags: ['sale', 'sale', 'é'],
    metadata: { source: 'shop', __proto__x: '1' },
    timestamp: time - 5,
  }
  assert.deepEqual(roundTrip(input), {
    stream: 'carts-1',
    version: 3,
    offset: 0,
    partition: 2,
    timestamp: '2011-05-31T23:59:59.995Z',
    type: 'ItemAdded',
    id: idText,
    tags: ['sale', 'sale', 'é'],
    data: { sku: '85123A', quantity: 6 },
    metadata: { source: 'shop', __proto__x: '1' },
  })
})

test('event: the record is laid out as documented (key, JSON value, headers type, id as 16 bytes, tag, metadata; no content-type)', () => {
  const record = encodeEvent('carts-1', { type: 'T', data: [1], tags: ['a', 'b'], metadata: { m: 'x' } }, defaults)
  assert.deepEqual(record, {
    key: 'carts-1',
    value: '[1]',
    headers: [
      { key: 'type', value: 'T' },
      { key: 'id', value: id },
      { key: 'tag', value: 'a' },
      { key: 'tag', value: 'b' },
      { key: 'm', value: 'x' },
    ],
    timestamp: time,
  })
})

test('event: any JSON data comes back', () => {
  fc.assert(
    fc.property(fc.json(), (json) => {
      const data: unknown = JSON.parse(json)
      assert.deepEqual(roundTrip({ type: 'T', data }).data, data)
    }),
  )
})

test('event: no data is JSON null, never a record without a value', () => {
  for (const input of [{ type: 'T' }, { type: 'T', data: undefined }, { type: 'T', data: null }]) {
    assert.equal(encodeEvent('s', input, defaults).value, 'null')
    assert.equal(roundTrip(input).data, null)
  }
})

test('event: bytes are application/octet-stream, text of another type is kept, both read as base64', () => {
  const bytes = new Uint8Array([0, 1, 255, 254])
  const event = roundTrip({ type: 'T', data: bytes.subarray(1) })
  assert.deepEqual([event.dataBase64, event.contentType, event.data], ['Af/+', 'application/octet-stream', null])
  const text = roundTrip({ type: 'T', data: '<a/>', contentType: 'text/xml' })
  assert.deepEqual([Buffer.from(text.dataBase64 ?? '', 'base64').toString(), text.contentType], ['<a/>', 'text/xml'])
})

test('event: JSON by another name is data, and remembers its name', () => {
  for (const contentType of ['application/cloudevents+json', 'application/json; charset=utf-8', 'Application/JSON']) {
    const event = roundTrip({ type: 'T', data: { a: 1 }, contentType })
    assert.deepEqual([event.data, event.dataBase64, event.contentType], [{ a: 1 }, undefined, contentType])
  }
})

test('event: JSON given as bytes is stored as it is', () => {
  const bytes = Buffer.from('{ "a" : 1.0 }')
  assert.equal(encodeEvent('s', { type: 'T', data: bytes, contentType: 'application/json' }, defaults).value, bytes)
  assert.throws(
    () => encodeEvent('s', { type: 'T', data: Buffer.from('{'), contentType: 'application/json' }, defaults),
    { code: 'invalidEvent' },
  )
})

test('event: the time is given as Date, ms, or text; an id as text', () => {
  for (const timestamp of [new Date(time + 1), time + 1, time + 1.9, '2011-06-01T00:00:00.001Z', String(time + 1)]) {
    assert.equal(encodeEvent('s', { type: 'T', timestamp }, defaults).timestamp, time + 1)
  }
  assert.equal(
    roundTrip({ type: 'T', id: '017F22E2-79B0-7CC3-98C4-DC0C0C07398F' }).id,
    '017f22e2-79b0-7cc3-98c4-dc0c0c07398f',
  )
})

const circular: unknown[] = []
circular.push(circular)
const invalid: readonly [string, EventInput][] = [
  ['an empty type', { type: '' }],
  ['a type of 257 bytes', { type: 'x'.repeat(257) }],
  ['no type', {} as EventInput],
  ['an id that is no UUID', { type: 'T', id: 'x' }],
  ['17 tags', { type: 'T', tags: Array.from({ length: 17 }, () => 't') }],
  ['an empty tag', { type: 'T', tags: [''] }],
  ['a tag of 257 bytes', { type: 'T', tags: ['x'.repeat(257)] }],
  ['metadata under a name of the event itself', { type: 'T', metadata: { type: 'U' } }],
  ['metadata named v', { type: 'T', metadata: { v: '1' } }],
  ['metadata without a name', { type: 'T', metadata: { '': 'x' } }],
  ['metadata that is a number', { type: 'T', metadata: { a: 1 as unknown as string } }],
  [
    '65 entries of metadata',
    { type: 'T', metadata: Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`m${index}`, ''])) },
  ],
  ['data that JSON cannot hold', { type: 'T', data: 1n }],
  ['circular data', { type: 'T', data: circular }],
  ['a function as data', { type: 'T', data: () => {} }],
  ['an object under a content type that is not JSON', { type: 'T', data: {}, contentType: 'text/plain' }],
  ['an empty content type', { type: 'T', data: 'x', contentType: '' }],
  ['an invalid Date', { type: 'T', timestamp: new Date('x') }],
  ['a time that is no time', { type: 'T', timestamp: 'yesterday' }],
  ['a time beyond all times', { type: 'T', timestamp: 1e17 }],
]
for (const [name, input] of invalid) {
  test(`event: ${name} is an invalidEvent`, () => {
    assert.throws(() => encodeEvent('s', input, defaults), { code: 'invalidEvent' })
  })
}

test('event: a bad stream name is an invalidStream', () => {
  for (const stream of ['', 'x'.repeat(1025)])
    assert.throws(() => encodeEvent(stream, { type: 'T' }, defaults), { code: 'invalidStream' })
})

test('event: a record that was not written as one shows what it has', () => {
  const bare = { offset: 9, timestamp: -1, key: null, value: null, headers: [] }
  assert.deepEqual(decodeEvent(bare, 0, null), {
    stream: null,
    version: null,
    offset: 9,
    partition: 0,
    timestamp: '1969-12-31T23:59:59.999Z',
    type: null,
    id: null,
    tags: [],
    data: null,
    metadata: {},
  })
  const odd = {
    offset: 9,
    timestamp: Number.MAX_SAFE_INTEGER,
    key: Buffer.from('k'),
    value: Buffer.from('not JSON'),
    headers: [
      { key: 'id', value: Buffer.from('short') },
      { key: 'tag', value: null },
      { key: 'type', value: null },
      { key: 'v', value: Buffer.from('7') },
      { key: '__proto__', value: Buffer.from('x') },
      { key: 'n', value: null },
    ],
  }
  const event = decodeEvent(odd, 0, 1)
  assert.deepEqual(
    [event.id, event.type, event.tags, event.data, event.dataBase64],
    [null, null, [''], null, Buffer.from('not JSON').toString('base64')],
  )
  assert.deepEqual(Object.entries(event.metadata), [
    ['__proto__', 'x'],
    ['n', ''],
  ])
})

test('event: JSON nested more than 1,000 deep is refused, and shown as bytes where a record has it', () => {
  const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)
  const append = (data: unknown) => encodeEvent('s', { type: 'A', data }, defaults)
  assert.doesNotThrow(() => append(JSON.parse(nested(1_000))))
  assert.throws(() => append(JSON.parse(nested(1_001))), { code: 'invalidEvent', message: /1000 deep/ })
  const bytes = { type: 'A', data: Buffer.from(nested(100_000)), contentType: 'application/json' }
  assert.throws(() => encodeEvent('s', bytes, defaults), { code: 'invalidEvent' })
  // Brackets in text, and after an escaped quote in it, are no levels.
  const brackets = { text: `"${'['.repeat(5_000)}\\"` }
  assert.deepEqual(roundTrip({ type: 'A', data: brackets }).data, brackets)

  const deep = { key: 's', value: nested(100_000), timestamp: time }
  const event = decodeEvent(stored(deep), 0, null)
  assert.deepEqual([event.data, Buffer.from(event.dataBase64 ?? '', 'base64').toString()], [null, deep.value])
  assert.ok(eventLine(event).includes('"contentType":"application/json"'))
})

test('event: one line of JSON, keys in the documented order, data or dataBase64', () => {
  const line = eventLine(roundTrip({ type: 'T', data: 'line\nbreak' }))
  assert.equal(
    line,
    `{"stream":"carts-1","version":3,"offset":0,"partition":2,"timestamp":"2011-06-01T00:00:00.000Z","type":"T","id":"${idText}","tags":[],"data":"line\\nbreak","metadata":{}}`,
  )
  const binary = Object.keys(JSON.parse(eventLine(roundTrip({ type: 'T', data: Buffer.from('x') }))) as object)
  assert.deepEqual(binary, [
    'stream',
    'version',
    'offset',
    'partition',
    'timestamp',
    'type',
    'id',
    'tags',
    'dataBase64',
    'contentType',
    'metadata',
  ])
})
