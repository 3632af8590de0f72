/** What brokers of a cluster publish about it, scraped from three real ones. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BrokerCluster, eventually } from '../client/broker-cluster.ts'

/** Samples by name, or by name and labels. */
async function scrape(cluster: BrokerCluster, id: number): Promise<(sample: string) => number | undefined> {
  const text = await (await fetch(`http://127.0.0.1:${cluster.brokers.get(id)!.httpPort}/metrics`)).text()
  return (sample) => {
    const line = text.split('\n').find((each) => each.startsWith(`${sample} `))
    return line === undefined ? undefined : Number(line.slice(sample.length + 1))
  }
}

test('cluster metrics: a replica that goes and comes back is counted by the leader, its lag is shown; one broker is the controller', async () => {
  await using cluster = await BrokerCluster.start([1, 2, 3])
  await using playhead = await cluster.connect([1, 2, 3], { timeoutMs: 30_000 })
  await playhead.admin.createTopic('carts', { replicationFactor: 3 })
  const stream = playhead.topic('carts').stream('one')
  await stream.append({ type: 'Happened', data: 0 })
  const leader = await cluster.leaderOf(playhead, 'carts')
  const [gone = 0, other = 0] = [1, 2, 3].filter((id) => id !== leader)
  const labels = '{topic="carts",partition="0"}'
  const before = await scrape(cluster, leader)
  assert.equal(before(`playhead_partition_in_sync_replicas${labels}`), 3)
  assert.equal(before(`playhead_partition_replica_lag_records${labels}`), 0)
  assert.equal(before(`playhead_partition_leader_epoch${labels}`), 1)
  assert.equal(before(`playhead_partition_follower_lag_records${labels}`), undefined)
  assert.equal((await scrape(cluster, other))(`playhead_partition_follower_lag_records${labels}`), 0)

  await cluster.stop(gone)
  for (let count = 1; count <= 5; count++) await stream.append({ type: 'Happened', data: count })
  const without = await scrape(cluster, leader)
  assert.equal(without(`playhead_partition_in_sync_replicas${labels}`), 2)
  assert.equal(without(`playhead_partition_replica_lag_records${labels}`), 5)
  assert.ok((without('playhead_under_replicated_partitions') ?? 0) >= 1)
  assert.equal(without('playhead_under_min_in_sync_partitions'), 0)
  assert.equal(without('playhead_registered'), 1)

  await cluster.open(gone)
  const expands = without('playhead_in_sync_expands_total') ?? 0
  await eventually(async () => ((await scrape(cluster, leader))('playhead_in_sync_expands_total') ?? 0) > expands)
  const all = await Promise.all([1, 2, 3].map((id) => scrape(cluster, id)))
  const sum = (name: string) => all.reduce((total, sampleOf) => total + (sampleOf(name) ?? 0), 0)
  assert.equal(sum('playhead_controller'), 1)
  assert.equal(sum('playhead_offline_partitions'), 0)
})
