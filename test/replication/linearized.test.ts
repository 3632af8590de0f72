/**
 * Linearizable reads of one partition on three brokers: a leader that others have replaced, and does not know it, must not answer them. Real logs and
 * fetchers, a call in place of the network (ReplicaGroup).
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../platform/clock.ts'
import { isPlayheadError } from '../../protocol/errors.ts'
import { group, until } from '../storage/store-under-test.ts'
import { ReplicaGroup } from './replica-group.ts'

const brokers = [1, 2, 3]

/** Brokers 2 and 3 have agreed that 2 leads, and committed `a=2` without broker 1, which has not heard of it. */
async function replacedUnheard(replicas: ReplicaGroup): Promise<void> {
  await replicas.leader.partition.append(group(['a=1']))
  await replicas.change({ kind: 'brokersGone', gone: [1], electable: [2, 3] })
  const seen = await replicas.seen()
  assert.equal(seen.state.leader, 2)
  for (const broker of [2, 3]) await replicas.tell(replicas.replicas.get(broker)!, seen)
  await replicas.replicas.get(2)!.partition.append(group(['a=2']))
}

test('linearized: a leader answers after one word of all others in sync, and then its high watermark has all that was acknowledged', async () => {
  await using replicas = await ReplicaGroup.start(brokers, 2)
  const { partition } = replicas.leader
  const { endOffset } = await partition.append(group(['a=1']))
  await Promise.all(Array.from({ length: 50 }, () => partition.linearized()))
  assert.ok(partition.highWatermark >= endOffset)
  assert.equal(partition.waiting, 0)
})

test('linearized: a leader that was replaced and does not know it cannot confirm, and says so in time', async () => {
  await using replicas = await ReplicaGroup.start(brokers, 2)
  await replacedUnheard(replicas)
  const { partition } = replicas.replicas.get(1)!
  assert.equal(
    (await partition.read(0, 10_000)).highWatermark,
    1,
    'what is only committed it does answer, and lacks what came since',
  )
  await assert.rejects(partition.linearized(), (error: unknown) => {
    assert.ok(isPlayheadError(error, 'timedOut'))
    return error.retriable && error.details['leaderEpoch'] === 1
  })
})

test('linearized: who waits for the word of others when this broker hears that it leads no more is told at once', async () => {
  await using replicas = await ReplicaGroup.start(brokers, 2)
  await replacedUnheard(replicas)
  const old = replicas.replicas.get(1)!
  const startedMs = systemClock.monotonicMs()
  const told = assert.rejects(old.partition.linearized(), (error: unknown) => {
    return isPlayheadError(error, 'notLeader') && error.details['leader'] === 2
  })
  await systemClock.yield()
  await replicas.tell(old, await replicas.seen())
  await told
  assert.ok(systemClock.monotonicMs() - startedMs < 2_000)
  await replicas.leader.partition.linearized()
})

test('linearized: who does not answer is waited for until it is in sync no more', async () => {
  await using replicas = await ReplicaGroup.start(brokers, 2)
  const { partition } = replicas.leader
  await partition.append(group(['a=1']))
  await partition.linearized()
  replicas.replicas.get(3)!.isCut = true
  let isDone = false
  const read = partition.linearized().then(() => (isDone = true))
  for (let turn = 0; turn < 50; turn++) await systemClock.yield()
  assert.equal(isDone, false, 'broker 3 may lead by now, as far as this one knows')
  await replicas.untilInSync([1, 2])
  await read
})

test('linearized: a leader that has just begun waits until it knows what those before it have told', async () => {
  await using replicas = await ReplicaGroup.start(brokers, 2)
  await replicas.leader.partition.append(group(['a=1', 'a=2']))
  await until(() => [...replicas.replicas.values()].every(({ partition }) => partition.log.durableOffset === 2))
  for (const broker of brokers) await replicas.kill(broker)
  const { partition } = await replicas.open(2)
  await replicas.happen({ kind: 'brokersGone', gone: [1, 3], electable: [2] })
  assert.equal(partition.leading?.isSettled, false)
  let isDone = false
  const read = partition.linearized().then(() => (isDone = true))
  for (let turn = 0; turn < 20; turn++) await systemClock.yield()
  assert.equal(isDone, false)
  await replicas.open(3)
  await replicas.apply()
  await replicas.untilInSync([2, 3])
  await read
  assert.equal(partition.highWatermark, 2)
})

test('linearized: a broker that does not lead answers notLeader, also to who wants to read its own writes or know where something ends', async () => {
  await using replicas = await ReplicaGroup.start(brokers, 2)
  const { partition } = replicas.leader
  const { endOffset } = await partition.append(group(['a=1']))
  const { partition: follower } = replicas.replicas.get(2)!
  await until(() => follower.highWatermark === endOffset)
  const { topicId } = follower
  await assert.rejects(follower.linearized(), { code: 'notLeader' })
  await assert.rejects(follower.settled(), { code: 'notLeader' })
  await assert.rejects(follower.reach({ topicId, partition: 0, endOffset }, 5_000), { code: 'notLeader' })
  // A leader replaced while somebody waits there tells at once, and does not let him wait for what it will not commit.
  const startedMs = systemClock.monotonicMs()
  const waiting = assert.rejects(partition.reach({ topicId, partition: 0, endOffset: 99 }, 60_000), {
    code: 'notLeader',
  })
  const parked = partition.waitForHighWatermark(99, 60_000)
  await replicas.happen({ kind: 'elect', leader: 2, electable: brokers })
  await waiting
  assert.equal(await parked, false)
  assert.ok(systemClock.monotonicMs() - startedMs < 10_000)
})
