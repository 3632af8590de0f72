/** Blocks of the tier on the local disk: kept within the bound, the least recently used replaced. */
import assert from 'node:assert/strict'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '../../../platform/clock.ts'
import type { FileSystem } from '../../../platform/file-system.ts'
import { nodeFileSystem } from '../../../platform/node-file-system.ts'
import { BlockCache } from '../../../storage/tier/block-cache.ts'
import { tierBlockBytes } from '../../../storage/tier/block-sums.ts'
import { TemporaryDirectory } from '../../temporary-directory.ts'

function bytesOf(seed: number, sizeBytes: number): Buffer {
  return Buffer.from(Uint8Array.from({ length: sizeBytes }, (_, at) => (at * 7 + (at >> 9) + seed * 101) & 0xff))
}

function written(cache: BlockCache, key: string, position: number, bytes: Buffer): Promise<void> {
  return new Promise((resolve) => cache.write(key, position, bytes, resolve))
}

async function read(cache: BlockCache, key: string, position: number, sizeBytes: number): Promise<Buffer | undefined> {
  const target = Buffer.alloc(sizeBytes)
  const isHeld = cache.holds(key, position, sizeBytes)
  const isThere = await cache.read(key, position, target)
  assert.equal(isThere, isHeld)
  return isThere ? target : undefined
}

/** Files whose reads and writes end only after `release`, and that say what was asked of them. */
class SlowFiles {
  readonly calls: string[] = []
  isFull = false
  #held: PromiseWithResolvers<void> | undefined

  hold(): void {
    this.#held = Promise.withResolvers<void>()
  }

  release(): void {
    this.#held?.resolve()
    this.#held = undefined
  }

  readonly fileSystem: FileSystem = {
    ...nodeFileSystem,
    open: async (path, mode) => {
      const file = await nodeFileSystem.open(path, mode)
      const whole = { read: file.read.bind(file), write: file.write.bind(file), close: file.close.bind(file) }
      file.read = async (target, position) => {
        this.calls.push('read')
        await this.#held?.promise
        return whole.read(target, position)
      }
      file.write = async (parts, position) => {
        this.calls.push('write')
        if (this.isFull) throw Object.assign(new Error('no space left'), { code: 'ENOSPC' })
        await this.#held?.promise
        return whole.write(parts, position)
      }
      file.close = () => {
        this.calls.push('close')
        return whole.close()
      }
      return file
    },
  }
}

test('block cache: what was written reads the same, in one file, the short last block of an object too', async () => {
  await using directory = await TemporaryDirectory.make()
  const path = join(directory.path, 'cache')
  const cache = await BlockCache.open(nodeFileSystem, systemClock, path, 64 * tierBlockBytes)
  const [first, last] = [bytesOf(1, 3 * tierBlockBytes), bytesOf(2, tierBlockBytes + 5)]
  await written(cache, 'a', 0, first)
  await written(cache, 'b', 0, bytesOf(3, 100))
  await written(cache, 'a', 3 * tierBlockBytes, last)
  assert.deepEqual(
    await read(cache, 'a', 0, 3 * tierBlockBytes + 5),
    Buffer.concat([first, last]).subarray(0, 3 * tierBlockBytes + 5),
  )
  assert.deepEqual(
    await read(cache, 'a', tierBlockBytes, 3 * tierBlockBytes + 5),
    Buffer.concat([first, last]).subarray(tierBlockBytes),
  )
  assert.deepEqual(await read(cache, 'b', 0, 100), bytesOf(3, 100))
  assert.equal(await read(cache, 'b', tierBlockBytes, 100), undefined)
  assert.equal(await read(cache, 'c', 0, 100), undefined)
  assert.equal(cache.usedBytes, 6 * tierBlockBytes, 'whole slots')
  assert.deepEqual(await readdir(path), ['blocks'])
  await cache.close()
  const again = await BlockCache.open(nodeFileSystem, systemClock, path, 64 * tierBlockBytes)
  assert.equal(await read(again, 'b', 0, 100), undefined, 'emptied at every start')
})

