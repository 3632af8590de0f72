import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ClusterState } from '../../replication/cluster-state.ts'
import {
  cancelReassign,
  drainBroker,
  reassignPartition,
  recoverPartition,
  recoveryCandidates,
  setThrottle,
} from '../../replication/operator-changes.ts'
import { changePartition } from '../../replication/partition-change.ts'
import { createTopic } from '../../replication/topic-changes.ts'
import { SimulatedCluster, ttlMs } from './simulated-cluster.ts'

const ids = [1, 2, 3, 4]

/** Four brokers in two racks and a topic of six partitions with three replicas. */
async function four(cluster: SimulatedCluster): Promise<string> {
  await Promise.all(ids.map((broker) => cluster.start(broker, { rack: broker % 2 === 0 ? 'a' : 'b' })))
  return createTopic(cluster.brokers.get(1)!.foundation, {
    name: 'carts',
    partitions: 6,
    replicationFactor: 3,
    settings: {},
  })
}

const states = (state: ClusterState) => [...state.allPartitions()].map((one) => one.state)

test('a partition moves: it grows, catches up, shrinks, and its new first replica leads', async () => {
  await SimulatedCluster.run(1, async (cluster) => {
    const topicId = await four(cluster)
    const { foundation } = cluster.brokers.get(2)!
    const name = { topicId, partition: 0 }
    const before = cluster.state.partition(name)!.state.replicas
    const fresh = ids.find((broker) => !before.includes(broker))!
    const target = [fresh, ...before.slice(1)]
    const { state } = await reassignPartition(foundation, name, target)
    assert.deepEqual([state.adding, state.removing], [[fresh], [before[0]]])
    await cluster.scheduler.sleep(ttlMs)
    assert.deepEqual(cluster.state.partition(name)?.state.adding, [fresh])
    const expanding = cluster.letEverybodyIn()
    await cluster.until('its new replicas', (now) => now.partition(name)?.state.adding.length === 0)
    await expanding.stop()
    const moved = cluster.state.partition(name)!.state
    assert.deepEqual([moved.replicas, moved.leader, moved.leaderEpoch, moved.isr.length], [target, fresh, 2, 3])
  })
})

test('what a partition cannot be moved to is refused by name; a cancelled move leaves all as it was', async () => {
  await SimulatedCluster.run(2, async (cluster) => {
    const topicId = await four(cluster)
    const { foundation } = cluster.brokers.get(2)!
    const name = { topicId, partition: 0 }
    const refused = (message: RegExp) => ({ code: 'invalidArgument', message })
    await assert.rejects(
      reassignPartition(foundation, name, [1, 2, 9]),
      refused(/new replicas on brokers 9 which are not there/),
    )
    await assert.rejects(
      reassignPartition(foundation, name, [1, 1]),
      refused(/found replicas \[1, 1\], wanted at least one, and each once/),
    )
    await assert.rejects(reassignPartition(foundation, name, []), refused(/found replicas \[\]/))
    await assert.rejects(reassignPartition(foundation, { topicId, partition: 6 }, [1]), { code: 'unknownPartition' })
    const before = cluster.state.partition(name)!.state.replicas
    const fresh = ids.find((broker) => !before.includes(broker))!
    await reassignPartition(foundation, name, [...before.slice(0, 2), fresh])
    const cancelled = await cancelReassign(foundation, name)
    assert.deepEqual(
      cancelled.state.replicas.toSorted((left, right) => left - right),
      before.toSorted((left, right) => left - right),
    )
    assert.deepEqual([cancelled.state.adding, cancelled.state.removing], [[], []])
  })
})

test('one replica becomes three without a stop, and three become one (the majority is what is wanted in sync, once it is there)', async () => {
  await SimulatedCluster.run(3, async (cluster) => {
    await Promise.all(ids.map((broker) => cluster.start(broker)))
    const { foundation } = cluster.brokers.get(1)!
    const topicId = await createTopic(foundation, { name: 'one', partitions: 1, replicationFactor: 1, settings: {} })
    const name = { topicId, partition: 0 }
    const [home = 0] = cluster.state.partition(name)!.state.replicas
    const [second = 0, third = 0] = ids.filter((broker) => broker !== home)
    await reassignPartition(foundation, name, [home, second, third])
    await cluster.scheduler.sleep(ttlMs)
    assert.deepEqual(
      [cluster.state.partition(name)?.state.isrMin, cluster.state.partition(name)?.state.isr],
      [1, [home]],
    )
    const expanding = cluster.letEverybodyIn()
    await cluster.until(
      'three',
      (now) => now.partition(name)?.state.isr.length === 3 && now.partition(name)?.state.isrMin === 2,
    )
    await reassignPartition(foundation, name, [second])
    await cluster.until('one', (now) => now.partition(name)?.state.replicas.length === 1)
    await expanding.stop()
    const { isr, isrMin, leader } = cluster.state.partition(name)!.state
    assert.deepEqual([isr, isrMin, leader], [[second], 1, second])
  })
})

