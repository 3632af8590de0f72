/** A disk that is full, a cache that cannot be written: refused by name, nothing lost, and it goes on when there is room again. */
import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { isPlayheadError } from '../../protocol/errors.ts'
import { encodeRecordBatch } from '../../protocol/record-batch.ts'
import type { Log } from '../../storage/log.ts'
import { MemoryCheckpointStore } from '../../storage/memory-checkpoint-store.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { FaultyCheckpointStore } from './faulty-checkpoint-store.ts'
import { FaultyFileSystem, noSpace } from './faulty-file-system.ts'
import { eventsOf, recordsOf } from './log-contents.ts'
import { SeededRandom } from './seeded-random.ts'
import { SimulatedDisk } from './simulated-disk.ts'
import { append, StoreUnderTest } from './store-under-test.ts'

const large = (stream: string, bytes: number) => ({
  batch: encodeRecordBatch([{ key: stream, value: Buffer.alloc(bytes, 'x'), timestamp: 1 }]),
  expected: [],
  wantVersions: false,
  acks: 'all' as const,
})

const diskFull = (error: unknown) => isPlayheadError(error, 'diskFull')

for (const code of ['ENOSPC', 'EDQUOT'] as const) {
  test(`full disk (${code}): before the first segment, nothing is left behind and the append works later`, async () => {
    await using directory = await TemporaryDirectory.make()
    const fileSystem = new FaultyFileSystem()
    await using opened = await StoreUnderTest.open(directory.path, { fileSystem })
    const log = await opened.createLog()
    fileSystem.faults = {
      allocate: (path) => {
        throw noSpace(path, code)
      },
    }
    for (const _ of [1, 2, 3]) await assert.rejects(append(log, 'a=1'), diskFull)
    const names = await readdir(directory.path, { recursive: true })
    assert.deepEqual(
      names.filter((name) => name.endsWith('.log')),
      [],
    )
    fileSystem.faults = {}
    assert.equal((await append(log, 'a=1')).baseOffset, 0)
    assert.deepEqual(opened.failures, [])
  })

  test(`full disk (${code}): when a step or a new segment cannot be allocated, reads go on and appends resume by themselves`, async () => {
    await using directory = await TemporaryDirectory.make()
    const fileSystem = new FaultyFileSystem()
    await using opened = await StoreUnderTest.open(directory.path, {
      fileSystem,
      settings: { allocationBytesMin: 65_536, tailCacheBytes: 0 },
    })
    const log = await opened.createLog('carts', { 'segment.bytes': '1048576' })
    const refused: number[] = []
    let appended = 0
    for (let round = 0; round < 60; round++) {
      fileSystem.faults = round % 3 === 0 ? { allocate: (path) => Promise.reject(noSpace(path, code)) } : {}
      try {
        await log.append(large(`s${round % 4}`, 40_000))
        appended++
      } catch (error) {
        assert.ok(diskFull(error), String(error))
        refused.push(round)
      }
      assert.deepEqual([log.logEndOffset, log.durableOffset], [appended, appended])
      assert.equal((await recordsOf(log)).length, appended)
    }
    assert.ok(
      refused.length > 0 && appended >= 40 && log.segmentCount > 1,
      `${refused.length} refused, ${appended} appended`,
    )
    assert.deepEqual(opened.failures, [])
  })
}

test('full disk: once a new segment was begun and failed, the old one takes nothing more (its file may be there after a crash)', async () => {
  await using directory = await TemporaryDirectory.make()
  const fileSystem = new FaultyFileSystem()
  await using opened = await StoreUnderTest.open(directory.path, { fileSystem })
  const log = await opened.createLog('carts', { 'segment.bytes': '1048576', 'max.message.bytes': '4194304' })
  await append(log, 'a=small')
  fileSystem.faults = { allocate: (path) => Promise.reject(noSpace(path)) }
  await assert.rejects(log.append(large('a', 2_000_000)), diskFull)
  await assert.rejects(append(log, 'a=would fit into the old one'), diskFull)
  fileSystem.faults = {}
  assert.equal((await append(log, 'a=next')).baseOffset, 1)
  assert.equal(log.segmentCount, 2)
  assert.deepEqual(await recordsOf(log), ['a=small', 'a=next'])
})

