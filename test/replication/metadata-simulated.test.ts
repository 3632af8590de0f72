import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GuardedMetadataStore } from '../../replication/guarded-metadata-store.ts'
import { Scheduler } from '../sim/scheduler.ts'
import { SimulatedProcess } from '../sim/simulated-process.ts'
import { SeededRandom } from '../storage/seeded-random.ts'
import { conformance } from './metadata-conformance.ts'
import { SimulatedEtcd, SimulatedMetadataStore } from './simulated-metadata-store.ts'

const put = (key: string, value: string) => ({ compares: [], changes: [{ kind: 'put', key, value } as const] })

function simulate(seed: number, main: (etcd: SimulatedEtcd, connect: () => SimulatedMetadataStore) => Promise<void>) {
  const scheduler = new Scheduler(new SeededRandom(seed))
  const etcd = new SimulatedEtcd(scheduler)
  let count = 0
  const connect = () => new SimulatedMetadataStore(etcd, new SimulatedProcess(scheduler, `client-${++count}`))
  return scheduler.run(() => main(etcd, connect), 1_000_000)
}

for (const [what, run] of Object.entries(conformance)) {
  test(`simulated metadata store: ${what}`, async () => {
    for (const seed of [1, 2, 3]) {
      await simulate(seed, async (etcd, connect) => {
        const [store, other] = [connect(), connect()]
        const waitMs = (ms: number) => etcd.scheduler.sleep(ms)
        await run({ store, other, ttlMs: 1_000, waitMs, [Symbol.asyncDispose]: async () => undefined })
      })
    }
  })
}

test('simulated metadata store: a lost answer is unknown, and the transaction may have happened or may still (200 of each)', async () => {
  await simulate(7, async (etcd, connect) => {
    const store = connect()
    const reader = connect()
    const counts = { done: 0, happened: 0, never: 0, later: 0 }
    for (let number = 0; number < 400; number++) {
      store.faults.lostOneIn = 4
      store.faults.lateOneIn = 4
      const { outcome } = await store.transact(put(`/${number}`, 'x'))
      const isThere = async () => (await reader.get(`/${number}`)).entry !== undefined
      if (outcome === 'done') counts.done++
      else if (await isThere()) counts.happened++
      else {
        await etcd.scheduler.sleep(30_000)
        counts[(await isThere()) ? 'later' : 'never']++
      }
    }
    assert.ok(
      Object.values(counts).every((count) => count > 10),
      JSON.stringify(counts),
    )
  })
})

test('guarded metadata store: an etcd brought back from an older copy is refused from then on, also once it has caught up', async () => {
  await simulate(8, async (etcd, connect) => {
    const store = new GuardedMetadataStore(connect(), { name: 'etcd://h:1' })
    await store.transact(put('/a', '1'))
    const copy = etcd.copy()
    await store.transact(put('/a', '2'))
    await store.transact(put('/a', '3'))
    const seen = store.seen!
    etcd.restore(copy)
    await assert.rejects(store.get('/a'), {
      code: 'metadataStoreReplaced',
      message: /etcd:\/\/h:1: found store simulated at revision 2, wanted revision 4/,
    })
    for (let number = 0; number < 10; number++) etcd.transact(put('/b', String(number)))
    await assert.rejects(store.transact(put('/a', '4')), { code: 'metadataStoreReplaced' })
    await assert.rejects(store.keepLease('1'), { code: 'metadataStoreReplaced' })
    // A broker that starts again has what it had seen.
    etcd.restore(copy)
    await assert.rejects(new GuardedMetadataStore(connect(), { name: 'etcd', seen }).get('/a'), {
      code: 'metadataStoreReplaced',
    })
    await assert.rejects(
      new GuardedMetadataStore(connect(), { name: 'etcd', seen: { storeId: 'other', revision: 1 } }).get('/a'),
      {
        message: /wanted store other; it is another one/,
      },
    )
  })
})

test('guarded metadata store: answers that overtake one another are no sign of a store that went back (100 reads beside writes)', async () => {
  await simulate(9, async (_, connect) => {
    const store = new GuardedMetadataStore(connect(), { name: 'etcd' })
    const work = Array.from({ length: 100 }, (__, number) =>
      number % 2 === 0 ? store.get('/a') : store.transact(put('/a', String(number))),
    )
    await Promise.all(work)
    assert.equal(store.seen?.revision, 51)
  })
})
