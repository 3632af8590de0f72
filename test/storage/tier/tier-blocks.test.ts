/** Blocks of a tier in memory: bounded, used again, never under a reader; what is wanted now does not wait for what is read ahead. */
import assert from 'node:assert/strict'
import { open, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '../../../platform/clock.ts'
import { nodeFileSystem } from '../../../platform/node-file-system.ts'
import { systemRandom } from '../../../platform/random.ts'
import { MiB } from '../../../protocol/limits.ts'
import { BlockCache } from '../../../storage/tier/block-cache.ts'
import { blockSums, tierBlockBytes } from '../../../storage/tier/block-sums.ts'
import type { SummedObject } from '../../../storage/tier/block-sums.ts'
import type { ObjectStore } from '../../../storage/tier/object-store.ts'
import { TierBlocks } from '../../../storage/tier/tier-blocks.ts'
import { openObjectStore } from '../../../storage/tier/tier-location.ts'
import { RateLimit } from '../../../storage/rate-limit.ts'
import { overwriteLetGo } from '../../overwrite-let-go.ts'
import { TemporaryDirectory } from '../../temporary-directory.ts'

class BlocksUnderTest implements AsyncDisposable {
  readonly blocks: TierBlocks
  readonly store: ObjectStore
  readonly cache: BlockCache
  readonly #directory: TemporaryDirectory

  get cachePath(): string {
    return join(this.#directory.path, 'cache', 'blocks')
  }

  private constructor(blocks: TierBlocks, store: ObjectStore, cache: BlockCache, directory: TemporaryDirectory) {
    this.blocks = blocks
    this.store = store
    this.cache = cache
    this.#directory = directory
  }

  static async make(memoryBytesMax: number, requestsMax: number): Promise<BlocksUnderTest> {
    overwriteLetGo()
    const [clock, fileSystem, random] = [systemClock, nodeFileSystem, systemRandom]
    const directory = await TemporaryDirectory.make()
    const store = await openObjectStore(`file://${directory.path}/tier`, { clock, fileSystem, random })
    const cache = await BlockCache.open(fileSystem, clock, join(directory.path, 'cache'), 4 * MiB)
    const rate = new RateLimit(clock, 0)
    const blocks = new TierBlocks({ store, clock, cache, rate, memoryBytesMax, requestsMax })
    return new BlocksUnderTest(blocks, store, cache, directory)
  }

  async object(key: string, sizeBytes: number): Promise<{ object: SummedObject; bytes: Buffer }> {
    const bytes = Buffer.from(Uint32Array.from({ length: sizeBytes / 4 }, (_, at) => Math.imul(at, 2654435761)).buffer)
    await this.store.put(key, bytes)
    return { object: { key, sizeBytes, sums: blockSums(bytes) }, bytes }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cache.close()
    await this.store.close()
    await this.#directory[Symbol.asyncDispose]()
  }
}

test('tier blocks: 32 MiB read in order through 8 MiB of memory: within the bound, in memory that is used again', async () => {
  await using under = await BlocksUnderTest.make(8 * MiB, 4)
  const { blocks, store } = under
  const { object, bytes } = await under.object('long', 32 * MiB)
  const memories = new Set<ArrayBufferLike>()
  const read = store.read.bind(store)
  store.read = (key, position, target) => {
    memories.add(target.buffer)
    return read(key, position, target)
  }
  const target = Buffer.alloc(MiB)
  for (let position = 0; position < bytes.length; position += MiB) {
    blocks.ahead(object, position + MiB, position + 3 * MiB)
    await blocks.read(object, position, target, 'pass')
    assert.ok(target.equals(bytes.subarray(position, position + MiB)), `${position}`)
    assert.ok(blocks.memoryBytes <= 8 * MiB, `${blocks.memoryBytes}`)
  }
  assert.equal(blocks.stats.readBytes, 32 * MiB)
  assert.ok(memories.size <= 12, `${memories.size} pieces of memory for ${blocks.stats.requests} requests`)
})

test('tier blocks: many who read anywhere in what does not fit into memory: each gets the right bytes', async () => {
  await using under = await BlocksUnderTest.make(8 * MiB, 4)
  const { blocks } = under
  const { object, bytes } = await under.object('wide', 24 * MiB)
  await Promise.all(
    Array.from({ length: 16 }, async (_, reader) => {
      for (let round = 0; round < 12; round++) {
        const position = ((reader * 7_654_321 + round * 3_333_333) % (bytes.length - 700_000)) + reader
        const target = Buffer.alloc(1 + ((reader * 99_991 + round * 77_777) % 600_000))
        if (round % 3 === 0) blocks.ahead(object, position, position + 2 * MiB)
        await blocks.read(object, position, target, round % 2 === 0 ? 'keep' : 'pass')
        assert.ok(target.equals(bytes.subarray(position, position + target.length)), `${position}`)
      }
    }),
  )
})

test('tier blocks: what is wanted now, and what stands beside it, does not wait for what is read ahead', async () => {
  await using under = await BlocksUnderTest.make(8 * MiB, 2)
  const { blocks, store } = under
  const { object } = await under.object('long', 4 * MiB)
  const { object: index, bytes } = await under.object('index', 4 * tierBlockBytes)
  const held = Promise.withResolvers<void>()
  const read = store.read.bind(store)
  store.read = async (key, position, target) => {
    if (key === 'long') await held.promise
    return read(key, position, target)
  }
  blocks.ahead(object, 0, MiB)
  blocks.ahead(object, MiB, 2 * MiB)
  blocks.beside(index, 0, 2 * tierBlockBytes)
  const target = Buffer.alloc(tierBlockBytes + 100)
  await blocks.read(index, 50, target, 'keep')
  assert.ok(target.equals(bytes.subarray(50, 50 + target.length)))
  held.resolve()
  await blocks.read(object, 0, target, 'pass')
})

test('tier blocks: a block that the local disk has changed or lost is asked for once more, and kept again', async () => {
  await using under = await BlocksUnderTest.make(8 * MiB, 2)
  const { blocks } = under
  const { object, bytes } = await under.object('index', 3 * tierBlockBytes)
  const { object: other } = await under.object('other', 8 * MiB)
  const target = Buffer.alloc(bytes.length)
  const read = async (): Promise<number> => {
    // Whatever memory has of it goes.
    for (let position = 0; position < other.sizeBytes; position += MiB)
      await blocks.read(other, position, Buffer.alloc(MiB), 'pass')
    const before = blocks.stats.requests
    await blocks.read(object, 0, target.fill(0), 'keep')
    assert.ok(target.equals(bytes))
    while (!under.cache.holds(object.key, 0, object.sizeBytes)) await systemClock.yield()
    return blocks.stats.requests - before
  }
  assert.equal(await read(), 1)
  assert.equal(await read(), 0)
  const file = await open(under.cachePath, 'r+')
  await file.write(Buffer.from([bytes[tierBlockBytes]! ^ 1]), 0, 1, tierBlockBytes)
  await file.close()
  assert.equal(await read(), 1)
  assert.equal(await read(), 0)
  await truncate(under.cachePath, tierBlockBytes + 1)
  assert.equal(await read(), 1)
  assert.equal(await read(), 0)
  assert.equal(blocks.stats.wrongCached, 2)
  assert.equal(blocks.stats.wrongBlocks, 0)
})

test('tier blocks: who wants what is queued to be read ahead has it brought before all that is read ahead', async () => {
  await using under = await BlocksUnderTest.make(16 * MiB, 2)
  const { blocks, store } = under
  const { object: first } = await under.object('first', 2 * MiB)
  const { object: second, bytes } = await under.object('second', 2 * MiB)
  const held = Promise.withResolvers<void>()
  const asked: string[] = []
  const read = store.read.bind(store)
  store.read = async (key, position, target) => {
    asked.push(key)
    if (key === 'first') await held.promise
    return read(key, position, target)
  }
  blocks.ahead(first, 0, 2 * MiB)
  blocks.ahead(second, 0, 2 * MiB)
  const targets = [Buffer.alloc(100), Buffer.alloc(100)]
  await Promise.all(targets.map((target) => blocks.read(second, 50, target, 'pass')))
  for (const target of targets) assert.ok(target.equals(bytes.subarray(50, 150)))
  assert.deepEqual(asked, ['first', 'second'])
  held.resolve()
  const all = Buffer.alloc(2 * MiB)
  await blocks.read(first, 0, all, 'pass')
  await blocks.read(second, 0, all, 'pass')
  assert.ok(all.equals(bytes))
  assert.deepEqual(asked, ['first', 'second'], 'each once')
})
