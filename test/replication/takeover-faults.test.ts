/** Takeovers that must not count, must not be needed, or find something wrong. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sleep, systemClock } from '../../platform/clock.ts'
import { encodeRecordBatch } from '../../protocol/record-batch.ts'
import type { AppendGroup } from '../../storage/log.ts'
import { MemoryFileSystem } from '../storage/memory-file-system.ts'
import { group, sealed, StoreUnderTest, until } from '../storage/store-under-test.ts'
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
  startTrimmed,
  untilLike,
} from './cleaned-replicas.ts'
import { ReplicaGroup, topicId } from './replica-group.ts'

/** The end of a stream, which does not stay. */
function tombstone(stream: string): AppendGroup {
  const batch = encodeRecordBatch([{ key: stream, value: null, timestamp: 5 }])
  return { batch, expected: [], wantVersions: false, acks: 'all' }
}

const forgetful = { ...compacted, 'delete.retention.ms': '0' }

test('takeover: a replica that has something else counts for nothing until it has taken over (an operator gave data up)', async () => {
  await using replicas = await ReplicaGroup.start([1, 2], 1, undefined, { topicSettings: compacted })
  await append(replicas.leader, 0, 25)
  await untilLike(replicas.replicas.get(2)!, replicas.leader)
  await replicas.kill(2)
  await replicas.untilInSync([1])
  await append(replicas.leader, 25, 60)
  await compact(await leadsAgain(replicas, 1))
  await replicas.kill(1)
  await replicas.happen({ kind: 'brokersGone', gone: [1], electable: [] })
  await replicas.open(2)
  await replicas.happen({ kind: 'recoverUnclean', leader: 2 })
  const { leader } = replicas
  await append(leader, 60, 62)
  const held = Promise.withResolvers<void>()
  let asked = 0
  replicas.onFile = () => {
    asked++
    return held.promise
  }
  await replicas.open(1)
  await replicas.apply()
  await until(() => asked > 0)
  for (let looks = 0; looks < 20; looks++) await replicas.lookAll()
  const { isr } = (await replicas.seen()).state
  held.resolve()
  assert.deepEqual(isr, [2])
  await replicas.untilInSync([2, 1])
})

test('takeover: none is needed by a replica that has compacted the last records of an epoch away and is started again', async () => {
  await using replicas = await ReplicaGroup.start([1, 2], 1, undefined, { topicSettings: forgetful })
  await append(replicas.leader, 0, 25)
  await untilLike(replicas.replicas.get(2)!, replicas.leader)
  await replicas.happen({ kind: 'elect', leader: 2, electable: [1, 2] })
  const { leader } = replicas
  await leader.partition.append(tombstone('stream-1'))
  const one = replicas.replicas.get(1)!
  await untilLike(one, leader)
  await until(async () => {
    await compact(one)
    return one.partition.log.stats.removedRecords > 18
  })
  assert.equal(rewritten(one), 26)
  await replicas.kill(1)
  const again = await replicas.open(1)
  await replicas.apply()
  await append(leader, 26, 28)
  await untilLike(again, leader)
  assert.equal(again.fetcher?.stats.takeovers, 0)
  assert.deepEqual(replicas.bugs, [])
})

test('takeover: one is enough where the last records of an epoch were compacted away', async () => {
  await using replicas = await ReplicaGroup.start([1, 2], 1, undefined, { topicSettings: forgetful })
  await append(replicas.leader, 0, 25)
  await untilLike(replicas.replicas.get(2)!, replicas.leader)
  await replicas.kill(2)
  await replicas.untilInSync([1])
  const leader = await leadsAgain(replicas, 1)
  await leader.partition.append(tombstone('stream-1'))
  await until(async () => {
    await compact(leader)
    return leader.partition.log.stats.removedRecords === 20 // of 26 over seven streams, the tombstone too
  })
  const follower = await openEmpty(replicas, 2)
  await untilLike(follower, leader)
  await append(leader, 26, 34) // after which the tombstone is in no memory either
  await untilLike(follower, leader)
  assert.equal(follower.fetcher?.stats.takeovers, 1)
  assert.deepEqual(await shown(follower.partition.log), await shown(leader.partition.log))
})

test('takeover: a disk without room refuses it, and takes it once there is room', async () => {
  await using replicas = await startTrimmed()
  const { leader } = replicas
  const disk = new MemoryFileSystem()
  let isFull = true
  const open = disk.open.bind(disk)
  disk.open = async (path, mode) => {
    const file = await open(path, mode)
    const write = file.write.bind(file)
    const noRoom = () => Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' })
    file.write = (parts, position) =>
      isFull && path.includes('/incoming-') ? Promise.reject(noRoom()) : write(parts, position)
    return file
  }
  replicas.disks.set(2, disk)
  const follower = await replicas.open(2)
  await replicas.apply()
  await until(() => replicas.said.some((line) => line.includes('no space left')))
  isFull = false
  await untilLike(follower, leader)
  assert.deepEqual(replicas.bugs, [])
})

