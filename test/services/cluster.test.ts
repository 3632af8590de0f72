/**
 * Three brokers as processes of their own, and a real etcd: what is acknowledged outlives the leader, an etcd that is gone for a while, and a disk
 * that is lost; a broker that was by itself brings its topics along; what would mix two clusters or two brokers does not start.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { rm } from 'node:fs/promises'
import { sleep, systemClock } from '../../platform/clock.ts'
import { Broker } from '../../broker/broker.ts'
import { connect } from '../../client/index.ts'
import type { Playhead } from '../../client/index.ts'
import { ServedBroker } from '../e2e/served-broker.ts'
import { EtcdServer } from '../replication/etcd-server.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { until, untilInSync } from './until.ts'
import { ServedCluster, sessionMs } from './served-cluster.ts'

let etcd: EtcdServer

before(async () => {
  etcd = await EtcdServer.start()
})
after(() => etcd[Symbol.asyncDispose]())

/** Appends one event after the other to a stream, each behind the one before, until it is told to end. */
class Load {
  readonly versions: number[] = []
  /** The longest time that an append took. */
  gapMsMax = 0
  readonly #end = new AbortController()
  readonly #running: Promise<void>

  constructor(playhead: Playhead, topic: string, stream: string) {
    this.#running = this.#run(playhead, topic, stream)
  }

  get count(): number {
    return this.versions.length
  }

