import assert from 'node:assert/strict'
import { test } from 'node:test'
import { drainBroker } from '../../replication/operator-changes.ts'
import { createTopic } from '../../replication/topic-changes.ts'
import { SimulatedCluster, ttlMs } from './simulated-cluster.ts'

const carts = { name: 'carts', partitions: 6, replicationFactor: 2, settings: {} }

test('a second broker of one id is refused while the first one is there, and does it no harm', async () => {
  await SimulatedCluster.run(1, async (cluster) => {
    const first = await cluster.start(1)
    const { brokerEpoch } = first.session!
    const second = cluster.begin(1, { dataDirectoryId: 'other', port: 9000 })
    await assert.rejects(second.started, {
      code: 'brokerIdInUse',
      message: /broker 1: found another one of this id running at h:7421.*give this one another --broker-id/,
    })
    assert.equal(first.session!.brokerEpoch, brokerEpoch)
    assert.equal(cluster.state.sessions.get(1)?.brokerEpoch, brokerEpoch)
  })
})

test('a copy of a data directory elsewhere is refused while the first one is there', async () => {
  await SimulatedCluster.run(2, async (cluster) => {
    await cluster.start(1)
    await assert.rejects(cluster.begin(1, { port: 9000 }).started, { code: 'brokerIdInUse' })
  })
})

test('a data directory under the id of another broker is refused by name, also while that one is not there', async () => {
  await SimulatedCluster.run(3, async (cluster) => {
    await Promise.all([cluster.start(1), cluster.start(2)])
    cluster.kill(2)
    const swapped = cluster.begin(3, { dataDirectoryId: 'directory-2' })
    await assert.rejects(swapped.started, {
      code: 'dataDirectoryMismatch',
      message: /broker 3: found the data directory of broker 2, wanted its own.*--broker-id 2/,
    })
    cluster.kill(1)
    const taken = cluster.begin(1, { dataDirectoryId: 'directory-2' })
    await assert.rejects(taken.started, { code: 'dataDirectoryMismatch' })
  })
})

test('killed and started again, a broker does not wait for the end of its old session', async () => {
  await SimulatedCluster.run(4, async (cluster) => {
    const { brokerEpoch = 0 } = (await cluster.start(1)).session!
    cluster.kill(1)
    const beganMs = cluster.scheduler.nowMs
    const again = await cluster.start(1)
    assert.ok(cluster.scheduler.nowMs - beganMs < ttlMs / 2, `${cluster.scheduler.nowMs - beganMs} ms`)
    assert.ok(again.session!.brokerEpoch! > brokerEpoch)
  })
})

test('a broker that stood still for longer than its lease registers again, under a higher epoch', async () => {
  await SimulatedCluster.run(5, async (cluster) => {
    const one = await cluster.start(1)
    const { brokerEpoch = 0 } = one.session!
    one.isWorking = false
    await cluster.until('the end of its session', ({ sessions }) => !sessions.has(1))
    assert.ok(one.session!.isDoubtful)
    one.isWorking = true
    await cluster.until('its registration', ({ sessions }) => sessions.has(1))
    await cluster.scheduler.sleep(1_000)
    assert.ok(one.session!.brokerEpoch! > brokerEpoch)
    assert.equal(one.refusal, undefined)
    assert.match(one.said.join('\n'), /its session ended \(epoch \d+\); registers again/)
  })
})

test('while etcd is away nothing is given up; back, the same session goes on', async () => {
  await SimulatedCluster.run(6, async (cluster) => {
    const one = await cluster.start(1)
    const { brokerEpoch } = one.session!
    cluster.etcd.isDown = true
    await cluster.scheduler.sleep(10 * ttlMs)
    assert.deepEqual([one.session!.brokerEpoch, one.session!.isDoubtful], [brokerEpoch, true])
    cluster.etcd.isDown = false
    cluster.etcd.changeLeader()
    await cluster.scheduler.sleep(ttlMs)
    assert.deepEqual([one.session!.brokerEpoch, one.session!.isDoubtful], [brokerEpoch, false])
  })
})

