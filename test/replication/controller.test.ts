import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ClusterState } from '../../replication/cluster-state.ts'
import { isrMinOf } from '../../replication/topic-facts.ts'
import { alterTopic, createTopic, deleteTopic } from '../../replication/topic-changes.ts'
import { SimulatedCluster, ttlMs } from './simulated-cluster.ts'

async function three(cluster: SimulatedCluster): Promise<void> {
  await Promise.all([1, 2, 3].map((broker) => cluster.start(broker)))
}

const topic = (name: string, partitions: number, replicationFactor = 3) => ({
  name,
  partitions,
  replicationFactor,
  settings: {},
})
const states = (state: ClusterState) => [...state.allPartitions()].map((one) => one.state)
const hasLeaders = (state: ClusterState) =>
  states(state).every(({ leader }) => leader !== null && state.sessions.has(leader))
const isFull = (state: ClusterState) => states(state).every(({ isr, replicas }) => isr.length === replicas.length)

test('three brokers come up: one is the controller, a topic gets its replicas, leaders are spread (7 partitions)', async () => {
  await SimulatedCluster.run(1, async (cluster) => {
    await three(cluster)
    const { foundation } = cluster.brokers.get(2)!
    const topicId = await createTopic(foundation, topic('carts', 7))
    const { state } = cluster
    assert.equal(state.topicOf('carts')?.topicId, topicId)
    assert.equal(state.topics.get(topicId)?.record.state, 'ready')
    assert.equal(state.partitions.get(topicId)?.size, 7)
    const leaders = states(state).map(({ leader }) => leader)
    for (const broker of [1, 2, 3]) assert.ok(leaders.filter((leader) => leader === broker).length >= 2)
    assert.deepEqual(
      states(state).map(({ isrMin }) => isrMin),
      Array(7).fill(isrMinOf({}, 3)),
    )
    assert.equal([...cluster.brokers.values()].filter(({ session }) => session?.controller?.isController).length, 1)
    await assert.rejects(createTopic(foundation, topic('carts', 1)), { code: 'topicExists' })
    await assert.rejects(createTopic(foundation, topic('more', 1, 4)), {
      code: 'invalidReplicationFactor',
      message: /found replication factor 4, wanted 1 to 3/,
    })
    await assert.rejects(createTopic(foundation, topic('a/b', 1)), { code: 'invalidTopicName' })
    await assert.rejects(createTopic(foundation, topic('none', 0)), { code: 'invalidPartitions' })
  })
})

for (const victim of [1, 2, 3]) {
  test(`broker ${victim} of three dies: its partitions have other leaders within two lease times; back, it leads again`, async () => {
    await SimulatedCluster.run(10 + victim, async (cluster) => {
      await three(cluster)
      await createTopic(cluster.brokers.get(1)!.foundation, topic('carts', 200))
      const before = states(cluster.state)
      cluster.kill(victim)
      const isOver = (state: ClusterState) =>
        !state.sessions.has(victim) && !state.gone().has(victim) && hasLeaders(state)
      await cluster.until('leaders that are there', isOver, 2 * ttlMs)
      for (const [place, { leaderEpoch, leader, isr }] of states(cluster.state).entries()) {
        const wasLed = before[place]!.leader === victim
        assert.equal(leaderEpoch, wasLed ? 2 : 1)
        assert.ok(wasLed || leader === before[place]!.leader)
        assert.ok(!isr.includes(victim))
      }
      const back = await cluster.start(victim)
      assert.ok(back.session!.brokerEpoch! > 0)
      const expanding = cluster.letEverybodyIn()
      await cluster.until('all in sync', isFull)
      await cluster.until('the preferred leaders', (state) =>
        states(state).every(({ leader, replicas }) => leader === replicas[0]),
      )
      await expanding.stop()
    })
  })
}

test('a power cut of all three: whoever comes back registers behind the gate and leads what it may', async () => {
  await SimulatedCluster.run(20, async (cluster) => {
    await three(cluster)
    await createTopic(cluster.brokers.get(1)!.foundation, topic('carts', 10))
    for (const broker of [1, 2, 3]) cluster.kill(broker)
    await cluster.scheduler.sleep(60_000)
    assert.ok(states(cluster.state).every(({ leader, isr }) => leader !== null && isr.length === 3))
    await cluster.start(2)
    await cluster.until('leaders', hasLeaders)
    assert.ok(states(cluster.state).every(({ leader, isr }) => leader === 2 && isr.length === 1))
    await Promise.all([cluster.start(1), cluster.start(3)])
    const expanding = cluster.letEverybodyIn()
    await cluster.until('all in sync', isFull)
    await expanding.stop()
  })
})

