/** KeyTable, its sorting and merging: against plain Maps and sorted lists, with keys that hash alike, are alike, and are not ASCII. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../platform/clock.ts'
import { murmur2 } from '../../protocol/murmur2.ts'
import { sortSlots } from '../../storage/key-sort.ts'
import { KeyTable, looksMax } from '../../storage/key-table.ts'
import { MergedStreams } from '../../storage/merged-streams.ts'
import { RecentPostings } from '../../storage/recent-postings.ts'
import { SeededRandom } from './seeded-random.ts'

const alphabets = [['a'], ['a', 'b', '\0'], ['0', '1', '2', '9'], ['é', '\u{1f600}', '\uffee', 'z', '\u0080']]

function nameFrom(random: SeededRandom): string {
  const alphabet = random.pick(alphabets)
  return (
    random.pick(['', 'customer-', 'x']) +
    Array.from({ length: 1 + random.below(12) }, () => random.pick(alphabet)).join('')
  )
}

test('key table: equals a Map, whether keys have their own hashes or few different ones', () => {
  const random = SeededRandom.fresh()
  for (const hashes of [2 ** 32, 7, 1]) {
    const [table, model] = [new KeyTable(), new Map<string, number>()]
    for (let step = 0; step < 3000; step++) {
      const name = nameFrom(random)
      const batch = Buffer.from(`before${name}behind`)
      const [from, to] = [6, batch.length - 6]
      const hash = (murmur2(batch, from, to) % hashes) | 0
      const known = model.get(name)
      assert.equal(table.find(batch, from, to, hash), known ?? -1, `seed ${random.seed}: ${name}`)
      if (known !== undefined) continue
      assert.equal(table.add(batch, from, to, hash), model.size)
      model.set(name, model.size)
    }
    assert.equal(table.size, model.size)
    for (const [name, slot] of model) {
      assert.equal(table.stream(slot), name)
      assert.equal(table.key(slot).toString(), name)
      if (hashes === 2 ** 32) assert.equal(table.findStream(name), slot, `seed ${random.seed}: ${name}`)
    }
  }
  assert.equal(new KeyTable().findStream('nobody'), -1)
})

test('key table: of 50,000 keys that hash alike few are looked through one by one', () => {
  const table = new KeyTable()
  const nameOf = (number: number) => Buffer.from(`é${number}`)
  for (let number = 0; number < 50_000; number++) {
    const key = nameOf(number)
    assert.equal(table.find(key, 0, key.length, 7), -1)
    assert.equal(table.add(key, 0, key.length, 7), number)
  }
  assert.equal(table.crowded, 50_000 - looksMax)
  for (let number = 0; number < 50_000; number += 7) {
    const key = nameOf(number)
    assert.equal(table.find(key, 0, key.length, 7), number)
  }
  const other = nameOf(5)
  assert.equal(table.find(other, 0, other.length, 8), -1, 'another hash, another key')
})

const byBytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b))

function tableOf(names: Iterable<string>): KeyTable {
  const table = new KeyTable()
  for (const name of names) {
    const key = Buffer.from(name)
    table.add(key, 0, key.length, murmur2(key))
  }
  return table
}

test('key sort: 0 to 20,000 names, alike in their first bytes or not, come in the order of their bytes', async () => {
  const random = SeededRandom.fresh()
  const long = (number: number) => `${'same-'.repeat(40)}${number % 977}/${number}`
  const lists = [
    [],
    ['one'],
    Array.from({ length: 300 }, () => nameFrom(random)),
    Array.from({ length: 9000 }, () => nameFrom(random)),
    Array.from({ length: 20_000 }, (_, number) => `customer-${(number * 7919) % 20_000}`),
    Array.from({ length: 6000 }, (_, number) => long(number)),
    Array.from({ length: 5000 }, (_, number) => 'a'.repeat(1 + (number % 1024)) + '\0'.repeat(number % 3)),
  ]
  for (const list of lists) {
    const names = [...new Set(list)]
    const table = tableOf(names)
    const sorted = [...(await sortSlots(table, systemClock))].map((slot) => table.stream(slot))
    assert.deepEqual(sorted, names.toSorted(byBytes), `seed ${random.seed}`)
  }
})

test('merged streams: every stream of three tables comes once, in order, with its part in each', async () => {
  const random = SeededRandom.fresh()
  const tables = [new RecentPostings(), new RecentPostings(), new RecentPostings(), new RecentPostings()]
  const model = new Map<string, number[][]>()
  let offset = 0
  for (const [place, table] of tables.slice(0, 3).entries()) {
    for (let step = 0; step < 2000; step++) {
      const name = nameFrom(random)
      table.addStream(name, ++offset)
      const parts = model.get(name) ?? [[], [], []]
      parts[place]!.push(offset)
      model.set(name, parts)
    }
  }
  const merged = await MergedStreams.of(tables, systemClock)
  const found = new Map<string, number[][]>()
  for (let parts = merged.next(); parts !== undefined; parts = merged.next()) {
    const offsets: number[][] = [[], [], []]
    for (const { table, slot } of parts) table.read(slot, 0, table.count(slot), offsets[tables.indexOf(table)]!)
    const { table, slot } = parts[0]!
    assert(!found.has(table.keys.stream(slot)))
    found.set(table.keys.stream(slot), offsets)
  }
  assert.deepEqual([...found.keys()], [...model.keys()].toSorted(byBytes), `seed ${random.seed}`)
  for (const [name, offsets] of found) assert.deepEqual(offsets, model.get(name), `seed ${random.seed}: ${name}`)
})

test('merged streams: of 300 tables, as small segments and failing saves leave them', async () => {
  const random = SeededRandom.fresh()
  const tables = Array.from({ length: 300 }, () => new RecentPostings())
  const model = new Map<string, number[]>()
  for (let offset = 0; offset < 9000; offset++) {
    const name = nameFrom(random)
    tables[Math.floor(offset / 30)]!.addStream(name, offset)
    model.set(name, [...(model.get(name) ?? []), offset])
  }
  const merged = await MergedStreams.of(tables, systemClock)
  const found: [string, number[]][] = []
  for (let parts = merged.next(); parts !== undefined; parts = merged.next()) {
    const offsets: number[] = []
    for (const { table, slot } of parts) table.read(slot, 0, table.count(slot), offsets)
    found.push([parts[0]!.table.keys.stream(parts[0]!.slot), offsets])
  }
  assert.deepEqual(
    found,
    [...model].toSorted(([a], [b]) => byBytes(a, b)),
    `seed ${random.seed}`,
  )
})
