import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { File, FileSystem } from '../../platform/file-system.ts'
import { nodeFileSystem } from '../../platform/node-file-system.ts'
import { KiB, MiB } from '../../protocol/limits.ts'
import { FirstPassage } from '../../storage/first-passage.ts'
import type { Log } from '../../storage/log.ts'
import { Segment } from '../../storage/segment.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { StoreUnderTest, append } from './store-under-test.ts'

/** A file of which every byte is its place, and what was asked of it. */
class Places {
  readonly asked: number[] = []
  answer: (target: Buffer, position: number) => Promise<number | undefined> = (target) => Promise.resolve(target.length)
  readonly file = {
    path: 'places',
    readDirect: (target: Buffer, position: number) => {
      this.asked.push(position)
      for (let at = 0; at < target.length; at++) target[at] = (position + at) & 0xff
      return this.answer(target, position)
    },
  } as unknown as File
}

class Passages {
  nowMs = 0
  readonly places = new Places()
  readonly segment = new Segment('places', 0)
  readonly passage = new FirstPassage({
    now: () => 0,
    monotonicMs: () => this.nowMs,
    after: () => ({ cancel: () => undefined }),
    yield: () => Promise.resolve(),
  })

  constructor(segmentBytes: number) {
    this.segment.endPosition = segmentBytes
  }

  async read(position: number, bytes: number): Promise<Buffer | undefined> {
    const target = Buffer.alloc(bytes)
    const range = { position, endPosition: position + bytes }
    return (await this.passage.read(this.places.file, this.segment, range, target)) ? target : undefined
  }
}

test('first passage: bytes of any range in whole pages, and of each segment only as many as it has (4 MiB)', async () => {
  const passages = new Passages(4 * MiB)
  const bytes = await passages.read(5000, MiB)
  assert.ok(bytes?.every((byte, at) => byte === ((5000 + at) & 0xff)))
  assert.deepEqual(passages.places.asked, [4096])
  for (const position of [MiB, 2 * MiB, 3 * MiB]) assert.ok(await passages.read(position, MiB))
  assert.equal(passages.places.asked.length, 4)
  assert.equal(await passages.read(0, MiB), undefined, 'somebody else: through the page cache')
  passages.nowMs += 59_000
  assert.equal(await passages.read(0, MiB), undefined)
  passages.nowMs += 61_000
  assert.ok(await passages.read(0, MiB), 'nobody has for a minute')
})

test('first passage: little, and more than a piece, are read otherwise; so is a file that cannot be read so', async () => {
  const passages = new Passages(100 * MiB)
  assert.equal(await passages.read(0, 64 * KiB), undefined)
  assert.equal(await passages.read(0, 3 * MiB), undefined)
  const file = { path: 'no' } as unknown as File
  const range = { position: 0, endPosition: MiB }
  assert.equal(await passages.passage.read(file, passages.segment, range, Buffer.alloc(MiB)), false)
  assert.deepEqual(passages.places.asked, [])
})

test('first passage: what is refused, cut short or fails is read otherwise, and its memory is free again', async () => {
  const passages = new Passages(100 * MiB)
  const answers = [
    () => Promise.resolve(undefined),
    () => Promise.resolve(4096),
    () => Promise.reject(new Error('EIO')),
  ]
  for (let round = 0; round < 8; round++) {
    for (const answer of answers) {
      passages.places.answer = answer
      assert.equal(await passages.read(0, MiB), undefined)
    }
  }
  passages.places.answer = (target) => Promise.resolve(target.length)
  assert.ok(await passages.read(0, MiB))
})

test('first passage: who comes while eight are being read reads otherwise, until one of them has its bytes', async () => {
  const passages = new Passages(100 * MiB)
  const ends: (() => void)[] = []
  passages.places.answer = (target) => new Promise((resolve) => ends.push(() => resolve(target.length)))
  const reads = Array.from({ length: 8 }, (_, place) => passages.read(place * MiB, MiB))
  assert.equal(await passages.read(0, MiB), undefined)
  ends[3]?.()
  assert.ok((await reads[3])?.every((byte, at) => byte === (at & 0xff)))
  const next = passages.read(0, MiB)
  for (const end of ends) end()
  assert.ok((await Promise.all([...reads, next])).every((bytes) => bytes !== undefined))
})

/** Real files, and how many bytes were read of them past the page cache. */
class CountingFileSystem {
  directBytes = 0
  /** They bring other bytes than are there. */
  spoils = false

  readonly fileSystem: FileSystem = {
    ...nodeFileSystem,
    open: async (path, mode) => {
      const file = await nodeFileSystem.open(path, mode)
      const readDirect = file.readDirect?.bind(file)
      file.readDirect = async (target, position) => {
        const count = await readDirect?.(target, position)
        this.directBytes += count ?? 0
        if (this.spoils) target.fill(0x55, 40_000, 40_100)
        return count
      }
      return file
    },
  }
}

async function replayed(log: Log): Promise<Buffer[]> {
  const batches: Buffer[] = []
  for (let offset = 0; offset < log.durableOffset; ) {
    const read = await log.read({ offset, maxBytes: MiB, limitOffset: Infinity })
    for (const batch of read.batches) batches.push(Buffer.from(batch))
    read.piece?.letGo()
    offset = read.nextOffset
  }
  return batches
}

test('first passage: the first who replays a log reads past the page cache, the second through it, and both the same (8 MiB on disk, 1 MiB at a time)', async () => {
  await using directory = await TemporaryDirectory.make()
  const counting = new CountingFileSystem()
  const settings = { tailCacheBytes: 0, tailCacheBytesPerLog: 0, readAheadBytes: 0 }
  await using under = await StoreUnderTest.open(directory.path, { fileSystem: counting.fileSystem, settings })
  const log = await under.createLog('carts', { 'segment.bytes': String(3 * MiB) })
  for (let count = 0; count < 80; count++) await append(log, `cart-${count % 7}=${'x'.repeat(100 * KiB)}${count}`)
  const first = await replayed(log)
  const directBytes = counting.directBytes
  assert.ok(directBytes > 6 * MiB, `${directBytes} bytes past the page cache`)
  assert.deepEqual(await replayed(log), first)
  assert.ok(counting.directBytes - directBytes < 3 * MiB, `${counting.directBytes - directBytes} bytes the second time`)
  assert.equal(first.length, 80)
})

test('first passage: damage that only reads past the page cache show is none', async () => {
  await using directory = await TemporaryDirectory.make()
  const counting = new CountingFileSystem()
  const settings = { tailCacheBytes: 0, tailCacheBytesPerLog: 0, readAheadBytes: 0 }
  await using under = await StoreUnderTest.open(directory.path, { fileSystem: counting.fileSystem, settings })
  const log = await under.createLog('carts', { 'segment.bytes': String(64 * MiB) })
  for (let count = 0; count < 20; count++) await append(log, `cart=${'x'.repeat(100 * KiB)}${count}`)
  counting.spoils = true
  const spoiled = await replayed(log)
  assert.ok(counting.directBytes > MiB)
  assert.equal(spoiled.length, 20)
  assert.deepEqual(under.reports, [])
})
