/**
 * A log that follows: batches of a leader taken in as they are, read back the same, with the same versions; epochs and where they begin; a log
 * that went another way cut back, also when the power goes in the middle of it. A failing run prints its seed: PLAYHEAD_TEST_SEED=<seed>.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { FileSystem } from '../../platform/file-system.ts'
import { PlayheadError } from '../../protocol/errors.ts'
import type { CheckpointStore } from '../../storage/checkpoint-store.ts'
import type { LeaderBatch } from '../../storage/follower-append.ts'
import type { CommitPoint } from '../../storage/leadership.ts'
import type { Log } from '../../storage/log.ts'
import { MemoryCheckpointStore } from '../../storage/memory-checkpoint-store.ts'
import { eventsOf, recordsOf } from './log-contents.ts'
import { MemoryFileSystem } from './memory-file-system.ts'
import { SeededRandom } from './seeded-random.ts'
import { SimulatedDisk } from './simulated-disk.ts'
import { append, group, StoreUnderTest } from './store-under-test.ts'

const streams = ['a', 'b', 'c']
const settings = { allocationBytesMin: 64 * 1024, checkpointIntervalMs: 0, openSegmentsMax: 2 }

function replica(
  fileSystem: FileSystem = new MemoryFileSystem(),
  checkpointStore?: CheckpointStore,
): Promise<StoreUnderTest> {
  return StoreUnderTest.open('/data', {
    fileSystem,
    settings,
    checkpointStore: checkpointStore ?? new MemoryCheckpointStore(),
  })
}

/** What is durable in `from`, from `offset` on, as a follower is sent it. */
async function batchesOf(from: Log, offset: number, maxBytes = 1e9): Promise<LeaderBatch[]> {
  const all: LeaderBatch[] = []
  for (let next = offset; next < from.durableOffset; ) {
    const { batches, appendTimes, nextOffset } = await from.read({
      offset: next,
      maxBytes,
      limitOffset: Infinity,
      wantsTimes: true,
    })
    assert.equal(appendTimes?.length, batches.length)
    for (const [place, batch] of batches.entries())
      all.push({ batch: Buffer.from(batch), appendTimeMs: appendTimes[place]! })
    next = nextOffset
  }
  return all
}

async function follow(follower: Log, leader: Log): Promise<void> {
  await follower.replica.append(await batchesOf(leader, follower.logEndOffset))
  await follower.durable(follower.logEndOffset)
}

/** Tells of what is on this disk, as a leader by itself does. */
function ownDisk(log: Log): CommitPoint {
  return {
    get offset() {
      return log.durableOffset
    },
    reached: (offset) => log.durable(offset),
  }
}

async function lead(log: Log, epoch: number): Promise<void> {
  await log.replica.beginEpoch(epoch)
  log.replica.lead(epoch, ownDisk(log))
}

async function assertSame(log: Log, other: Log): Promise<void> {
  assert.equal(log.logEndOffset, other.logEndOffset)
  assert.deepEqual(await recordsOf(log), await recordsOf(other))
  for (const stream of streams) assert.deepEqual(await eventsOf(log, stream), await eventsOf(other, stream), stream)
  const [times, otherTimes] = await Promise.all([batchesOf(log, 0), batchesOf(other, 0)])
  assert.deepEqual(
    times.map(({ appendTimeMs }) => appendTimeMs),
    otherTimes.map(({ appendTimeMs }) => appendTimeMs),
  )
}

test('follower: takes batches in as they are: bytes, offsets, append times, versions, producers (none, zstd, gzip; large and small)', async () => {
  await using leaders = await replica()
  await using followers = await replica()
  const leader = await leaders.createLog('carts', { 'segment.bytes': '1048576' })
  const follower = await followers.createLog('carts', { 'segment.bytes': '1048576' })
  await lead(leader, 4)
  for (let round = 0; round < 60; round++) {
    const compression = (['none', 'zstd', 'gzip'] as const)[round % 3]!
    const producer = { producerId: 7, producerEpoch: 0, baseSequence: round * 3 }
    const texts = [`a=${round}`, `b=${'x'.repeat(round * 700)}`, `=no key ${round}`]
    await leader.append(group(texts, { batchOptions: { ...producer, compression } }))
    if (round % 7 === 0) await follow(follower, leader)
  }
  await follow(follower, leader)
  await assertSame(follower, leader)
  assert.deepEqual(await batchesOf(follower, 0), await batchesOf(leader, 0))
  assert.deepEqual(follower.producerState(7), leader.producerState(7))
  assert.equal(follower.replica.lastEpoch, 4)
  assert.deepEqual(follower.replica.epochs.starts, [{ epoch: 4, startOffset: 0 }])
})

