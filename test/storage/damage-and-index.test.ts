/** Damage in segments and what is derived from them, each found by simulation: nothing beside the damaged batch is lost, versions stay in order. */
import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemClock } from '../../platform/clock.ts'
import { nodeFileSystem } from '../../platform/node-file-system.ts'
import { baseOffset } from '../../protocol/record-batch.ts'
import { nextFrame } from '../../storage/frame-search.ts'
import type { Log } from '../../storage/log.ts'
import { MemoryCheckpointStore } from '../../storage/memory-checkpoint-store.ts'
import { decodeSegmentHeader, FRAME_BYTES, frameBatchBytes } from '../../storage/segment-format.ts'
import { verify } from '../../storage/verify.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { FaultyFileSystem } from './faulty-file-system.ts'
import { eventsOf, recordsOf } from './log-contents.ts'
import { pathsIn } from './paths-in.ts'
import { append, StoreUnderTest, until } from './store-under-test.ts'

const settings = { tailCacheBytes: 0 }

/** Where the first frame begins that `choose` wants. */
function findFrame(bytes: Buffer, path: string, choose: (position: number) => boolean): number {
  const { salt } = decodeSegmentHeader(bytes, path)!
  let at = nextFrame(bytes, 0, salt)
  while (!choose(at)) at = nextFrame(bytes, at + 1, salt)
  return at
}

/** Changes the first frame that `choose` wants. */
async function damage(path: string, choose: (batchBytes: number) => boolean): Promise<void> {
  const bytes = await readFile(path)
  const frame = findFrame(bytes, path, (position) => choose(frameBatchBytes(bytes, position)))
  bytes[frame + 30]! ^= 1
  await writeFile(path, bytes)
}

/** One batch before a frame without a batch, one behind it. */
async function appendAroundFloor(log: Log): Promise<void> {
  await append(log, 'a=0')
  await until(() => log.stats.floorFrames === 1)
  await append(log, 'a=1', 'a=2')
}

async function findings(directory: string): Promise<string[]> {
  const { damage: found } = await verify({ directory, fileSystem: nodeFileSystem, clock: systemClock })
  return found.map(({ file, reason }) => `${file.slice(-4)}: ${reason}`)
}

test('damage: in a frame without a batch costs no record, while the log is open', async () => {
  await using directory = await TemporaryDirectory.make()
  await using opened = await StoreUnderTest.open(directory.path, { settings })
  const log = await opened.createLog()
  await appendAroundFloor(log)
  await damage((await pathsIn(directory.path, '.log'))[0]!, (batchBytes) => batchBytes === 0)
  assert.deepEqual(await recordsOf(log), ['a=0', 'a=1', 'a=2'])
  assert.deepEqual(await recordsOf(log, 1), ['a=1', 'a=2'])
  assert.deepEqual(await eventsOf(log, 'a'), ['0=0', '1=1', '2=2'])
})

test('damage: in a frame without a batch costs no record at recovery, though nothing proves what is behind it', async () => {
  await using directory = await TemporaryDirectory.make()
  const abandoned = await StoreUnderTest.open(directory.path, { settings: { ...settings, idleFloorMs: 100 } })
  await appendAroundFloor(await abandoned.createLog())
  const [path = ''] = await pathsIn(directory.path, '.log')
  const bytes = await readFile(path)
  await abandoned[Symbol.asyncDispose]()
  await writeFile(path, bytes) // as a kill would have left it: without the last frame
  await damage(path, (batchBytes) => batchBytes === 0)
  assert.match((await findings(directory.path)).join('; '), /\.log: found .* wanted a frame that says what is durable/)
  for (let start = 0; start < 2; start++) {
    await using opened = await StoreUnderTest.open(directory.path, { settings })
    const log = opened.store.log('carts', 0)
    assert.equal((await append(log, `a=${3 + start}`)).baseOffset, 3 + start)
    assert.deepEqual(await recordsOf(log), ['a=0', 'a=1', 'a=2', 'a=3', 'a=4'].slice(0, 4 + start))
  }
})