  async #run(playhead: Playhead, topic: string, stream: string): Promise<void> {
    while (!this.#end.signal.aborted) {
      const expectedVersion = this.count === 0 ? ('none' as const) : this.count - 1
      const event = { type: 'Counted', data: { place: this.count } }
      const startedMs = systemClock.monotonicMs()
      const { version } = await playhead.topic(topic).stream(stream).append(event, { expectedVersion })
      this.versions.push(version)
      this.gapMsMax = Math.max(this.gapMsMax, systemClock.monotonicMs() - startedMs)
    }
  }

  async untilMore(count: number): Promise<void> {
    const wanted = this.count + count
    while (this.count < wanted) {
      await Promise.race([sleep(systemClock, 20), this.#running]) // what ends it early is thrown here
    }
  }

  async stop(): Promise<void> {
    this.#end.abort()
    await this.#running
  }
}

async function assertWhole(playhead: Playhead, topic: string, stream: string, count: number): Promise<void> {
  const places: unknown[] = []
  for await (const event of playhead.topic(topic).stream(stream).read()) {
    assert.equal(event.version, places.length)
    places.push((event.data as { place: number }).place)
  }
  assert.deepEqual(
    places,
    Array.from({ length: count }, (_, place) => place),
  )
}

test('cluster (3 brokers, real etcd): the leader is killed twice under load: appends go on, each event is there once, under its version', async () => {
  await using cluster = await ServedCluster.start(etcd, 'failover', [1, 2, 3])
  const playhead = await cluster.connect()
  await playhead.admin.createTopic('carts', { replicationFactor: 3 })
  const load = new Load(playhead, 'carts', 'one')
  await load.untilMore(50)
  for (let round = 0; round < 2; round++) {
    const leader = await cluster.leaderOf(playhead, 'carts')
    await cluster.brokers.get(leader)!.kill()
    await load.untilMore(50)
    assert.notEqual(await cluster.leaderOf(playhead, 'carts'), leader)
    await cluster.serve(leader)
    await untilInSync(playhead, 'carts', 3)
  }
  await load.stop()
  await assertWhole(playhead, 'carts', 'one', load.count)
  await playhead.close()
})

test('cluster: etcd is gone for a while: appends are acknowledged all the same; a broker that lost its disk is filled again', async () => {
  await using cluster = await ServedCluster.start(etcd, 'outage', [1, 2, 3])
  const playhead = await cluster.connect()
  await playhead.admin.createTopic('carts', { replicationFactor: 3 })
  const load = new Load(playhead, 'carts', 'one')
  await load.untilMore(50)
  await etcd.kill()
  await sleep(systemClock, 2 * sessionMs)
  await load.untilMore(100)
  await etcd.start()
  await load.untilMore(50)
  const leader = await cluster.leaderOf(playhead, 'carts')
  const victim = [1, 2, 3].find((id) => id !== leader)!
  await cluster.brokers.get(victim)!.kill()
  await rm(cluster.dataOf(victim), { recursive: true })
  await load.untilMore(50)
  await cluster.serve(victim)
  await untilInSync(playhead, 'carts', 3)
  await load.stop()
  await assertWhole(playhead, 'carts', 'one', load.count)
  await playhead.close()
})

test('cluster: a broker that starts while its etcd is gone waits for it, and serves once it is back; one that never was in the cluster is told', async () => {
  await using directory = await TemporaryDirectory.make()
  const settings = { data: join(directory.path, 'data'), cluster: `etcd://${etcd.member}/late`, port: 0, httpPort: 0 }
  await using first = await Broker.start(settings)
  await first.stop()
  await etcd.kill()
  await assert.rejects(Broker.start({ ...settings, data: join(directory.path, 'fresh') }), { code: 'unavailable' })
  const waits = Promise.withResolvers<void>()
  const report = (_: string, text: string) => {
    if (/waits for it before it serves/.test(text)) waits.resolve()
  }
  const starting = Broker.start(settings, { report })
  await Promise.race([waits.promise, starting])
  await etcd.start()
  await using broker = await starting
  const playhead = await connect(`playhead://127.0.0.1:${broker.port}`)
  assert.deepEqual(await playhead.admin.listTopics(), [])
  await playhead.close()
})

test('cluster: a rolling restart under load, with a look at the status before each: appends go on, each event is there once', async (t) => {
  await using cluster = await ServedCluster.start(etcd, 'rolling', [1, 2, 3])
  const playhead = await cluster.connect()
  await playhead.admin.createTopic('carts', { replicationFactor: 3 })
  const load = new Load(playhead, 'carts', 'one')
  await load.untilMore(50)
  /** As operators are told to wait: playhead cluster status ends with 0 once everything is in sync. */
  const isWell = async (id: number): Promise<void> => {
    while ((await cluster.brokers.get(id)!.run(['cluster', 'status'])).code !== 0) await sleep(systemClock, 200)
  }
  for (const id of [1, 2, 3]) {
    await isWell(id)
    const stoppedMs = systemClock.monotonicMs()
    assert.equal(await cluster.brokers.get(id)!.stop(), 0)
    await load.untilMore(1)
    t.diagnostic(
      `broker ${id}: stopped, and appended again, after ${Math.round(systemClock.monotonicMs() - stoppedMs)} ms`,
    )
    await load.untilMore(50)
    await cluster.serve(id)
    assert.doesNotMatch(cluster.brokers.get(id)!.errors, /cut back/)
  }
  await isWell(1)
  t.diagnostic(`longest time without an acknowledgement: ${Math.round(load.gapMsMax)} ms`)
  await load.stop()
  await assertWhole(playhead, 'carts', 'one', load.count)
  await playhead.close()
})

/** A consumer that follows the topic: what it has been given of the stream, in order. */
class Consumer {
  readonly places: number[] = []
  readonly #end = new AbortController()
  readonly #running: Promise<void>

  constructor(playhead: Playhead, topic: string) {
    this.#running = this.#run(playhead, topic)
  }

  async #run(playhead: Playhead, topic: string): Promise<void> {
    const { signal } = this.#end
    try {
      for await (const batch of playhead.topic(topic).replay({ from: 'start', follow: true, signal })) {
        for (const record of batch) this.places.push((record.event() as { data: { place: number } }).data.place)
      }
    } catch (error) {
      if (!signal.aborted) throw error
    }
  }

  async untilHas(count: number): Promise<void> {
    while (this.places.length < count) await Promise.race([sleep(systemClock, 20), this.#running])
  }

  async stop(): Promise<void> {
    this.#end.abort(new Error('over'))
    await this.#running
  }
}

test('cluster: a consumer is served by the follower in its rack; killed, the consumer goes on at the leader, and at the follower when that is back', async (t) => {
  await using cluster = await ServedCluster.start(etcd, 'racks', [1, 2, 3])
  const playhead = await cluster.connect()
  await playhead.admin.createTopic('carts', { replicationFactor: 3 })
  const load = new Load(playhead, 'carts', 'one')
  await load.untilMore(50)
  await untilInSync(playhead, 'carts', 3)
  const leader = await cluster.leaderOf(playhead, 'carts')
  const near = [1, 2, 3].find((id) => id !== leader)!
  const inRack = await cluster.connect({ rack: `rack-${near}` })
  const consumer = new Consumer(inRack, 'carts')
  await consumer.untilHas(load.count)
  await load.untilMore(100)
  await consumer.untilHas(load.count)
  const [byNear, byLeader] = [await cluster.fetchesServedBy(near), await cluster.fetchesServedBy(leader)]
  t.diagnostic(`${consumer.places.length} events: ${byNear} fetches served by the follower, ${byLeader} by the leader`)
  assert.ok(byNear > 10)
  assert.ok(byLeader <= 2, 'where a first look found the follower a moment behind')
  await cluster.brokers.get(near)!.kill()
  await load.untilMore(50)
  await consumer.untilHas(load.count)
  assert.ok((await cluster.fetchesServedBy(leader)) > byLeader)
  await cluster.serve(near)
  while (!((await cluster.fetchesServedBy(near)) > 10)) await load.untilMore(1)
  await load.stop()
  await consumer.untilHas(load.count)
  await consumer.stop()
  assert.deepEqual(
    consumer.places,
    Array.from({ length: load.count }, (_, place) => place),
  )
  await inRack.close()
  await playhead.close()
})

test('cluster: begun with a broker that has data, it has the topics, offsets and versions of that, and of a trimmed one, on another broker too', async () => {
  await using cluster = await ServedCluster.start(etcd, 'grown', [])
  {
    await using alone = await ServedBroker.start(cluster.dataOf(1))
    const playhead = await connect(`playhead://${alone.server}`)
    await playhead.admin.createTopic('carts')
    const load = new Load(playhead, 'carts', 'one')
    await load.untilMore(20)
    await load.stop()
    await playhead.admin.createTopic('trimmed')
    for (let count = 0; count < 3; count++)
      await playhead.topic('trimmed').stream('one').append({ type: 'Counted', data: { count } })
    await playhead.admin.deleteRecords('trimmed', [{ partition: 0, offset: 2 }])
    await playhead.close()
    await alone.stop()
  }
  await cluster.serve(1)
  await cluster.serve(2)
  const playhead = await cluster.connect()
  const events = []
  for await (const event of playhead.topic('carts').stream('one').read()) events.push(event)
  assert.ok(events.length >= 20)
  const { version, offset } = await playhead
    .topic('carts')
    .stream('one')
    .append({ type: 'Counted', data: {} }, { expectedVersion: events.length - 1 })
  assert.deepEqual({ version, offset }, { version: events.length, offset: events.length })
  for (const topic of ['carts', 'trimmed']) await playhead.cluster.reassign(topic, 0, [1, 2])
  for (const topic of ['carts', 'trimmed']) await untilInSync(playhead, topic, 2)
  await playhead.cluster.reassign('trimmed', 0, [2])
  await until(
    'trimmed on broker 2 alone',
    async () => (await playhead.topic('trimmed').describe()).partitions[0]!.replicas?.join() === '2',
  )
  const left = []
  for await (const event of playhead.topic('trimmed').stream('one').read()) left.push([event.version, event.offset])
  assert.deepEqual(left, [[2, 2]])
  const next = await playhead.topic('trimmed').stream('one').append({ type: 'Counted', data: {} })
  assert.deepEqual([next.version, next.offset], [3, 3])
  await playhead.close()
})

test('cluster: a wrong etcd, two brokers of one id, a directory of another broker or another cluster are refused with what to do', async () => {
  await using cluster = await ServedCluster.start(etcd, 'refusals', [1, 2])
  const refusal = async (directory: string, flags: readonly string[]): Promise<string> => {
    try {
      await using broker = await ServedBroker.start(directory, flags)
      return `served at ${broker.server}`
    } catch (error) {
      return String(error)
    }
  }
  const fresh = join(cluster.directory.path, 'fresh')
  assert.match(await refusal(fresh, cluster.flags(1)), /broker-id-in-use: .*give this one another --broker-id/)
  await cluster.brokers.get(2)!.stop()
  assert.match(
    await refusal(cluster.dataOf(2), cluster.flags(3)),
    /data-directory-mismatch: .*start it with --broker-id 2/,
  )
  assert.match(
    await refusal(cluster.dataOf(2), cluster.flags(2, 'elsewhere')),
    /(metadata-store-replaced|cluster-mismatch): .*point --cluster at the right etcd/,
  )
  const nowhere = ['--cluster', 'etcd://127.0.0.1:1', '--broker-id', '9']
  assert.match(await refusal(join(cluster.directory.path, 'nowhere'), nowhere), /unavailable: .*127\.0\.0\.1:1/)
})