test('follower: refuses its own appends, and a batch that does not continue it, and takes the next one that does', async () => {
  await using leaders = await replica()
  await using followers = await replica()
  const leader = await leaders.createLog()
  const follower = await followers.createLog()
  await lead(leader, 1)
  await append(leader, 'a=1')
  await append(leader, 'a=2')
  const [first, second] = await batchesOf(leader, 0)
  await follower.replica.follow(new PlayheadError('notLeader', 'carts/0: found a follower'))
  await assert.rejects(append(follower, 'a=mine'), { code: 'notLeader' })
  await assert.rejects(follower.replica.append([second!]), { code: 'replicaDiverged' })
  await follower.replica.append([first!, second!])
  await assert.rejects(follower.replica.append([second!]), { code: 'replicaDiverged' })
  const flipped = { ...first!, batch: Buffer.from(first!.batch) }
  flipped.batch[flipped.batch.length - 1]! ^= 1
  await assert.rejects(follower.replica.append([flipped]), { code: 'invalidBatch' })
  await follow(follower, leader)
  await assertSame(follower, leader)
})

test('follower: knows the epochs of its leaders and where each ends, also after a restart', async () => {
  const fileSystem = new MemoryFileSystem()
  await using leaders = await replica()
  const leader = await leaders.createLog()
  {
    await using followers = await replica(fileSystem)
    const follower = await followers.createLog()
    for (const epoch of [3, 5, 6]) {
      await lead(leader, epoch)
      for (let count = 0; count < epoch; count++) await append(leader, `a=${epoch}`)
      await follow(follower, leader)
    }
    await lead(leader, 9) // nothing is written in it
    assert.equal(await follower.replica.epochs.accept(9), true)
    assert.equal(await follower.replica.epochs.accept(8), false)
  }
  await using again = await replica(fileSystem)
  const { logEndOffset, replica: found } = again.store.log('carts', 0)
  const { epochs } = found
  assert.equal(logEndOffset, 14)
  assert.equal(epochs.latest, 9)
  const endOf = (epoch: number) => epochs.endOf(epoch, logEndOffset)
  assert.deepEqual(endOf(2), { epoch: -1, endOffset: 0 })
  assert.deepEqual(endOf(3), { epoch: 3, endOffset: 3 })
  assert.deepEqual(endOf(4), { epoch: 3, endOffset: 3 })
  assert.deepEqual(endOf(5), { epoch: 5, endOffset: 8 })
  assert.deepEqual(endOf(6), { epoch: 6, endOffset: 14 })
  assert.deepEqual(endOf(20), { epoch: 6, endOffset: 14 })
})

test('follower: an epoch that it led in and wrote nothing in is not that of what its next leader has there (found by seed 1 of replicas.test.ts)', async () => {
  await using leaders = await replica()
  await using followers = await replica()
  const leader = await leaders.createLog()
  const follower = await followers.createLog()
  await lead(leader, 4)
  await append(leader, 'a=1')
  await follow(follower, leader)
  await append(leader, 'a=2')
  await lead(follower, 5)
  await follower.replica.follow(new PlayheadError('notLeader', 'carts/0: found a follower'))
  await lead(leader, 6)
  await append(leader, 'a=3')
  await follow(follower, leader)
  assert.deepEqual(follower.replica.epochs.starts, leader.replica.epochs.starts)
  assert.deepEqual(follower.replica.epochs.endOf(4, 3), { epoch: 4, endOffset: 2 })
})

