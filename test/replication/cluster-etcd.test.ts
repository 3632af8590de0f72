/**
 * Three brokers' sessions, images and controllers on a real etcd: one stands still, etcd is killed and started again, all of it ends. What the simulator
 * shows by the thousand is shown here once, with real time and real answers.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { systemClock } from '../../platform/clock.ts'
import { systemRandom } from '../../platform/random.ts'
import { ClusterImage } from '../../replication/cluster-image.ts'
import { readClusterState } from '../../replication/cluster-state.ts'
import type { ClusterState } from '../../replication/cluster-state.ts'
import { GuardedMetadataStore } from '../../replication/guarded-metadata-store.ts'
import { Session } from '../../replication/session.ts'
import { createTopic } from '../../replication/topic-changes.ts'
import { EtcdServer, waitMs } from './etcd-server.ts'

const ttlMs = 2_000
const ids = [1, 2, 3]

class BrokerOnEtcd {
  readonly said: readonly string[]
  readonly work: { isAlive: boolean; refused: number }
  readonly store: GuardedMetadataStore
  readonly image: ClusterImage
  readonly session: Session

  private constructor(parts: Pick<BrokerOnEtcd, 'said' | 'work' | 'store' | 'image' | 'session'>) {
    this.said = parts.said
    this.work = parts.work
    this.store = parts.store
    this.image = parts.image
    this.session = parts.session
  }

  static async start(server: EtcdServer, broker: number): Promise<BrokerOnEtcd> {
    const work = { isAlive: true, refused: 0 }
    const said: string[] = []
    const report = (_: string, message: string) => void said.push(message)
    const store = new GuardedMetadataStore(await server.connect(), { name: server.member })
    const image = await ClusterImage.open({ store, clock: systemClock, report })
    const directory = { dataDirectoryId: `d${broker}`, runEpoch: 1, runId: 'r' }
    const session = await Session.start({
      store,
      clock: systemClock,
      random: systemRandom,
      broker,
      record: { host: 'h', port: broker, rack: null, ...directory, release: '0' },
      image,
      ttlMs,
      lost: [],
      isAlive: () => work.isAlive,
      report,
      onEpoch: () => undefined,
      onRefused: () => work.refused++,
    })
    return new BrokerOnEtcd({ said, work, store, image, session })
  }

  async stop(): Promise<void> {
    await this.session.leave(5_000)
    await this.image.close()
    await this.store.close()
  }
}

let etcd: EtcdServer
const brokers: BrokerOnEtcd[] = []
before(async () => {
  etcd = await EtcdServer.start()
  brokers.push(...(await Promise.all(ids.map((broker) => BrokerOnEtcd.start(etcd, broker)))))
})
after(async () => {
  for (const broker of brokers) await broker.stop().catch(() => undefined)
  await etcd?.[Symbol.asyncDispose]()
})

const foundation = () => ({ store: brokers[0]!.store, clock: systemClock, random: systemRandom })
const states = (state: ClusterState) => [...state.allPartitions()].map((one) => one.state)

async function until(what: string, holds: (state: ClusterState) => boolean): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    if (holds(await readClusterState(brokers[0]!.store))) return
    await waitMs(50)
  }
  assert.fail(
    `not after half a minute: ${what}; ${brokers
      .flatMap(({ said }) => said)
      .slice(-20)
      .join('\n')}`,
  )
}

test('on a real etcd: a topic of 200 partitions gets leaders, one broker stands still, the others take over', async () => {
  await createTopic(foundation(), { name: 'carts', partitions: 200, replicationFactor: 3, settings: {} })
  assert.equal(states(await readClusterState(brokers[0]!.store)).length, 200)
  const three = brokers[2]!
  const epoch = three.session.brokerEpoch!
  three.work.isAlive = false
  await until('fenced', (state) => (state.fenced.get(3)?.record.brokerEpoch ?? 0) === epoch)
  for (const { leader, isr } of states(await readClusterState(brokers[0]!.store))) {
    assert.ok(leader === 1 || leader === 2)
    assert.ok(!isr.includes(3))
  }
  three.work.isAlive = true
  await until('its registration', () => (three.session.brokerEpoch ?? 0) > epoch)
})

test('on a real etcd: killed and started again, it has its brokers and their epochs as they were', async () => {
  const epochs = brokers.map(({ session }) => session.brokerEpoch)
  await etcd.kill()
  await waitMs(2 * ttlMs)
  assert.deepEqual(
    brokers.map(({ session }) => session.brokerEpoch),
    epochs,
  )
  assert.ok(brokers.every(({ session }) => session.isDoubtful))
  await etcd.start()
  await until('everybody in no doubt', () => brokers.every(({ session }) => !session.isDoubtful))
  await createTopic(foundation(), { name: 'more', partitions: 3, replicationFactor: 3, settings: {} })
  await until('the topic in every image', () => brokers.every(({ image }) => image.state.topicOf('more') !== undefined))
  // etcd gives every lease its whole time again: whoever did not see it go is where it was.
  const state = await readClusterState(brokers[0]!.store)
  assert.deepEqual(
    ids.map((broker) => state.sessions.get(broker)?.brokerEpoch),
    epochs,
  )
  assert.equal(
    brokers.reduce((sum, { work }) => sum + work.refused, 0),
    0,
  )
})

test('on a real etcd: a broker that leaves is gone at once, with nothing counting on it', async () => {
  const two = brokers.splice(1, 1)[0]!
  await two.stop()
  const state = await readClusterState(brokers[0]!.store)
  assert.equal(state.sessions.has(2), false)
  assert.ok(states(state).every(({ leader, isr }) => leader !== 2 && !isr.includes(2)))
})