test('a lost or damaged disk: its replicas count as complete no more before it registers', async () => {
  await SimulatedCluster.run(21, async (cluster) => {
    await three(cluster)
    const topicId = await createTopic(cluster.brokers.get(1)!.foundation, topic('carts', 6))
    for (const broker of [1, 2, 3]) cluster.kill(broker)
    await cluster.scheduler.sleep(2 * ttlMs)
    // Of the two that come back one has lost its disk, the other one partition.
    const [empty, damaged] = await Promise.all([
      cluster.start(1, { dataDirectoryId: 'new' }),
      cluster.start(2, { lost: [{ topicId, partition: 4, left: 'damaged' }] }),
    ])
    assert.match(empty.said.join('\n'), /registers with another data directory than before/)
    assert.match(damaged.said.join('\n'), new RegExp(`its replica of ${topicId}/4 is damaged`))
    await cluster.until(
      'leaders where there can be one',
      (state) => states(state).filter(({ leader }) => leader === 2).length === 5,
    )
    const [lost] = states(cluster.state).filter(({ leader }) => leader === null)
    assert.deepEqual([lost?.elr, lost?.lastElr], [[3], [2]])
    await cluster.start(3)
    await cluster.until('leaders', hasLeaders)
    assert.equal(cluster.state.partition({ topicId, partition: 4 })?.state.leader, 3)
  })
})

test('a controller that dies after each of its transactions leaves nothing undone (kills at 1 to 12)', async () => {
  for (let count = 1; count <= 12; count++) {
    await SimulatedCluster.run(100 + count, async (cluster) => {
      await three(cluster)
      await createTopic(cluster.brokers.get(1)!.foundation, topic('carts', 150))
      const controller = cluster.state.controller!.broker
      const victim = [1, 2, 3].find((broker) => broker !== controller)!
      const one = cluster.brokers.get(controller)!
      cluster.kill(victim)
      await cluster.until('the end of the session', (state) => !state.sessions.has(victim))
      let left = count
      const transact = one.wire.transact.bind(one.wire)
      one.wire.transact = (transaction) => {
        if (--left === 0) cluster.kill(controller)
        return transact(transaction)
      }
      await cluster.until('leaders', hasLeaders)
      const dead = [victim, ...(cluster.brokers.has(controller) ? [] : [controller])]
      await cluster.until('all that died are fenced', (state) => dead.every((broker) => !state.gone().has(broker)))
      assert.ok(states(cluster.state).every(({ isr }) => !dead.some((broker) => isr.includes(broker))))
    })
  }
})

test('a controller that wakes after another one was elected changes nothing more', async () => {
  await SimulatedCluster.run(30, async (cluster) => {
    await three(cluster)
    await createTopic(cluster.brokers.get(1)!.foundation, topic('carts', 20))
    const old = cluster.brokers.get(cluster.state.controller!.broker)!
    const oldEpoch = cluster.state.controller!.controllerEpoch
    const sent: string[] = []
    const transact = old.wire.transact.bind(old.wire)
    // Its next plan stays on the way until it has lost its place.
    old.wire.transact = async (transaction) => {
      const isPlan = transaction.compares.some((compare) => compare.key === '/c/controller')
      if (isPlan)
        await cluster.until('another controller', ({ controller }) => (controller?.controllerEpoch ?? 0) > oldEpoch)
      const result = await transact(transaction)
      if (isPlan) sent.push(result.outcome)
      return result
    }
    const victim = [1, 2, 3].find((broker) => broker !== old.broker)!
    cluster.kill(victim)
    await cluster.until('the end of the session', (state) => !state.sessions.has(victim))
    await cluster.scheduler.sleep(500)
    old.isWorking = false
    await cluster.until('leaders', hasLeaders)
    await cluster.until('the late plan', () => sent.length > 0)
    assert.equal(sent[0], 'refused')
  })
})

test('a topic of 500 partitions whose maker dies halfway is finished by the controller; so is its deletion', async () => {
  await SimulatedCluster.run(40, async (cluster) => {
    await three(cluster)
    const maker = [1, 2, 3].find((broker) => broker !== cluster.state.controller!.broker)!
    const dieAfter = (transactions: number) => {
      const { wire } = cluster.brokers.get(maker)!
      const transact = wire.transact.bind(wire)
      let left = transactions
      wire.transact = (transaction) => {
        if (left-- === 0) cluster.kill(maker)
        return transact(transaction)
      }
    }
    dieAfter(4)
    void createTopic(cluster.brokers.get(maker)!.foundation, topic('big', 500))
    await cluster.until('half of it', (state) => state.partitions.values().some((partitions) => partitions.size > 100))
    assert.equal(cluster.state.topicOf('big')?.record.state, 'creating')
    await cluster.until('the death of its maker', () => !cluster.brokers.has(maker))
    await cluster.start(maker)
    await cluster.until('all of it', (state) => state.topicOf('big')?.record.state === 'ready')
    assert.equal(states(cluster.state).length, 500)
    dieAfter(3)
    void deleteTopic(cluster.brokers.get(maker)!.foundation, 'big')
    await cluster.until('nothing of it', (state) => state.topics.size === 0 && state.partitions.size === 0)
    assert.equal(cluster.state.topicOf('big'), undefined)
  })
})