test('truncation: what a leader of an earlier epoch had alone is gone, with its versions, its producers and its epoch', async () => {
  await using leaders = await replica()
  await using followers = await replica()
  const leader = await leaders.createLog()
  const follower = await followers.createLog()
  await lead(leader, 1)
  for (let count = 0; count < 5; count++) await append(leader, `a=${count}`, `b=${count}`)
  await follow(follower, leader)
  await lead(follower, 2)
  await follower.append(group(['a=alone'], { batchOptions: { producerId: 77, producerEpoch: 0, baseSequence: 0 } }))
  await lead(leader, 3)
  await append(leader, 'b=together')
  const { epoch, endOffset } = leader.replica.epochs.endOf(follower.replica.lastEpoch, leader.logEndOffset)
  assert.deepEqual({ epoch, endOffset }, { epoch: 1, endOffset: 10 })
  const cut = await followers.store.truncateLog('carts', 0, endOffset)
  assert.equal(cut.logEndOffset, 10)
  assert.equal(cut.producerState(77), undefined)
  assert.deepEqual(cut.replica.epochs.starts, [{ epoch: 1, startOffset: 0 }])
  assert.equal(cut.replica.epochs.latest, 2, 'what was promised to the leader of epoch 2 is not forgotten')
  assert.equal(followers.store.log('carts', 0), cut)
  await follow(cut, leader)
  await assertSame(cut, leader)
  assert.deepEqual(cut.damage, [])
  await append(leader, 'a=and on')
  await follow(cut, leader)
  await assertSame(cut, leader)
})

test('truncation: with an index that had been saved further, what producers have below the cut is kept, and counted once', async () => {
  const place = { fileSystem: new MemoryFileSystem(), checkpointStore: new MemoryCheckpointStore(), settings }
  const before = await StoreUnderTest.open('/data', place)
  const log = await before.createLog()
  for (let count = 0; count < 5; count++) {
    const batchOptions = { producerId: 77, producerEpoch: 0, baseSequence: count }
    await log.append(group([`a=${count}`], { batchOptions }))
  }
  await before[Symbol.asyncDispose]()
  await using after = await StoreUnderTest.open('/data', place)
  const cut = await after.store.truncateLog('carts', 0, 3)
  assert.equal(cut.logEndOffset, 3)
  assert.equal(cut.producerState(77)?.lastSequence, 2)
  assert.equal(cut.streamInfo('a', 3).lastVersion, 2)
})

const seed = Number(process.env['PLAYHEAD_TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const runs = Number(process.env['PLAYHEAD_TEST_RUNS'] ?? 12)

test(`truncation: a power cut at any moment of it leaves a log that can be cut again, and then follows (${runs} runs, seed ${seed})`, async () => {
  for (let run = 0; run < runs; run++) {
    const random = new SeededRandom(seed + run)
    const disk = new SimulatedDisk(random)
    const checkpointStore = new MemoryCheckpointStore()
    await using leaders = await replica()
    const leader = await leaders.createLog()
    await lead(leader, 1)
    const open = () =>
      StoreUnderTest.open('/data', { fileSystem: disk.mount(), clock: disk.clock(), checkpointStore, settings })
    let followers = await open()
    let follower = await followers.createLog('carts', { 'segment.bytes': '1048576' })
    const cutAt = await diverge(random, leader, follower)
    void followers.store.truncateLog('carts', 0, cutAt).catch(() => undefined)
    for (let turns = random.below(40); turns > 0; turns--) await disk.clock().yield()
    if (random.below(2) === 0) disk.cutPower()
    else disk.endProcess()
    followers = await open()
    assert.deepEqual(followers.store.log('carts', 0).damage, [], `seed ${seed + run}`)
    assert.ok(followers.store.log('carts', 0).logEndOffset >= cutAt, `seed ${seed + run}`)
    follower = await followers.store.truncateLog('carts', 0, cutAt)
    assert.equal(follower.logEndOffset, cutAt, `seed ${seed + run}`)
    await follow(follower, leader)
    await assertSame(follower, leader)
    await followers[Symbol.asyncDispose]()
  }
})

/** Both have the same at first, then each what the other lacks, over segments. Answers where they part ways. */
async function diverge(random: SeededRandom, leader: Log, follower: Log): Promise<number> {
  const some = async (log: Log, count: number) => {
    for (let left = count; left > 0; left--) {
      const large = random.below(3) === 0 ? 'x'.repeat(random.below(300_000)) : ''
      await append(log, `${random.pick(streams)}=${left}${large}`, `${random.pick(streams)}=${large.length}`)
    }
  }
  await some(leader, 1 + random.below(10))
  await follow(follower, leader)
  const same = leader.logEndOffset
  await lead(follower, 2)
  await some(follower, 1 + random.below(15))
  await lead(leader, 3)
  await some(leader, 1 + random.below(10))
  assert.equal(leader.replica.epochs.endOf(follower.replica.lastEpoch, leader.logEndOffset).endOffset, same)
  return same
}
