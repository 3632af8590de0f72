/** Verify: sound directories give no damage and stay as they are; every kind of change is found and named. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { cp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../../platform/clock.ts'
import { nodeFileSystem } from '../../platform/node-file-system.ts'
import { isPlayheadError } from '../../protocol/errors.ts'
import { parseUuid } from '../../protocol/uuid.ts'
import { murmur2 } from '../../protocol/murmur2.ts'
import { BlockBuilder, decodeHeadBlock, encodeHeadBlock } from '../../storage/head-block.ts'
import { headBlockKey, logPrefix, type StoredHead } from '../../storage/index-keys.ts'
import { KeyTable } from '../../storage/key-table.ts'
import { LmdbCheckpointStore } from '../../storage/lmdb-checkpoint-store.ts'
import { RecentPostings } from '../../storage/recent-postings.ts'
import { Sidecar } from '../../storage/sidecar.ts'
import { SectionKind } from '../../storage/sidecar-format.ts'
import { writeSidecar } from '../../storage/sidecar-writer.ts'
import { verify } from '../../storage/verify.ts'
import type { VerifyResult } from '../../storage/verify-findings.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { pathsIn } from './paths-in.ts'
import { SeededRandom } from './seeded-random.ts'
import { group, StoreUnderTest, until } from './store-under-test.ts'

const openCache = (directory: string) =>
  LmdbCheckpointStore.open({ directory: join(directory, 'cache'), fileSystem: nodeFileSystem, report: () => {} })

/** A data directory with several sealed segments, streams that span them, null keys, producers and compressed batches. */
async function fill(directory: string, rounds = 60): Promise<{ records: number; topicId: string }> {
  await using opened = await StoreUnderTest.open(directory, { checkpointStore: await openCache(directory) })
  const log = await opened.createLog('carts', { 'segment.bytes': '1048576' })
  let records = 0
  for (let round = 0; round < rounds; round++) {
    const texts = [`hot=${'x'.repeat(40_000)}`, `s${round % 7}=a`, '=nobody', `s${round}=b`]
    const producer = { producerId: 5, producerEpoch: 0, baseSequence: round * 4 }
    const compression = round % 3 === 0 ? ('zstd' as const) : ('none' as const)
    await log.append(group(texts, { batchOptions: { ...producer, compression } }))
    records += texts.length
  }
  // A stop ends a sealing that is under way: the next start would do it.
  await until(async () => (await pathsIn(directory, '.idx')).length === log.segmentCount - 1)
  return { records, topicId: opened.store.topic('carts').id }
}

async function check(directory: string): Promise<VerifyResult> {
  await using scratch = await TemporaryDirectory.make()
  return await verify({ directory, fileSystem: nodeFileSystem, clock: systemClock, scratchDirectory: scratch.path })
}

async function fingerprint(directory: string): Promise<string[]> {
  const names = (await readdir(directory, { recursive: true })).toSorted()
  const lines: string[] = []
  for (const name of names) {
    const path = join(directory, name)
    const { mtimeMs, size } = await stat(path)
    const isFile = (await stat(path)).isFile()
    const digest = isFile
      ? createHash('sha256')
          .update(await readFile(path))
          .digest('hex')
      : ''
    lines.push(isFile ? `${name} ${size} ${mtimeMs} ${digest}` : name)
  }
  return lines
}

test('verify: after a clean stop there is no damage, everything is counted, and nothing is changed', async () => {
  await using directory = await TemporaryDirectory.make()
  const { records } = await fill(directory.path)
  const before = await fingerprint(directory.path)
  const progress: number[] = []
  await using scratch = await TemporaryDirectory.make()
  const options = {
    directory: directory.path,
    fileSystem: nodeFileSystem,
    clock: systemClock,
    scratchDirectory: scratch.path,
  }
  const result = await verify({ ...options, onProgress: ({ segments }) => progress.push(segments) })
  assert.deepEqual(result.damage, [])
  assert.deepEqual(result.notes, [])
  assert.equal(result.records, records)
  assert.equal(result.batches, 60)
  assert.equal(result.partitions, 1)
  assert(result.segments >= 2)
  assert.equal(progress.length, result.segments)
  assert.deepEqual(await fingerprint(directory.path), before)
})