test('two become one while the controller ends what came before and wants a majority: the last target is kept (40 seeds)', async () => {
  for (let seed = 1; seed <= 40; seed++) {
    await SimulatedCluster.run(seed, async (cluster) => {
      await Promise.all([1, 2].map((broker) => cluster.start(broker)))
      const { foundation } = cluster.brokers.get(1)!
      const topicId = await createTopic(foundation, { name: 'one', partitions: 1, replicationFactor: 1, settings: {} })
      const name = { topicId, partition: 0 }
      const [home = 0] = cluster.state.partition(name)!.state.replicas
      const second = 3 - home
      const expanding = cluster.letEverybodyIn()
      await reassignPartition(foundation, name, [home, second])
      await cluster.until('two in sync', (now) => now.partition(name)?.state.isr.length === 2)
      await reassignPartition(foundation, name, [second])
      await cluster.until(`one (seed ${seed})`, (now) => now.partition(name)?.state.replicas.join() === `${second}`)
      await expanding.stop()
    })
  }
})

test('fewer replicas than min.insync.replicas asks for are refused by name until the setting is lowered; majority goes with them', async () => {
  await SimulatedCluster.run(7, async (cluster) => {
    await Promise.all(ids.map((broker) => cluster.start(broker)))
    const { foundation } = cluster.brokers.get(1)!
    for (const inSync of ['2', 'majority']) {
      const settings = { 'min.insync.replicas': inSync }
      const topic = { name: `of-${inSync}`, partitions: 1, replicationFactor: 3, settings }
      const name = { topicId: await createTopic(foundation, topic), partition: 0 }
      const [home = 0] = cluster.state.partition(name)!.state.replicas
      const narrowed = reassignPartition(foundation, name, [home])
      if (inSync === '2') {
        const message =
          /of-2\/0: found 1 replicas, fewer than min.insync.replicas \(2\), wanted as many; lower the setting/
        await assert.rejects(narrowed, { code: 'invalidArgument', message })
      } else assert.equal((await narrowed).state.isrMin, 1)
    }
  })
})

test('no replicas are moved to a broker that is to lose all of its own, nor fewer of our own topics than there are', async () => {
  await SimulatedCluster.run(8, async (cluster) => {
    await Promise.all(ids.map((broker) => cluster.start(broker)))
    const { foundation } = cluster.brokers.get(1)!
    const topic = { partitions: 1, replicationFactor: 2, settings: {} }
    const own = await createTopic(foundation, { name: '__own', internal: true, ...topic })
    const carts = await createTopic(foundation, { name: 'carts', ...topic })
    await drainBroker(foundation, 4, 'replicas')
    const leaving = /carts\/0: found replicas on brokers 4 which are to lose all of theirs, wanted others/
    await assert.rejects(reassignPartition(foundation, { topicId: carts, partition: 0 }, [1, 4]), { message: leaving })
    const name = { topicId: own, partition: 0 }
    const [home = 0] = cluster.state.partition(name)!.state.replicas
    const fewer = /__own\/0: found 1 replicas, fewer than now, wanted as many/
    await assert.rejects(reassignPartition(foundation, name, [home]), { message: fewer })
  })
})

test('a broker that is to go for good loses its replicas to others, within its rack where that can be', async () => {
  await SimulatedCluster.run(4, async (cluster) => {
    await four(cluster)
    const { foundation } = cluster.brokers.get(2)!
    await drainBroker(foundation, 1, 'replicas')
    const expanding = cluster.letEverybodyIn()
    const isAway = (now: ClusterState) =>
      states(now).every(({ replicas, adding }) => !replicas.includes(1) && adding.length === 0)
    await cluster.until('nothing on it', isAway)
    await assert.rejects(createTopic(foundation, { name: 'wide', partitions: 1, replicationFactor: 4, settings: {} }), {
      message: /wanted 1 to 3/,
    })
    // Of the three that are left none can go: three replicas want three brokers.
    await drainBroker(foundation, 2, 'replicas')
    await cluster.scheduler.sleep(5 * ttlMs)
    await expanding.stop()
    assert.ok(states(cluster.state).every(({ replicas, leader }) => replicas.length === 3 && leader !== 2))
  })
})