test('block cache: room for 4 blocks: those not used for the longest are replaced, and nothing is given out for another block', async () => {
  await using directory = await TemporaryDirectory.make()
  const cache = await BlockCache.open(nodeFileSystem, systemClock, join(directory.path, 'cache'), 4 * tierBlockBytes)
  for (let key = 0; key < 4; key++) await written(cache, `${key}`, 0, bytesOf(key, tierBlockBytes))
  assert.deepEqual(await read(cache, '0', 0, tierBlockBytes), bytesOf(0, tierBlockBytes))
  await written(cache, 'two', 0, bytesOf(9, 2 * tierBlockBytes))
  for (const key of ['1', '2']) assert.equal(await read(cache, key, 0, tierBlockBytes), undefined)
  for (const key of [0, 3])
    assert.deepEqual(await read(cache, `${key}`, 0, tierBlockBytes), bytesOf(key, tierBlockBytes))
  assert.deepEqual(await read(cache, 'two', 0, 2 * tierBlockBytes), bytesOf(9, 2 * tierBlockBytes))
  assert.equal(cache.usedBytes, 4 * tierBlockBytes)
  await written(cache, 'five', 0, bytesOf(5, 5 * tierBlockBytes))
  assert.equal(cache.holds('five', 0, 1), false, 'more than there is room for')
  await cache.close()
})

test('block cache: a disk that refuses: nothing is kept, and whoever wrote goes on', async () => {
  await using directory = await TemporaryDirectory.make()
  let opened = 0
  let nowMs = 0
  const refusing = {
    ...nodeFileSystem,
    open: () => {
      opened++
      return Promise.reject(Object.assign(new Error('no space left'), { code: 'ENOSPC' }))
    },
  }
  const cache = await BlockCache.open(
    refusing,
    { ...systemClock, monotonicMs: () => nowMs },
    join(directory.path, 'cache'),
    4 * tierBlockBytes,
  )
  await written(cache, 'a', 0, bytesOf(1, 10))
  await written(cache, 'a', 0, bytesOf(1, 10))
  assert.equal(await read(cache, 'a', 0, 10), undefined)
  assert.equal(opened, 1)
  nowMs = 60_000
  await written(cache, 'a', 0, bytesOf(1, 10))
  assert.equal(opened, 2)
  await cache.close()
})

test('block cache: a disk that is full while one reads: all that was taken is given back after him, and after a minute the cache begins anew', async () => {
  await using directory = await TemporaryDirectory.make()
  const path = join(directory.path, 'cache')
  const slow = new SlowFiles()
  let nowMs = 0
  const clock = { ...systemClock, monotonicMs: () => nowMs }
  const cache = await BlockCache.open(slow.fileSystem, clock, path, 4 * tierBlockBytes)
  await written(cache, 'a', 0, bytesOf(1, 3 * tierBlockBytes))
  slow.hold()
  const target = Buffer.alloc(2 * tierBlockBytes)
  const reading = cache.read('a', 0, target)
  slow.isFull = true
  const refused = written(cache, 'b', 0, bytesOf(2, tierBlockBytes))
  const queued = written(cache, 'c', 0, bytesOf(3, tierBlockBytes))
  while (cache.holds('a', 0, 1)) await systemClock.yield()
  slow.release()
  assert.equal(await reading, true)
  assert.deepEqual(target, bytesOf(1, 3 * tierBlockBytes).subarray(0, target.length))
  await Promise.all([refused, queued])
  assert.equal(cache.usedBytes, 0)
  assert.equal((await stat(join(path, 'blocks'))).size, 0)
  slow.isFull = false
  nowMs = 59_999
  await written(cache, 'b', 0, bytesOf(2, tierBlockBytes))
  assert.deepEqual(slow.calls, ['write', 'read', 'write'])
  nowMs = 60_000
  for (const key of [4, 5]) await written(cache, `${key}`, 0, bytesOf(key, 2 * tierBlockBytes))
  for (const key of [4, 5])
    assert.deepEqual(await read(cache, `${key}`, 0, 2 * tierBlockBytes), bytesOf(key, 2 * tierBlockBytes))
  assert.equal(cache.usedBytes, 4 * tierBlockBytes)
  await cache.close()
})

