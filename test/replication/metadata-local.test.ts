import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { sleep, systemClock } from '../../platform/clock.ts'
import type { FileSystem } from '../../platform/file-system.ts'
import { nodeFileSystem } from '../../platform/node-file-system.ts'
import { systemRandom } from '../../platform/random.ts'
import { LocalMetadataStore } from '../../replication/local-metadata-store.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { conformance } from './metadata-conformance.ts'

function open(directory: string, fileSystem: FileSystem = nodeFileSystem): Promise<LocalMetadataStore> {
  return LocalMetadataStore.open({
    path: join(directory, 'metadata.json'),
    fileSystem,
    clock: systemClock,
    random: systemRandom,
  })
}

for (const [what, run] of Object.entries(conformance)) {
  test(`local metadata store: ${what}`, async () => {
    await using directory = await TemporaryDirectory.make()
    const store = await open(directory.path)
    await using under = {
      store,
      ttlMs: 300,
      waitMs: (ms: number) => sleep(systemClock, ms),
      [Symbol.asyncDispose]: () => store.close(),
    }
    await run(under)
  })
}

const put = (key: string, value: string, leaseId?: string) => ({
  compares: [],
  changes: [{ kind: 'put', key, value, ...(leaseId !== undefined && { leaseId }) } as const],
})

test('local metadata store: opened again it has the same id, revisions and values; keys with a lease are gone with their process', async () => {
  await using directory = await TemporaryDirectory.make()
  const first = await open(directory.path)
  const { leaseId } = await first.grantLease(60_000)
  await first.transact(put('/a', '1'))
  await first.transact(put('/session', '1', leaseId))
  const before = await first.range('')
  await first.close()
  const second = await open(directory.path)
  const after = await second.range('')
  assert.equal(after.storeId, before.storeId)
  assert.deepEqual(
    after.entries,
    before.entries.filter(({ key }) => key === '/a'),
  )
  assert.ok(after.revision > before.revision)
  await second.close()
  const third = await open(directory.path)
  assert.equal((await third.get('/a')).revision, after.revision)
  await third.close()
})

test('local metadata store: a write that the disk refuses is answered as unknown, and nothing is read before it is durable', async () => {
  await using directory = await TemporaryDirectory.make()
  let isBroken = false
  const rename: FileSystem['rename'] = async (from, to) => {
    if (isBroken) throw Object.assign(new Error('EIO: i/o error, rename'), { code: 'EIO' })
    await nodeFileSystem.rename(from, to)
  }
  const store = await open(directory.path, { ...nodeFileSystem, rename })
  await store.transact(put('/a', '1'))
  isBroken = true
  const result = await store.transact(put('/a', '2'))
  assert.equal(result.outcome, 'unknown')
  assert.match('reason' in result ? result.reason : '', /metadata\.json: found .*EIO/)
  await assert.rejects(store.get('/a'), { code: 'unavailable' })
  isBroken = false
  assert.equal((await store.get('/a')).entry?.value, '2')
  await store.close()
  const again = await open(directory.path)
  assert.equal((await again.get('/a')).entry?.value, '2')
  await again.close()
})

test('local metadata store: what arrives while a file is written goes into the next one together (100 transactions)', async () => {
  await using directory = await TemporaryDirectory.make()
  let renames = 0
  const rename: FileSystem['rename'] = (from, to) => {
    renames++
    return nodeFileSystem.rename(from, to)
  }
  const store = await open(directory.path, { ...nodeFileSystem, rename })
  await Promise.all(Array.from({ length: 100 }, (_, number) => store.transact(put(`/${number}`, 'x'))))
  assert.ok(renames <= 2, `${renames} files`)
  assert.equal((await store.range('')).entries.length, 100)
  await store.close()
})

test('local metadata store: a file that is damaged, or of a newer format, is refused by name', async () => {
  await using directory = await TemporaryDirectory.make()
  const path = join(directory.path, 'metadata.json')
  const store = await open(directory.path)
  await store.transact(put('/a', '1'))
  await store.close()
  const file = await nodeFileSystem.open(path, 'write')
  await file.write([Buffer.from('!')], 5)
  await file.close()
  await assert.rejects(open(directory.path), { code: 'damagedData', message: /metadata\.json/ })
})
