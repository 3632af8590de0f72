/**
 * Random faults on what brokers agree on: kills, pauses, cuts to etcd, etcd down or with another leader, requests and answers lost or late, watches broken,
 * while leaders change in-sync sets and operators make, move, drain and delete. The invariants are watched at every state of etcd (simulated-cluster.ts);
 * after the last fault everything must come right by itself. PLAYHEAD_TEST_SEED runs one seed, PLAYHEAD_TEST_RUNS another number of them.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isPlayheadError } from '../../protocol/errors.ts'
import { cancelReassign, drainBroker, reassignPartition } from '../../replication/operator-changes.ts'
import { alterTopic, createTopic, deleteTopic } from '../../replication/topic-changes.ts'
import { SeededRandom } from '../storage/seeded-random.ts'
import { SimulatedCluster, ttlMs } from './simulated-cluster.ts'

const ids = [1, 2, 3, 4]
const faultyMs = 90_000
const runs = Number(process.env['PLAYHEAD_TEST_RUNS'] ?? 40)

test(`faults: what brokers agree on stays right, and comes right by itself (4 brokers, ${runs} seeds)`, async () => {
  const first = SeededRandom.fresh().seed
  const count = process.env['PLAYHEAD_TEST_SEED'] === undefined ? runs : 1
  const seen = { kills: 0, elections: 0, sessions: 0, controllers: 0 }
  for (let run = 0; run < count; run++) {
    const seed = first + run
    try {
      const cluster = await SimulatedCluster.run(seed, (one) => simulate(one, seen))
      for (const { key } of cluster.etcd.history) {
        if (key === '/c/controller') seen.controllers++
        if (key.startsWith('/c/session/')) seen.sessions++
      }
    } catch (error) {
      throw new Error(`seed ${seed}: PLAYHEAD_TEST_SEED=${seed} node --test test/replication/cluster-faults.test.ts`, {
        cause: error,
      })
    }
  }
  console.log(`from seed ${first}: ${JSON.stringify(seen)}`)
  if (count > 1) for (const [what, number] of Object.entries(seen)) assert.ok(number > count, `${what}: ${number}`)
})

async function simulate(cluster: SimulatedCluster, seen: Record<string, number>): Promise<void> {
  const { scheduler, random } = cluster
  await Promise.all(ids.map((broker) => cluster.start(broker, { rack: broker % 2 === 0 ? 'a' : 'b' })))
  await createTopic(cluster.brokers.get(1)!.foundation, {
    name: 'carts',
    partitions: 5,
    replicationFactor: 3,
    settings: {},
  })
  const work = { isFaulty: true }
  const leaders = (async () => {
    while (work.isFaulty) {
      for (const one of cluster.brokers.values()) void one.changeIsr(random, 'any').catch(expected)
      await scheduler.sleep(scheduler.between(50, 1_500))
    }
  })()
  while (scheduler.nowMs < faultyMs) {
    await fault(cluster, seen)
    await scheduler.sleep(scheduler.between(0, ttlMs))
  }
  work.isFaulty = false
  await leaders
  await heal(cluster)
  seen['elections']! += [...cluster.state.allPartitions()].reduce((sum, { state }) => sum + state.leaderEpoch - 1, 0)
}

function expected(error: unknown): void {
  if (!isPlayheadError(error)) throw error
}

async function fault(cluster: SimulatedCluster, seen: Record<string, number>): Promise<void> {
  const { scheduler, random, etcd } = cluster
  const broker = random.pick(ids)
  const one = cluster.brokers.get(broker)
  const kinds: (() => void)[] = [
    () => {
      if (one === undefined) void cluster.begin(broker).started.catch(expected)
      else seen['kills']!++
      if (one !== undefined) cluster.kill(broker)
    },
    () => {
      if (one === undefined) return
      one.wire.faults.isCut = !one.wire.faults.isCut
    },
    () => {
      if (one === undefined) return
      one.isWorking = !one.isWorking
    },
    () => {
      etcd.isDown = true
      scheduler.after(scheduler.between(0, 3 * ttlMs), 'etcd is back', () => {
        etcd.isDown = false
        etcd.changeLeader()
      })
    },
    () => etcd.changeLeader(),
    () => {
      for (const { wire } of cluster.brokers.values()) {
        wire.faults.lostOneIn = random.pick([0, 0, 4, 20])
        wire.faults.lateOneIn = random.pick([0, 0, 10])
        wire.faults.brokenWatchOneIn = random.pick([0, 3])
      }
    },
    () => void operate(cluster, broker).catch(expected),
  ]
  random.pick(kinds)()
}

/** One thing that an operator might do, through any broker. */
async function operate(cluster: SimulatedCluster, broker: number): Promise<void> {
  const { random } = cluster
  const foundation = cluster.brokers.get(broker)?.foundation
  if (foundation === undefined) return
  const name = `topic-${random.below(3)}`
  const partitions = [...cluster.state.allPartitions()]
  const partition = random.pick(partitions)
  const target = ids.filter(() => random.below(3) > 0)
  await random.pick([
    () =>
      createTopic(foundation, {
        name,
        partitions: 1 + random.below(90),
        replicationFactor: 1 + random.below(3),
        settings: {},
      }),
    () => deleteTopic(foundation, name),
    () => alterTopic(foundation, 'carts', { 'min.insync.replicas': random.pick(['1', null]) }),
    () => reassignPartition(foundation, partition, target),
    () => cancelReassign(foundation, partition),
    () =>
      drainBroker(foundation, random.pick(ids), random.pick(['leaders', 'replicas', undefined, undefined] as const)),
  ])()
}

async function heal(cluster: SimulatedCluster): Promise<void> {
  const { scheduler, etcd } = cluster
  etcd.isDown = false
  for (const { wire } of cluster.brokers.values())
    Object.assign(wire.faults, { isCut: false, lostOneIn: 0, lateOneIn: 0, brokenWatchOneIn: 0 })
  for (const one of cluster.brokers.values()) one.isWorking = true
  // What was late arrives yet.
  await scheduler.sleep(30_000)
  etcd.isDown = false
  for (const broker of ids) if (!cluster.brokers.has(broker)) cluster.begin(broker).started.catch(expected)
  await cluster.until('all registered', (state) => ids.every((broker) => state.sessions.has(broker)))
  const { foundation } = cluster.brokers.get(1)!
  for (const broker of ids) await drainBroker(foundation, broker, undefined)
  const expanding = cluster.letEverybodyIn()
  await cluster.until('everybody in sync, led by whom it should be, and nothing under way', (state) => {
    const all = [...state.allPartitions()].map((one) => one.state)
    const isRight = ({ leader, replicas, isr, adding, removing }: (typeof all)[number]) =>
      leader === replicas[0] && isr.length === replicas.length && adding.length + removing.length === 0
    return all.every(isRight) && [...state.topics.values()].every(({ record }) => record.state === 'ready')
  })
  await expanding.stop()
  const controllers = [...cluster.brokers.values()].filter(({ session }) => session?.controller?.isController)
  assert.equal(controllers.length, 1)
  for (const { image, refusal } of cluster.brokers.values()) {
    assert.equal(refusal, undefined)
    assert.equal(image?.state.allPartitions().toArray().length, cluster.state.allPartitions().toArray().length)
  }
}