test('verify: refuses a directory in use, and one that is none', async () => {
  await using directory = await TemporaryDirectory.make()
  {
    await using opened = await StoreUnderTest.open(directory.path)
    await opened.createLog()
    await assert.rejects(check(directory.path), (error) => isPlayheadError(error, 'dataDirectoryInUse'))
  }
  await check(directory.path)
  await using empty = await TemporaryDirectory.make()
  await assert.rejects(check(empty.path), (error) => isPlayheadError(error, 'invalidArgument'))
})

test('verify: what kill -9 leaves is no damage, over 6 runs of one directory', async () => {
  await using directory = await TemporaryDirectory.make()
  const script = fileURLToPath(new URL('./append-forever.ts', import.meta.url))
  let records = 0
  for (let round = 0; round < 6; round++) {
    const child = spawn(process.execPath, [script, directory.path], { stdio: ['ignore', 'pipe', 'inherit'] })
    let answers = 0
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      answers += chunk.split('\n').length - 1
      if (answers > 10 + round * 13) child.kill('SIGKILL')
    })
    await once(child, 'close')
    const result = await check(directory.path)
    assert.deepEqual(result.damage, [], `round ${round}`)
    assert(result.records >= records + answers * 21)
    records = result.records
  }
})

test('verify: a torn tail is a note', async () => {
  await using directory = await TemporaryDirectory.make()
  const live = join(directory.path, 'live')
  await using opened = await StoreUnderTest.open(live, { settings: { idleFloorMs: 1_000_000 } })
  const log = await opened.createLog()
  await log.append(group(['a=1', 'b=1']))
  await log.append(group(['a=2']))
  const copy = join(directory.path, 'copy')
  await cp(live, copy, { recursive: true })
  await rm(join(copy, 'lock'))
  const [segment] = await pathsIn(copy, '.log')
  const bytes = await readFile(segment!)
  bytes[bytes.findLastIndex((byte) => byte !== 0)]! ^= 1
  await writeFile(segment!, bytes)
  const result = await check(copy)
  assert.deepEqual(result.damage, [])
  assert.match(result.notes.join('\n'), /torn write/)
  assert.equal(result.records, 2)
})

/** Changes one bit; the same call again takes it back. */
async function flip(path: string, at: number, bit: number): Promise<void> {
  const bytes = await readFile(path)
  bytes[at]! ^= 1 << bit
  await writeFile(path, bytes)
}

for (const extension of ['.log', '.idx']) {
  test(`verify: one bit changed anywhere in a ${extension} file is damage that names the file`, async () => {
    await using directory = await TemporaryDirectory.make()
    await fill(directory.path)
    const random = SeededRandom.fresh()
    const paths = await pathsIn(directory.path, extension)
    assert(paths.length > 0)
    for (let round = 0; round < 25; round++) {
      const path = random.pick(paths)
      const { size } = await stat(path)
      const at = random.below(random.pick([64, 200, size]))
      const bit = random.below(8)
      await flip(path, at, bit)
      const { damage } = await check(directory.path)
      const found = damage.find(({ file }) => file === path)
      assert(found !== undefined, `seed ${random.seed}: ${path} byte ${at}`)
      assert(found.position <= at, `seed ${random.seed}: found at ${found.position}, is at ${at}`)
      await flip(path, at, bit)
    }
    assert.deepEqual((await check(directory.path)).damage, [])
  })
}

test('verify: goes on after damage, and names each', async () => {
  await using directory = await TemporaryDirectory.make()
  const { records } = await fill(directory.path)
  const [first, second] = await pathsIn(directory.path, '.log')
  await flip(first!, 90_000, 0)
  await flip(first!, 700_000, 0)
  await flip(second!, 300_000, 0)
  const { damage, records: found } = await check(directory.path)
  assert.deepEqual(
    damage.map(({ file }) => file),
    [first, first, second],
  )
  assert.equal(found, records - 3 * 4)
  assert(damage.every(({ offset }) => offset !== undefined))
})