test("damage: behind the last batch of a sealed segment is the segment's, not its sidecar's", async () => {
  await using directory = await TemporaryDirectory.make()
  {
    await using opened = await StoreUnderTest.open(directory.path, { settings })
    const log = await opened.createLog('carts', { 'segment.ms': '100' })
    await append(log, 'a=0')
    await until(() => log.stats.floorFrames === 1)
    await sleep(150)
    await append(log, 'a=1')
    await until(async () => (await pathsIn(directory.path, '.idx')).length === 1)
  }
  assert.deepEqual(await findings(directory.path), [])
  await damage((await pathsIn(directory.path, '.log'))[0]!, (batchBytes) => batchBytes === 0)
  const found = await findings(directory.path)
  assert.deepEqual([found.length, found[0]?.slice(0, 4)], [1, '.log'])
})

test('damage: an index made anew does not put lost events behind those that follow the damage', async () => {
  await using directory = await TemporaryDirectory.make()
  {
    await using opened = await StoreUnderTest.open(directory.path, { settings })
    const log = await opened.createLog('carts', { 'segment.ms': '100' })
    await append(log, 'a=0')
    await append(log, 'b=0', 'b=1', 'b=2')
    await append(log, 'a=1')
    await until(() => log.stats.floorFrames === 1)
    await sleep(150)
    await append(log, 'a=2')
    await sleep(150)
    await append(log, 'a=3')
    await until(async () => (await pathsIn(directory.path, '.idx')).length === 2)
  }
  const [segment = ''] = await pathsIn(directory.path, '.log')
  const batchBytes: number[] = []
  await damage(segment, (bytes) => batchBytes.push(bytes) === 2)
  const [sidecar = ''] = await pathsIn(directory.path, '.idx')
  await writeFile(sidecar, Buffer.alloc(10))
  await using opened = await StoreUnderTest.open(directory.path, {
    settings,
    checkpointStore: new MemoryCheckpointStore(),
  })
  const log = opened.store.log('carts', 0)
  assert.deepEqual(await eventsOf(log, 'a'), ['0=0', '1=1', '2=2', '3=3'])
  assert.match(log.damage[0] ?? '', /offsets 1 to 3/)
})

test('damage: a sidecar and a page of its segment that cannot be read while the log is open: the rest is served', async () => {
  await using directory = await TemporaryDirectory.make()
  let isBad = false
  const fileSystem = new FaultyFileSystem({
    read: (path) => {
      if (isBad && (path.endsWith('.idx') || path.endsWith('0.log')))
        throw Object.assign(new Error(`EIO: i/o error, read ${path}`), { code: 'EIO' })
    },
  })
  await using opened = await StoreUnderTest.open(directory.path, {
    fileSystem,
    settings: { ...settings, openSegmentsMax: 1 },
  })
  const log = await opened.createLog('carts', { 'segment.bytes': '1048576' })
  for (let round = 0; round < 5; round++) await append(log, `a=${round}${'x'.repeat(400_000)}`)
  await until(async () => (await pathsIn(directory.path, '.idx')).length === 2)
  await recordsOf(log, 4)
  isBad = true
  await assert.rejects(recordsOf(log), { code: 'corruptBatch' })
  assert.equal((await recordsOf(log, 4)).length, 1)
})

test('damage: in how many offsets a batch takes costs that batch alone (each bit of the field)', async () => {
  await using directory = await TemporaryDirectory.make()
  await using opened = await StoreUnderTest.open(directory.path, { settings })
  const log = await opened.createLog()
  for (let round = 0; round < 8; round++)
    await append(log, `a=${3 * round}`, `a=${3 * round + 1}`, `a=${3 * round + 2}`)
  const [path = ''] = await pathsIn(directory.path, '.log')
  const bytes = await readFile(path)
  const hasBatch = (position: number) => frameBatchBytes(bytes, position) > 0
  const frame = findFrame(bytes, path, (at) => hasBatch(at) && baseOffset(bytes, at + FRAME_BYTES) === 9)
  const lastOffsetDelta = frame + FRAME_BYTES + 23
  for (let bit = 0; bit < 32; bit++) {
    const flipped = Buffer.from(bytes)
    flipped[lastOffsetDelta + (bit >> 3)]! ^= 1 << (bit & 7)
    await writeFile(path, flipped)
    for (const from of [12, 15, 21])
      assert.equal((await recordsOf(log, from))[0], `a=${from}`, `bit ${bit}, from ${from}`)
    await assert.rejects(recordsOf(log, 9), { code: 'corruptBatch' })
  }
  assert.deepEqual(
    log.damage.map((text) => /offsets (\d+ to \d+):/.exec(text)?.[1]),
    ['9 to 11'],
  )
})
