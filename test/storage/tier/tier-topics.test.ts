import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '../../../platform/clock.ts'
import { nodeFileSystem } from '../../../platform/node-file-system.ts'
import { systemRandom } from '../../../platform/random.ts'
import { openObjectStore } from '../../../storage/tier/tier-location.ts'
import { tierKeys } from '../../../storage/tier/tier-manifest.ts'
import { listTierTopics, TierTopics } from '../../../storage/tier/tier-topics.ts'
import { TemporaryDirectory } from '../../temporary-directory.ts'

const id = '0198c1d2-0000-7000-8000-000000000001'
const facts = { id, name: 'carts', partitions: 1, replicationFactor: 3, internal: false, settings: {} }
const object = `${tierKeys.topicLogs(id)}0/data/x.log`

test('tier topics: one that left this disk, and is there still, keeps all that the tier has of it; one that is gone loses it', async () => {
  await using directory = await TemporaryDirectory.make()
  const [fileSystem, clock] = [nodeFileSystem, systemClock]
  const store = await openObjectStore(`file://${directory.path}/tier`, { fileSystem, clock, random: systemRandom })
  const topics = new TierTopics({ store, fileSystem, clock, directory: join(directory.path, 'facts'), graceMs: -1 })
  await fileSystem.makeDirectory(join(directory.path, 'facts'))
  await store.put(object, Buffer.from('records'))
  await topics.work([facts], () => false)
  await topics.removed(id) // it could not be opened, say
  await topics.work([], () => false)
  assert.equal(await store.sizeBytes(object), 7)
  assert.deepEqual(
    (await listTierTopics(store, clock)).map(({ deletedMs }) => deletedMs),
    [undefined],
  )
  await topics.work([], () => true) // the mark is gone with it
  assert.equal(await store.sizeBytes(object), 7)
  await topics.removed(id)
  await topics.work([], () => true)
  assert.equal(await store.sizeBytes(object), undefined)
  assert.deepEqual(await listTierTopics(store, clock), [])
  await store.close()
})
