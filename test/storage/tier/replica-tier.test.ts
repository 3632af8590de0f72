/**
 * One tier shared by the brokers of a cluster: the leader sends, everybody lets go, whoever leads reads and goes on; a leader that was replaced changes
 * nothing. Real logs, fetchers and tiers on real directories, a call in place of the network (ReplicaGroup).
 */
import assert from 'node:assert/strict'
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '../../../platform/clock.ts'
import { nodeFileSystem } from '../../../platform/node-file-system.ts'
import { systemRandom } from '../../../platform/random.ts'
import { MiB } from '../../../protocol/limits.ts'
import type { Log } from '../../../storage/log.ts'
import { ManifestStore } from '../../../storage/tier/manifest-store.ts'
import { verifyTier } from '../../../storage/tier/tier-check.ts'
import { openObjectStore } from '../../../storage/tier/tier-location.ts'
import { restoreTier } from '../../../storage/tier/tier-restore.ts'
import { verify } from '../../../storage/verify.ts'
import { dataOf, ReplicaGroup, topicId } from '../../replication/replica-group.ts'
import type { GroupTier, Replica } from '../../replication/replica-group.ts'
import { TemporaryDirectory } from '../../temporary-directory.ts'
import { eventsOf } from '../log-contents.ts'
import { SeededRandom } from '../seeded-random.ts'
import { group, until } from '../store-under-test.ts'
import { DyingFileSystem } from './dying-file-system.ts'
import { TieredStore } from './tiered-store.ts'

const foundation = { fileSystem: nodeFileSystem, clock: systemClock, random: systemRandom }
const brokers = [1, 2, 3]
const topicSettings = { 'segment.bytes': String(1 * MiB), 'local.retention.bytes': '0' }

function tierIn(directory: TemporaryDirectory, settings: GroupTier['settings'] = {}): GroupTier {
  // Orphans are looked for when nothing is under way.
  return {
    directory: directory.path,
    location: `file://${directory.path}/tier`,
    settings: { orphanGraceMs: -1, ...settings },
  }
}

function start(tier: GroupTier): Promise<ReplicaGroup> {
  return ReplicaGroup.start(brokers, 2, undefined, { topicSettings, tier })
}

/** Segments of two events each, all but the last of them sealed; the events are numbered from `from` on. */
async function fill({ leader }: ReplicaGroup, from: number, segments: number): Promise<void> {
  for (let segment = 0; segment < segments; segment++) {
    const place = from + 2 * segment
    await leader.partition.append(group([`a=${place}`, `only-${place}=x`]))
    await leader.partition.append(group([`a=${place + 1}`, `b=${place + 1}`]))
    await leader.partition.log.files.roll()
  }
}

function localBases({ store, broker }: Replica, tier: GroupTier): Promise<string[]> {
  const path = join(dataOf(tier, broker), 'topics', store.store.topic('carts').id, '0')
  return readdir(path).then((names) => names.filter((name) => name.endsWith('.log')))
}

/** Until no broker that is there has more than the newest file. */
async function untilLetGo(replicas: ReplicaGroup, tier: GroupTier): Promise<void> {
  await untilSame(replicas)
  await until(async () => {
    for (const replica of replicas.replicas.values()) if ((await localBases(replica, tier)).length !== 1) return false
    return true
  })
}

/** The same records, in the same segments. */
async function untilSame(replicas: ReplicaGroup): Promise<void> {
  const { log } = replicas.leader.partition
  await until(() =>
    [...replicas.replicas.values()].every(
      ({ partition: { log: each } }) =>
        each.durableOffset === log.logEndOffset && each.files.newestBaseOffset === log.files.newestBaseOffset,
    ),
  )
}