test('verify: a segment that is gone, one of another place, a sidecar alone', async () => {
  await using directory = await TemporaryDirectory.make()
  await fill(directory.path, 120)
  const [first, second, third] = await pathsIn(directory.path, '.log')
  const moved = await readFile(second!)
  await rm(second!)
  const gone = await check(directory.path)
  assert.deepEqual(new Set(gone.damage.map(({ file }) => file)), new Set([second!.replace('.log', '.idx'), third]))
  await writeFile(second!, await readFile(first!))
  assert((await check(directory.path)).damage.some(({ file, reason }) => file === second && /header/.test(reason)))
  await writeFile(second!, moved)
  await rm(second!.replace('.log', '.idx'))
  const result = await check(directory.path)
  assert.deepEqual(result.damage, [])
  assert.match(result.notes.join(), /no sidecar/)
})

test('verify: a log that ends before what the cache says was durable', async () => {
  await using directory = await TemporaryDirectory.make()
  await fill(directory.path)
  const last = (await pathsIn(directory.path, '.log')).at(-1)!
  const bytes = await readFile(last)
  await writeFile(last, bytes.subarray(0, bytes.length - 50_000))
  const { damage } = await check(directory.path)
  assert(damage.some(({ file, offset }) => file === last && offset !== undefined))
})

test('verify: broker.json and topic.json that are not what was written', async () => {
  await using directory = await TemporaryDirectory.make()
  await fill(directory.path, 2)
  const [broker] = await pathsIn(directory.path, 'broker.json')
  const [topic] = await pathsIn(directory.path, 'topic.json')
  for (const path of [broker!, topic!]) {
    const bytes = await readFile(path)
    await writeFile(path, bytes.toString().replace('1', '2'))
    assert.deepEqual(
      (await check(directory.path)).damage.map(({ file }) => file),
      [path],
    )
    await writeFile(path, bytes)
  }
  await rm(topic!)
  assert.deepEqual(
    (await check(directory.path)).damage.map(({ file }) => file),
    [topic],
  )
})

type Events = Map<string, { firstVersion: number; offsets: number[] }>

/** Writes the sidecar again, sound in itself, with other events. */
async function rewriteSidecar(path: string, change: (events: Events) => void): Promise<void> {
  const events: Events = new Map()
  let parts: Buffer[]
  {
    await using sidecar = await Sidecar.open(nodeFileSystem, path)
    for await (const { stream, ...rest } of sidecar.postings()) events.set(stream, rest)
    change(events)
    const table = new RecentPostings(sidecar.footer.baseOffset)
    for (const [stream, { offsets }] of events) for (const offset of offsets) table.addStream(stream, offset)
    const section = async (kind: SectionKind) => (await sidecar.section(kind)) ?? Buffer.alloc(0)
    parts = await writeSidecar({
      summary: sidecar.footer,
      offsets: await section(SectionKind.offsets),
      times: await section(SectionKind.times),
      producers: await section(SectionKind.producers),
      tables: [table],
      versionOf: ([part]) => events.get(part!.table.keys.stream(part!.slot))!.firstVersion,
      clock: systemClock,
    })
  }
  await writeFile(path, Buffer.concat(parts))
}

const sidecarLies: Record<string, [change: (events: Events) => void, reason: RegExp]> = {
  'another first version': [
    (events) => {
      events.get('s3')!.firstVersion++
    },
    /found stream 's3' from version \d+, wanted \d+/,
  ],
  'another offset': [
    (events) => {
      events.get('hot')!.offsets.pop()
    },
    /found other offsets of stream 'hot', wanted those of the segment/,
  ],
  'events of one stream under the name of another': [
    (events) => {
      const [hot, other] = [events.get('hot')!, events.get('s3')!]
      events.set('hot', { ...hot, offsets: other.offsets }).set('s3', { ...other, offsets: hot.offsets })
    },
    /found other offsets of stream/,
  ],
  'one stream less': [
    (events) => {
      assert(events.delete('s3'))
    },
    /found postings of \d+ streams, wanted \d+|found streams \d+, wanted \d+/,
  ],
}

for (const [what, [change, reason]] of Object.entries(sidecarLies)) {
  test(`verify: a sidecar that is sound in itself and says ${what} is named`, async () => {
    await using directory = await TemporaryDirectory.make()
    await fill(directory.path, 160)
    const sidecar = (await pathsIn(directory.path, '.idx'))[1]!
    await rewriteSidecar(sidecar, () => {})
    assert.deepEqual((await check(directory.path)).damage, [])
    await rewriteSidecar(sidecar, change)
    const { damage } = await check(directory.path)
    assert.deepEqual([...new Set(damage.map(({ file }) => file))], [sidecar])
    assert.match(damage.map((found) => found.reason).join('\n'), reason)
  })
}

