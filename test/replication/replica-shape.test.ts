/**
 * Replicas lie in the same segments under the same salt: however their leader cut them, whoever leads, and also where there is nothing yet behind a cut.
 * Real logs and fetchers, a call in place of the network (ReplicaGroup).
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeSegmentHeader, SEGMENT_HEADER_BYTES, segmentFileName } from '../../storage/segment-format.ts'
import { recordsOf } from '../storage/log-contents.ts'
import { group, until } from '../storage/store-under-test.ts'
import { ReplicaGroup } from './replica-group.ts'
import type { Replica } from './replica-group.ts'

const brokers = [1, 2, 3]

/** Where the segments of a replica begin, and the salts in their headers. */
async function shapeOf({ partition: { log }, store }: Replica, replicas: ReplicaGroup, broker: number) {
  const fileSystem = replicas.disks.get(broker)!
  const directory = `${store.store.topic('carts').directory}/0`
  const starts = [...log.replica.shape(0, log.logEndOffset).segmentStarts]
  const salts = new Set<string>()
  for (const start of starts) {
    const file = await fileSystem.open(`${directory}/${segmentFileName(start)}`, 'read')
    const header = Buffer.alloc(SEGMENT_HEADER_BYTES)
    await file.read(header, 0)
    await file.close()
    salts.add(decodeSegmentHeader(header, directory)!.salt.toString('hex'))
  }
  return { starts, salts: [...salts] }
}

async function untilSameShape(replicas: ReplicaGroup): Promise<number[]> {
  const { log } = replicas.leader.partition
  const wanted = () => JSON.stringify(log.replica.shape(0, log.logEndOffset).segmentStarts)
  await until(() =>
    [...replicas.replicas.values()].every(({ partition: { log: each } }) => {
      const { segmentStarts } = each.replica.shape(0, each.logEndOffset)
      return each.durableOffset === log.logEndOffset && JSON.stringify(segmentStarts) === wanted()
    }),
  )
  const shapes = await Promise.all([...replicas.replicas].map(([broker, one]) => shapeOf(one, replicas, broker)))
  for (const shape of shapes) assert.deepEqual(shape, shapes[0])
  assert.equal(shapes[0]!.salts.length, 1)
  return shapes[0]!.starts
}

async function fill(replicas: ReplicaGroup, count: number): Promise<void> {
  const { partition } = replicas.leader
  for (let number = 0; number < count; number++) await partition.append(group([`a=${'x'.repeat(100_000)}`]))
}

test('replica shape (3 brokers, segments of 1 MiB): followers have the segments of their leader, under its salt', async () => {
  await using replicas = await ReplicaGroup.start(brokers, 2, undefined, {
    topicSettings: { 'segment.bytes': String(1 << 20) },
  })
  await fill(replicas, 45)
  const starts = await untilSameShape(replicas)
  assert.ok(starts.length >= 4, String(starts))
})

test('replica shape: a segment that the leader ends before it is full ends at its followers too, also while nothing comes behind it', async () => {
  await using replicas = await ReplicaGroup.start(brokers, 2)
  await fill(replicas, 3)
  await replicas.leader.partition.log.files.roll()
  assert.deepEqual(await untilSameShape(replicas), [0, 3])
  await fill(replicas, 2)
  await replicas.leader.partition.log.files.roll()
  await fill(replicas, 1)
  assert.deepEqual(await untilSameShape(replicas), [0, 3, 5])
})

test('replica shape: the next leader goes on in the same segments, and so does one that comes back with an empty disk', async () => {
  await using replicas = await ReplicaGroup.start(brokers, 2)
  await fill(replicas, 2)
  await replicas.leader.partition.log.files.roll()
  await untilSameShape(replicas)
  await replicas.kill(1)
  await replicas.happen({ kind: 'brokersGone', gone: [1], electable: [2, 3] })
  await fill(replicas, 2)
  await replicas.leader.partition.log.files.roll()
  replicas.disks.delete(1)
  await replicas.open(1)
  await replicas.apply()
  await replicas.untilInSync(brokers)
  assert.deepEqual(await untilSameShape(replicas), [0, 2, 4])
})

test('replica shape: cut back to where a segment begins, a follower keeps that beginning', async () => {
  await using replicas = await ReplicaGroup.start(brokers, 2)
  await fill(replicas, 2)
  await replicas.leader.partition.log.files.roll()
  await untilSameShape(replicas)
  const old = replicas.leader
  old.isCut = true
  const lost = old.partition.append(group(['a=alone']))
  lost.catch(() => undefined)
  await until(() => old.partition.log.durableOffset === 3)
  await replicas.happen({ kind: 'brokersGone', gone: [old.broker], electable: [2, 3] })
  old.isCut = false
  await fill(replicas, 1)
  await replicas.untilInSync(brokers)
  assert.deepEqual(await untilSameShape(replicas), [0, 2])
  assert.equal(old.fetcher?.stats.truncations, 1)
  assert.deepEqual(await recordsOf(old.partition.log), await recordsOf(replicas.leader.partition.log))
})

test('replica shape: a replica with a salt and segments of its own follows all the same', async () => {
  await using replicas = await ReplicaGroup.start(brokers, 2)
  replicas.hidesShape = true
  await fill(replicas, 2)
  await until(() => [...replicas.replicas.values()].every(({ partition: { log } }) => log.durableOffset === 2))
  replicas.hidesShape = false
  await replicas.leader.partition.log.files.roll()
  await fill(replicas, 2)
  await until(() => [...replicas.replicas.values()].every(({ partition: { log } }) => log.durableOffset === 4))
  const shapes = await Promise.all([...replicas.replicas].map(([broker, one]) => shapeOf(one, replicas, broker)))
  assert.equal(new Set(shapes.map(({ salts }) => salts.join())).size, 3)
  for (const { starts, salts } of shapes) assert.deepEqual([starts, salts.length], [[0, 2], 1])
  const wanted = await recordsOf(replicas.leader.partition.log)
  for (const { partition } of replicas.replicas.values()) assert.deepEqual(await recordsOf(partition.log), wanted)
})
