import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '../../platform/clock.ts'
import { nodeFileSystem } from '../../platform/node-file-system.ts'
import { systemRandom } from '../../platform/random.ts'
import { checkBrokerId, joinCluster, readMembership, writeMembership } from '../../replication/cluster-membership.ts'
import type { Joining } from '../../replication/cluster-membership.ts'
import { LocalMetadataStore } from '../../replication/local-metadata-store.ts'
import { metadataKeys } from '../../replication/metadata-keys.ts'
import { metadataFormatVersion, writeRecord } from '../../replication/metadata-records.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'

async function withStore(run: (store: LocalMetadataStore, directory: string) => Promise<void>): Promise<void> {
  await using directory = await TemporaryDirectory.make()
  const path = join(directory.path, 'metadata.json')
  const store = await LocalMetadataStore.open({
    path,
    fileSystem: nodeFileSystem,
    clock: systemClock,
    random: systemRandom,
  })
  await run(store, directory.path)
  await store.close()
}

const joining = (changes: Partial<Joining> = {}): Joining => ({
  address: 'etcd://h:2379',
  directory: '/data',
  membership: undefined,
  ownClusterId: 'own',
  hasTopics: false,
  ...changes,
})
const seen = { storeId: 's', revision: 7 }
const put = (store: LocalMetadataStore, key: string, value: string) =>
  store.transact({ compares: [], changes: [{ kind: 'put', key, value }] })

test('the first broker gives the cluster its id, the next ones take it', () =>
  withStore(async (store) => {
    assert.equal(await joinCluster(store, joining({ ownClusterId: 'first', hasTopics: true })), 'first')
    assert.equal(await joinCluster(store, joining({ ownClusterId: 'second' })), 'first')
    assert.equal(await joinCluster(store, joining({ ownClusterId: 'third', hasTopics: true })), 'first')
    const membership = { clusterId: 'first', brokerId: 2, seen }
    assert.equal(await joinCluster(store, joining({ membership })), 'first')
  }))

test('of two who begin a cluster at once, both end up in one', () =>
  withStore(async (store) => {
    const ids = await Promise.all(['a', 'b', 'c'].map((ownClusterId) => joinCluster(store, joining({ ownClusterId }))))
    assert.equal(new Set(ids).size, 1)
  }))

test('another cluster, two clusters with topics, a store that lost its cluster, a newer format: refused with what to do', () =>
  withStore(async (store) => {
    const membership = { clusterId: 'mine', brokerId: 2, seen }
    await assert.rejects(joinCluster(store, joining({ membership })), {
      code: 'metadataStoreReplaced',
      message:
        'etcd://h:2379: found nothing, wanted cluster mine; point --cluster at the right etcd, or restore the newest copy of it',
    })
    await put(store, '/t/x', '{}')
    await assert.rejects(joinCluster(store, joining()), {
      code: 'metadataStoreReplaced',
      message: /found 1 keys without the id of a cluster/,
    })
    await put(store, metadataKeys.id, writeRecord({ clusterId: 'theirs', format: metadataFormatVersion }))
    await assert.rejects(joinCluster(store, joining({ membership })), {
      code: 'clusterMismatch',
      message: /found cluster theirs, wanted mine, which \/data belongs to: point --cluster at the right etcd/,
    })
    await assert.rejects(joinCluster(store, joining({ hasTopics: true })), {
      code: 'clusterMismatch',
      message: /which has topics, and topics of its own in \/data.*begin the cluster with the broker that has data/,
    })
    await put(store, metadataKeys.id, writeRecord({ clusterId: 'own', format: metadataFormatVersion + 1 }))
    await assert.rejects(joinCluster(store, joining()), { code: 'unsupportedFormat', message: /start a newer release/ })
  }))

test('a data directory remembers its cluster, its broker and the store; another broker id is refused', () =>
  withStore(async (_, directory) => {
    assert.equal(await readMembership(nodeFileSystem, directory), undefined)
    const membership = { clusterId: 'c', brokerId: 2, seen }
    await writeMembership(nodeFileSystem, directory, membership)
    assert.deepEqual(await readMembership(nodeFileSystem, directory), membership)
    checkBrokerId(directory, membership, 2)
    checkBrokerId(directory, undefined, 5)
    assert.throws(() => checkBrokerId(directory, membership, 3), {
      code: 'dataDirectoryMismatch',
      message: `${directory}: found the data of broker 2, wanted that of broker 3: start it with --broker-id 2, or name the right directory with --data`,
    })
    const file = await nodeFileSystem.open(join(directory, 'cluster.json'), 'write')
    await file.write([Buffer.from('x')], 3)
    await file.close()
    await assert.rejects(readMembership(nodeFileSystem, directory), { code: 'damagedData', message: /cluster\.json/ })
  }))
