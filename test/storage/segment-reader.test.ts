/** Events of one stream, scattered over a log that lies in memory (real files). A failing run prints its seed: PLAYHEAD_TEST_SEED=<seed> repeats it. */
import assert from 'node:assert/strict'
import { closeSync, openSync, readSync } from 'node:fs'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { type FileSystem, forwarding } from '../../platform/file-system.ts'
import { nodeFileSystem } from '../../platform/node-file-system.ts'
import { MemoryCheckpointStore } from '../../storage/memory-checkpoint-store.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { copyOf } from './copied-checkpoint-store.ts'
import { eventsAround } from './read-around.ts'
import { SeededRandom } from './seeded-random.ts'
import { append, group, StoreUnderTest } from './store-under-test.ts'

const streams = ['s0', 's1', 's2', 's3', 's4', 's5', 's6']

/** The same files, of which nothing can be read at once. */
const laterOnly: FileSystem = {
  ...nodeFileSystem,
  open: async (path, mode) => forwarding(await nodeFileSystem.open(path, mode)),
}

/** The same files, of which everything can be read at once, but now and then it would have to be waited for or the disk refuses. */
function atOnce(random: SeededRandom, stats: { reads: number }): FileSystem {
  return {
    ...nodeFileSystem,
    async open(path, mode) {
      const file = await nodeFileSystem.open(path, mode)
      const descriptor = openSync(path, 'r')
      return {
        ...forwarding(file),
        readNow(target, position) {
          const chance = random.below(40)
          if (chance === 0) return undefined
          if (chance === 1) throw Object.assign(new Error('EIO'), { code: 'EIO' })
          stats.reads++
          return readSync(descriptor, target, 0, target.length, position)
        },
        async close() {
          closeSync(descriptor)
          await file.close()
        },
      }
    },
  }
}

/** Several segments, batches of one to five events, a quarter of those in the last third compressed. */
async function writeScattered(directory: string, checkpointStore: MemoryCheckpointStore, random: SeededRandom) {
  const written: string[] = []
  await using opened = await StoreUnderTest.open(directory, { checkpointStore, settings: { tailCacheBytes: 0 } })
  const log = await opened.createLog('carts', { 'segment.bytes': '1048576' })
  for (let round = 0; round < 300; round++) {
    const texts = Array.from(
      { length: 1 + random.below(5) },
      (_, place) => `${random.pick(streams)}=${round}-${place}-${'x'.repeat(random.below(8_000))}`,
    )
    const compression = round > 200 && random.below(4) === 0 ? 'gzip' : 'none'
    await log.append(group(texts, { batchOptions: { compression } }))
    written.push(...texts)
  }
  return written
}

async function flipOneByte(directory: string, random: SeededRandom): Promise<void> {
  const names = (await readdir(directory, { recursive: true })).filter((name) => name.endsWith('.log'))
  const path = join(directory, random.pick(names.toSorted().slice(0, -1))) // of a sealed segment: its start does not read it
  const bytes = await readFile(path)
  bytes[4_096 + random.below(500_000)]! ^= 0x10
  await writeFile(path, bytes)
}

for (const isDamaged of [false, true]) {
  test(`stream reads: the same at once as through the thread pool, batches compressed and not${isDamaged ? ', one byte of a sealed segment flipped' : ''}`, async () => {
    const random = SeededRandom.fresh()
    await using directory = await TemporaryDirectory.make()
    const checkpointStore = new MemoryCheckpointStore()
    const written = await writeScattered(directory.path, checkpointStore, random)
    const found: Map<number, string>[][] = []
    if (isDamaged) await flipOneByte(directory.path, random)
    const stats = { reads: 0 }
    for (const fileSystem of [atOnce(random, stats), laterOnly]) {
      const options = { fileSystem, checkpointStore: await copyOf(checkpointStore), settings: { tailCacheBytes: 0 } }
      await using opened = await StoreUnderTest.open(directory.path, options)
      const log = opened.store.log('carts', 0)
      found.push(await Promise.all(streams.map((stream) => eventsAround(log, stream))))
    }
    assert.deepEqual(found[0], found[1], `seed ${random.seed}`)
    assert.ok(stats.reads > 100, `${stats.reads} blocks were read at once`)
    let missing = 0
    for (const [place, stream] of streams.entries()) {
      const events = written.filter((text) => text.startsWith(`${stream}=`))
      for (const [version, event] of found[0]![place]!) assert.equal(event, events[version], `seed ${random.seed}`)
      missing += events.length - found[0]![place]!.size
    }
    assert.ok(isDamaged ? missing <= 5 : missing === 0, `${missing} missing, seed ${random.seed}`)
  })
}

test('stream reads: others have their turn while a thousand events are read, each in a block of its own, at once or not', async () => {
  await using directory = await TemporaryDirectory.make()
  await using opened = await StoreUnderTest.open(directory.path, { settings: { tailCacheBytes: 0 } })
  const log = await opened.createLog()
  const filler = `b=${'x'.repeat(20_000)}`
  for (let round = 0; round < 1_000; round++) await append(log, `a=${round}`, filler)
  const request = { stream: 'a', limit: 1_000, backwards: false, maxBytes: 1e9, limitOffset: Infinity }
  for (const asOf of [undefined, 0]) {
    let [turns, isOver] = [0, false]
    const turn = (): void => {
      turns++
      if (!isOver) setImmediate(turn)
    }
    setImmediate(turn)
    const page = await log.readStream({ ...request, asOf })
    isOver = true
    assert.equal(page.records.length, asOf === undefined ? 1_000 : 0)
    assert.ok(turns >= 4, `${turns} turns`)
  }
})