test('a setting of a topic reaches its partitions; what is not a topic is named', async () => {
  await SimulatedCluster.run(41, async (cluster) => {
    await three(cluster)
    const { foundation } = cluster.brokers.get(3)!
    await createTopic(foundation, topic('carts', 3))
    await alterTopic(foundation, 'carts', { 'min.insync.replicas': '1' })
    await cluster.until('the number wanted in sync', (state) => states(state).every(({ isrMin }) => isrMin === 1))
    await alterTopic(foundation, 'carts', { 'min.insync.replicas': null })
    await cluster.until('the default again', (state) => states(state).every(({ isrMin }) => isrMin === 2))
    await assert.rejects(alterTopic(foundation, 'other', {}), { code: 'unknownTopic' })
    await assert.rejects(deleteTopic(foundation, 'other'), { code: 'unknownTopic' })
    await assert.rejects(alterTopic(foundation, 'carts', { no: '1' }), { code: 'unknownSetting' })
    await deleteTopic(foundation, 'carts')
    assert.equal(states(cluster.state).length, 0)
    await createTopic(foundation, topic('carts', 1))
  })
})

test('a broker is let in again only when no partition counts on it, however restless some partitions are', async () => {
  await SimulatedCluster.run(50, async (cluster) => {
    await three(cluster)
    await createTopic(cluster.brokers.get(1)!.foundation, topic('carts', 20))
    const controller = cluster.state.controller!.broker
    const victim = [1, 2, 3].find((broker) => broker !== controller)!
    const { wire } = cluster.brokers.get(controller)!
    const transact = wire.transact.bind(wire)
    let restless = 20
    // Somebody else changes the last partition of each of its transactions first.
    wire.transact = (transaction) => {
      const last = transaction.changes.findLast(({ key }) => key.startsWith('/p/'))
      if (last !== undefined && restless-- > 0) {
        const { value } = cluster.etcd.table.get(last.key)!
        cluster.etcd.transact({ compares: [], changes: [{ kind: 'put', key: last.key, value }] })
      }
      return transact(transaction)
    }
    cluster.kill(victim)
    await cluster.start(victim)
    assert.ok(restless <= 0)
  })
})

test('a partition is not made with a broker that was fenced meanwhile: nobody would take it out again', async () => {
  await SimulatedCluster.run(51, async (cluster) => {
    await three(cluster)
    const { wire, foundation } = cluster.brokers.get(cluster.state.controller!.broker)!
    const victim = [1, 2, 3].find((broker) => broker !== cluster.state.controller!.broker)!
    const transact = wire.transact.bind(wire)
    let isFirst = true
    wire.transact = async (transaction) => {
      if (isFirst && transaction.changes.some(({ key }) => key.startsWith('/p/'))) {
        isFirst = false
        await cluster.until('fenced', (state) => !state.sessions.has(victim) && !state.gone().has(victim))
      }
      return transact(transaction)
    }
    // Its session ends soon: before anybody else finishes the topic.
    cluster.kill(victim)
    await cluster.scheduler.sleep(4_000)
    await createTopic(foundation, topic('carts', 6, 2))
    assert.equal(isFirst, false)
    assert.ok(states(cluster.state).every(({ replicas }) => !replicas.includes(victim)))
  })
})

test('a topic of Playhead’s own grows with its cluster, one broker after the other, to three replicas; others stay as they are', async () => {
  await SimulatedCluster.run(60, async (cluster) => {
    await cluster.start(1)
    const { foundation } = cluster.brokers.get(1)!
    const own = await createTopic(foundation, { ...topic('__own', 1, 1), internal: true })
    const users = await createTopic(foundation, topic('carts', 1, 1))
    const expanding = cluster.letEverybodyIn()
    const has = (count: number) => (state: ClusterState) =>
      state.partition({ topicId: own, partition: 0 })?.state.isr.length === count
    for (const broker of [2, 3, 4]) {
      await cluster.start(broker)
      await cluster.until('grown', has(Math.min(broker, 3)))
    }
    await cluster.scheduler.sleep(3 * ttlMs)
    await expanding.stop()
    const { replicas, isrMin, adding, removing } = cluster.state.partition({ topicId: own, partition: 0 })!.state
    assert.deepEqual([replicas.length, isrMin, adding, removing], [3, 2, [], []])
    assert.deepEqual(cluster.state.partition({ topicId: users, partition: 0 })?.state.replicas, [1])
  })
})
