import assert from 'node:assert/strict'
import { test } from 'node:test'
import { crc32 } from 'node:zlib'
import { memoryViewStore } from '../../processing/memory-view-store.ts'
import { ViewTables } from '../../processing/view-tables.ts'
import type { VersionRecord } from '../../processing/view-tables.ts'

interface Step {
  version: number
  from?: VersionRecord
  offsets?: number[]
  topicId?: string
  states?: Record<string, unknown>
  live?: 'stay' | 'swap'
}

function commit(tables: ViewTables, step: Step): ReturnType<ViewTables['commit']> {
  const { version, from, offsets = [0], topicId = 'topic-1', states = {}, live = 'stay' } = step
  const to = { topic: 'carts', topicId, offsets, events: 0 }
  return tables.commit({ version, from, to, states: new Map(Object.entries(states)), live })
}

test('view tables: states come back as what they were (numbers, dates, maps, sets, nested, undefined fields)', async () => {
  const tables = new ViewTables(memoryViewStore(), 'all-kinds')
  const states = {
    number: 974_774_793,
    large: Number.MAX_SAFE_INTEGER,
    fraction: 0.1,
    bigint: 12_345_678_901_234_567_890n,
    text: 'Zürich',
    nothing: null,
    date: new Date('2011-06-01T00:00:00Z'),
    map: new Map([['a', { b: [1, 2] }]]),
    set: new Set(['a', 'b']),
    nested: { list: [{ sku: '85123A', quantity: 6 }], missing: undefined },
    bytes: new Uint8Array([1, 2, 3]),
  }
  await commit(tables, { version: 1, states })
  for (const [key, state] of Object.entries(states)) assert.deepEqual(tables.state(1, key), state, key)
  assert.equal(tables.state(1, 'unknown'), undefined)
  assert.equal(tables.state(2, 'number'), undefined)
})

test('view tables: two views and two versions of one store do not see each other', async () => {
  const store = memoryViewStore()
  const names = ['a', 'ab', 'a\u0000', 'b']
  for (const [index, name] of names.entries()) {
    const tables = new ViewTables(store, name)
    await commit(tables, { version: 1, states: { '': `${name} 1`, x: index }, live: 'swap' })
    await commit(tables, { version: 2, states: { '': `${name} 2` } })
  }
  for (const [index, name] of names.entries()) {
    const tables = new ViewTables(store, name)
    assert.deepEqual(tables.states(1, undefined, 10), [
      ['', `${name} 1`],
      ['x', index],
    ])
    assert.deepEqual(tables.states(2, undefined, 10), [['', `${name} 2`]])
    assert.equal(tables.live(), 1)
  }
})

test('view tables: pages of states go on after the last key, also when one key begins another', async () => {
  const tables = new ViewTables(memoryViewStore(), 'pages')
  const keys = ['', 'a', 'a\u0000', 'aa', 'b', 'é']
  await commit(tables, { version: 1, states: Object.fromEntries(keys.map((key) => [key, key])) })
  const seen: string[] = []
  for (let after: string | undefined; ; after = seen.at(-1)) {
    const page = tables.states(1, after, 2)
    if (page.length === 0) break
    seen.push(...page.map(([key]) => key))
  }
  assert.deepEqual(seen, keys)
})

test('view tables: of two that go on from the same revision, one is refused and changes nothing', async () => {
  const tables = new ViewTables(memoryViewStore(), 'race')
  const { record } = await commit(tables, { version: 1, states: { count: 1 } })
  await commit(tables, { version: 1, from: record, states: { count: 2 }, offsets: [2] })
  const late = commit(tables, { version: 1, from: record, states: { count: 3 }, offsets: [3], live: 'swap' })
  await assert.rejects(late, { code: 'viewInUse' })
  await assert.rejects(commit(tables, { version: 1, states: { count: 3 } }), { code: 'viewInUse' })
  assert.equal(tables.state(1, 'count'), 2)
  assert.deepEqual(tables.record(1)?.offsets, [2])
  assert.equal(tables.live(), undefined)
})