async function bytesOf(log: Log): Promise<string> {
  const parts: Buffer[] = []
  for (let offset = log.logStartOffset; offset < log.durableOffset; ) {
    const { batches, nextOffset } = await log.read({ offset, maxBytes: 1 << 20, limitOffset: log.durableOffset })
    assert.ok(nextOffset > offset, `nothing at offset ${offset}`)
    parts.push(...batches.map((batch) => Buffer.from(batch)))
    offset = nextOffset
  }
  return Buffer.concat(parts).toString('hex')
}

async function assertSame(replicas: ReplicaGroup, events: number): Promise<void> {
  const { log: leading } = replicas.leader.partition
  const [wanted, ofStream] = [await bytesOf(leading), await eventsOf(leading, 'a')]
  assert.equal(ofStream.length, events)
  for (const { broker, partition } of replicas.replicas.values()) {
    assert.equal(await bytesOf(partition.log), wanted, `broker ${broker}`)
    assert.deepEqual(await eventsOf(partition.log, 'a'), ofStream, `broker ${broker}`)
    assert.deepEqual(partition.log.damage, [], `broker ${broker}`)
  }
}

/** Every object that is referred to is whole, and once orphans were looked for there is no other one. */
async function checkTier(replicas: ReplicaGroup, tier: GroupTier): Promise<number> {
  const store = await openObjectStore(tier.location, foundation)
  const scratchDirectory = join(tier.directory, 'scratch')
  let segments = 0
  // What is under way when orphans are looked for makes that wait for the next time.
  await until(async () => {
    await replicas.leader.tier!.removeOrphans()
    const verdict = await verifyTier({ ...foundation, store, scratchDirectory }, () => undefined)
    assert.deepEqual(verdict.damage, [])
    segments = verdict.segments
    let objects = 0
    for await (const { key } of store.list('logs/')) if (/\/data\//.test(key)) objects++
    return objects === segments * 2
  })
  await store.close()
  return segments
}

test('replica tier (3 brokers, a directory): what the leader has sent leaves the disks of all; each that leads reads all of it, byte for byte', async () => {
  await using directory = await TemporaryDirectory.make()
  const tier = tierIn(directory)
  await using replicas = await start(tier)
  await fill(replicas, 0, 6)
  await untilLetGo(replicas, tier)
  await assertSame(replicas, 12)
  for (const broker of [2, 3, 1]) {
    await replicas.happen({ kind: 'elect', leader: broker, electable: brokers })
    assert.equal(replicas.leader.broker, broker)
    await fill(replicas, 12 + 2 * brokers.indexOf(broker), 1)
    await untilSame(replicas)
    await untilLetGo(replicas, tier)
  }
  await assertSame(replicas, 18)
  assert.equal(await checkTier(replicas, tier), 9)
  let sent = 0
  for (const { tier: each } of replicas.replicas.values()) sent += each!.stats.sentSegments
  assert.equal(sent, 9, 'each segment is sent once, by whoever led')
})

test('replica tier and deleteRecords: the start moves for all brokers, manifests follow, objects go after the grace; whoever leads shows the same', async () => {
  await using directory = await TemporaryDirectory.make()
  const tier = tierIn(directory)
  await using replicas = await start(tier)
  await fill(replicas, 0, 6)
  await untilLetGo(replicas, tier)
  assert.equal(await checkTier(replicas, tier), 6)
  await replicas.leader.partition.deleteRecords(9)
  await replicas.apply()
  for (const { partition } of replicas.replicas.values()) await partition.log.retention.letGo()
  await until(async () => (await checkTier(replicas, tier)) === 4)
  await assertSame(replicas, 7)
  for (const broker of [2, 3]) {
    await replicas.happen({ kind: 'elect', leader: broker, electable: brokers })
    await fill(replicas, 12 + 2 * brokers.indexOf(broker), 1)
    await untilSame(replicas)
    await untilLetGo(replicas, tier)
  }
  await replicas.kill(1)
  await replicas.open(1)
  await replicas.apply()
  await untilSame(replicas)
  await assertSame(replicas, 11)
  assert.equal(await checkTier(replicas, tier), 6)
  for (const { partition } of replicas.replicas.values()) assert.equal(partition.log.logStartOffset, 9)
  // Of one without a disk the first records are nowhere any more: it takes over files, of which most are the tier's.
  await replicas.kill(2)
  await rm(dataOf(tier, 2), { recursive: true })
  const again = await replicas.open(2)
  await replicas.apply()
  await untilSame(replicas)
  assert.equal(again.fetcher?.stats.takeovers, 1)
  await replicas.apply()
  await assertSame(replicas, 11)
  await untilLetGo(replicas, tier)
  await assertSame(replicas, 11)
})

test('replica tier: a broker that was cut off while the log was trimmed, with an old manifest, takes over and shows nothing of what is gone', async () => {
  await using directory = await TemporaryDirectory.make()
  const tier = tierIn(directory)
  await using replicas = await start(tier)
  await fill(replicas, 0, 3)
  await untilLetGo(replicas, tier)
  const cut = replicas.replicas.get(3)!
  cut.isCut = true
  await replicas.untilInSync([1, 2])
  await fill(replicas, 6, 4)
  const others = [1, 2].map((broker) => replicas.replicas.get(broker)!)
  await until(async () =>
    (await Promise.all(others.map((one) => localBases(one, tier)))).every(({ length }) => length === 1),
  )
  await replicas.leader.partition.deleteRecords(20)
  for (const { partition } of others) {
    await partition.log.replica.adoptStart(20)
    await partition.log.retention.letGo()
  }
  await until(async () => (await checkTier(replicas, tier)) === 2)
  cut.isCut = false
  await untilSame(replicas)
  assert.equal(cut.fetcher?.stats.takeovers, 1)
  await replicas.apply()
  await assertSame(replicas, 4)
})

test('replica tier: started again with segments that only the tier has, every broker reads them without asking the store for manifests', async () => {
  await using directory = await TemporaryDirectory.make()
  const tier = tierIn(directory)
  await using replicas = await start(tier)
  await fill(replicas, 0, 4)
  await untilLetGo(replicas, tier)
  for (const broker of brokers) await replicas.kill(broker)
  for (const broker of brokers) await replicas.open(broker)
  await replicas.happen({ kind: 'brokersGone', gone: [1], electable: [2, 3] })
  await replicas.untilInSync(brokers)
  await untilSame(replicas)
  await assertSame(replicas, 8)
  await fill(replicas, 8, 2)
  await untilSame(replicas)
  await untilLetGo(replicas, tier)
  await assertSame(replicas, 12)
  assert.equal(await checkTier(replicas, tier), 6)
  const { store } = replicas.replicas.get(3)!
  await replicas.kill(3)
  const verdict = await verify({ directory: dataOf(tier, 3), fileSystem: nodeFileSystem, clock: systemClock })
  assert.deepEqual(verdict.damage, [])
  assert.match(verdict.notes.join('\n'), /are in the tier only/)
  assert.ok(store)
})

test('replica tier: a broker that comes back with an empty disk is filled by its leader from the tier, and lets go of it again', async () => {
  await using directory = await TemporaryDirectory.make()
  const tier = tierIn(directory)
  await using replicas = await start(tier)
  await fill(replicas, 0, 4)
  await untilLetGo(replicas, tier)
  await replicas.kill(3)
  await replicas.happen({ kind: 'brokersGone', gone: [3], electable: [1, 2] })
  await rm(dataOf(tier, 3), { recursive: true })
  await replicas.open(3)
  await replicas.apply()
  await replicas.untilInSync(brokers)
  await untilLetGo(replicas, tier)
  await assertSame(replicas, 8)
})

test('replica tier: a leader that was replaced and does not know it changes no manifest, whether it looks first or not', async () => {
  for (const looksFirst of [true, false]) {
    await using directory = await TemporaryDirectory.make()
    const reports: string[] = []
    const tier = {
      ...tierIn(directory),
      report: (broker: number, text: string) => void reports.push(`${broker} ${text}`),
    }
    await using replicas = await start(tier)
    const old = replicas.leader
    if (!looksFirst) await fill(replicas, 0, 1)
    if (!looksFirst) await until(() => old.tier!.stats.sentSegments === 1)
    old.isTierIdle = true
    await fill(replicas, looksFirst ? 0 : 2, 2)
    await untilSame(replicas)
    old.isCut = true
    await replicas.change({ kind: 'brokersGone', gone: [1], electable: [2, 3] })
    const seen = await replicas.seen()
    for (const broker of [2, 3]) await replicas.tell(replicas.replicas.get(broker)!, seen)
    const leader = replicas.replicas.get(seen.state.leader!)!
    await leader.partition.append(group(['a=after']))
    await until(() => leader.tier!.stats.segments >= (looksFirst ? 2 : 3))
    assert.equal(old.partition.leading?.leaderEpoch, 1, 'it believes to lead')
    old.isTierIdle = false
    // From the manifest that it finds, or from the refusal of its own.
    const isToldOff = () => reports.some((text) => text.startsWith('1 info: carts/0: sends nothing in leader epoch 1'))
    await until(() => isToldOff() || old.tier!.stats.segments >= (looksFirst ? 2 : 3))
    assert.equal(old.tier!.stats.sentSegments, looksFirst ? 0 : 1)
    assert.deepEqual(old.tier!.problems, [])
    old.isCut = false
    await replicas.apply()
    await replicas.untilInSync(brokers)
    await untilSame(replicas)
    await checkTier(replicas, tier)
    const events = looksFirst ? 5 : 7
    await assertSame(replicas, events)
  }
})

test('replica tier: a broker restored from the tier has the same offsets and versions, and shuts the cluster out', async () => {
  await using directory = await TemporaryDirectory.make()
  const tier = tierIn(directory)
  await using replicas = await start(tier)
  await fill(replicas, 0, 3)
  await untilLetGo(replicas, tier)
  const { log } = replicas.leader.partition
  const [bytes, events] = [await bytesOf(log), await eventsOf(log, 'a')]
  const store = await openObjectStore(tier.location, foundation)
  const dataDirectory = join(directory.path, 'restored')
  const [partition] = await restoreTier({ ...foundation, store, location: tier.location, dataDirectory })
  assert.equal(partition?.endOffset, log.logEndOffset)
  assert.deepEqual(partition.missing, [])
  {
    await using restored = await TieredStore.open(dataDirectory, tier.location)
    const again = restored.log('carts')
    assert.equal(await bytesOf(again), bytes)
    assert.deepEqual(await eventsOf(again, 'a'), events)
    await again.append(group(['a=restored']))
    await restored.sent(again)
  }
  await fill(replicas, 6, 1)
  await until(() => replicas.leader.tier!.problems.length > 0)
  assert.match(replicas.leader.tier!.problems.join(), /restored from the tier and took over|another broker wrote/)
  await replicas.kill(1)
  const back = await replicas.open(1)
  assert.match(back.tier!.problems.join(), /found the tier of cluster .*, wanted one of this cluster/)
  assert.equal(
    await bytesOf(back.partition.log).then((text) => text.startsWith(bytes)),
    true,
    'what was let go reads on',
  )
})

test('replica tier: the next leader had not heard of the last cut: it goes on behind what was sent, in other bounds than its own', async () => {
  await using directory = await TemporaryDirectory.make()
  const tier = tierIn(directory)
  await using replicas = await start(tier)
  await fill(replicas, 0, 1)
  await untilLetGo(replicas, tier)
  const old = replicas.leader
  const { partition } = old
  await partition.append(group(['a=2']))
  await until(() => [...replicas.replicas.values()].every(({ partition: { log } }) => log.durableOffset === 5))
  await until(() => partition.highWatermark === 5)
  old.isCut = true
  await partition.log.files.roll()
  await until(() => old.tier!.stats.sentSegments === 2)
  await replicas.happen({ kind: 'brokersGone', gone: [old.broker], electable: [2, 3] })
  old.isCut = false
  await fill(replicas, 3, 2)
  await replicas.untilInSync(brokers)
  await untilSame(replicas).catch(() => undefined)
  const { leader } = replicas
  await until(() => leader.tier!.stats.sentSegments === 2)
  // The old leader has let go of what it sent, and of what the next one cut as it did; others keep the one that lies across.
  await until(async () => (await localBases(old, tier)).length === 1)
  await until(async () => (await localBases(leader, tier)).length === 2)
  await assertSame(replicas, 7)
  assert.equal(await checkTier(replicas, tier), 4)
  const store = await openObjectStore(tier.location, foundation)
  const dataDirectory = join(directory.path, 'restored')
  await restoreTier({ ...foundation, store, location: tier.location, dataDirectory })
  await using restored = await TieredStore.open(dataDirectory, tier.location)
  assert.equal(await bytesOf(restored.log('carts')), await bytesOf(leader.partition.log))
  assert.deepEqual(await eventsOf(restored.log('carts'), 'a'), await eventsOf(leader.partition.log, 'a'))
})

test('replica tier: replicas with a salt each: whoever leads sends under that of the tier, and who has another one keeps its files', async () => {
  await using directory = await TemporaryDirectory.make()
  const tier = tierIn(directory)
  await using replicas = await start(tier)
  replicas.hidesShape = true
  await replicas.leader.partition.append(group(['a=0', 'only-0=x']))
  await until(() => [...replicas.replicas.values()].every(({ partition: { log } }) => log.durableOffset === 2))
  replicas.hidesShape = false
  await fill(replicas, 1, 1)
  await until(() => replicas.leader.tier!.stats.sentSegments === 1)
  await until(async () => (await localBases(replicas.replicas.get(1)!, tier)).length === 1)
  await untilSame(replicas)
  await replicas.happen({ kind: 'elect', leader: 2, electable: brokers })
  await fill(replicas, 3, 2)
  await until(() => replicas.leader.tier!.stats.sentSegments === 2)
  await until(async () => (await localBases(replicas.replicas.get(1)!, tier)).length === 1)
  await untilSame(replicas)
  for (const broker of [2, 3]) assert.equal((await localBases(replicas.replicas.get(broker)!, tier)).length, 4)
  await assertSame(replicas, 7)
  assert.equal(await checkTier(replicas, tier), 3)
  await replicas.kill(1)
  await replicas.open(1)
  await replicas.apply()
  await replicas.untilInSync(brokers)
  await assertSame(replicas, 7)
})

test('replica tier: after an unclean recovery the tier keeps what was given up, nothing is sent behind it, and who had let go of it is filled anew', async () => {
  await using directory = await TemporaryDirectory.make()
  const tier = tierIn(directory)
  await using replicas = await ReplicaGroup.start(brokers, 1, undefined, { topicSettings, tier })
  await fill(replicas, 0, 1)
  await untilLetGo(replicas, tier)
  replicas.replicas.get(3)!.isCut = true
  const waiting = replicas.leader.partition.append(group(['a=given up']))
  await replicas.untilInSync([1, 2])
  await waiting
  await fill(replicas, 3, 2)
  for (const broker of [1, 2])
    await until(async () => (await localBases(replicas.replicas.get(broker)!, tier)).length === 1)
  const end = await tierEnd(tier)
  assert.ok(end > 5)
  await replicas.happen({ kind: 'brokersGone', gone: [1, 2], electable: [] })
  await replicas.happen({ kind: 'recoverUnclean', leader: 3 })
  replicas.replicas.get(3)!.isCut = false
  await fill(replicas, 2, 4)
  await replicas.untilInSync(brokers)
  await until(() => replicas.leader.tier!.problems.length > 0)
  assert.match(
    replicas.leader.tier!.problems.join(),
    /a log that goes another way here .* events that the tier has were given up/,
  )
  await untilSame(replicas)
  await assertSame(replicas, 10)
  assert.deepEqual(replicas.bugs, [])
  assert.equal(await tierEnd(tier), end)
  await checkTier(replicas, tier)
  for (const broker of brokers) await replicas.kill(broker)
  for (const broker of brokers) await replicas.open(broker)
  await replicas.happen({ kind: 'brokersGone', gone: [3], electable: [1, 2] })
  await replicas.untilInSync(brokers)
  await assertSame(replicas, 10)
})

/** Behind the last record that the tier has, as the store says. */
async function tierEnd({ location }: GroupTier): Promise<number> {
  const store = await openObjectStore(location, foundation)
  const newest = await new ManifestStore(store, systemClock).latest(topicId, 0)
  await store.close()
  return newest?.segments.at(-1)?.footer.nextOffset ?? 0
}

/** The leader dies at its n-th change of a file; the next one goes on, and later the first one comes back. False = it did not come so far. */
async function killedAt(change: number, note: string): Promise<boolean> {
  await using directory = await TemporaryDirectory.make()
  const dying = new DyingFileSystem(nodeFileSystem)
  const tier = { ...tierIn(directory), fileSystemOf: (broker: number) => (broker === 1 ? dying : nodeFileSystem) }
  await using replicas = await start(tier)
  const first = replicas.leader
  dying.dieAt(change)
  let count = 0
  const append = async (replica: Replica) => {
    await replica.partition.append(group([`a=${count}`, `only-${count}=x`]))
    count++
    await replica.partition.log.files.roll()
  }
  const died = new Promise<never>((_, reject) => {
    void until(() => dying.isDead).then(
      () => reject(new Error('dead')),
      () => undefined,
    )
  })
  try {
    for (let segment = 0; segment < 3; segment++) await Promise.race([append(first), died])
    await Promise.race([until(() => dying.isDead || first.tier!.stats.letGoSegments >= 3), died])
  } catch {
    // as it should
  }
  const isDead = dying.isDead
  if (!isDead) dying.dieAt(1)
  await replicas.kill(1).catch(() => undefined)
  await rm(join(dataOf(tier, 1), 'lock'), { force: true }) // its process is dead
  replicas.disks.set(1, nodeFileSystem)
  await replicas.happen({ kind: 'brokersGone', gone: [1], electable: [2, 3] })
  const { leader } = replicas
  await leader.partition.settled()
  count = (await eventsOf(leader.partition.log, 'a')).length
  await append(leader)
  await replicas.open(1)
  await replicas.apply()
  await replicas.untilInSync(brokers)
  await append(leader)
  await until(() => leader.partition.log.files.newestBaseOffset === leader.partition.log.logEndOffset)
  const end = leader.partition.log.logEndOffset
  await until(async () => (await tierEnd(tier)) === end)
  await until(() => [...replicas.replicas.values()].every(({ partition: { log } }) => log.durableOffset === end))
  await assertSame(replicas, count)
  await checkTier(replicas, tier)
  // Followers hear of its disk what a network would have kept from them.
  const isOfDeath = (bug: unknown) => bug instanceof Error && bug.message === 'killed'
  assert.deepEqual(
    replicas.bugs.filter((bug) => !isOfDeath(bug)),
    [],
    note,
  )
  return isDead
}

const runs = Number(process.env['PLAYHEAD_TEST_RUNS'] ?? 10)

test('replica tier: the leader is killed at a change of a file while it seals, sends, writes manifests and lets go: the next one goes on, nothing is lost or twice', async () => {
  const random = SeededRandom.fresh()
  let killed = 0
  const all = process.env['PLAYHEAD_TEST_RUNS'] !== undefined
  for (let run = 0; run < runs; run++) {
    const change = all ? run + 1 : 1 + random.below(180)
    if (await killedAt(change, `killed at change ${change}`)) killed++
  }
  assert.ok(killed > 0, 'nobody was killed')
})
