/** LogStore: topics come, change and go; the data directory and its lock; what is refused by name. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { chmod, cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { nodeFileSystem } from '../../platform/node-file-system.ts'
import { ownIdentity } from '../../platform/process-identity.ts'
import { isPlayheadError } from '../../protocol/errors.ts'
import type { ErrorCode } from '../../protocol/errors.ts'
import { LmdbCheckpointStore } from '../../storage/lmdb-checkpoint-store.ts'
import { readSmallFile, writeSmallFile } from '../../storage/small-file.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { eventsOf, recordsOf } from './log-contents.ts'
import { append, StoreUnderTest } from './store-under-test.ts'

const failsWith =
  (code: ErrorCode, text = '') =>
  (error: unknown) => {
    assert.ok(isPlayheadError(error, code), String(error))
    assert.ok(error.message.includes(text), error.message)
    return true
  }

const newTopic = (name: string, partitions = 1, settings: Record<string, string> = {}) => ({
  name,
  partitions,
  replicationFactor: 1,
  settings,
})

test('log store: topics are there again after a restart, with their settings (two that differ in case only)', async () => {
  await using directory = await TemporaryDirectory.make()
  let ids: string[]
  {
    await using opened = await StoreUnderTest.open(directory.path)
    await opened.store.createTopic(newTopic('Carts', 3, { 'segment.bytes': '2097152' }))
    await opened.store.createTopic({ ...newTopic('carts'), internal: true })
    await opened.store.alterTopic('Carts', { 'max.message.bytes': '4096', 'segment.bytes': null })
    ids = opened.store.topics().map(({ id }) => id)
  }
  await using opened = await StoreUnderTest.open(directory.path)
  const topics = opened.store.topics()
  assert.deepEqual(
    topics.map(({ name, partitions, internal }) => [name, partitions, internal]),
    [
      ['Carts', 3, false],
      ['carts', 1, true],
    ],
  )
  assert.deepEqual(
    topics.map(({ id }) => id),
    ids,
  )
  const described = opened.store.topic('Carts').describeSettings()
  assert.deepEqual(
    described.find(({ name }) => name === 'max.message.bytes'),
    { name: 'max.message.bytes', value: '4096', source: 'topic' },
  )
  assert.equal(described.find(({ name }) => name === 'segment.bytes')?.source, 'default')
  assert.throws(() => opened.store.log('Carts', 3), failsWith('unknownPartition', 'wanted one from 0 to 2'))
  assert.throws(() => opened.store.log('CARTS', 0), failsWith('unknownTopic', 'playhead topic create CARTS'))
})

test('log store: bad topics are refused by name', async () => {
  await using directory = await TemporaryDirectory.make()
  await using opened = await StoreUnderTest.open(directory.path)
  const { store } = opened
  await store.createTopic(newTopic('carts'))
  for (const name of ['', '..', 'a/b', 'a\0b', '.', 'x'.repeat(250)])
    await assert.rejects(store.createTopic(newTopic(name)), failsWith('invalidTopicName'))
  await assert.rejects(store.createTopic(newTopic('carts')), failsWith('topicExists'))
  for (const partitions of [0, -1, 1.5, 4097])
    await assert.rejects(store.createTopic(newTopic('t', partitions)), failsWith('invalidPartitions'))
  await assert.rejects(
    store.createTopic({ ...newTopic('t'), replicationFactor: 2 }),
    failsWith('invalidReplicationFactor'),
  )
  await assert.rejects(
    store.createTopic(newTopic('t', 1, { 'segment.byte': '1' })),
    failsWith('unknownSetting', 'segment.bytes'),
  )
  await assert.rejects(store.createTopic(newTopic('t', 1, { constructor: '1' })), failsWith('unknownSetting'))
  for (const [name, value] of [
    ['segment.bytes', '1'],
    ['segment.bytes', 'big'],
    ['retention.ms', '-2'],
    ['cleanup.policy', 'remove'],
    ['min.cleanable.dirty.ratio', '1.1'],
    ['partition.by', 'prefix:'],
    ['max.message.bytes', '67108865'],
  ]) {
    await assert.rejects(store.createTopic(newTopic('t', 1, { [name!]: value! })), failsWith('invalidSetting', name))
  }
  await assert.rejects(store.alterTopic('carts', { 'partition.by': 'prefix:/' }), failsWith('invalidSetting'))
  await assert.rejects(store.alterTopic('carts', { nothing: null }), failsWith('unknownSetting'))
  await assert.rejects(store.alterTopic('nobody', {}), failsWith('unknownTopic'))
  await assert.rejects(store.deleteTopic('nobody'), failsWith('unknownTopic'))
  assert.deepEqual(
    store.topics().map(({ name }) => name),
    ['carts'],
  )
})

test('log store: two creations of one name at the same time: one wins', async () => {
  await using directory = await TemporaryDirectory.make()
  await using opened = await StoreUnderTest.open(directory.path)
  const results = await Promise.allSettled([1, 2, 3].map(() => opened.store.createTopic(newTopic('carts'))))
  assert.deepEqual(results.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected', 'rejected'])
})

test('log store: a deleted topic is gone with its bytes, also while it is being written and read; its name is free', async () => {
  await using directory = await TemporaryDirectory.make()
  await using opened = await StoreUnderTest.open(directory.path)
  const log = await opened.createLog('carts')
  await append(log, 'a=1')
  const busy = Array.from({ length: 50 }, (_, place) => (place % 2 === 0 ? append(log, `a=${place}`) : recordsOf(log)))
  const deleted = opened.store.deleteTopic('carts')
  const results = await Promise.allSettled(busy)
  await deleted
  for (const result of results)
    if (result.status === 'rejected') assert.ok(isPlayheadError(result.reason, 'unknownTopic'), String(result.reason))
  await assert.rejects(append(log, 'a=x'), failsWith('unknownTopic'))
  assert.throws(() => opened.store.topic('carts'), failsWith('unknownTopic'))
  assert.deepEqual(await readdir(join(directory.path, 'topics')), [])
  const again = await opened.createLog('carts')
  assert.equal((await append(again, 'a=1')).baseOffset, 0)
  assert.deepEqual(await eventsOf(again, 'a'), ['0=1'])
})

test('log store: what a crash left of a creation or a deletion is removed at the next start', async () => {
  await using directory = await TemporaryDirectory.make()
  {
    await using opened = await StoreUnderTest.open(directory.path)
    await append(await opened.createLog('gone'), 'a=1')
    await opened.createLog('stays')
  }
  const topics = join(directory.path, 'topics')
  const [first] = await readdir(topics)
  await cp(join(topics, first!), join(topics, '01a1fbe1-7122-7cb0-9723-664453836db4.deleted'), { recursive: true })
  await mkdir(join(topics, '01a1fbe1-7122-7cb0-9723-664453836db5'))
  await writeFile(join(topics, '01a1fbe1-7122-7cb0-9723-664453836db5', 'topic.json.tmp'), '{')
  await using opened = await StoreUnderTest.open(directory.path)
  assert.deepEqual(
    opened.store.topics().map(({ name }) => name),
    ['gone', 'stays'],
  )
  assert.equal((await readdir(topics)).length, 2)
})

test('log store: the epoch rises with every start and is stamped into batches; ids stay', async () => {
  await using directory = await TemporaryDirectory.make()
  const seen: [number, string][] = []
  for (let start = 0; start < 3; start++) {
    await using opened = await StoreUnderTest.open(directory.path)
    seen.push([opened.store.epoch, opened.store.clusterId])
    const log = start === 0 ? await opened.createLog() : opened.store.log('carts', 0)
    await append(log, 'a=1')
    const { batches } = await log.read({ offset: start, maxBytes: 1, limitOffset: Infinity })
    assert.equal(batches[0]?.readInt32BE(12), start)
  }
  assert.deepEqual(
    seen.map(([epoch]) => epoch),
    [0, 1, 2],
  )
  assert.equal(new Set(seen.map(([, id]) => id)).size, 1)
})

test('log store: a directory in use is refused naming the process; a lock of a dead process is taken over', async () => {
  await using directory = await TemporaryDirectory.make()
  {
    await using opened = await StoreUnderTest.open(directory.path)
    assert.equal(opened.store.topics().length, 0)
    await assert.rejects(StoreUnderTest.open(directory.path), failsWith('dataDirectoryInUse', `process ${process.pid}`))
  }
  const child = spawn('sleep', ['60'])
  const { startTime, bootId } = ownIdentity()
  const lock = join(directory.path, 'lock')
  for (const stale of [
    JSON.stringify({ pid: child.pid, startTime: '1', bootId }), // the pid was given to another process since
    JSON.stringify({ pid: process.pid, startTime, bootId: 'another boot' }),
    JSON.stringify({ pid: 2 ** 30, startTime: '5', bootId }),
    '{"pid":',
    '',
  ]) {
    await writeFile(lock, stale)
    await (await StoreUnderTest.open(directory.path))[Symbol.asyncDispose]()
  }
  child.kill()
  assert.deepEqual((await readdir(directory.path)).toSorted(), ['broker.json', 'topics'])
})

test('log store: damaged or newer facts are refused naming the file', async () => {
  await using directory = await TemporaryDirectory.make()
  {
    await using opened = await StoreUnderTest.open(directory.path)
    await opened.createLog()
  }
  const broker = join(directory.path, 'broker.json')
  const [id] = await readdir(join(directory.path, 'topics'))
  const topic = join(directory.path, 'topics', id!, 'topic.json')
  const refused = async (path: string, code: ErrorCode) =>
    assert.rejects(StoreUnderTest.open(directory.path), failsWith(code, path))
  for (const path of [broker, topic]) {
    const sound = await readFile(path, 'utf8')
    for (const content of [
      '',
      'garbage',
      '[]',
      '{}',
      sound.replace('"format": 1', '"format": 2'),
      sound.slice(0, 40),
    ]) {
      await writeFile(path, content)
      await refused(path, 'damagedData')
    }
    await rm(path)
    await writeSmallFile(nodeFileSystem, path, { format: 2 })
    await refused(path, 'unsupportedFormat')
    await writeFile(path, sound)
  }
  const facts = await readSmallFile(nodeFileSystem, broker)
  await writeSmallFile(nodeFileSystem, broker, { ...facts, epoch: 'x' })
  await refused(broker, 'damagedData')
  await rm(broker)
  await refused(broker, 'damagedData')
})

test('log store: a directory that cannot be written is refused by name', async () => {
  await using directory = await TemporaryDirectory.make()
  await chmod(directory.path, 0o500)
  // Root may write anywhere but where the kernel keeps no files.
  const parent = process.getuid?.() === 0 ? '/sys' : directory.path
  await assert.rejects(
    StoreUnderTest.open(join(parent, 'playhead-data')),
    failsWith('dataDirectoryNotWritable', parent),
  )
})

test('log store: a path that is a file is refused by name', async () => {
  await using directory = await TemporaryDirectory.make()
  await writeFile(join(directory.path, 'data'), '')
  await assert.rejects(
    StoreUnderTest.open(join(directory.path, 'data')),
    failsWith('dataDirectoryNotWritable', directory.path),
  )
})

test('log store: with LMDB as its cache, and with the cache deleted between two runs', async () => {
  await using directory = await TemporaryDirectory.make()
  const open = async () => {
    const cache = await LmdbCheckpointStore.open({
      directory: join(directory.path, 'cache'),
      fileSystem: nodeFileSystem,
      report: () => undefined,
    })
    return StoreUnderTest.open(directory.path, { checkpointStore: cache })
  }
  for (let run = 0; run < 4; run++) {
    await using opened = await open()
    const log = run === 0 ? await opened.createLog() : opened.store.log('carts', 0)
    for (let place = 0; place < 5; place++) await append(log, `a=${run * 5 + place}`)
    assert.deepEqual(
      await eventsOf(log, 'a'),
      Array.from({ length: run * 5 + 5 }, (_, version) => `${version}=${version}`),
    )
    if (run === 2) {
      await opened[Symbol.asyncDispose]()
      await rm(join(directory.path, 'cache'), { recursive: true })
    }
  }
})