test('what was trimmed gets replicas elsewhere like anything else, and leaves a drained broker', async () => {
  await SimulatedCluster.run(6, async (cluster) => {
    await Promise.all(ids.map((broker) => cluster.start(broker)))
    const { foundation } = cluster.brokers.get(1)!
    const topicId = await createTopic(foundation, { name: 'old', partitions: 1, replicationFactor: 1, settings: {} })
    const name = { topicId, partition: 0 }
    const [home = 0] = cluster.state.partition(name)!.state.replicas
    await changePartition(foundation, name, { kind: 'advanceLogStart', leader: home, startOffset: 40 })
    await reassignPartition(foundation, name, [...ids])
    const letIn = cluster.letEverybodyIn()
    const stateOf = () => cluster.state.partition(name)!.state
    await cluster.until('in sync', () => stateOf().isr.length === ids.length && stateOf().adding.length === 0)
    assert.equal(stateOf().startOffset, 40)
    await reassignPartition(foundation, name, [home])
    await cluster.until('one replica', () => stateOf().replicas.length === 1 && stateOf().removing.length === 0)
    await drainBroker(foundation, home, 'replicas')
    await cluster.until('it has moved', () => !stateOf().replicas.includes(home) && stateOf().adding.length === 0)
    await letIn.stop()
    assert.equal(stateOf().startOffset, 40)
  })
})

test('a partition that lost all that were complete waits for an operator, who sees who there is', async () => {
  await SimulatedCluster.run(5, async (cluster) => {
    await Promise.all([1, 2].map((broker) => cluster.start(broker)))
    const { foundation } = cluster.brokers.get(1)!
    const topicId = await createTopic(foundation, {
      name: 'carts',
      partitions: 1,
      replicationFactor: 2,
      settings: { 'min.insync.replicas': '1' },
    })
    const name = { topicId, partition: 0 }
    const stateOf = () => cluster.state.partition(name)!.state
    await assert.rejects(recoverPartition(foundation, name, 2), {
      code: 'invalidArgument',
      message: /found broker \d leading, wanted no leader/,
    })
    cluster.kill(2)
    await cluster.until('one in sync', () => stateOf().isr.length === 1)
    cluster.kill(1)
    await cluster.scheduler.sleep(2 * ttlMs)
    const two = await cluster.start(2)
    await cluster.until('no leader', () => stateOf().leader === null)
    assert.deepEqual(recoveryCandidates(stateOf(), cluster.state.live()), [2])
    await assert.rejects(recoverPartition(two.foundation, name, 1), {
      code: 'invalidArgument',
      message: /found broker 1, wanted one of 2/,
    })
    const recovered = await recoverPartition(two.foundation, name, 2)
    assert.deepEqual(
      [recovered.state.leader, recovered.state.isr, recovered.state.uncleanEpoch],
      [2, [2], recovered.state.leaderEpoch],
    )
  })
})

test('what copying may cost is a fact that every broker sees', async () => {
  await SimulatedCluster.run(6, async (cluster) => {
    const { foundation, image } = await cluster.start(1)
    await setThrottle(foundation, 1_000_000)
    await cluster.scheduler.sleep(500)
    assert.equal(image?.state.throttleBytesPerSecond, 1_000_000)
    await setThrottle(foundation, undefined)
    await cluster.scheduler.sleep(500)
    assert.equal(image?.state.throttleBytesPerSecond, undefined)
  })
})

test('a change that somebody else was faster than is made anew, on top of theirs', async () => {
  await SimulatedCluster.run(7, async (cluster) => {
    const topicId = await four(cluster)
    const { foundation, wire } = cluster.brokers.get(1)!
    const name = { topicId, partition: 0 }
    const key = `/p/${topicId}/0`
    const transact = wire.transact.bind(wire)
    let rivals = 3
    wire.transact = (transaction) => {
      const rival = { ...cluster.state.partition(name)!.state, startOffset: 10 - rivals }
      if (transaction.changes.some((change) => change.key === key) && rivals-- > 0) {
        cluster.etcd.transact({ compares: [], changes: [{ kind: 'put', key, value: JSON.stringify(rival) }] })
      }
      return transact(transaction)
    }
    const { state } = await reassignPartition(foundation, name, ids)
    assert.deepEqual([state.startOffset, state.replicas], [9, ids])
    assert.deepEqual(cluster.state.partition(name)?.state, state)
  })
})
