/** Files the disk cannot read (EIO), and batches of a size that is not taken any more: the broker starts and serves what it has. */
import assert from 'node:assert/strict'
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { type File, type FileSystem, forwarding } from '../../platform/file-system.ts'
import { nodeFileSystem } from '../../platform/node-file-system.ts'
import { isPlayheadError } from '../../protocol/errors.ts'
import { encodeRecordBatch } from '../../protocol/record-batch.ts'
import { MemoryCheckpointStore } from '../../storage/memory-checkpoint-store.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { FaultyFileSystem } from './faulty-file-system.ts'
import { eventsOf, recordsOf } from './log-contents.ts'
import { append, sealed, StoreUnderTest } from './store-under-test.ts'

/** Any read that touches this byte of a file whose path ends so fails. */
function badSector(ending: string, position: number): FileSystem {
  const fileSystem = new FaultyFileSystem()
  fileSystem.open = async (path, mode) => {
    const file = await nodeFileSystem.open(path, mode)
    if (!path.endsWith(ending)) return file
    const read: File['read'] = async (target, at) => {
      if (at <= position && position < at + target.length) throw ioError(path)
      return file.read(target, at)
    }
    return { ...forwarding(file), read }
  }
  return fileSystem
}

function ioError(path: string): Error {
  return Object.assign(new Error(`EIO: i/o error, read ${path}`), { code: 'EIO' })
}

/** 5 events of 400,000 bytes: two sealed segments of two, and the last one. */
async function writeThreeSegments(directory: string): Promise<void> {
  await using opened = await StoreUnderTest.open(directory)
  const log = await opened.createLog('carts', { 'segment.bytes': '1048576' })
  for (let round = 0; round < 5; round++) await append(log, `a=${round}${'x'.repeat(400_000)}`)
  await sealed(log)
}

test('unreadable files: EIO whenever a sidecar is read: the broker starts, the segments are read instead', async () => {
  await using directory = await TemporaryDirectory.make()
  await writeThreeSegments(directory.path)
  const fileSystem = new FaultyFileSystem({
    read: (path) => {
      if (path.endsWith('.idx')) throw ioError(path)
    },
  })
  await using opened = await StoreUnderTest.open(directory.path, { fileSystem })
  const log = opened.store.log('carts', 0)
  assert.deepEqual([(await recordsOf(log)).length, (await eventsOf(log, 'a')).length, log.damage], [5, 5, []])
})

test('unreadable files: EIO at any one read of a sidecar, the index made again: every event is there once', async () => {
  await using directory = await TemporaryDirectory.make()
  await writeThreeSegments(directory.path)
  for (let failing = 1, isOver = false; !isOver; failing++) {
    let reads = 0
    const fileSystem = new FaultyFileSystem({
      read: (path) => {
        if (path.endsWith('.idx') && ++reads === failing) throw ioError(path)
      },
    })
    await using opened = await StoreUnderTest.open(directory.path, { fileSystem })
    isOver = reads < failing
    const log = opened.store.log('carts', 0)
    assert.deepEqual([(await recordsOf(log)).length, (await eventsOf(log, 'a')).length, log.damage], [5, 5, []])
  }
})

test('unreadable files: damage that is known is not read again by who asks for its event', async () => {
  await using directory = await TemporaryDirectory.make()
  await writeThreeSegments(directory.path)
  const bad = badSector('00000000000000000000.log', 200_000)
  let reads = 0
  const fileSystem = new FaultyFileSystem({ read: () => void reads++ }, bad)
  await using opened = await StoreUnderTest.open(directory.path, { fileSystem })
  const log = opened.store.log('carts', 0)
  const request = { stream: 'a', limit: 1, backwards: false, maxBytes: 1e9, limitOffset: Infinity }
  await assert.rejects(log.readStream(request), { code: 'corruptBatch' })
  reads = 0
  await assert.rejects(log.readStream(request), { code: 'corruptBatch' })
  assert.equal(reads, 0)
  assert.deepEqual((await log.readStream({ ...request, from: 1, limit: 9 })).versions, [1, 2, 3, 4])
  assert.ok(reads > 0)
})

for (const sidecar of ['there', 'missing'] as const) {
  test(`unreadable files: EIO in the middle of a sealed segment, its sidecar is ${sidecar}: one batch is damage, the rest is served`, async () => {
    await using directory = await TemporaryDirectory.make()
    await writeThreeSegments(directory.path)
    for (const name of await readdir(directory.path, { recursive: true }))
      if (sidecar === 'missing' && name.endsWith('.idx')) await rm(join(directory.path, name))
    const fileSystem = badSector('00000000000000000000.log', 200_000)
    await using opened = await StoreUnderTest.open(directory.path, { fileSystem })
    const log = opened.store.log('carts', 0)
    assert.equal(log.logEndOffset, 5)
    await assert.rejects(log.read({ offset: 0, maxBytes: 1, limitOffset: Infinity }), (error) =>
      isPlayheadError(error, 'corruptBatch'),
    )
    assert.match(log.damage.join(), /offsets 0 to 0:/)
    assert.equal((await recordsOf(log, 1)).length, 4)
  })
}

test('unreadable files: EIO in the last segment, which nothing proves durable: refused by name, nothing is cut', async () => {
  await using directory = await TemporaryDirectory.make()
  await writeThreeSegments(directory.path)
  const fileSystem = badSector('00000000000000000004.log', 200_000)
  await assert.rejects(
    StoreUnderTest.open(directory.path, { fileSystem }),
    (error) => isPlayheadError(error, 'damagedData') && error.message.includes('00000000000000000004.log'),
  )
  await using opened = await StoreUnderTest.open(directory.path)
  assert.equal((await recordsOf(opened.store.log('carts', 0))).length, 5)
})

for (const [code, expected] of [
  ['EIO', 'storageFailed'],
  ['EMFILE', 'overloaded'],
] as const) {
  test(`unreadable files: ${code} when a sealed segment is opened: a typed error, no damage, and served once it opens`, async () => {
    await using directory = await TemporaryDirectory.make()
    await writeThreeSegments(directory.path)
    const fileSystem = new FaultyFileSystem()
    await using opened = await StoreUnderTest.open(directory.path, { fileSystem })
    const log = opened.store.log('carts', 0)
    const open = fileSystem.open.bind(fileSystem)
    fileSystem.open = () => Promise.reject(Object.assign(new Error(`${code}: open`), { code }))
    await assert.rejects(
      log.read({ offset: 0, maxBytes: 1, limitOffset: Infinity }),
      (error) => isPlayheadError(error, expected) && error.message.includes('00000000000000000000.log'),
    )
    fileSystem.open = open
    assert.deepEqual([(await recordsOf(log)).length, log.damage], [5, []])
  })
}

test('recovery: the limit on decompressed bytes was lowered below a batch of the log: it starts and serves it', async () => {
  await using directory = await TemporaryDirectory.make()
  {
    await using opened = await StoreUnderTest.open(directory.path)
    const log = await opened.createLog()
    const batch = encodeRecordBatch([{ key: 'a', value: 'x'.repeat(2_000_000), timestamp: 1 }], { compression: 'gzip' })
    await log.append({ batch, expected: [], wantVersions: false, acks: 'all' })
  }
  const settings = { decompressedBytesMax: 1_048_576, tailCacheBytes: 0 }
  await using again = await StoreUnderTest.open(directory.path, {
    checkpointStore: new MemoryCheckpointStore(),
    settings,
  })
  assert.equal((await eventsOf(again.store.log('carts', 0), 'a'))[0]?.length, 2_000_002)
})
