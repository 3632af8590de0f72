/**
 * The tier when things go wrong: killed at any change of a file (the local disk's or the tier directory's), a store that fails in every way it can,
 * two brokers on copies of one data directory. Always: every event is read as it was written, every object that is referred to is whole, and what
 * nobody refers to goes.
 */
import assert from 'node:assert/strict'
import { cp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '../../../platform/clock.ts'
import { nodeFileSystem } from '../../../platform/node-file-system.ts'
import { systemRandom } from '../../../platform/random.ts'
import { isPlayheadError } from '../../../protocol/errors.ts'
import { MiB } from '../../../protocol/limits.ts'
import type { Log } from '../../../storage/log.ts'
import { MemoryCheckpointStore } from '../../../storage/memory-checkpoint-store.ts'
import { decodeFooter, encodeFooter, FOOTER_BYTES } from '../../../storage/sidecar-format.ts'
import { verifyTier } from '../../../storage/tier/tier-check.ts'
import { openObjectStore } from '../../../storage/tier/tier-location.ts'
import { restoreTier } from '../../../storage/tier/tier-restore.ts'
import { TemporaryDirectory } from '../../temporary-directory.ts'
import { FaultyFileSystem } from '../faulty-file-system.ts'
import { eventsOf } from '../log-contents.ts'
import { SeededRandom } from '../seeded-random.ts'
import { append, until } from '../store-under-test.ts'
import { DyingFileSystem } from './dying-file-system.ts'
import { FaultServer, noFaults } from './fault-server.ts'
import type { Faults } from './fault-server.ts'
import { TieredStore } from './tiered-store.ts'

const foundation = { fileSystem: nodeFileSystem, clock: systemClock, random: systemRandom }
const runs = Number(process.env['PLAYHEAD_TEST_RUNS'] ?? 12)

async function fill(log: Log, from: number, count: number): Promise<void> {
  for (let number = from; number < from + count; number++) {
    await append(log, `a=${number}`, `b-${number % 3}=${number}`)
    await log.files.roll()
  }
}

async function checkContents(log: Log, count: number, note: string): Promise<void> {
  const request = { limit: 1000, backwards: false, maxBytes: 1 << 20, limitOffset: log.durableOffset }
  const { records, versions } = await log.readStream({ ...request, stream: 'a' })
  const found = records.map(({ value }, place) => `${versions[place]}=${value?.toString()}`)
  assert.deepEqual(
    found.slice(0, count),
    Array.from({ length: count }, (_, number) => `${number}=${number}`),
    note,
  )
  for (let offset = 0; offset < log.durableOffset; ) {
    const { nextOffset } = await log.read({ offset, maxBytes: 1 << 20, limitOffset: log.durableOffset })
    assert.ok(nextOffset > offset, `${note}: nothing at offset ${offset}`)
    offset = nextOffset
  }
  assert.deepEqual(log.damage, [], note)
}

/** Every object that is referred to is whole, and after a search without grace there is no other. */
async function checkTier(store: TieredStore, location: string, scratchDirectory: string, note: string): Promise<void> {
  await store.tier.removeOrphans()
  const objects = await openObjectStore(location, foundation)
  const verdict = await verifyTier({ ...foundation, store: objects, scratchDirectory }, () => undefined)
  assert.deepEqual(verdict.damage, [], note)
  let data = 0
  for await (const { key } of objects.list('logs/')) if (/\/data\//.test(key)) data++
  assert.equal(data, verdict.segments * 2, `${note}: objects beside those that are referred to`)
  await objects.close()
}

async function killedAt(change: number, note: string): Promise<boolean> {
  await using directory = await TemporaryDirectory.make()
  const [data, location] = [join(directory.path, 'data'), `file://${directory.path}/tier`]
  const fileSystem = new DyingFileSystem(nodeFileSystem)
  const dying = await TieredStore.open(data, location, { fileSystem })
  const log = await dying.createLog('carts')
  fileSystem.dieAt(change)
  let count = 0
  try {
    for (; count < 4; count++) await fill(log, count, 1)
    await until(() => fileSystem.isDead || dying.tier.stats.letGoSegments >= 4)
    await dying[Symbol.asyncDispose]()
  } catch {
    await dying.tier.stop().catch(() => undefined)
    await dying.under[Symbol.asyncDispose]().catch(() => undefined)
  }
  await rm(join(data, 'lock'), { force: true }) // its process is dead
  const died = fileSystem.isDead
  await using again = await TieredStore.open(data, location, { tier: { orphanGraceMs: -1 } })
  await checkContents(again.log('carts'), count, note)
  await append(again.log('carts'), `a=${again.log('carts').streamInfo('a', Infinity).lastVersion + 1}`)
  await again.sent(again.log('carts'))
  await checkContents(again.log('carts'), count + 1, note)
  await checkTier(again, location, join(directory.path, 'scratch'), note)
  return died
}

test('tier: killed at a change of a file while it seals, sends, writes manifests and lets go: nothing is lost', async () => {
  const random = SeededRandom.fresh()
  let killed = 0
  const all = process.env['PLAYHEAD_TEST_RUNS'] === undefined
  for (let run = 0; run < runs; run++) {
    const change = all ? 1 + random.below(260) : run + 1
    if (await killedAt(change, `seed ${random.seed}, killed at change ${change}`)) killed++
  }
  assert.ok(killed > 0, 'nobody was killed')
})

test('tier: a store that refuses, loses answers, cuts, slows and changes bodies and shows things late: nothing is lost', async () => {
  const random = SeededRandom.fresh()
  const faults: Faults = {
    refuse: 0.1,
    loseAnswer: 0.08,
    cutBody: 0.05,
    slowBody: 0.05,
    wrongBytes: 0.05,
    late: 0.1,
    ignoreIfNoneMatch: false,
  }
  await using server = await FaultServer.start(() => random.below(1 << 30) / (1 << 30), noFaults)
  await using directory = await TemporaryDirectory.make()
  const [data, location] = [join(directory.path, 'data'), server.location('bucket')]
  const note = `seed ${random.seed}`
  const wanted = ['refuse', 'loseAnswer'] as const
  let count = 0
  // Chance decides which faults come: a run more for as long as one of them has not, but not without end.
  for (let run = 0; run < 3 || (run < 12 && wanted.some((kind) => (server.counts[kind] ?? 0) === 0)); run++) {
    server.faults = faults
    await using store = await TieredStore.open(data, location, {
      checkpointStore: new MemoryCheckpointStore(),
      tier: { orphanGraceMs: -1 },
    })
    if (run === 0) await store.createLog('carts')
    const log = store.log('carts')
    await fill(log, count, 4)
    count += 4
    await store.sent(log)
    await checkContents(log, count, note)
    server.faults = noFaults
    for (const stored of server.objects.values()) stored.hiddenFor = 0 // it was long ago
    await checkTier(store, location, join(directory.path, 'scratch'), note)
    assert.deepEqual(store.under.failures, [], note)
  }
  for (const kind of wanted) assert.ok((server.counts[kind] ?? 0) > 0, `${note}: no ${kind}`)
})

test('tier: the store is away and the local disk fills: appends are refused, nothing is lost or let go; it is back, and all goes on', async () => {
  await using server = await FaultServer.start(Math.random, noFaults)
  await using directory = await TemporaryDirectory.make()
  const location = server.location('bucket')
  const data = join(directory.path, 'data')
  const segmentsMax = 6
  let allocatedBytes = 0
  const fileSystem = new FaultyFileSystem({
    allocate: async (path, bytes) => {
      allocatedBytes = path.endsWith('.log') ? await logBytesIn(data) : 0
      if (allocatedBytes + bytes > segmentsMax * 1024 * 1024)
        throw Object.assign(new Error('no space'), { code: 'ENOSPC' })
    },
  })
  await using store = await TieredStore.open(data, location, { fileSystem, tier: { uploadIntervalMs: 3_600_000 } })
  const log = await store.createLog('carts')
  server.faults = { ...noFaults, refuse: 1 }
  const large = 'x'.repeat(600_000)
  const one = () => append(log, `a=${log.logEndOffset}:${large}`)
  let refusal: unknown
  for (let tries = 0; tries < 20 && refusal === undefined; tries++)
    refusal = await one().then(
      () => undefined,
      (error: unknown) => error,
    )
  assert.ok(isPlayheadError(refusal, 'diskFull'), String(refusal))
  const count = log.logEndOffset
  assert.ok(count > 2, `${count} events`)
  await until(() => store.tier.problems.length > 0)
  assert.match(store.tier.problems[0] ?? '', /found status 50[03] .*Look at the store and the network/)
  assert.equal(store.tier.stats.letGoSegments, 0)
  const valuesOf = async () => (await eventsOf(log, 'a')).map((text) => Number(/=(\d+):/.exec(text)?.[1]))
  const numbers = (end: number) => Array.from({ length: end }, (_, number) => number)
  assert.deepEqual(await valuesOf(), numbers(count))
  server.faults = noFaults
  await until(() => store.tier.stats.letGoSegments > 0)
  for (let more = 0; more < 4; more++) {
    await until(async () => (await one().catch(() => undefined)) !== undefined)
  }
  assert.deepEqual(await valuesOf(), numbers(count + 4))
  assert.deepEqual(store.tier.problems, [])
  assert.deepEqual(store.under.failures, [])
})

/** Bytes of the segments on the local disk. */
async function logBytesIn(directory: string): Promise<number> {
  let bytes = 0
  for (const name of await readdir(directory, { recursive: true }))
    if (name.endsWith('.log')) bytes += (await stat(join(directory, name)).catch(() => ({ size: 0 }))).size
  return bytes
}

test('tier: of two brokers on copies of one data directory, one is shut out, and all it has stays on its disk', async () => {
  await using directory = await TemporaryDirectory.make()
  const [data, copy] = [join(directory.path, 'data'), join(directory.path, 'copy')]
  const location = `file://${directory.path}/tier`
  {
    await using store = await TieredStore.open(data, location)
    await fill(await store.createLog('carts'), 0, 3)
  }
  await cp(data, copy, { recursive: true })
  await using first = await TieredStore.open(data, location, { tier: { orphanGraceMs: -1 } })
  await using second = await TieredStore.open(copy, location)
  await Promise.all([fill(first.log('carts'), 3, 3), fill(second.log('carts'), 3, 3)])
  await until(() => first.tier.problems.length + second.tier.problems.length > 0)
  const [winner, loser] = first.tier.problems.length === 0 ? [first, second] : [second, first]
  assert.match(loser.tier.problems[0] ?? '', /found a manifest that another broker wrote/)
  await winner.sent(winner.log('carts'))
  for (const store of [winner, loser]) await checkContents(store.log('carts'), 6, 'two brokers')
  if (winner === first) await checkTier(winner, location, join(directory.path, 'scratch'), 'two brokers')
})

test('tier: a broker that was restored shuts out the one that was believed lost', async () => {
  await using directory = await TemporaryDirectory.make()
  const [data, restored] = [join(directory.path, 'data'), join(directory.path, 'restored')]
  const location = `file://${directory.path}/tier`
  await using lost = await TieredStore.open(data, location)
  const log = await lost.createLog('carts')
  await fill(log, 0, 3)
  await lost.sent(log)
  const store = await openObjectStore(location, foundation)
  await restoreTier({ ...foundation, store, location, dataDirectory: restored })
  await using again = await TieredStore.open(restored, location, { tier: { orphanGraceMs: -1 } })
  await fill(again.log('carts'), 3, 1)
  await again.sent(again.log('carts'))
  await append(log, 'a=of the one believed lost')
  await log.files.roll()
  await until(() => lost.tier.problems.length > 0)
  assert.match(lost.tier.problems[0] ?? '', /found a manifest that another broker wrote/)
  await checkContents(again.log('carts'), 4, 'restored')
  await checkTier(again, location, join(directory.path, 'scratch'), 'restored')
})

test('tier: a prefix that belongs to another cluster is refused', async () => {
  await using directory = await TemporaryDirectory.make()
  const location = `file://${directory.path}/tier`
  await using store = await TieredStore.open(join(directory.path, 'one'), location)
  assert.deepEqual(store.tier.problems, [])
  await assert.rejects(
    TieredStore.open(join(directory.path, 'other'), location),
    /found the tier of cluster .*, wanted one of this cluster/,
  )
})

test('tier: a data directory put back from an old copy does not undo what the tier has since', async () => {
  await using directory = await TemporaryDirectory.make()
  const [data, copy] = [join(directory.path, 'data'), join(directory.path, 'copy')]
  const location = `file://${directory.path}/tier`
  {
    await using store = await TieredStore.open(data, location)
    await fill(await store.createLog('carts'), 0, 2)
  }
  await cp(data, copy, { recursive: true })
  {
    await using store = await TieredStore.open(data, location)
    await fill(store.log('carts'), 2, 3)
    await store.sent(store.log('carts'))
  }
  // Its epoch gets ahead.
  for (let run = 0; run < 3; run++) await (await TieredStore.open(copy, location))[Symbol.asyncDispose]()
  await using old = await TieredStore.open(copy, location)
  await fill(old.log('carts'), 2, 1)
  await until(() => old.tier.problems.length > 0)
  assert.match(old.tier.problems[0] ?? '', /this data directory is older than its tier/)
  await checkContents(old.log('carts'), 3, 'old copy')
  const store = await openObjectStore(location, foundation)
  const dataDirectory = join(directory.path, 'restored')
  const restored = await restoreTier({ ...foundation, store, location, dataDirectory })
  assert.equal(restored[0]?.endOffset, 10)
})

test('tier: a segment that was rewritten locally is sent again in place of the old one, also after a restart', async () => {
  await using directory = await TemporaryDirectory.make()
  const [data, location] = [join(directory.path, 'data'), `file://${directory.path}/tier`]
  const settings = { 'local.retention.bytes': '-1' }
  let partition = ''
  {
    await using store = await TieredStore.open(data, location)
    const log = await store.createLog('carts', settings)
    await fill(log, 0, 3)
    await until(() => store.tier.stats.segments === 3)
    partition = join(store.under.store.topic('carts').directory, '0')
  }
  // The same sidecar with another producer snapshot, as a rewritten segment would have: its checksum is another one.
  const [, name = ''] = (await readdir(partition)).filter((each) => each.endsWith('.idx'))
  await rewriteFooter(join(partition, name))
  await using store = await TieredStore.open(data, location, { tier: { orphanGraceMs: -1 } })
  await until(() => store.tier.stats.sentSegments === 1)
  await checkContents(store.log('carts'), 3, 'rewritten')
  await checkTier(store, location, join(directory.path, 'scratch'), 'rewritten')
})

/** Gives the sidecar another `previous checksum`. */
async function rewriteFooter(path: string): Promise<void> {
  const bytes = await readFile(path)
  const footer = decodeFooter(bytes.subarray(-FOOTER_BYTES))
  assert.ok(footer !== undefined)
  await writeFile(
    path,
    Buffer.concat([bytes.subarray(0, -FOOTER_BYTES), encodeFooter({ ...footer, previousChecksum: 1 })]),
  )
}

for (const end of ['stopped', 'killed'] as const) {
  test(`tier: an upload in parts that is cut off (${end}) is gone on with by the next process: no part is sent twice`, async () => {
    await using server = await FaultServer.start(Math.random, noFaults)
    await using directory = await TemporaryDirectory.make()
    const [data, location] = [join(directory.path, 'data'), server.location('bucket')]
    const fileSystem = new DyingFileSystem(nodeFileSystem)
    const settings = { 'segment.bytes': String(64 * MiB), 'max.message.bytes': String(8 * MiB) }
    // 5 parts of 8 MiB, of which the store takes two.
    const events = Array.from({ length: 6 }, (_, number) => `a=${number}:${'x'.repeat(6 * MiB)}`)
    server.refusesPartsFrom = 3
    {
      const tier = { stopWaitMsMax: 200, uploadIntervalMs: 3_600_000 }
      const store = await TieredStore.open(data, location, { fileSystem, tier })
      const log = await store.createLog('carts', settings)
      for (const event of events) await append(log, event)
      await log.files.roll()
      await until(() => server.parts.length >= 2 && store.tier.stats.retries > 2)
      if (end === 'killed') fileSystem.dieAt(1)
      await store[Symbol.asyncDispose]().catch(() => undefined)
    }
    await rm(join(data, 'lock'), { force: true }) // its process is dead
    const before = server.parts.toSorted((a, b) => a - b)
    assert.deepEqual(before, [1, 2]) // sent side by side, they arrive in any order
    server.refusesPartsFrom = Infinity
    await using again = await TieredStore.open(data, location, { tier: { orphanGraceMs: -1 } })
    await again.sent(again.log('carts'))
    assert.deepEqual(
      server.parts.toSorted((a, b) => a - b),
      [1, 2, 3, 4, 5],
    )
    assert.deepEqual(
      (await readdir(join(data, 'tier'))).filter((name) => name.startsWith('upload-')),
      [],
    )
    assert.equal((await eventsOf(again.log('carts'), 'a')).length, events.length)
    await checkTier(again, location, join(directory.path, 'scratch'), end)
  })
}
