/** A follower that answers readers for its leader: what it knows to be committed, soon after it is, and only while it hears of its leader. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../platform/clock.ts'
import { group, until } from '../storage/store-under-test.ts'
import { ReplicaGroup } from './replica-group.ts'

const brokers = [1, 2, 3]
const longMs = 60_000

test('follower reads: it answers below the high watermark it knows, and who waits there is woken by each commit', async () => {
  await using replicas = await ReplicaGroup.start(brokers, 2)
  const { partition } = replicas.leader
  const { partition: follower } = replicas.replicas.get(2)!
  await partition.append(group(['a=1']))
  await until(() => follower.following?.heardHighWatermark === 1)
  for (let offset = 1; offset < 30; offset++) {
    const waiting = follower.reachAsFollower(offset + 1, longMs)
    const { endOffset } = await partition.append(group([`a=${offset}`]))
    await waiting
    assert.ok(follower.highWatermark >= endOffset)
    const { batches, nextOffset, highWatermark } = await follower.read(offset, 100_000)
    assert.deepEqual([batches.length, nextOffset, highWatermark], [1, endOffset, endOffset])
  }
  await partition.reachAsFollower(30, 0) // the leader may be asked, too
})

test('follower reads: what is not known to be committed is not answered, though it is on the disk', async () => {
  await using replicas = await ReplicaGroup.start(brokers, 2)
  const { partition } = replicas.leader
  const { partition: follower } = replicas.replicas.get(2)!
  await partition.append(group(['a=1']))
  await until(() => follower.highWatermark === 1)
  replicas.replicas.get(3)!.isCut = true
  const waiting = partition.append(group(['a=2']))
  await until(() => follower.log.durableOffset === 2)
  assert.equal((await follower.read(0, 100_000)).nextOffset, 1)
  await assert.rejects(follower.reachAsFollower(2, 20), { code: 'notLeader' }, 'the leader is asked then')
  replicas.replicas.get(3)!.isCut = false
  await waiting
  await follower.reachAsFollower(2, longMs)
})

test('follower reads: a leader tells a parked follower of the high watermark at once where readers wait there', async () => {
  await using replicas = await ReplicaGroup.start(brokers, 2)
  const { partition } = replicas.leader
  await partition.append(group(['a=1']))
  replicas.replicas.get(3)!.isCut = true
  const waiting = partition.append(group(['a=2']))
  await until(() => replicas.replicas.get(2)!.partition.log.durableOffset === 2)
  const { leaderEpoch, log } = partition
  const self = { broker: 2, brokerEpoch: replicas.epochOf(2), durableOffset: 2 }
  const place = { leaderEpoch, offset: 2, lastEpoch: log.replica.lastEpoch, maxBytes: 1_000, waitMsMax: longMs }
  const context = { signal: new AbortController().signal, reserve: () => undefined }
  const fetch = (highWatermark: number) =>
    partition.replicaFetch({ ...self, ...place, confirmed: undefined, highWatermark }, context)
  assert.equal((await fetch(0)).highWatermark, 1, 'news already')
  const parked = fetch(1)
  replicas.replicas.get(3)!.isCut = false
  await waiting
  const { highWatermark, batches } = await parked
  assert.deepEqual([highWatermark, batches.length], [2, 0])
})

test('follower reads: one that has not heard of its leader for a while, or follows nobody, sends readers to the leader', async () => {
  await using replicas = await ReplicaGroup.start(brokers, 2)
  await replicas.leader.partition.append(group(['a=1']))
  const follower = replicas.replicas.get(2)!
  await until(() => follower.partition.highWatermark === 1)
  await follower.partition.reachAsFollower(1, 0)
  follower.isCut = true
  const cutMs = systemClock.monotonicMs()
  await until(async () => {
    await systemClock.yield()
    return follower.partition.reachAsFollower(1, 0).then(
      () => false,
      () => true,
    )
  })
  assert.ok(systemClock.monotonicMs() - cutMs < 10_000)
  await assert.rejects(follower.partition.reachAsFollower(1, 0), { code: 'notLeader' })
  follower.isCut = false
  await until(async () => {
    await systemClock.yield()
    return follower.partition.reachAsFollower(1, 0).then(
      () => true,
      () => false,
    )
  })
  await replicas.happen({ kind: 'brokersGone', gone: [1, 3, 2], electable: [] })
  await assert.rejects(follower.partition.reachAsFollower(1, longMs), { code: 'notLeader' })
})
