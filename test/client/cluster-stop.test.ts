/** Brokers of a cluster that are stopped as they should be, under load: what they lead is handed over whole. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BrokerCluster, eventually } from './broker-cluster.ts'

test('cluster: a leader that is stopped under load hands over all that it took: nothing is cut off from it when it is back (6 stops)', async () => {
  await using cluster = await BrokerCluster.start([1, 2, 3])
  await using playhead = await cluster.connect([1, 2, 3], { timeoutMs: 30_000 })
  await playhead.admin.createTopic('carts', { replicationFactor: 3 })
  const over = new AbortController()
  let written = 0
  // Each lane is a connection of its own, so that there is something under way at any time.
  const lanes = Array.from({ length: 4 }, async (_, lane) => {
    await using client = await cluster.connect([1, 2, 3], { timeoutMs: 30_000 })
    const topic = client.topic('carts')
    for (let count = 0; !over.signal.aborted; count++) {
      const some = Array.from({ length: 20 }, (_each, place) =>
        topic.stream(`${lane}-${place}`).append({ type: 'Counted', data: count }),
      )
      for (const { version } of await Promise.all(some)) assert.equal(version, count)
      written += some.length
    }
  })
  const more = async () => {
    const wanted = written + 400
    await Promise.race([eventually(() => written >= wanted), Promise.all(lanes)])
  }
  for (let round = 0; round < 6; round++) {
    await more()
    const leader = await cluster.leaderOf(playhead, 'carts')
    await cluster.stop(leader)
    await more()
    await cluster.open(leader)
    await eventually(async () => (await playhead.admin.describeTopic('carts')).partitions[0]?.inSync?.length === 3)
  }
  over.abort()
  await Promise.all(lanes)
  assert.deepEqual(
    cluster.said.filter((line) => line.includes('cut back')),
    [],
  )
})
