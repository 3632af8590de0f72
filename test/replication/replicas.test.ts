/**
 * One partition on three brokers: what is acknowledged is on the disks of all that are in sync; whoever leads next has it; who comes back cuts off
 * what nobody else has. Real logs and real fetchers, a call in place of the network (ReplicaGroup).
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../platform/clock.ts'
import { isPlayheadError } from '../../protocol/errors.ts'
import { metadataKeys } from '../../replication/metadata-keys.ts'
import { eventsOf, recordsOf } from '../storage/log-contents.ts'
import { SeededRandom } from '../storage/seeded-random.ts'
import { group, until } from '../storage/store-under-test.ts'
import { ReplicaGroup } from './replica-group.ts'

const brokers = [1, 2, 3]

async function untilSame(replicas: ReplicaGroup): Promise<void> {
  const { log } = replicas.leader.partition
  await until(() =>
    [...replicas.replicas.values()].every(({ partition }) => partition.log.durableOffset === log.logEndOffset),
  )
}

test('replicas (3, isrMin 2): an append is acknowledged once all in sync have it on disk, and all have the same', async () => {
  await using replicas = await ReplicaGroup.start(brokers, 2)
  const { partition } = replicas.leader
  for (let count = 0; count < 50; count++) {
    const { endOffset } = await partition.append(group([`a=${count}`, `b=${count}`]))
    for (const { partition: each } of replicas.replicas.values()) assert.ok(each.log.durableOffset >= endOffset)
  }
  const wanted = await recordsOf(partition.log)
  assert.equal(wanted.length, 100)
  for (const { partition: each } of replicas.replicas.values()) {
    assert.deepEqual(await recordsOf(each.log), wanted)
    assert.deepEqual(await eventsOf(each.log, 'a'), await eventsOf(partition.log, 'a'))
  }
})

test('replicas: followers refuse appends and reads by name, and know the high watermark soon', async () => {
  await using replicas = await ReplicaGroup.start(brokers, 2)
  const { endOffset } = await replicas.leader.partition.append(group(['a=1']))
  const follower = replicas.replicas.get(2)!.partition
  await assert.rejects(follower.append(group(['a=2'])), (error: unknown) => {
    assert.ok(isPlayheadError(error, 'notLeader'))
    return error.details['leader'] === 1 && error.details['leaderEpoch'] === 1
  })
  assert.throws(() => follower.checkLeads(), { code: 'notLeader' })
  await until(() => follower.highWatermark === endOffset)
})

test('replicas: with a follower cut off nothing is acknowledged until it is out of sync; without enough of them appends are refused', async () => {
  await using replicas = await ReplicaGroup.start(brokers, 2)
  const { partition } = replicas.leader
  await partition.append(group(['a=1']))
  replicas.replicas.get(3)!.isCut = true
  const waiting = partition.append(group(['a=2']))
  await until(() => replicas.replicas.get(2)!.partition.log.durableOffset === 2)
  assert.equal(partition.highWatermark, 1, 'broker 3 is in sync as far as anybody knows, and lacks it')
  await replicas.untilInSync([1, 2])
  assert.equal((await waiting).endOffset, 2)
  replicas.replicas.get(2)!.isCut = true
  const unknown = partition.append(group(['a=3']))
  unknown.catch(() => undefined)
  await replicas.untilInSync([1])
  await assert.rejects(partition.append(group(['a=4'])), { code: 'notEnoughReplicas' })
  assert.equal(partition.highWatermark, 2)
  assert.deepEqual((await replicas.seen()).state.elr, [2], 'it has all that is committed')
  replicas.replicas.get(2)!.isCut = false
  await replicas.untilInSync([1, 2])
  assert.equal((await unknown).endOffset, 3)
  replicas.replicas.get(3)!.isCut = false
  await replicas.untilInSync(brokers)
  await untilSame(replicas)
})

test('replicas: a leader that is cut off refuses at once what nobody would take, and says what the log holds only when it is sure to lead', async () => {
  await using replicas = await ReplicaGroup.start(brokers, 2)
  const { leader } = replicas
  await leader.partition.append(group(['a=1']))
  leader.isCut = true
  const damaged = group(['a=2'])
  damaged.batch[damaged.batch.length - 1]! ^= 1
  await assert.rejects(leader.partition.append(damaged), { code: 'invalidBatch' })
  const conflict = leader.partition.append(group(['a=x'], { expected: [{ stream: 'a', version: 3 }] }))
  await assert.rejects(conflict, { code: 'notLeader' })
})

test('replicas: a leader that is cut off acknowledges nothing more; the next one has all that was; the first cuts off what it had alone', async () => {
  await using replicas = await ReplicaGroup.start(brokers, 2)
  const old = replicas.leader
  for (let count = 0; count < 10; count++) await old.partition.append(group([`a=${count}`]))
  old.isCut = true
  const lost = old.partition.append(group(['a=alone']))
  const conflict = old.partition.append(group(['a=x'], { expected: [{ stream: 'a', version: 3 }] }))
  const outcomes = Promise.allSettled([lost, conflict])
  await until(() => old.partition.log.durableOffset === 11)
  await replicas.happen({ kind: 'brokersGone', gone: [1], electable: [2, 3] })
  const { leader } = replicas
  assert.notEqual(leader.broker, 1)
  const { versions } = await leader.partition.append(group(['a=after'], { wantVersions: true }))
  assert.deepEqual(versions, [10], 'nothing of the old leader is counted')
  for (const outcome of await outcomes) {
    assert.ok(outcome.status === 'rejected' && isPlayheadError(outcome.reason, 'notLeader'), JSON.stringify(outcome))
  }
  old.isCut = false
  await replicas.untilInSync(brokers)
  await untilSame(replicas)
  assert.equal(old.fetcher?.stats.truncations, 1)
  await assert.rejects(old.partition.append(group(['a=mine'])), { code: 'notLeader' }, 'nor does the log that was cut')
  assert.deepEqual(await recordsOf(old.partition.log), await recordsOf(leader.partition.log))
  assert.deepEqual(await eventsOf(old.partition.log, 'a'), await eventsOf(leader.partition.log, 'a'))
})

test('replicas: a retry at the next leader is answered with the offset and versions of the first time', async () => {
  await using replicas = await ReplicaGroup.start(brokers, 2)
  const batchOptions = { producerId: 9, producerEpoch: 0, baseSequence: 5 }
  const first = await replicas.leader.partition.append(group(['a=1', 'a=2'], { batchOptions, wantVersions: true }))
  await replicas.happen({ kind: 'elect', leader: 3, electable: brokers })
  assert.equal(replicas.leader.broker, 3)
  const again = await replicas.leader.partition.append(group(['a=1', 'a=2'], { batchOptions, wantVersions: true }))
  assert.deepEqual(again, { ...first, duplicate: true })
})

test('replicas: a broker that comes back with an empty disk is filled again while appends go on', async () => {
  await using replicas = await ReplicaGroup.start(brokers, 2)
  const { partition } = replicas.leader
  for (let count = 0; count < 40; count++) await partition.append(group([`a=${count}`, `b=${'x'.repeat(20_000)}`]))
  await replicas.kill(3)
  await replicas.happen({ kind: 'brokersGone', gone: [3], electable: [1, 2] })
  replicas.disks.delete(3)
  await replicas.open(3)
  await replicas.apply()
  for (let count = 0; count < 40; count++) await partition.append(group([`a=more ${count}`]))
  await replicas.untilInSync(brokers)
  await untilSame(replicas)
  assert.deepEqual(await recordsOf(replicas.replicas.get(3)!.partition.log), await recordsOf(partition.log))
})

test('replicas: a leader that prepares to leave takes nothing more, and is done when all that it took is on every disk; leading anew it goes on', async () => {
  await using replicas = await ReplicaGroup.start(brokers, 2)
  const { partition } = replicas.leader
  await partition.prepareToLeave() // with nothing under way
  await replicas.happen({ kind: 'elect', leader: 2, electable: brokers })
  const second = replicas.leader.partition
  const appends = Array.from({ length: 20 }, (_, count) =>
    second.append(group([`a=${count}`], { acks: count % 2 === 0 ? 'all' : 'leader' })),
  )
  const prepared = second.prepareToLeave()
  await assert.rejects(second.append(group(['a=late'])), (error: unknown) => {
    // It has surely not been taken: that may be sent again without a question.
    return isPlayheadError(error, 'notLeader') && error.details['outcome'] === undefined
  })
  await prepared
  for (const { partition: each } of replicas.replicas.values()) assert.equal(each.log.durableOffset, 20)
  assert.equal((await Promise.all(appends)).length, 20)
  await replicas.happen({ kind: 'elect', leader: 1, electable: brokers })
  assert.equal((await partition.append(group(['a=after']))).endOffset, 21)
})

test('replicas: a broker that is gone and had everything does not keep others from being let in (quiet partition)', async () => {
  await using replicas = await ReplicaGroup.start(brokers, 1)
  await replicas.leader.partition.append(group(['a=1']))
  await untilSame(replicas)
  for (const gone of [2, 3]) {
    await replicas.kill(gone)
    const key = metadataKeys.session(gone)
    await replicas.metadata.transact({ compares: [], changes: [{ kind: 'delete', key }] })
  }
  await replicas.happen({ kind: 'brokersGone', gone: [2, 3], electable: [1] })
  await replicas.open(3)
  await replicas.apply()
  await replicas.untilInSync([1, 3])
})

test('replicas: after an unclean recovery brokers that ran on cut off what was committed before it, for that and for nothing else', async () => {
  await using replicas = await ReplicaGroup.start(brokers, 1)
  for (let count = 0; count < 5; count++) await replicas.leader.partition.append(group([`a=${count}`]))
  replicas.replicas.get(3)!.isCut = true
  const waiting = replicas.leader.partition.append(group(['a=given up']))
  await replicas.untilInSync([1, 2])
  await waiting
  await until(() => replicas.replicas.get(2)!.partition.highWatermark === 6)
  await replicas.happen({ kind: 'brokersGone', gone: [1, 2], electable: [] })
  await replicas.happen({ kind: 'recoverUnclean', leader: 3 })
  replicas.replicas.get(3)!.isCut = false
  const { leader } = replicas
  assert.equal(leader.broker, 3)
  await leader.partition.append(group(['a=instead']))
  await replicas.untilInSync(brokers)
  await untilSame(replicas)
  assert.deepEqual(replicas.bugs, [])
  const wanted = await recordsOf(leader.partition.log)
  assert.equal(wanted.length, 6)
  for (const { partition } of replicas.replicas.values()) assert.deepEqual(await recordsOf(partition.log), wanted)
})

const seed = Number(process.env['PLAYHEAD_TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const rounds = Number(process.env['PLAYHEAD_TEST_RUNS'] ?? 25)

test(`replicas: leaders change, brokers are cut off, killed and wiped at random under load, answers of the store lost: what was acknowledged is there once, in order (${rounds} rounds, seed ${seed})`, async () => {
  const random = new SeededRandom(seed)
  await using replicas = await ReplicaGroup.start(brokers, 2, new SeededRandom(seed + 1))
  const acknowledged = new Map<number, string>()
  let sequence = 0
  const end = new AbortController()
  const load = async (): Promise<void> => {
    while (!end.signal.aborted) {
      const [text, baseSequence] = [`${random.pick(['a', 'b'])}=${sequence}`, sequence]
      for (let isDone = false; !isDone && !end.signal.aborted; ) {
        const leader = [...replicas.replicas.values()].find(({ partition }) => partition.leading !== undefined)
        try {
          const batchOptions = { producerId: 1, producerEpoch: 0, baseSequence }
          const { baseOffset } = await leader!.partition.append(group([text], { batchOptions }))
          assert.equal(acknowledged.get(baseOffset), undefined, 'one record at an offset')
          acknowledged.set(baseOffset, text)
          isDone = true
        } catch (error) {
          if (error instanceof TypeError || isPlayheadError(error)) await systemClock.yield()
          else throw error
        }
      }
      sequence++
      await systemClock.yield() // disks and calls answer at once here: nobody else would have a turn
    }
  }
  const loading = load()
  for (let round = 0; round < rounds; round++) await disturb(replicas, random)
  end.abort()
  for (const replica of replicas.replicas.values()) replica.isCut = false
  const { leader } = (await replicas.seen()).state
  if (leader === null) await replicas.happen({ kind: 'electAny', electable: brokers })
  await replicas.untilInSync(brokers)
  await loading
  await untilSame(replicas)
  assert.deepEqual(replicas.bugs, [])
  assert.ok(acknowledged.size > 0)
  for (const { partition } of replicas.replicas.values()) {
    const records = await recordsOf(partition.log)
    for (const [offset, text] of acknowledged) assert.equal(records[offset], text, `offset ${offset}`)
    assert.equal(new Set(records).size, records.length, 'nothing twice')
    assert.deepEqual(await eventsOf(partition.log, 'a'), await eventsOf(replicas.leader.partition.log, 'a'))
  }
})

/** One thing goes wrong, is noticed, and is made good. */
async function disturb(replicas: ReplicaGroup, random: SeededRandom): Promise<void> {
  assert.deepEqual(replicas.bugs, [])
  const victim = random.pick(brokers)
  const others = brokers.filter((broker) => broker !== victim)
  const what = random.below(4)
  const pause = async (turnsMax: number) => {
    for (let turns = random.below(turnsMax); turns > 0; turns--) await systemClock.yield()
  }
  await pause(50)
  if (what === 0) await replicas.happen({ kind: 'elect', leader: victim, electable: brokers })
  else {
    const wasIn = (await replicas.seen()).state.isr
    if (what === 1) replicas.replicas.get(victim)!.isCut = true
    else await replicas.kill(victim)
    await pause(50)
    // Who was only cut off may come back unnoticed; a registration that has ended is always noticed.
    if (what > 1 || wasIn.some((broker) => broker !== victim)) {
      await replicas.happen({ kind: 'brokersGone', gone: [victim], electable: others })
    }
    await pause(50)
    const { isr, elr, leader } = (await replicas.seen()).state
    const isNeeded = [...isr, ...elr].includes(victim)
    if (what === 3 && !isNeeded) replicas.disks.delete(victim)
    if (what === 1) replicas.replicas.get(victim)!.isCut = false
    else await replicas.open(victim)
    await replicas.apply()
    if (leader === null) await replicas.happen({ kind: 'electAny', electable: brokers })
  }
  if (random.below(3) > 0) await replicas.untilInSync(brokers)
}