test('an etcd brought back from an older copy changes nothing for who runs, and who starts is refused', async () => {
  await SimulatedCluster.run(7, async (cluster) => {
    const copy = cluster.etcd.copy()
    const one = await cluster.start(1)
    const { brokerEpoch } = one.session!
    await createTopic(one.foundation, { ...carts, replicationFactor: 1 })
    const { seen } = one.store
    cluster.etcd.restore(copy)
    await cluster.scheduler.sleep(2 * ttlMs)
    assert.deepEqual([one.store.refusal?.code, one.session!.brokerEpoch], ['metadataStoreReplaced', brokerEpoch])
    assert.deepEqual([one.session!.isDoubtful, one.image!.state.topicOf('carts')?.record.partitions], [true, 6])
    cluster.kill(1)
    await assert.rejects(cluster.begin(1, { seen }).started, {
      code: 'metadataStoreReplaced',
      message: /brought back from an older copy/,
    })
  })
})

test('an older copy of its data directory counts for nothing, whatever its recovery says', async () => {
  await SimulatedCluster.run(8, async (cluster) => {
    await Promise.all([cluster.start(1, { runEpoch: 10 }), cluster.start(2)])
    await createTopic(cluster.brokers.get(2)!.foundation, carts)
    cluster.kill(2)
    await cluster.until('fenced', (state) => !state.sessions.has(2) && !state.gone().has(2))
    cluster.kill(1)
    await cluster.scheduler.sleep(2 * ttlMs)
    const old = await cluster.start(1, { runEpoch: 9 })
    assert.match(old.said.join('\n'), /older copy of its data directory/)
    await cluster.scheduler.sleep(ttlMs)
    for (const { state } of cluster.state.allPartitions()) {
      assert.deepEqual([state.leader, state.elr, state.lastElr], [null, [2], [1]])
    }
  })
})

test('a broker that leaves has handed over before its session ends; the last one keeps its place', async () => {
  await SimulatedCluster.run(9, async (cluster) => {
    const [one, two] = await Promise.all([cluster.start(1), cluster.start(2)])
    await createTopic(one.foundation, { ...carts, settings: { 'min.insync.replicas': '1' } })
    const beganMs = cluster.scheduler.nowMs
    await one.session!.leave(10_000)
    assert.ok(cluster.scheduler.nowMs - beganMs < 1_000)
    assert.equal(cluster.state.sessions.has(1), false)
    const all = () => [...cluster.state.allPartitions()].map(({ state }) => state)
    assert.ok(all().every(({ leader, isr }) => leader === 2 && !isr.includes(1)))
    await two.session!.leave(10_000)
    assert.ok(all().every(({ leader, isr }) => leader === 2 && isr.includes(2)))
  })
})

test('a broker told to give up its leaderships does so at once, and has them back some time after it registers again', async () => {
  await SimulatedCluster.run(10, async (cluster) => {
    await Promise.all([1, 2].map((broker) => cluster.start(broker)))
    await createTopic(cluster.brokers.get(1)!.foundation, { ...carts, settings: { 'min.insync.replicas': '1' } })
    await drainBroker(cluster.brokers.get(2)!.foundation, 1, 'leaders')
    const ledBy = (broker: number) =>
      [...cluster.state.allPartitions()].filter(({ state }) => state.leader === broker).length
    await cluster.until('all led by the other one', () => ledBy(2) === 6, 2_000)
    cluster.kill(1)
    await cluster.start(1)
    assert.equal(cluster.state.draining.size, 0)
    await cluster.until('the preferred leaders', () => {
      void cluster.brokers.get(2)!.changeIsr(cluster.random, 'all')
      return ledBy(1) === 3
    })
    await assert.rejects(drainBroker(cluster.brokers.get(2)!.foundation, 7, 'replicas'), {
      code: 'invalidArgument',
      message: /found no broker of that id, wanted one of 1, 2/,
    })
  })
})
