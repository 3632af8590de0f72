/** StreamIndex made again from the postings of sidecars. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../platform/clock.ts'
import type { CheckpointStore } from '../../storage/checkpoint-store.ts'
import { logPrefix } from '../../storage/index-keys.ts'
import { MemoryCheckpointStore } from '../../storage/memory-checkpoint-store.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { copyOf } from './copied-checkpoint-store.ts'
import { FaultyFileSystem } from './faulty-file-system.ts'
import { eventsOf } from './log-contents.ts'
import { pathsIn } from './paths-in.ts'
import { SeededRandom } from './seeded-random.ts'
import { group, sealed, StoreUnderTest } from './store-under-test.ts'
import { StreamIndex, type SegmentPostings } from '../../storage/stream-index.ts'

const everything = Number.MAX_SAFE_INTEGER

test('recovery: of sealed segments that the saved index has in part, or not at all, only the sidecars are read (random logs)', async () => {
  const random = SeededRandom.fresh()
  for (let round = 0; round < 8; round++) {
    await using directory = await TemporaryDirectory.make()
    const checkpointStore = new MemoryCheckpointStore()
    const expected = new Map<string, string[]>()
    let saved: CheckpointStore | undefined
    {
      await using opened = await StoreUnderTest.open(directory.path, {
        checkpointStore,
        settings: { checkpointIntervalMs: 1e9 },
      })
      const log = await opened.createLog('carts', { 'segment.bytes': '1048576' })
      const saveAt = random.below(40)
      for (let batch = 0; batch < 40; batch++) {
        const records = Array.from({ length: 1 + random.below(40) }, () => {
          const stream = random.below(5) === 0 ? '' : `s${random.below(30)}`
          return `${stream}=${'x'.repeat(random.below(4_000))}`
        })
        for (const record of records) {
          const stream = record.slice(0, record.indexOf('='))
          if (stream !== '') {
            const events = expected.get(stream) ?? []
            expected.set(stream, [...events, `${events.length}=${record.slice(stream.length + 1)}`])
          }
        }
        await log.append(
          group(records, { batchOptions: { compression: random.pick(['none', 'none', 'gzip'] as const) } }),
        )
        if (batch !== saveAt) continue
        await log.checkpointer.save()
        saved = await copyOf(checkpointStore)
      }
      await sealed(log)
    }
    const read: string[] = []
    const fileSystem = new FaultyFileSystem({ read: (path) => void read.push(path) })
    await using again = await StoreUnderTest.open(directory.path, { fileSystem, checkpointStore: saved! })
    const log = again.store.log('carts', 0)
    const segments = (await pathsIn(directory.path, '.log')).slice(0, -1)
    for (const segment of segments) assert.ok(read.filter((path) => path === segment).length <= 2, segment) // its header
    for (const [stream, records] of expected)
      assert.equal((await eventsOf(log, stream)).join('\n') === records.join('\n'), true, stream)
  }
})

function openIndex(store: CheckpointStore): StreamIndex {
  return StreamIndex.open({ store, prefix: logPrefix(Buffer.alloc(16, 5), 3), clock: systemClock })
}

/** As a sidecar has them. */
function postingsOf(stream: string, firstVersion: number, offsets: readonly number[]): SegmentPostings {
  const bytes = Buffer.from(`before${stream}behind`)
  const next = offsets.values()
  const place = { bytes, nameStart: 6, nameEnd: bytes.length - 6 }
  return { ...place, firstVersion, count: offsets.length, nextOffset: () => next.next().value! }
}

test('stream index: of postings that are in part in the store, those behind are taken', async () => {
  const inner = new MemoryCheckpointStore()
  const index = openIndex(inner)
  for (let offset = 0; offset < 10; offset++) index.add(offset % 2 === 0 ? 'a' : 'b', offset)
  await index.capture(10).write([])
  const opened = openIndex(inner)
  opened.beginSegment(10)
  opened.addPostings(postingsOf('a', 0, [0, 2, 4, 6, 8, 11, 12]), opened.indexedTo)
  opened.addPostings(postingsOf('b', 0, [1, 3, 5, 7, 9]), opened.indexedTo)
  opened.addPostings(postingsOf('c', 0, [10]), opened.indexedTo)
  const offsetsOf = (stream: string) =>
    opened.look(stream).lookup({ fromVersion: 0, count: 99, limitOffset: everything, direction: 'forwards' }).offsets
  assert.deepEqual(offsetsOf('a'), [0, 2, 4, 6, 8, 11, 12])
  assert.deepEqual(offsetsOf('b'), [1, 3, 5, 7, 9])
  assert.deepEqual(offsetsOf('c'), [10])
  await opened.capture(13).write([])
  const again = openIndex(inner)
  assert.deepEqual([again.lastVersion('a'), again.lastVersion('b'), again.lastVersion('c')], [6, 4, 0])
})

test('stream index: rebuilt from sidecars whose first segments are gone, versions go on from what they say', async () => {
  const inner = new MemoryCheckpointStore()
  const index = openIndex(inner)
  index.beginSegment(100)
  index.addPostings(postingsOf('new', 0, [106]))
  index.addPostings(postingsOf('a', 40, [100, 105]))
  index.beginSegment(108)
  index.addPostings(postingsOf('a', 42, [110]))
  assert.equal(index.lastVersion('a'), 42)
  assert.equal(index.lastVersion('new'), 0)
  await index.capture(111).write([])
  index.addPostings(postingsOf('a', 43, [120]))
  for (const each of [index, openIndex(inner)]) {
    if (each !== index) each.addPostings(postingsOf('a', 43, [120]))
    assert.deepEqual(each.lastBelow('a', everything), { lastVersion: 43, firstVersion: 40, lastOffset: 120 })
    assert.deepEqual(
      each.look('a').lookup({ fromVersion: 0, count: 9, limitOffset: everything, direction: 'forwards' }),
      {
        firstVersion: 40,
        offsets: [100, 105, 110, 120],
      },
    )
    assert.equal(each.versionAt('a', 110), 42)
  }
})
