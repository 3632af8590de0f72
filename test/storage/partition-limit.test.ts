/** How many partitions a broker takes on: counted over creations side by side, deletions, failures and restarts; never a reason not to start. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isPlayheadError } from '../../protocol/errors.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { FaultyFileSystem, noSpace } from './faulty-file-system.ts'
import { append, StoreUnderTest } from './store-under-test.ts'

const topic = (name: string, partitions = 1) => ({ name, partitions, replicationFactor: 1, settings: {} })
const tooMany = (error: unknown) => isPlayheadError(error, 'tooManyPartitions')

test('partition limit: 100 topics at once, 10 partitions allowed: so many are made, the others refused by name; a deleted one makes room', async () => {
  await using directory = await TemporaryDirectory.make()
  await using opened = await StoreUnderTest.open(directory.path, { settings: { partitionsTotalMax: 10 } })
  const { store } = opened
  const results = await Promise.allSettled(
    Array.from({ length: 100 }, (_, place) => store.createTopic(topic(`t${place}`))),
  )
  const refusals = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as Error] : []))
  assert.deepEqual([store.topics().length, refusals.length], [10, 90])
  for (const refusal of refusals) assert.ok(tooMany(refusal), String(refusal))
  assert.match(
    refusals[0]!.message,
    /^t\d+: found 10 partitions in 10 topics, wanted at most 10 with 1 more; .*--partitions-total-max/,
  )
  await store.deleteTopic(store.topics()[0]!.name)
  await assert.rejects(store.createTopic(topic('wide', 2)), tooMany)
  await store.createTopic(topic('narrow'))
  await assert.rejects(store.createTopic(topic('one-more')), tooMany)
  await store.createTopic({ ...topic('own', 5), internal: true })
  assert.equal(store.topics().length, 11)
})

test('partition limit: a topic that could not be made takes nothing of it', async () => {
  await using directory = await TemporaryDirectory.make()
  const fileSystem = new FaultyFileSystem()
  await using opened = await StoreUnderTest.open(directory.path, { fileSystem, settings: { partitionsTotalMax: 4 } })
  fileSystem.faults = {
    write: (path) => {
      throw noSpace(path)
    },
  }
  for (let tries = 0; tries < 3; tries++)
    await assert.rejects(opened.store.createTopic(topic('t', 4)), (error) => isPlayheadError(error, 'diskFull'))
  fileSystem.faults = {}
  await opened.store.createTopic(topic('t', 4))
  await assert.rejects(opened.store.createTopic(topic('u')), tooMany)
})

test('partition limit: lowered below what is there: all of it is served, and no topic is added', async () => {
  await using directory = await TemporaryDirectory.make()
  {
    await using opened = await StoreUnderTest.open(directory.path)
    await opened.store.createTopic(topic('carts', 6))
  }
  await using opened = await StoreUnderTest.open(directory.path, { settings: { partitionsTotalMax: 2 } })
  assert.equal((await append(opened.store.log('carts', 5), '=1')).baseOffset, 0)
  await assert.rejects(opened.store.createTopic(topic('u')), tooMany)
  await opened.store.deleteTopic('carts')
  await opened.store.createTopic(topic('u', 2))
})
