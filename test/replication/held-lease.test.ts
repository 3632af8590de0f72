import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HeldLease } from '../../replication/held-lease.ts'
import { Scheduler } from '../sim/scheduler.ts'
import { SimulatedProcess } from '../sim/simulated-process.ts'
import { SeededRandom } from '../storage/seeded-random.ts'
import { SimulatedEtcd, SimulatedMetadataStore } from './simulated-metadata-store.ts'

const ttlMs = 6_000

interface Holder {
  readonly etcd: SimulatedEtcd
  readonly store: SimulatedMetadataStore
  readonly lease: HeldLease
  readonly work: { isAlive: boolean; lost: number }
}

function hold(seed: number, main: (holder: Holder) => Promise<void>): Promise<void> {
  const scheduler = new Scheduler(new SeededRandom(seed))
  const etcd = new SimulatedEtcd(scheduler)
  const process = new SimulatedProcess(scheduler, 'holder')
  const store = new SimulatedMetadataStore(etcd, process)
  return scheduler.run(async () => {
    const work = { isAlive: true, lost: 0 }
    const options = { store, clock: process.clock, ttlMs, isAlive: () => work.isAlive, onLost: () => work.lost++ }
    const lease = await HeldLease.grant(options)
    await store.transact({ compares: [], changes: [{ kind: 'put', key: '/s', value: '', leaseId: lease.leaseId }] })
    await main({ etcd, store, lease, work })
  }, 1_000_000)
}

test('a lease is kept for as long as its holder works, through lost answers', () =>
  hold(1, async ({ etcd, store, lease, work }) => {
    store.faults.lostOneIn = 6
    await etcd.scheduler.sleep(60_000)
    assert.deepEqual([work.lost, lease.isLost, lease.isDoubtful], [0, false, false])
    assert.ok(etcd.table.get('/s') !== undefined)
    store.faults.lostOneIn = 0
    await lease.close()
    assert.equal(etcd.table.get('/s'), undefined)
    assert.equal(work.lost, 0)
  }))

test('a holder whose work stands still keeps nothing, and hears of it when it goes on', () =>
  hold(2, async ({ etcd, lease, work }) => {
    work.isAlive = false
    await etcd.scheduler.sleep(2 * ttlMs)
    assert.equal(etcd.table.get('/s'), undefined)
    assert.deepEqual([work.lost, lease.isLost, lease.isDoubtful], [0, false, true])
    work.isAlive = true
    await etcd.scheduler.sleep(ttlMs)
    assert.deepEqual([work.lost, lease.isLost], [1, true])
    await lease.close()
  }))

test('without its store a lease is in doubt, not lost: it is there again when the store is', () =>
  hold(3, async ({ etcd, lease, work }) => {
    etcd.isDown = true
    await etcd.scheduler.sleep(5 * ttlMs)
    assert.deepEqual([work.lost, lease.isLost, lease.isDoubtful], [0, false, true])
    etcd.isDown = false
    await etcd.scheduler.sleep(ttlMs)
    assert.deepEqual([work.lost, lease.isDoubtful], [0, false])
    await lease.close()
  }))