test('takeover: last versions with a bad byte at the leader are not taken, and the log from before stays', async () => {
  await using replicas = await startTrimmed()
  const disk = replicas.disks.get(1) as MemoryFileSystem
  disk.bytes(disk.paths.find((each) => each.endsWith('.heads'))!)[90]! ^= 1
  await openEmpty(replicas, 2)
  await until(() => replicas.said.some((line) => line.includes('.heads')))
  await replicas.kill(2)
  const again = await replicas.open(2)
  assert.equal(again.partition.log.logEndOffset, 0)
  assert.deepEqual(replicas.bugs, [])
})

test('takeover: behind data that was given up nothing counts as committed that the new leader has not said', async () => {
  await using replicas = await ReplicaGroup.start([1, 2], 1, undefined, { topicSettings: smallSegments })
  await append(replicas.leader, 0, 25)
  await untilLike(replicas.replicas.get(2)!, replicas.leader)
  await replicas.kill(2)
  await replicas.untilInSync([1])
  await append(replicas.leader, 25, 60)
  await replicas.leader.partition.deleteRecords(55)
  await replicas.kill(1)
  await replicas.happen({ kind: 'brokersGone', gone: [1], electable: [] })
  await replicas.open(2)
  await replicas.happen({ kind: 'recoverUnclean', leader: 2 })
  const { leader } = replicas
  await replicas.happen({ kind: 'setIsrMin', isrMin: 2 }) // nothing is committed with one in sync
  for (let event = 60; event < 70; event++)
    await leader.partition.append(group([`stream-1=${event}:${big}`], { acks: 'leader' }))
  const back = await replicas.open(1)
  await replicas.apply()
  await until(() => back.partition.log.logEndOffset === leader.partition.log.logEndOffset)
  assert.ok(back.partition.highWatermark <= leader.partition.highWatermark)
})

test('takeover: of a leader that was replaced and does not know it, no start is moved, nor is that of the next one taken', async () => {
  await using replicas = await ReplicaGroup.start([1, 2], 1, undefined, { topicSettings: smallSegments })
  await append(replicas.leader, 0, 25)
  const [one, two] = [replicas.replicas.get(1)!, replicas.replicas.get(2)!]
  await untilLike(two, one)
  one.isCut = true
  await replicas.change({ kind: 'brokersGone', gone: [1], electable: [2] })
  await replicas.tell(two, await replicas.seen())
  await append(two, 25, 60)
  await two.partition.deleteRecords(55)
  await assert.rejects(one.partition.deleteRecords(10), { code: 'notLeader' })
  assert.equal(one.partition.log.logStartOffset, 0)
})

test('cleaning: a broker of a cluster removes nothing before it knows what it has part in', async () => {
  const settings = { ...smallSegments, 'retention.bytes': '1' }
  await using replicas = await ReplicaGroup.start([1, 2], 1, undefined, { topicSettings: settings })
  await append(replicas.leader, 0, 45)
  await untilLike(replicas.replicas.get(2)!, replicas.leader)
  await replicas.kill(2)
  const fileSystem = replicas.disks.get(2)!
  await using store = await StoreUnderTest.open('/data', { fileSystem, isReplicated: true })
  const log = store.store.log('carts', 0)
  await log.retention.enforce()
  await sleep(systemClock, 1)
  assert.equal(log.logStartOffset, 0)
  assert.equal(log.compaction.isDue, false)
})

test('takeover: files of two leaders with the same bounds and sizes are not mixed', async () => {
  const facts = { id: topicId, name: 'carts', partitions: 1, replicationFactor: 2, internal: false }
  const open = async () => {
    const store = await StoreUnderTest.open('/data', { fileSystem: new MemoryFileSystem() })
    await store.store.adoptTopic({ ...facts, settings: smallSegments })
    return store
  }
  await using a = await open()
  await using b = await open()
  await using c = await open()
  const gather = async (to: StoreUnderTest, from: StoreUnderTest) => {
    const { shared } = from.store.log('carts', 0).files
    const incoming = to.store.incomingLog('carts', 0)
    const snapshot = await shared.snapshot()
    for (const segment of await incoming.missing(snapshot))
      await incoming.receiveSegment(
        segment,
        (kind) => (position) => shared.read(kind, segment.baseOffset, position, 1 << 20),
      )
    return { incoming, snapshot }
  }
  const put = async ({ store }: StoreUnderTest, mark: string, count: number) => {
    const log = store.log('carts', 0)
    for (let event = 0; event < count; event++) await log.append(group([`s=${mark}${big}`]))
    await log.files.roll()
    await sealed(log)
  }
  await put(a, 'p', 9)
  const first = await gather(b, a)
  await first.incoming.finish(first.snapshot, 1)
  await b.store.takeOverLog('carts', 0)
  await put(a, 'A', 5)
  await put(b, 'B', 5)
  await gather(c, a)
  const second = await gather(c, b)
  await second.incoming.finish(second.snapshot, 2)
  const { log } = await c.store.takeOverLog('carts', 0)
  const limitOffset = log.logEndOffset
  const page = await log.readStream({ stream: 's', limit: 20, backwards: false, maxBytes: 1 << 30, limitOffset })
  assert.equal(page.records.map(({ value }) => String(value)[0]).join(''), 'pppppppppBBBBB')
})
