/** Blocks of the tier on the local disk: kept within the bound, the least recently used replaced. */
import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
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

test('block cache: what was written reads the same, in one file, the short last block of an object too', async () => {
  await using directory = await TemporaryDirectory.make()
  const path = join(directory.path, 'cache')
  const cache = await BlockCache.open(nodeFileSystem, path, 64 * tierBlockBytes)
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
  assert.equal(cache.usedBytes, 4 * tierBlockBytes + 5 + 100)
  assert.deepEqual(await readdir(path), ['blocks'])
  await cache.close()
  const again = await BlockCache.open(nodeFileSystem, path, 64 * tierBlockBytes)
  assert.equal(await read(again, 'b', 0, 100), undefined, 'emptied at every start')
})

test('block cache: room for 4 blocks: those not used for the longest are replaced, and nothing is given out for another block', async () => {
  await using directory = await TemporaryDirectory.make()
  const cache = await BlockCache.open(nodeFileSystem, join(directory.path, 'cache'), 4 * tierBlockBytes)
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
  const refusing = {
    ...nodeFileSystem,
    open: () => {
      opened++
      return Promise.reject(Object.assign(new Error('no space left'), { code: 'ENOSPC' }))
    },
  }
  const cache = await BlockCache.open(refusing, join(directory.path, 'cache'), 4 * tierBlockBytes)
  await written(cache, 'a', 0, bytesOf(1, 10))
  await written(cache, 'a', 0, bytesOf(1, 10))
  assert.equal(await read(cache, 'a', 0, 10), undefined)
  assert.equal(opened, 1)
  await cache.close()
})
