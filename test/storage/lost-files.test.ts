/** Files that were lost, emptied or put back from an older copy while the broker was down: what is left of the proof is used, nothing is reused. */
import assert from 'node:assert/strict'
import { copyFile, cp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { isPlayheadError } from '../../protocol/errors.ts'
import { MemoryCheckpointStore } from '../../storage/memory-checkpoint-store.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { eventsOf, recordsOf } from './log-contents.ts'
import { append, StoreUnderTest, until } from './store-under-test.ts'

/** What kill -9 leaves of a directory in use. */
async function crashCopy(from: string, to: string): Promise<void> {
  await cp(from, to, { recursive: true })
  await rm(join(to, 'lock'))
}

async function segmentIn(directory: string): Promise<string> {
  const name = (await readdir(directory, { recursive: true })).find((each) => each.endsWith('.log'))
  assert.ok(name !== undefined)
  return join(directory, name)
}

for (const end of ['kill -9', 'clean stop'] as const) {
  test(`lost files: an older broker.json is put in place, then appends, then a ${end}: nothing acknowledged is lost`, async () => {
    await using directory = await TemporaryDirectory.make()
    const [live, left] = [join(directory.path, 'live'), join(directory.path, 'left')]
    const [file, copy] = [join(live, 'broker.json'), join(directory.path, 'broker.json')]
    {
      await using opened = await StoreUnderTest.open(live)
      await append(await opened.createLog(), 'a=0')
    }
    await copyFile(file, copy)
    for (const value of [1, 2, 3]) {
      await using opened = await StoreUnderTest.open(live)
      await append(opened.store.log('carts', 0), `a=${value}`)
    }
    await copyFile(copy, file)
    await using opened = await StoreUnderTest.open(live, { settings: { idleFloorMs: 1_000_000 } })
    assert.equal(opened.store.epoch, 4)
    assert.match(opened.reports.join(), /epoch 1 and a log with epoch 3/)
    await append(opened.store.log('carts', 0), 'a=precious')
    if (end === 'kill -9') await crashCopy(live, left)
    await opened[Symbol.asyncDispose]()
    await using again = await StoreUnderTest.open(end === 'kill -9' ? left : live)
    const log = again.store.log('carts', 0)
    assert.equal(again.store.epoch, 5)
    assert.deepEqual([(await recordsOf(log)).at(-1), log.damage], ['a=precious', []])
  })
}

test('lost files: kill -9 after a checkpoint, restart, clean stop, cache deleted, one bit flipped: damage, not a torn tail', async () => {
  await using directory = await TemporaryDirectory.make()
  const checkpointStore = new MemoryCheckpointStore()
  const [live, left] = [join(directory.path, 'live'), join(directory.path, 'left')]
  await using killed = await StoreUnderTest.open(live, { checkpointStore, settings: { idleFloorMs: 1_000_000 } })
  const log = await killed.createLog()
  await append(log, 'a=0')
  await append(log, 'a=precious')
  await log.checkpointer.save()
  await crashCopy(live, left)
  await (await StoreUnderTest.open(left, { checkpointStore }))[Symbol.asyncDispose]()
  const segment = await segmentIn(left)
  const bytes = await readFile(segment)
  bytes[bytes.indexOf('precious')]! ^= 1
  await writeFile(segment, bytes)
  await using again = await StoreUnderTest.open(left)
  const reopened = again.store.log('carts', 0)
  assert.equal(reopened.damage.length, 1)
  assert.equal((await append(reopened, 'a=new')).baseOffset, 2)
})

for (const what of ['emptied', 'deleted', 'deleted with its directory'] as const) {
  test(`lost files: the only segment is ${what}, a checkpoint knows its 20 records: named damage, no offset or version twice`, async () => {
    await using directory = await TemporaryDirectory.make()
    const checkpointStore = new MemoryCheckpointStore()
    {
      await using opened = await StoreUnderTest.open(directory.path, { checkpointStore })
      const log = await opened.createLog()
      for (let round = 0; round < 20; round++) await append(log, `a=${round}`)
    }
    const segment = await segmentIn(directory.path)
    if (what === 'emptied') await truncate(segment, 0)
    else await rm(what === 'deleted' ? segment : dirname(segment), { recursive: true })
    for (const [place, cache] of [checkpointStore, checkpointStore, new MemoryCheckpointStore()].entries()) {
      await using again = await StoreUnderTest.open(directory.path, { checkpointStore: cache })
      const log = again.store.log('carts', 0)
      assert.match(log.damage.join(), /offsets 0 to 19/)
      await assert.rejects(log.read({ offset: 3, maxBytes: 1, limitOffset: Infinity }), isCorrupt)
      if (cache === checkpointStore) {
        await assert.rejects(eventsOf(log, 'a'), isCorrupt)
        assert.equal(log.streamInfo('a', Infinity).lastVersion, 19 + place)
      }
      assert.deepEqual(await recordsOf(log, 20), Array(place).fill('a=new'))
      assert.equal((await append(log, 'a=new')).baseOffset, 20 + place)
    }
  })
}

for (const cache of ['kept', 'wiped'] as const) {
  test(`lost files: the first of three segments is gone, the cache is ${cache}: named damage, streams refuse by name, versions stay`, async () => {
    await using directory = await TemporaryDirectory.make()
    const checkpointStore = new MemoryCheckpointStore()
    await writeSegments(directory.path, checkpointStore)
    await removeSegment(directory.path, 0)
    const options = cache === 'kept' ? { checkpointStore } : {}
    await using again = await StoreUnderTest.open(directory.path, options)
    const log = again.store.log('carts', 0)
    assert.match(log.damage.join(), /offsets 0 to 1/)
    assert.equal(log.logStartOffset, 0)
    await assert.rejects(log.read({ offset: 0, maxBytes: 1, limitOffset: Infinity }), isCorrupt)
    if (cache === 'kept') await assert.rejects(eventsOf(log, 'a'), isCorrupt)
    else assert.deepEqual(versionsOf(await eventsOf(log, 'a')), ['2', '3', '4'])
    assert.equal(log.streamInfo('a', Infinity).lastVersion, 4)
  })
}

for (const cache of ['kept', 'wiped'] as const) {
  test(`lost files: the second of four segments is gone, the cache is ${cache}: versions before and after it stay`, async () => {
    await using directory = await TemporaryDirectory.make()
    const checkpointStore = new MemoryCheckpointStore()
    await writeSegments(directory.path, checkpointStore, 7)
    await removeSegment(directory.path, 2)
    await using again = await StoreUnderTest.open(directory.path, cache === 'kept' ? { checkpointStore } : {})
    const log = again.store.log('carts', 0)
    assert.match(log.damage.join(), /offsets 2 to 3/)
    const page = { stream: 'a', limit: 10, backwards: false, maxBytes: 1e7, limitOffset: Infinity }
    assert.deepEqual((await log.readStream(page)).versions, [0, 1])
    await assert.rejects(
      log.readStream({ ...page, from: 2 }),
      (error) => isPlayheadError(error, 'corruptBatch') && error.details.nextVersion === 4,
    )
    assert.deepEqual((await log.readStream({ ...page, from: 4 })).versions, [4, 5, 6])
    assert.equal(log.streamInfo('a', Infinity).lastVersion, 6)
  })
}

async function writeSegments(directory: string, checkpointStore: MemoryCheckpointStore, events = 5): Promise<void> {
  await using opened = await StoreUnderTest.open(directory, { checkpointStore })
  const log = await opened.createLog('carts', { 'segment.bytes': '1048576' })
  for (let round = 0; round < events; round++) await append(log, `a=${round}${'x'.repeat(400_000)}`)
  await until(async () => (await readdir(directory, { recursive: true })).filter(isSidecar).length === (events - 1) / 2)
}

/** With its sidecar. */
async function removeSegment(directory: string, baseOffset: number): Promise<void> {
  const start = String(baseOffset).padStart(20, '0')
  for (const name of await readdir(directory, { recursive: true }))
    if (name.includes(`${start}.`)) await rm(join(directory, name))
}

const isSidecar = (name: string) => name.endsWith('.idx')
const isCorrupt = (error: unknown) => isPlayheadError(error, 'corruptBatch')
const versionsOf = (events: readonly string[]) => events.map((event) => event.split('=')[0])
