import assert from 'node:assert/strict'
import { test } from 'node:test'
import { growReplicas, placePartition, replaceReplicas } from '../../replication/placement.ts'
import type { PlacementBroker } from '../../replication/placement.ts'
import { SeededRandom } from '../storage/seeded-random.ts'

const brokers = (racks: readonly (string | null)[]): PlacementBroker[] =>
  racks.map((rack, place) => ({ broker: place + 1, rack, replicas: 0, leaders: 0 }))

test('replicas go to as many racks as there are, evenly (random clusters)', () => {
  const random = SeededRandom.fresh()
  for (let round = 0; round < 200; round++) {
    const racks = Array.from({ length: 1 + random.below(9) }, () => random.pick(['a', 'b', 'c', null]))
    const cluster = brokers(racks)
    const factor = 1 + random.below(Math.min(cluster.length, 4))
    const rackOf = (broker: number) => racks[broker - 1] ?? `alone-${broker}`
    for (let partition = 0; partition < 40; partition++) {
      const replicas = placePartition(cluster, factor)
      assert.equal(new Set(replicas).size, factor)
      const rackCount = new Set(racks.map((_, place) => rackOf(place + 1))).size
      assert.equal(new Set(replicas.map(rackOf)).size, Math.min(factor, rackCount), `seed ${random.seed}`)
    }
    assert.equal(
      cluster.reduce((sum, { leaders }) => sum + leaders, 0),
      40,
    )
  }
})

test('without racks, replicas differ by one at most and leaders by two (3 of 5 brokers, 100 partitions)', () => {
  const cluster = brokers([null, null, null, null, null])
  for (let partition = 0; partition < 100; partition++) placePartition(cluster, 3)
  const spread = (counts: readonly number[]) => Math.max(...counts) - Math.min(...counts)
  assert.ok(spread(cluster.map(({ replicas }) => replicas)) <= 1)
  assert.ok(spread(cluster.map(({ leaders }) => leaders)) <= 2)
})

test('a replica is replaced in its place, by a broker of a rack that is not taken; with nobody left, not at all', () => {
  const cluster = brokers(['a', 'b', 'c', 'a', 'b'])
  assert.deepEqual(replaceReplicas(cluster, [1, 2, 3], new Set([1])), [4, 2, 3])
  assert.deepEqual(replaceReplicas(cluster, [1, 2, 3], new Set([2])), [1, 5, 3])
  assert.equal(replaceReplicas(brokers(['a', 'b']), [1, 2], new Set([1])), undefined)
  assert.equal(replaceReplicas(cluster, [1, 2, 3], new Set([1, 2, 3])), undefined)
})

test('replicas grow to as many as are wanted, in racks that are not taken, or to as many as there are brokers; never beyond, never less', () => {
  const cluster = brokers(['a', 'a', 'b', 'c'])
  assert.deepEqual(growReplicas(cluster, [1], 3), [1, 3, 4])
  assert.deepEqual(growReplicas(brokers(['a', 'a']), [2], 3), [2, 1])
  const enough = [1, 2, 3]
  assert.equal(growReplicas(cluster, enough, 3), enough)
  assert.equal(growReplicas(cluster, enough, 2), enough)
  // A replica on a broker that is away stays one.
  assert.deepEqual(growReplicas(brokers([null, null]), [7, 1], 3), [7, 1, 2])
})