test('replicas: a new leader that does not know yet what is committed says nowhere that a stream ends', async () => {
  await using replicas = await ReplicaGroup.start(brokers, 2)
  await replicas.leader.partition.append(group(['a=1', 'a=2']))
  await untilSame(replicas)
  for (const broker of brokers) await replicas.kill(broker)
  const { partition } = await replicas.open(2)
  await replicas.happen({ kind: 'brokersGone', gone: [1, 3], electable: [2] })
  assert.equal(partition.leading?.isSettled, false)
  let answered = 0
  const reads = [false, true].map(async (backwards) => {
    const { records } = await partition.readStream({ stream: 'a', limit: 10, backwards, maxBytes: 10_000 })
    answered++
    return records.length
  })
  for (let turn = 0; turn < 20; turn++) await systemClock.yield()
  assert.equal(answered, 0)
  await replicas.open(3)
  await replicas.apply()
  await replicas.untilInSync([2, 3])
  assert.deepEqual(await Promise.all(reads), [2, 2])
  await partition.settled()
})

test('replicas: a refusal by version is told only once all who could lead instead have said that they do not', async () => {
  await using replicas = await ReplicaGroup.start(brokers, 2)
  const { partition } = replicas.leader
  await partition.append(group(['a=1']))
  await until(() => [...replicas.replicas.values()].every(({ fetcher }) => (fetcher?.stats.fetches ?? 1) > 0))
  replicas.replicas.get(3)!.isCut = true
  let isTold = false
  const refused = partition.append({ ...group(['a=2']), expected: [{ stream: 'a', version: 7 }] })
  const told = refused.then(
    () => assert.fail('written'),
    (error: unknown) => {
      isTold = true
      return error
    },
  )
  for (let turn = 0; turn < 50; turn++) await systemClock.yield()
  assert.equal(isTold, false, 'broker 3 may lead by now, as far as this one knows')
  replicas.replicas.get(3)!.isCut = false
  assert.ok(isPlayheadError(await told, 'wrongExpectedVersion'))
})