test('view tables: a version does not take over from one that has seen more of the same topic', async () => {
  const tables = new ViewTables(memoryViewStore(), 'swap')
  await commit(tables, { version: 1, offsets: [5, 7], live: 'swap' })
  const behind = await commit(tables, { version: 2, offsets: [9, 6], live: 'swap' })
  assert.equal(behind.live, 1)
  assert.deepEqual(tables.record(2)?.offsets, [9, 6], 'its work is kept all the same')
  const ahead = await commit(tables, { version: 2, from: behind.record, offsets: [9, 7], live: 'swap' })
  assert.equal(ahead.live, 2)
})

test('view tables: a version of another topic takes over without comparing offsets', async () => {
  const tables = new ViewTables(memoryViewStore(), 'moved')
  await commit(tables, { version: 1, offsets: [500], live: 'swap' })
  assert.equal((await commit(tables, { version: 2, offsets: [1], topicId: 'topic-2', live: 'swap' })).live, 2)
})

test('view tables: after version 2 took over, version 1 cannot commit, and its state goes with dropBefore', async () => {
  const tables = new ViewTables(memoryViewStore(), 'old')
  const states = Object.fromEntries(Array.from({ length: 2_500 }, (_, index) => [`key-${index}`, index]))
  const first = await commit(tables, { version: 1, states, live: 'swap' })
  await commit(tables, { version: 2, states: { kept: 'yes' }, live: 'swap' })
  await commit(tables, { version: 3, states: { begun: 'yes' } })
  const late = commit(tables, { version: 1, from: first.record, states: { 'key-1': -1 } })
  await assert.rejects(late, { code: 'viewSuperseded', message: /version 3/ })
  await tables.dropBefore(2)
  assert.deepEqual(tables.states(1, undefined, 10), [])
  assert.equal(tables.record(1), undefined)
  assert.equal(tables.state(2, 'kept'), 'yes')
  assert.equal(tables.state(3, 'begun'), 'yes', 'a version that is being derived stays')
})

test('view tables: one changed bit of a value is told as damage, not answered', async () => {
  const store = memoryViewStore()
  const tables = new ViewTables(store, 'damage')
  await commit(tables, { version: 1, states: { key: { pence: 818_780_636 } } })
  const entries = store.range(Buffer.alloc(0), Buffer.alloc(8, 0xff), 100)
  const [key, value] = entries.at(-1) ?? [Buffer.alloc(0), Buffer.alloc(0)]
  for (let at = 0; at < value.length; at++) {
    const damaged = Buffer.from(value)
    damaged.writeUInt8(damaged.readUInt8(at) ^ 0x10, at)
    await store.transaction((transaction) => transaction.put(key, damaged))
    assert.throws(() => tables.state(1, 'key'), { code: 'damagedData' }, `byte ${at}`)
  }
})

test('view tables: a value that was moved to another key is damage too', async () => {
  const store = memoryViewStore()
  const tables = new ViewTables(store, 'moved-value')
  await commit(tables, { version: 1, states: { a: 'of a', b: 'of b' } })
  const [[keyOfA], [, valueOfB]] = store.range(Buffer.of(3), Buffer.of(4), 2) as [[Buffer, Buffer], [Buffer, Buffer]]
  await store.transaction((transaction) => transaction.put(keyOfA, valueOfB))
  assert.throws(() => tables.state(1, 'a'), { code: 'damagedData' })
})

test('view tables: a store of a newer format is refused before anything is derived', async () => {
  const store = memoryViewStore()
  const tables = new ViewTables(store, 'format')
  tables.checkFormat()
  await commit(tables, { version: 1 })
  tables.checkFormat()
  const later = Buffer.from([2, ...crcOf(Buffer.of(0), Buffer.of(2))])
  await store.transaction((transaction) => transaction.put(Buffer.of(0), later))
  assert.throws(() => tables.checkFormat(), { code: 'unsupportedFormat', message: /format 2, wanted 1/ })
  await assert.rejects(commit(tables, { version: 2 }), { code: 'unsupportedFormat' })
})

function crcOf(key: Buffer, packed: Buffer): Buffer {
  const crc = Buffer.alloc(4)
  crc.writeUInt32LE(crc32(packed, crc32(key)))
  return crc
}
