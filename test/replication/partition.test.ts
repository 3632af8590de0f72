import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../platform/clock.ts'
import { nodeFileSystem } from '../../platform/node-file-system.ts'
import { systemRandom } from '../../platform/random.ts'
import { encodeRecordBatch } from '../../protocol/record-batch.ts'
import { Partitions } from '../../replication/partitions.ts'
import { LogStore } from '../../storage/log-store.ts'
import { MemoryCheckpointStore } from '../../storage/memory-checkpoint-store.ts'
import { defaultStorageSettings } from '../../storage/storage-settings.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'

const longMs = 600_000

async function openPartitions(
  waitersMax = 10,
  fileSystem = nodeFileSystem,
): Promise<{ partitions: Partitions } & AsyncDisposable> {
  await using setUp = new AsyncDisposableStack()
  const { path: directory } = setUp.use(await TemporaryDirectory.make())
  const store = setUp.use(
    await LogStore.open({
      directory,
      fileSystem,
      clock: systemClock,
      random: systemRandom,
      checkpointStore: new MemoryCheckpointStore(),
      settings: defaultStorageSettings,
      report: () => {},
      onFatal: (error) => {
        throw error
      },
    }),
  )
  const partitions = new Partitions({ store, clock: systemClock, waitersMax })
  await partitions.create({ name: 't', partitions: 3, replicationFactor: 1, settings: {} })
  const tearDown = setUp.move()
  return { partitions, [Symbol.asyncDispose]: () => tearDown.disposeAsync() }
}

function group(count: number, acks: 'all' | 'none' = 'all') {
  const records = Array.from({ length: count }, () => ({ key: null, value: 'v', timestamp: 1 }))
  return { batch: encodeRecordBatch(records), expected: [], wantVersions: false, acks }
}

test('an append moves the high watermark once it is durable, and wakes who waits for it', async () => {
  await using open = await openPartitions()
  const partition = open.partitions.get('t', 0)
  // The first append makes the file; the one after it takes effect at once.
  await partition.append(group(1))
  const three = partition.waitForHighWatermark(3, longMs)
  const four = partition.waitForHighWatermark(4, 5)
  assert.equal(partition.waiting, 2)
  const appended = partition.append(group(2))
  assert.equal(partition.log.logEndOffset, 3)
  assert.equal(partition.highWatermark, 1)
  assert.equal((await partition.read(1, 1_000)).batches.length, 0)
  await appended
  assert.equal(partition.highWatermark, 3)
  assert.equal(await three, true)
  assert.equal(await four, false)
  const read = await partition.read(1, 1_000)
  assert.deepEqual([read.batches.length, read.nextOffset, read.highWatermark], [1, 3, 3])
  assert.equal(await partition.waitForHighWatermark(1, longMs), true)
})

test('with acks none the append is answered first and committed later', async () => {
  await using open = await openPartitions()
  const partition = open.partitions.get('t', 0)
  const { endOffset } = await partition.append(group(1, 'none'))
  assert.equal(endOffset, 1)
  assert.equal(await partition.waitForHighWatermark(1, longMs), true)
})

test('a topic deleted while somebody waits: told so, and unknown from then on', async () => {
  await using open = await openPartitions()
  const waiting = assert.rejects(open.partitions.get('t', 1).waitForHighWatermark(1, longMs), { code: 'unknownTopic' })
  await open.partitions.delete('t')
  await waiting
  assert.throws(() => open.partitions.get('t', 0), { code: 'unknownTopic' })
  await assert.rejects(open.partitions.delete('t'), { code: 'unknownTopic' })
  await assert.rejects(open.partitions.alter('t', {}), { code: 'unknownTopic' })
})

test('a topic whose deletion is refused (its settings are being changed) is there as before, for those who wait too', async () => {
  await using open = await openPartitions()
  const { partitions } = open
  const waiting = partitions.get('t', 1).waitForHighWatermark(1, longMs)
  const altered = partitions.alter('t', { 'max.message.bytes': '2048' })
  await assert.rejects(partitions.delete('t'), { code: 'overloaded' })
  await altered
  await partitions.get('t', 1).append(group(1))
  assert.equal(await waiting, true)
  await partitions.delete('t')
  assert.throws(() => partitions.get('t', 0), { code: 'unknownTopic' })
})

test('partitions are found by number and by stream; what is not there is named', async () => {
  await using open = await openPartitions()
  const { partitions } = open
  assert.throws(() => partitions.get('t', 3), { code: 'unknownPartition', message: /found partition 3, wanted 0 to 2/ })
  assert.throws(() => partitions.get('u', 0), { code: 'unknownTopic' })
  assert.throws(() => partitions.ofStream('t', ''), { code: 'invalidStream' })
  assert.equal(partitions.ofStream('t', 'customer-1'), partitions.ofStream('t', 'customer-1'))
  assert.deepEqual(
    [...partitions.all()].map(({ topic, partition }) => `${topic}/${partition}`),
    ['t/0', 't/1', 't/2'],
  )
})

test('a topic is found again when its store is opened again, under a higher leader epoch', async () => {
  await using directory = await TemporaryDirectory.make()
  const open = () =>
    LogStore.open({
      directory: directory.path,
      fileSystem: nodeFileSystem,
      clock: systemClock,
      random: systemRandom,
      settings: defaultStorageSettings,
      report: () => {},
      onFatal: () => {},
    })
  let epoch = 0
  {
    await using store = await open()
    const partitions = new Partitions({ store, clock: systemClock, waitersMax: 10 })
    await partitions.create({ name: 't', partitions: 1, replicationFactor: 1, settings: {} })
    await partitions.get('t', 0).append(group(5))
    epoch = partitions.get('t', 0).leaderEpoch
  }
  await using store = await open()
  const partition = new Partitions({ store, clock: systemClock, waitersMax: 10 }).get('t', 0)
  assert.equal(partition.highWatermark, 5)
  assert.ok(partition.leaderEpoch > epoch)
})

test('a topic whose deletion the disk has refused is unknown only once it is gone for good', async () => {
  const renaming = Promise.withResolvers<void>()
  const mayFail = Promise.withResolvers<void>()
  let refusals = 1
  const rename: typeof nodeFileSystem.rename = async (from, to) => {
    if (!to.endsWith('.deleted') || refusals-- === 0) return nodeFileSystem.rename(from, to)
    renaming.resolve()
    await mayFail.promise
    throw Object.assign(new Error('EIO: i/o error, rename'), { code: 'EIO' })
  }
  await using opened = await openPartitions(10, { ...nodeFileSystem, rename })
  const { partitions } = opened
  const first = partitions.delete('t')
  await renaming.promise
  const meanwhile = assert.rejects(partitions.delete('t'), { code: 'overloaded' })
  mayFail.resolve()
  await assert.rejects(first, /EIO/)
  await meanwhile
  await partitions.delete('t')
  await assert.rejects(partitions.delete('t'), { code: 'unknownTopic' })
})