test('replicas: a leader that leads again without having heard of who led meanwhile leaves nobody waiting, and begins its epoch where it says', async () => {
  await using replicas = await ReplicaGroup.start(brokers, 2)
  const { leader } = replicas
  const { partition } = leader
  await partition.append(group(['a=0']))
  const followers = [2, 3].map((broker) => replicas.replicas.get(broker)!)
  for (const follower of followers) follower.isCut = true
  const waiting = partition.append(group(['a=1'])).then(
    () => assert.fail('acknowledged by one of three'),
    (error: unknown) => error,
  )
  await until(() => partition.log.durableOffset === 2)
  for (const next of [2, 1]) await replicas.change({ kind: 'elect', leader: next, electable: brokers })
  const applying = replicas.apply()
  // What comes while the epoch begins is refused, or stands behind its beginning.
  const meanwhile = Array.from({ length: 20 }, () =>
    partition.append(group(['b=1'])).catch((error: unknown) => assert.ok(isPlayheadError(error, 'notLeader'))),
  )
  const error = await waiting
  assert.ok(isPlayheadError(error, 'notLeader') && error.details['outcome'] === 'unknown')
  await applying
  for (const follower of followers) follower.isCut = false
  await Promise.all(meanwhile)
  await partition.append(group(['c=1']))
  await untilSame(replicas)
  const { starts } = partition.log.replica.epochs
  assert.deepEqual(
    starts.map(({ epoch }) => epoch),
    [1, 3],
  )
  for (const follower of followers) assert.deepEqual(follower.partition.log.replica.epochs.starts, starts)
})