test('full disk: simulated, with concurrent appends and restarts; what was refused is not there, what was acknowledged is', async () => {
  const random = SeededRandom.fresh()
  const disk = new SimulatedDisk(random)
  const settings = { allocationBytesMin: 65_536, allocationBytesMax: 65_536 }
  disk.freeBytes = 1_500_000
  const opened = await StoreUnderTest.open('/data', { fileSystem: disk.mount(), clock: disk.clock(), settings })
  const log = await opened.createLog('carts', { 'segment.bytes': '1048576' })
  const results = await Promise.allSettled(
    Array.from({ length: 80 }, (_, place) => log.append(large(`s${place}`, 30_000))),
  )
  const accepted = results.flatMap((result, place) => (result.status === 'fulfilled' ? [`s${place}`] : []))
  for (const result of results)
    if (result.status === 'rejected') assert.ok(diskFull(result.reason), `${random.seed}: ${result.reason}`)
  assert.ok(accepted.length > 30 && accepted.length < 60, `seed ${random.seed}: ${accepted.length} accepted`)
  disk.cutPower()
  const again = await StoreUnderTest.open('/data', { fileSystem: disk.mount(), clock: disk.clock(), settings })
  const found = again.store.log('carts', 0)
  assert.deepEqual(
    (await recordsOf(found)).map((text) => text.split('=')[0]),
    accepted,
  )
  await assert.rejects(found.append(large('late', 900_000)), diskFull)
  disk.freeBytes = Infinity
  assert.equal((await found.append(large('late', 900_000))).baseOffset, accepted.length)
  await again[Symbol.asyncDispose]()
})

async function fillIndex(log: Log, rounds: number): Promise<number> {
  let refused = 0
  for (let round = 0; round < rounds; round++) {
    const records = Array.from({ length: 500 }, (_, place) => `stream-${round}-${place}=x`)
    await append(log, ...records).catch((error: unknown) => {
      assert.ok(isPlayheadError(error, 'overloaded'), String(error))
      refused++
    })
  }
  return refused
}

