/** Blocks of a tier in memory: bounded, used again, never under a reader; what is wanted now does not wait for what is read ahead. */
import assert from 'node:assert/strict'
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
  readonly #cache: BlockCache
  readonly #directory: TemporaryDirectory

  private constructor(blocks: TierBlocks, store: ObjectStore, cache: BlockCache, directory: TemporaryDirectory) {
    this.blocks = blocks
    this.store = store
    this.#cache = cache
    this.#directory = directory
  }

  static async make(memoryBytesMax: number, requestsMax: number): Promise<BlocksUnderTest> {
    overwriteLetGo()
    const [clock, fileSystem, random] = [systemClock, nodeFileSystem, systemRandom]
    const directory = await TemporaryDirectory.make()
    const store = await openObjectStore(`file://${directory.path}/tier`, { clock, fileSystem, random })
    const cache = await BlockCache.open(fileSystem, join(directory.path, 'cache'), 4 * MiB)
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
    await this.#cache.close()
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
