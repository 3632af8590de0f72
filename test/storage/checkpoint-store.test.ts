/** CheckpointStore: one suite that every implementation passes, and what LMDB adds: markers, wiping, checksums, full disks. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { spawn, spawnSync } from 'node:child_process'
import { readFile, truncate, writeFile } from 'node:fs/promises'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { nodeFileSystem } from '../../platform/node-file-system.ts'
import { isPlayheadError } from '../../protocol/errors.ts'
import { afterPrefix, type CheckpointStore, checkpointKeyBytesMax } from '../../storage/checkpoint-store.ts'
import { LmdbCheckpointStore } from '../../storage/lmdb-checkpoint-store.ts'
import { MemoryCheckpointStore } from '../../storage/memory-checkpoint-store.ts'
import { writeSmallFile } from '../../storage/small-file.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'

const text = (value: Buffer | undefined) => value?.toString()
const put = (key: string, value: string | null) => ({
  key: Buffer.from(key),
  value: value === null ? null : Buffer.from(value),
})
const keysOf = (entries: readonly { key: Buffer }[]) => entries.map(({ key }) => key.toString())

function openLmdb(directory: string, reports: string[] = []): Promise<LmdbCheckpointStore> {
  return LmdbCheckpointStore.open({
    directory,
    fileSystem: nodeFileSystem,
    report: (_, message) => reports.push(message),
  })
}

const implementations: Record<string, (directory: string) => Promise<CheckpointStore>> = {
  memory: async () => new MemoryCheckpointStore(),
  lmdb: (directory) => openLmdb(`${directory}/cache`),
}

for (const [name, open] of Object.entries(implementations)) {
  const suite = (title: string, run: (store: CheckpointStore) => Promise<void>): void =>
    void test(`checkpoint store (${name}): ${title}`, async () => {
      await using directory = await TemporaryDirectory.make()
      const store = await open(directory.path)
      await run(store)
      await store.close()
      await store.close()
    })

  suite('a written value is there, a removed one is not', async (store) => {
    assert.equal(store.get(Buffer.from('a')), undefined)
    await store.write([put('a', '1'), put('b', ''), put('c', '3')])
    assert.equal(text(store.get(Buffer.from('a'))), '1')
    assert.equal(text(store.get(Buffer.from('b'))), '')
    await store.write([put('a', null), put('c', '4'), put('nobody', null)])
    assert.equal(store.get(Buffer.from('a')), undefined)
    assert.equal(text(store.get(Buffer.from('c'))), '4')
  })

  suite('puts of one write take effect in order, writes in the order of the calls', async (store) => {
    await store.write([put('a', '1'), put('a', null), put('a', '2'), put('b', '1'), put('b', null)])
    assert.equal(text(store.get(Buffer.from('a'))), '2')
    assert.equal(store.get(Buffer.from('b')), undefined)
    await Promise.all(['3', '4', '5'].map((value) => store.write([put('a', value)])))
    assert.equal(text(store.get(Buffer.from('a'))), '5')
  })

  suite('a write is visible as soon as it resolves, also to a reader of the same turn', async (store) => {
    for (let value = 0; value < 200; value++) {
      store.get(Buffer.from('a'))
      await store.write([put('a', String(value))])
      assert.equal(text(store.get(Buffer.from('a'))), String(value))
    }
  })

  suite('ranges: from is in, to is out, limited, both directions, byte order', async (store) => {
    const high = Buffer.from([0xff, 1])
    const keys = ['a', 'a\0', 'ab', 'b', 'é', '\u{1f600}']
    await store.write([
      ...keys.toReversed().map((key) => put(key, `of ${key}`)),
      { key: high, value: Buffer.from('x') },
    ])
    const [from, to] = [Buffer.from('a'), Buffer.from('b')]
    assert.deepEqual(keysOf(store.range(from, to, { limit: 10 })), ['a', 'a\0', 'ab'])
    assert.deepEqual(keysOf(store.range(from, to, { limit: 10, direction: 'backwards' })), ['ab', 'a\0', 'a'])
    assert.deepEqual(keysOf(store.range(from, to, { limit: 2 })), ['a', 'a\0'])
    assert.deepEqual(keysOf(store.range(from, to, { limit: 1, direction: 'backwards' })), ['ab'])
    assert.deepEqual(keysOf(store.range(from, Buffer.from([0xff]), { limit: 10 })), keys)
    assert.deepEqual(
      store
        .range(from, Buffer.from([0xff, 2]), { limit: 9 })
        .at(-1)
        ?.value.toString(),
      'x',
    )
    assert.deepEqual(store.range(to, from, { limit: 9 }), [])
    assert.deepEqual(store.range(from, to, { limit: 0 }), [])
    assert.deepEqual(store.range(Buffer.from('x'), Buffer.from('y'), { limit: 9 }), [])
  })

  suite('keys of every length up to the limit, values of none to 100,000 bytes', async (store) => {
    const keys = [1, 2, 511, 1055, checkpointKeyBytesMax].map((length) => Buffer.alloc(length, 7))
    await store.write(keys.map((key) => ({ key, value: Buffer.alloc(key.length * 50, 9) })))
    for (const key of keys) assert.equal(store.get(key)?.length, key.length * 50)
    await store.prefetch([...keys, Buffer.from('nobody')])
  })

  suite('removeRange takes the range and nothing else', async (store) => {
    const puts = Array.from({ length: 5000 }, (_, place) => put(`k${String(place).padStart(5, '0')}`, 'x'))
    await store.write([put('j', '1'), ...puts, put('l', '2')])
    await store.removeRange(Buffer.from('k'), Buffer.from('k04000'))
    assert.deepEqual(keysOf(store.range(Buffer.from('j'), Buffer.from('k04001'), { limit: 9 })), ['j', 'k04000'])
    await store.removeRange(Buffer.from('k'), afterPrefix(Buffer.from('k')))
    assert.deepEqual(keysOf(store.range(Buffer.from('a'), Buffer.from('z'), { limit: 9 })), ['j', 'l'])
  })
}

test('afterPrefix: the key after all that begin with the prefix, 0xff at its end or not', () => {
  assert.deepEqual([...afterPrefix(Buffer.from([1, 2]))], [1, 3])
  assert.deepEqual([...afterPrefix(Buffer.from([1, 0xff, 0xff]))], [2])
})

test('lmdb: values are there after closing and opening, without a report', async () => {
  await using directory = await TemporaryDirectory.make()
  const reports: string[] = []
  const first = await openLmdb(directory.path, reports)
  await first.write([put('a', '1')])
  await first.close()
  const second = await openLmdb(directory.path, reports)
  assert.equal(text(second.get(Buffer.from('a'))), '1')
  await second.close()
  assert.deepEqual(reports, [])
})

test('lmdb: a value changed behind its back reads as absent and is counted, alone and in ranges', async () => {
  await using directory = await TemporaryDirectory.make()
  const first = await openLmdb(directory.path)
  await first.write([put('a', '1'), put('b', 'a value to be found and changed'), put('c', '3')])
  await first.close()
  const file = `${directory.path}/data.mdb`
  const bytes = await readFile(file)
  for (let at = bytes.indexOf('to be found'); at >= 0; at = bytes.indexOf('to be found', at + 1)) bytes[at]! ^= 1
  await writeFile(file, bytes)
  const second = await openLmdb(directory.path)
  assert.equal(second.get(Buffer.from('b')), undefined)
  assert.equal(second.stats.badValues, 1)
  assert.deepEqual(keysOf(second.range(Buffer.from('a'), Buffer.from('z'), { limit: 9 })), ['a', 'c'])
  assert.equal(second.stats.badValues, 2)
  await second.removeRange(Buffer.from('a'), Buffer.from('z'))
  assert.deepEqual(second.range(Buffer.from('a'), Buffer.from('z'), { limit: 9 }), [])
  assert.equal(second.stats.badValues, 2)
  await second.close()
})

test('lmdb: a tree that leads to a page that is none: reads as absent, counted; named, and wiped at the next start', async () => {
  await using directory = await TemporaryDirectory.make()
  const first = await openLmdb(directory.path)
  await first.write(Array.from({ length: 500 }, (_, place) => put(`k${place}`, 'x'.repeat(100))))
  await first.close()
  const file = `${directory.path}/data.mdb`
  const bytes = await readFile(file)
  for (const page of [0, 4096]) bytes.writeBigUInt64LE(2n ** 40n, page + 136) // the root of the tree, in both meta pages
  await writeFile(file, bytes)
  const reports: string[] = []
  const second = await openLmdb(directory.path, reports)
  assert.equal(second.get(Buffer.from('k1')), undefined)
  assert.deepEqual(second.range(Buffer.from('k'), Buffer.from('l'), { limit: 9 }), [])
  assert.equal(second.stats.badValues, 2)
  await assert.rejects(second.write([put('k1', '1')]), (error) => isPlayheadError(error, 'storageFailed'))
  await assert.rejects(second.removeRange(Buffer.from('k'), Buffer.from('l')), (error) =>
    isPlayheadError(error, 'storageFailed'),
  )
  await second.close()
  assert.match(reports.join(), /found what was not written so; it is wiped at the next start/)
  assert.equal(reports.length, 1)
  const third = await openLmdb(directory.path, reports)
  assert.match(reports.at(-1)!, /wiped, it is rebuilt/)
  await third.write([put('k1', '1')])
  await third.close()
  const fourth = await openLmdb(directory.path, reports)
  assert.equal(text(fourth.get(Buffer.from('k1'))), '1')
  await fourth.close()
  assert.equal(reports.length, 2)
})

const markers: Record<string, Record<string, string | number>> = {
  'an opening that never ended': { format: 3, state: 'opening', fruitlessRuns: 0 },
  'ten runs that ended before their first write': { format: 3, state: 'running', fruitlessRuns: 10 },
  'an older format': { format: 0, state: 'closed', fruitlessRuns: 0 },
  'a newer format': { format: 4, state: 'closed', fruitlessRuns: 0 },
  'a state that nobody writes': { format: 3, state: 'asleep', fruitlessRuns: 0 },
}
for (const [what, marker] of Object.entries(markers)) {
  test(`lmdb: wiped and reported after ${what}`, async () => {
    await using directory = await TemporaryDirectory.make()
    const first = await openLmdb(directory.path)
    await first.write([put('a', '1')])
    await first.close()
    await writeSmallFile(nodeFileSystem, `${directory.path}/marker.json`, marker)
    const reports: string[] = []
    const second = await openLmdb(directory.path, reports)
    assert.equal(second.get(Buffer.from('a')), undefined)
    await second.write([put('a', '2')])
    assert.equal(text(second.get(Buffer.from('a'))), '2')
    await second.close()
    assert.equal(reports.length, 1)
    assert.match(reports[0]!, /wiped/)
  })
}

test('lmdb: a run that is killed after a write leaves a cache that is used again; two before one do too', async () => {
  await using directory = await TemporaryDirectory.make()
  const seed = await openLmdb(directory.path)
  await seed.write([put('a', '1')])
  await seed.close()
  const marker = async () =>
    JSON.parse(await readFile(`${directory.path}/marker.json`, 'utf8')) as { fruitlessRuns: number }
  // A killed run writes nothing more, so its marker is the one of the moment: we take it before the store closes, and put it back.
  for (const fruitlessRuns of [1, 2]) {
    const store = await openLmdb(directory.path)
    const killed = await readFile(`${directory.path}/marker.json`)
    assert.equal((await marker()).fruitlessRuns, fruitlessRuns)
    await store.close()
    await writeFile(`${directory.path}/marker.json`, killed)
  }
  const reports: string[] = []
  const store = await openLmdb(directory.path, reports)
  assert.equal(text(store.get(Buffer.from('a'))), '1')
  await store.write([put('b', '2')])
  assert.equal((await marker()).fruitlessRuns, 0)
  await store.close()
  assert.deepEqual(reports, [])
})

const damages: Record<string, (file: string) => Promise<void>> = {
  'a data file of other bytes': (file) => writeFile(file, Buffer.alloc(100_000, 'garbage ')),
  'a data file cut to one page': (file) => truncate(file, 4096),
  'a data file cut in the middle': (file) => truncate(file, 2 * 1024 * 1024),
  'an empty marker': (file) => writeFile(file.replace('data.mdb', 'marker.json'), ''),
}
for (const [what, damage] of Object.entries(damages)) {
  test(`lmdb: wiped and reported with ${what}`, async () => {
    await using directory = await TemporaryDirectory.make()
    const first = await openLmdb(directory.path)
    await first.write(
      Array.from({ length: 2000 }, (_, place) => ({ key: Buffer.from(`k${place}`), value: Buffer.alloc(2000) })),
    )
    await first.close()
    await damage(`${directory.path}/data.mdb`)
    const reports: string[] = []
    const second = await openLmdb(directory.path, reports)
    assert.equal(second.get(Buffer.from('k1')), undefined)
    assert.equal(reports.length, 1)
    await second.close()
  })
}

test('lmdb: a write that finds no room rejects with storageFailed, and the process lives; what spoilt its memory is fatal', async () => {
  // The limit on file sizes stands in for a full disk: both fail the writes of pages at commit.
  const script = fileURLToPath(new URL('./fill-cache.ts', import.meta.url))
  // LMDB tells of the larger write in more bytes than it has for that; one that is cut short it takes for a disk that fails.
  for (const { fileKilobytes, valueBytes, fatal } of [
    { fileKilobytes: 12, valueBytes: 3_000, fatal: 0 },
    { fileKilobytes: 12, valueBytes: 200_000, fatal: 1 },
    { fileKilobytes: 3_000, valueBytes: 200_000, fatal: 1 },
  ]) {
    await using directory = await TemporaryDirectory.make()
    const command = `ulimit -f ${fileKilobytes}; exec "${process.execPath}" "${script}" "${directory.path}" ${valueBytes}`
    const run = spawnSync('/bin/bash', ['-c', command], { encoding: 'utf8' })
    assert.equal(run.status, 0, run.stderr)
    assert.deepEqual(JSON.parse(run.stdout), { code: 'storageFailed', kept: '1', lost: false, failed: 1, fatal })
  }
})

test('lmdb: killed in the middle of writing, it has all of each write that was answered and half of none (5 times)', async () => {
  await using directory = await TemporaryDirectory.make()
  const script = fileURLToPath(new URL('./churn-cache.ts', import.meta.url))
  for (let round = 0; round < 5; round++) {
    const child = spawn(process.execPath, [script, directory.path], { stdio: ['ignore', 'pipe', 'inherit'] })
    let said = ''
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      said += chunk
      if (said.split('\n').length > 20 + round * 7) child.kill('SIGKILL')
    })
    await once(child, 'close')
    const answered = Number(said.trimEnd().split('\n').at(-1))
    const reports: string[] = []
    const store = await openLmdb(directory.path, reports)
    const [first, last] = ['a', 'z'].map((key) => text(store.get(Buffer.from(key)))?.split(' ')[0])
    assert.equal(first, last)
    assert(Number(first) >= answered, `found ${first}, wanted at least ${answered}`)
    assert.equal(store.stats.badValues, 0)
    assert.deepEqual(reports, [])
    await store.close()
  }
})