test('block cache: what is forgotten is not here any more, and its slots are used again once nobody reads them', async () => {
  await using directory = await TemporaryDirectory.make()
  const slow = new SlowFiles()
  const cache = await BlockCache.open(slow.fileSystem, systemClock, join(directory.path, 'cache'), 4 * tierBlockBytes)
  await written(cache, 'a', 0, bytesOf(1, 2 * tierBlockBytes))
  await written(cache, 'b', 0, bytesOf(2, 2 * tierBlockBytes))
  const target = Buffer.alloc(2 * tierBlockBytes)
  slow.hold()
  const reading = cache.read('a', 0, target)
  cache.forget('a', 0, target.length)
  cache.forget('a', 0, target.length)
  assert.equal(cache.holds('a', 0, 1), false)
  await written(cache, 'c', 0, bytesOf(3, 3 * tierBlockBytes))
  assert.equal(cache.holds('c', 0, 1), false, 'two slots are read')
  slow.release()
  assert.equal(await reading, true)
  assert.deepEqual(target, bytesOf(1, 2 * tierBlockBytes))
  await written(cache, 'a', 0, bytesOf(4, 2 * tierBlockBytes))
  assert.deepEqual(await read(cache, 'a', 0, 2 * tierBlockBytes), bytesOf(4, 2 * tierBlockBytes))
  assert.deepEqual(await read(cache, 'b', 0, 2 * tierBlockBytes), bytesOf(2, 2 * tierBlockBytes), 'replaced by nothing')
  assert.equal(cache.usedBytes, 4 * tierBlockBytes)
  await cache.close()
})

test('block cache: room for 4 blocks, 2 of them read: what does not fit replaces nothing', async () => {
  await using directory = await TemporaryDirectory.make()
  const slow = new SlowFiles()
  const cache = await BlockCache.open(slow.fileSystem, systemClock, join(directory.path, 'cache'), 4 * tierBlockBytes)
  for (const key of ['a', 'b']) await written(cache, key, 0, bytesOf(1, tierBlockBytes))
  await written(cache, 'five', 0, bytesOf(5, 5 * tierBlockBytes))
  assert.equal(cache.usedBytes, 2 * tierBlockBytes)
  slow.hold()
  const target = Buffer.alloc(tierBlockBytes)
  const reading = [cache.read('a', 0, target), cache.read('a', 0, Buffer.alloc(10))]
  await written(cache, 'four', 0, bytesOf(5, 4 * tierBlockBytes))
  assert.equal(cache.usedBytes, 2 * tierBlockBytes)
  for (const key of ['a', 'b']) assert.ok(cache.holds(key, 0, tierBlockBytes), key)
  slow.release()
  assert.deepEqual(await Promise.all(reading), [true, true])
  await written(cache, 'four', 0, bytesOf(5, 4 * tierBlockBytes))
  assert.ok(cache.holds('four', 0, 4 * tierBlockBytes))
  assert.equal(cache.usedBytes, 4 * tierBlockBytes)
  await cache.close()
})

test('block cache: closed while one reads and one writes: the file stays open for both, and nobody comes after them', async () => {
  await using directory = await TemporaryDirectory.make()
  const slow = new SlowFiles()
  const cache = await BlockCache.open(slow.fileSystem, systemClock, join(directory.path, 'cache'), 4 * tierBlockBytes)
  await written(cache, 'a', 0, bytesOf(1, tierBlockBytes))
  slow.hold()
  const target = Buffer.alloc(tierBlockBytes)
  const reading = cache.read('a', 0, target)
  const writing = written(cache, 'b', 0, bytesOf(2, tierBlockBytes))
  while (slow.calls.length < 3) await systemClock.yield()
  const queued = written(cache, 'd', 0, bytesOf(4, tierBlockBytes))
  const closing = cache.close()
  assert.equal(cache.holds('a', 0, 1), false)
  assert.equal(await cache.read('a', 0, Buffer.alloc(10)), false)
  const late = written(cache, 'c', 0, bytesOf(3, tierBlockBytes))
  slow.release()
  assert.equal(await reading, true)
  assert.deepEqual(target, bytesOf(1, tierBlockBytes))
  await Promise.all([writing, queued, late, closing, cache.close()])
  assert.deepEqual(slow.calls, ['write', 'read', 'write', 'close'])
})