test('cache: while it cannot be written the index stays bounded: appends are refused as overloaded, and resume', async () => {
  await using directory = await TemporaryDirectory.make()
  let broken = true
  const checkpointStore = new FaultyCheckpointStore(new MemoryCheckpointStore(), () => (broken ? 'refused' : 'written'))
  const settings = { indexMemoryBytes: 100_000 }
  await using opened = await StoreUnderTest.open(directory.path, { checkpointStore, settings })
  const log = await opened.createLog()
  // What is in use is looked at a few times a second, and here after each save.
  let refused = 0
  for (let tries = 0; tries < 40 && refused === 0; tries++) {
    refused += await fillIndex(log, 2)
    await new Promise((resolve) => setTimeout(resolve, 30))
  }
  assert.ok(refused > 0)
  assert.ok(opened.reports.some((report) => report.includes('derived state was not saved')))
  broken = false
  for (let tries = 0; tries < 200; tries++) {
    if ((await fillIndex(log, 1)) === 0) break
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  await append(log, 'last=1')
  assert.deepEqual(await eventsOf(log, 'last'), ['0=1'])
  assert.deepEqual(opened.failures, [])
})

test('cache: a store that fails at random loses nothing, over restarts', async () => {
  await using directory = await TemporaryDirectory.make()
  const random = SeededRandom.fresh()
  const inner = new MemoryCheckpointStore()
  const written: string[] = []
  for (let run = 0; run < 6; run++) {
    const checkpointStore = new FaultyCheckpointStore(inner, () =>
      random.pick(['written', 'refused', 'written, but refused']),
    )
    await using opened = await StoreUnderTest.open(join(directory.path, 'data'), {
      checkpointStore,
      settings: { checkpointIntervalMs: 0 }, // room enough that nothing is refused while saves fail
    })
    const log = run === 0 ? await opened.createLog() : opened.store.log('carts', 0)
    assert.deepEqual(await recordsOf(log), written, `seed ${random.seed}`)
    for (let round = 0; round < 20; round++) {
      const records = Array.from({ length: 20 }, () => `s${random.below(200)}=${written.length + round}`)
      await append(log, ...records)
      written.push(...records)
      if (round % 7 === 0) await log.checkpointer.save()
    }
    for (const stream of ['s0', 's100', 's199']) {
      const expected = written
        .filter((text) => text.startsWith(`${stream}=`))
        .map((text, version) => `${version}=${text.split('=')[1]}`)
      assert.deepEqual(await eventsOf(log, stream), expected, `seed ${random.seed}`)
    }
  }
})

for (const [code, refusal] of [
  ['ENOSPC', 'diskFull'],
  ['EMFILE', 'overloaded'],
] as const) {
  test(`${code}: a topic that cannot be created, or a first segment, is refused as ${refusal}; the name stays free, also after a restart`, async () => {
    await using directory = await TemporaryDirectory.make()
    const fileSystem = new FaultyFileSystem()
    const fail = (path: string) => {
      throw Object.assign(new Error(`${code}: ${path}`), { code })
    }
    const refused = (error: unknown) => isPlayheadError(error, refusal)
    {
      await using opened = await StoreUnderTest.open(directory.path, { fileSystem })
      fileSystem.faults = { write: fail }
      await assert.rejects(opened.createLog(), refused)
      fileSystem.faults = {}
      const log = await opened.createLog()
      fileSystem.faults = { write: fail }
      await assert.rejects(append(log, 'a=1'), refused)
      fileSystem.faults = {}
      await append(log, 'a=1')
      assert.deepEqual(opened.failures, [])
    }
    await using opened = await StoreUnderTest.open(directory.path, { fileSystem })
    assert.deepEqual(await eventsOf(opened.store.log('carts', 0), 'a'), ['0=1'])
  })
}

test('full disk: the stop ends all the same, says that it is not recorded as clean, and frees the directory', async () => {
  await using directory = await TemporaryDirectory.make()
  const fileSystem = new FaultyFileSystem()
  const opened = await StoreUnderTest.open(directory.path, { fileSystem })
  await append(await opened.createLog(), 'a=1')
  fileSystem.faults = {
    write: (path) => {
      if (path.includes('broker.json')) throw noSpace(path)
    },
  }
  await opened[Symbol.asyncDispose]()
  assert.ok(
    opened.reports.some((text) => text.startsWith('warn: stop not recorded as clean')),
    opened.reports.join('\n'),
  )
  await using again = await StoreUnderTest.open(directory.path)
  assert.equal((await recordsOf(again.store.log('carts', 0))).length, 1)
})

test('full disk: a directory that was made, and whose name could not be made durable, is made durable by the next try', async () => {
  await using directory = await TemporaryDirectory.make()
  const synced: string[] = []
  let full = false
  class WatchedFileSystem extends FaultyFileSystem {
    override async syncDirectory(path: string): Promise<void> {
      if (full) throw noSpace(path)
      await super.syncDirectory(path)
      synced.push(path)
    }
  }
  await using opened = await StoreUnderTest.open(directory.path, { fileSystem: new WatchedFileSystem() })
  const log = await opened.createLog()
  full = true
  await assert.rejects(append(log, 'a=1'), diskFull)
  full = false
  synced.length = 0
  await append(log, 'a=1')
  const names = await readdir(directory.path, { recursive: true })
  const made = names.filter((name) => name.endsWith('.log')).map((name) => dirname(dirname(join(directory.path, name))))
  assert.equal(made.length, 1)
  assert.ok(synced.includes(made[0]!), `${made[0]} is not among ${synced.join(', ')}`)
})
