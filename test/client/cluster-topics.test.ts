/** Topics of a cluster of real brokers: how many partitions there may be, and Playhead's own, which grow with it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isPlayheadError } from '../../client/index.ts'
import { sleep, systemClock } from '../../platform/clock.ts'
import { BrokerCluster, eventually } from './broker-cluster.ts'

test('cluster: named playheads are on three brokers once there are three, and outlive the one that had them alone', async () => {
  await using cluster = await BrokerCluster.start([1])
  await using playhead = await cluster.connect([1], { timeoutMs: 30_000 })
  await playhead.admin.createTopic('carts')
  await playhead.topic('carts').stream('one').append({ type: 'Happened', data: 1 })
  await playhead
    .topic('carts')
    .playhead('reader')
    .commit([{ partition: 0, offset: 1 }])
  await cluster.open(2)
  await cluster.open(3)
  await eventually(async () => {
    const { partitions } = await playhead.cluster.status({ topic: '__playheads' })
    return partitions[0]?.inSync.length === 3 && partitions[0].inSyncMin === 2 && partitions[0].adding.length === 0
  })
  await playhead.cluster.reassign('carts', 0, [2])
  await eventually(async () => {
    const { partitions } = await playhead.cluster.status({ topic: 'carts' })
    return partitions[0]?.leader === 2 && partitions[0].removing.length === 0
  })
  await cluster.stop(1)
  await using others = await cluster.connect([2, 3], { timeoutMs: 30_000 })
  assert.deepEqual((await others.topic('carts').playhead('reader').read())?.positions, [{ partition: 0, offset: 1 }])
})

test('cluster: partitionsTotalMax holds for topics that are made through a broker; what was made through another one it takes', async () => {
  await using cluster = await BrokerCluster.start([1])
  await cluster.open(2, { partitionsTotalMax: 4 })
  await using tight = await cluster.connect([2], { timeoutMs: 30_000 })
  const refused = (error: unknown) => isPlayheadError(error, 'tooManyPartitions')
  await assert.rejects(tight.admin.createTopic('wide', { partitions: 5 }), refused)
  const made = await Promise.allSettled(Array.from({ length: 12 }, (_, place) => tight.admin.createTopic(`t${place}`)))
  assert.equal(made.filter(({ status }) => status === 'fulfilled').length, 4)
  assert.ok(made.every((each) => each.status === 'fulfilled' || refused(each.reason)))
  await using loose = await cluster.connect([1], { timeoutMs: 30_000 })
  await loose.admin.createTopic('wide', { partitions: 5 })
  await eventually(async () => (await tight.admin.listTopics()).some(({ topic }) => topic === 'wide'))
})

test('cluster: a partition moves from broker to broker under load: each event is there once, under its version', async () => {
  await using cluster = await BrokerCluster.start([1, 2, 3])
  await using playhead = await cluster.connect([1, 2, 3], { timeoutMs: 30_000 })
  await playhead.admin.createTopic('carts')
  const over = new AbortController()
  const streams = Array.from({ length: 4 }, (_, place) => playhead.topic('carts').stream(`s-${place}`))
  const loads = streams.map(async (stream) => {
    let count = 0
    for (; !over.signal.aborted; count++) {
      const expectedVersion = count === 0 ? ('none' as const) : count - 1
      const { version } = await stream.append({ type: 'Counted', data: count }, { expectedVersion })
      assert.equal(version, count)
      await sleep(systemClock, 2)
    }
    return count
  })
  const move = async (replicas: readonly number[]) => {
    await playhead.cluster.reassign('carts', 0, replicas)
    await eventually(async () => {
      const [now] = (await playhead.cluster.status({ topic: 'carts' })).partitions
      return now?.adding.length === 0 && now.removing.length === 0
    })
  }
  for (const replicas of [[1], [2], [1, 3], [2]]) {
    await Promise.race([move(replicas), Promise.all(loads)])
  }
  over.abort()
  for (const [place, count] of (await Promise.all(loads)).entries()) {
    const data: unknown[] = []
    for await (const event of streams[place]!.read()) data.push(event.data)
    assert.deepEqual(
      data,
      Array.from({ length: count }, (_, number) => number),
    )
  }
})
