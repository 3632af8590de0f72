/** The one conformance suite of view stores: whatever holds views must pass it. What only one store promises stands below it. */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { lmdbViewStore } from '../../processing/lmdb-view-store.ts'
import { memoryViewStore } from '../../processing/memory-view-store.ts'
import { viewStoreKeyBytesMax } from '../../processing/view-store.ts'
import type { ViewStore } from '../../processing/view-store.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'

const bytes = (text: string): Buffer => Buffer.from(text)
const put = (store: ViewStore, ...keys: string[]): Promise<void> =>
  store.transaction((transaction) => {
    for (const key of keys) transaction.put(bytes(key), bytes(`value of ${key}`))
  })
const keysOf = (store: ViewStore, from: string, before: string, limit = 1_000): string[] =>
  store.range(bytes(from), bytes(before), limit).map(([key]) => key.toString())

const stores: Record<string, (directory: string) => ViewStore> = {
  memory: () => memoryViewStore(),
  lmdb: lmdbViewStore,
}

for (const [name, open] of Object.entries(stores)) {
  const conforms = (what: string, check: (store: ViewStore) => Promise<void>): void => {
    test(`view store (${name}): ${what}`, async () => {
      await using directory = await TemporaryDirectory.make()
      await using store = open(join(directory.path, 'views.v1')) // a dot in the name must not make it a file
      await check(store)
    })
  }

  conforms('answers what was put, and undefined for what was not', async (store) => {
    await put(store, 'a')
    assert.equal(store.get(bytes('a'))?.toString(), 'value of a')
    assert.equal(store.get(bytes('b')), undefined)
  })

  conforms('a transaction that throws changes nothing, and its error comes out', async (store) => {
    await put(store, 'kept', 'removed')
    const failure = new Error('in the middle')
    await assert.rejects(
      store.transaction((transaction) => {
        transaction.put(bytes('kept'), bytes('overwritten'))
        transaction.put(bytes('added'), bytes('added'))
        transaction.remove(bytes('removed'))
        throw failure
      }),
      (error) => error === failure,
    )
    assert.equal(store.get(bytes('kept'))?.toString(), 'value of kept')
    assert.deepEqual(keysOf(store, 'a', 'z'), ['kept', 'removed'])
  })

  conforms('a transaction sees its own puts and removals, and answers what its function answers', async (store) => {
    await put(store, 'a', 'b')
    const seen = await store.transaction((transaction) => {
      transaction.put(bytes('a'), bytes('new'))
      transaction.remove(bytes('b'))
      return [transaction.get(bytes('a'))?.toString(), transaction.get(bytes('b')), transaction.get(bytes('c'))]
    })
    assert.deepEqual(seen, ['new', undefined, undefined])
    assert.equal(store.get(bytes('b')), undefined)
  })

  conforms('transactions run one after the other (100 at once, each adds one to what it read)', async (store) => {
    const key = bytes('count')
    const addOne = (): Promise<void> =>
      store.transaction((transaction) => {
        const count = Number(transaction.get(key)?.toString() ?? '0')
        transaction.put(key, bytes(String(count + 1)))
      })
    await Promise.all(Array.from({ length: 100 }, addOne))
    assert.equal(store.get(key)?.toString(), '100')
  })

  conforms('a range is in byte order, holds its first key and not its last, and stops at the limit', async (store) => {
    await put(store, 'b', 'a', 'é', 'c', 'B', 'ab')
    assert.deepEqual(keysOf(store, 'a', 'c'), ['a', 'ab', 'b'])
    assert.deepEqual(keysOf(store, 'A', '\u{10ffff}'), ['B', 'a', 'ab', 'b', 'c', 'é'])
    assert.deepEqual(keysOf(store, 'A', '\u{10ffff}', 2), ['B', 'a'])
    assert.deepEqual(keysOf(store, 'd', 'e'), [])
    await put(store, 'aa')
    await store.transaction((transaction) => transaction.remove(bytes('b')))
    assert.deepEqual(keysOf(store, 'a', 'c'), ['a', 'aa', 'ab'])
  })

  conforms('keys may hold any bytes, zero and 255 among them', async (store) => {
    const keys = [Buffer.of(1), Buffer.of(1, 0), Buffer.of(1, 0, 0), Buffer.of(1, 1), Buffer.of(1, 255), Buffer.of(2)]
    await store.transaction((transaction) => {
      for (const key of keys.toReversed()) transaction.put(key, Buffer.from(key))
    })
    const found = store.range(Buffer.of(1), Buffer.of(3), 100)
    assert.deepEqual(
      found.map(([key]) => key.toString('hex')),
      keys.map((key) => key.toString('hex')),
    )
    assert.ok(found.every(([key, value]) => key.equals(value)))
  })

  conforms('takes a key of the longest length and a value of a megabyte', async (store) => {
    const key = Buffer.alloc(viewStoreKeyBytesMax, 'k')
    const value = Buffer.alloc(1_048_576, 'v')
    await store.transaction((transaction) => transaction.put(key, value))
    assert.ok(store.get(key)?.equals(value))
  })

  conforms('bytes that went in or came out may be changed without changing what is stored', async (store) => {
    const value = bytes('before')
    await store.transaction((transaction) => transaction.put(bytes('a'), value))
    value.fill('x')
    store.get(bytes('a'))?.fill('y')
    store.range(bytes('a'), bytes('b'), 1)[0]?.[1].fill('z')
    assert.equal(store.get(bytes('a'))?.toString(), 'before')
  })

  conforms('after it was closed, twice, every call says closed', async (store) => {
    await put(store, 'a')
    await store[Symbol.asyncDispose]()
    await store[Symbol.asyncDispose]()
    const closed = { name: 'PlayheadError', code: 'closed' }
    assert.throws(() => store.get(bytes('a')), closed)
    assert.throws(() => store.range(bytes('a'), bytes('b'), 1), closed)
    await assert.rejects(
      store.transaction(() => {}),
      closed,
    )
  })
}

test('view store (lmdb): what was committed is there when it is opened again', async () => {
  await using directory = await TemporaryDirectory.make()
  {
    await using store = lmdbViewStore(directory.path)
    await put(store, 'a', 'b')
  }
  await using again = lmdbViewStore(directory.path)
  assert.deepEqual(keysOf(again, 'a', 'z'), ['a', 'b'])
})

test('view store (lmdb): two stores of one directory see each other, and closing one leaves the other open', async () => {
  await using directory = await TemporaryDirectory.make()
  await using first = lmdbViewStore(directory.path)
  const second = lmdbViewStore(directory.path)
  await put(first, 'a')
  await put(second, 'b')
  assert.deepEqual(keysOf(first, 'a', 'z'), ['a', 'b'])
  await second[Symbol.asyncDispose]()
  await put(first, 'c')
  assert.deepEqual(keysOf(first, 'a', 'z'), ['a', 'b', 'c'])
})

test('view store (lmdb): a file in place of the directory, and garbage in place of the data, are refused by name', async () => {
  await using directory = await TemporaryDirectory.make()
  const file = join(directory.path, 'file')
  writeFileSync(file, 'no directory')
  assert.throws(() => lmdbViewStore(file), { code: 'damagedData', message: /file/ })
  writeFileSync(join(directory.path, 'data.mdb'), Buffer.alloc(64 * 1024, 'garbage'))
  assert.throws(() => lmdbViewStore(directory.path), { code: 'damagedData', message: /delete the directory/ })
})