/** The heads of a small log, which are all in one block. */
type Heads = Map<string, StoredHead>

const lies: Record<string, (heads: Heads) => void> = {
  'another last version': (heads) => {
    heads.set('s3', { lastVersion: 70, firstVersion: 0, lastOffset: 10, tailCount: 0, tail: Buffer.alloc(0) })
  },
  'a stream that the log does not have': (heads) => {
    heads.set('nobody', { lastVersion: 0, firstVersion: 0, lastOffset: 1, tailCount: 1, tail: Buffer.from([1]) })
  },
  'no such stream': (heads) => {
    assert(heads.delete('s4'))
  },
}

async function changeHeads(cache: LmdbCheckpointStore, prefix: Buffer, change: (heads: Heads) => void): Promise<void> {
  const key = headBlockKey(prefix, Buffer.alloc(0))
  const heads: Heads = new Map()
  for (const { entries } = decodeHeadBlock(cache.get(key)!); entries.next(); ) heads.set(entries.stream, entries.head)
  change(heads)
  const [keys, block] = [new KeyTable(), new BlockBuilder()]
  for (const [stream, head] of [...heads].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    const name = Buffer.from(stream)
    block.add(keys, keys.add(name, 0, name.length, murmur2(name)), head)
  }
  await cache.write([{ key, value: encodeHeadBlock(undefined, block.take()) }])
}

for (const [what, lie] of Object.entries(lies)) {
  test(`verify: a cache that says ${what} is to be wiped`, async () => {
    await using directory = await TemporaryDirectory.make()
    const { topicId } = await fill(directory.path)
    const cache = await openCache(directory.path)
    await changeHeads(cache, logPrefix(parseUuid(topicId), 0), lie)
    await cache.close()
    const { damage } = await check(directory.path)
    assert.deepEqual(
      damage.map(({ file }) => file),
      [join(directory.path, 'cache', 'data.mdb')],
    )
    assert.match(damage[0]!.reason, /wiped/)
    await rm(join(directory.path, 'cache'), { recursive: true })
    assert.deepEqual((await check(directory.path)).damage, [])
  })
}

test('verify: a cache that lags is fine', async () => {
  await using directory = await TemporaryDirectory.make()
  await fill(directory.path)
  const kept = join(directory.path, 'kept')
  await cp(join(directory.path, 'cache'), kept, { recursive: true })
  {
    await using opened = await StoreUnderTest.open(directory.path, { checkpointStore: await openCache(directory.path) })
    await opened.store.log('carts', 0).append(group(['hot=1', 'new=1']))
  }
  await rm(join(directory.path, 'cache'), { recursive: true })
  await cp(kept, join(directory.path, 'cache'), { recursive: true })
  await rm(kept, { recursive: true })
  const { damage, notes } = await check(directory.path)
  assert.deepEqual([damage, notes], [[], []])
})

test('verify: a segment on its way out, whose file is still there when what was before it has gone, is no damage', async () => {
  await using directory = await TemporaryDirectory.make()
  await using kept = await TemporaryDirectory.make()
  const { topicId } = await fill(directory.path, 120)
  const log = join(directory.path, 'topics', topicId, '0')
  const segments = (await readdir(log)).filter((name) => name.endsWith('.log')).toSorted()
  assert.ok(segments.length > 3)
  const leaving = segments[1]!.replace('.log', '')
  for (const kind of ['.log', '.idx']) await cp(join(log, leaving + kind), join(kept.path, leaving + kind))
  {
    await using opened = await StoreUnderTest.open(directory.path, { checkpointStore: await openCache(directory.path) })
    await opened.store.log('carts', 0).deleteRecords(Number(segments[2]!.replace('.log', '')))
    await opened.store.log('carts', 0).retention.letGo()
  }
  for (const kind of ['.log', '.idx']) await cp(join(kept.path, leaving + kind), join(log, leaving + kind))
  assert.deepEqual((await check(directory.path)).damage, [])
})
