/** Followers of logs to which batches alone bring nobody: such that were trimmed, or compacted. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { group, sealed, until } from '../storage/store-under-test.ts'
import {
  append,
  big,
  compact,
  compacted,
  leadsAgain,
  openEmpty,
  rewritten,
  shown,
  smallSegments,
  streams,
  untilLike,
} from './cleaned-replicas.ts'
import { ReplicaGroup } from './replica-group.ts'

test('takeover: a replica with an empty disk joins a partition whose first records were deleted, and goes on with its versions', async () => {
  await using replicas = await ReplicaGroup.start([1, 2], 1, undefined, { topicSettings: smallSegments })
  const { leader } = replicas
  await leader.partition.append(group(['early=1', 'early=2']))
  await append(leader, 0, 45)
  assert.equal(await leader.partition.deleteRecords(33), 33)
  assert.equal((await replicas.seen()).state.startOffset, 33)
  await sealed(leader.partition.log)
  await leader.partition.log.retention.letGo()
  await replicas.kill(2)
  await replicas.untilInSync([1])
  const follower = await openEmpty(replicas, 2)
  await append(leader, 45, 50)
  await untilLike(follower, leader)
  assert.equal(follower.fetcher?.stats.takeovers, 1)
  assert.deepEqual(await shown(follower.partition.log), await shown(leader.partition.log))
  assert.deepEqual(follower.partition.log.damage, [])
  await replicas.untilInSync([1, 2])
  await replicas.kill(1)
  await replicas.happen({ kind: 'brokersGone', gone: [1], electable: [2] })
  assert.equal(replicas.leader.broker, 2)
  const more = group(['stream-1=new', 'early=3'], { wantVersions: true })
  assert.deepEqual((await replicas.leader.partition.append(more)).versions, [Math.ceil((50 - 1) / streams), 2])
  assert.deepEqual(replicas.bugs, [])
})

test('takeover: none is needed where the records before the start are there still: the start comes behind them', async () => {
  await using replicas = await ReplicaGroup.start([1, 2], 1, undefined, { topicSettings: smallSegments })
  const { leader } = replicas
  await append(leader, 0, 5)
  await leader.partition.deleteRecords(3)
  await replicas.kill(2)
  await replicas.untilInSync([1])
  const follower = await openEmpty(replicas, 2)
  await untilLike(follower, leader)
  assert.equal(follower.partition.log.logStartOffset, 0)
  await replicas.apply()
  assert.deepEqual(await shown(follower.partition.log), await shown(leader.partition.log))
  assert.equal(follower.partition.log.logStartOffset, 3)
  assert.equal(follower.fetcher?.stats.takeovers, 0)
})

test('takeover: everything was deleted, and the replica goes on behind it', async () => {
  await using replicas = await ReplicaGroup.start([1, 2], 1, undefined, { topicSettings: smallSegments })
  const { leader } = replicas
  await append(leader, 0, 25)
  await leader.partition.log.files.roll()
  await leader.partition.deleteRecords(25)
  await sealed(leader.partition.log)
  await leader.partition.log.retention.letGo()
  assert.equal(leader.partition.log.segmentCount, 1)
  await replicas.kill(2)
  await replicas.untilInSync([1])
  const follower = await openEmpty(replicas, 2)
  await until(() => follower.partition.log.logEndOffset === 25)
  await append(leader, 25, 30)
  await untilLike(follower, leader)
  assert.deepEqual(await shown(follower.partition.log), await shown(leader.partition.log))
  assert.equal(follower.partition.log.streamInfo('stream-0', 30).lastVersion, 4)
})

test('takeover: a replica that was away while its leader compacted counts the same versions, and keeps them after its own compaction', async () => {
  await using replicas = await ReplicaGroup.start([1, 2], 1, undefined, { topicSettings: compacted })
  await append(replicas.leader, 0, 15)
  await untilLike(replicas.replicas.get(2)!, replicas.leader)
  await replicas.kill(2)
  await replicas.untilInSync([1])
  await append(replicas.leader, 15, 60)
  const leader = await leadsAgain(replicas, 1) // and has heard of nobody since
  await compact(leader)
  assert.ok(leader.partition.log.stats.removedRecords > 30)
  const follower = await replicas.open(2)
  await replicas.apply()
  await append(leader, 60, 70)
  await untilLike(follower, leader)
  assert.equal(follower.fetcher?.stats.takeovers, 1)
  assert.deepEqual(await shown(follower.partition.log), await shown(leader.partition.log))
  await compact(follower)
  await compact(leader)
  assert.deepEqual(await shown(follower.partition.log), await shown(leader.partition.log))
  assert.deepEqual(replicas.bugs, [])
})

test('takeover: nothing is rewritten that a replica which is heard of has not got to, nor anything that is not committed', async () => {
  await using replicas = await ReplicaGroup.start([1, 2], 1, undefined, { topicSettings: compacted })
  const { leader } = replicas
  await append(leader, 0, 15)
  const follower = replicas.replicas.get(2)!
  await untilLike(follower, leader)
  follower.isCut = true
  await replicas.untilInSync([1])
  await append(leader, 15, 60)
  await compact(leader)
  assert.equal(rewritten(leader), 10)
  follower.isCut = false
  await untilLike(follower, leader)
  assert.equal(follower.fetcher?.stats.takeovers, 0)
  for (const each of [leader, follower]) await compact(each)
  assert.equal(rewritten(leader), 60)
  assert.deepEqual(await shown(follower.partition.log), await shown(leader.partition.log))
})

test('takeover: files that change while they are copied are copied again, a kill in between leaves the old log', async () => {
  await using replicas = await ReplicaGroup.start([1, 2], 1, undefined, { topicSettings: smallSegments })
  const { leader } = replicas
  await append(leader, 0, 45)
  await leader.partition.deleteRecords(11)
  await leader.partition.log.retention.letGo()
  await replicas.kill(2)
  await replicas.untilInSync([1])
  let asked = 0
  let killed: Promise<void> | undefined
  replicas.onFile = async () => {
    asked++
    if (asked === 3) await leader.partition.deleteRecords(25)
    if (asked === 4) await leader.partition.log.retention.letGo()
    if (asked === 9) killed = replicas.kill(2)
  }
  await openEmpty(replicas, 2)
  await until(() => killed !== undefined)
  await killed
  replicas.onFile = () => Promise.resolve()
  const again = await replicas.open(2)
  assert.equal(again.partition.log.logEndOffset, 0)
  await replicas.apply()
  await untilLike(again, leader)
  assert.deepEqual(await shown(again.partition.log), await shown(leader.partition.log))
  assert.deepEqual(replicas.bugs, [])
})

test('takeover: a start that was agreed on holds for the next leader, who had not heard of it', async () => {
  await using replicas = await ReplicaGroup.start([1, 2], 1, undefined, { topicSettings: smallSegments })
  await append(replicas.leader, 0, 5)
  const follower = replicas.replicas.get(2)!
  await untilLike(follower, replicas.leader)
  await replicas.leader.partition.deleteRecords(4)
  assert.equal(follower.partition.log.logStartOffset, 0)
  await replicas.kill(1)
  await replicas.happen({ kind: 'brokersGone', gone: [1], electable: [2] })
  assert.equal(replicas.leader.partition.log.logStartOffset, 4)
})

test('takeover: nothing that is not committed is compacted, nor removed by retention', async () => {
  const both = { ...compacted, 'cleanup.policy': 'compact,delete', 'retention.bytes': '1' }
  await using replicas = await ReplicaGroup.start([1, 2], 2, undefined, { topicSettings: both })
  const { leader } = replicas
  await append(leader, 0, 15)
  const follower = replicas.replicas.get(2)!
  await untilLike(follower, leader)
  follower.isCut = true
  for (let event = 15; event < 60; event++)
    await leader.partition.append(group([`stream-${event % streams}=${event}:${big}`], { acks: 'leader' }))
  await compact(leader)
  assert.ok(rewritten(leader) <= 15)
  await leader.partition.log.retention.enforce()
  assert.ok(leader.partition.log.logStartOffset <= 15)
  assert.equal((await replicas.seen()).state.startOffset, leader.partition.log.logStartOffset)
})

test('takeover: where an operator gives data up, what a replica had compacted beyond is taken over from the new leader', async () => {
  await using replicas = await ReplicaGroup.start([1, 2], 1, undefined, { topicSettings: compacted })
  await append(replicas.leader, 0, 25)
  await untilLike(replicas.replicas.get(2)!, replicas.leader)
  await replicas.kill(2)
  await replicas.untilInSync([1])
  await append(replicas.leader, 25, 60)
  const before = await leadsAgain(replicas, 1)
  await compact(before)
  assert.ok(rewritten(before) > 25)
  await replicas.kill(1)
  await replicas.happen({ kind: 'brokersGone', gone: [1], electable: [] })
  await replicas.open(2)
  await replicas.happen({ kind: 'recoverUnclean', leader: 2 })
  const { leader } = replicas
  await append(leader, 60, 70)
  const back = await replicas.open(1)
  await replicas.apply()
  await untilLike(back, leader)
  assert.deepEqual(await shown(back.partition.log), await shown(leader.partition.log))
  assert.equal(back.fetcher?.stats.takeovers, 1)
  assert.deepEqual(replicas.bugs, [])
})
