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

  read(position: number, bytes: number) {
    return this.passage.read(this.places.file, this.segment, { position, endPosition: position + bytes })
  }
}

test('first passage: bytes of any range in whole pages, and of each segment only as many as it has (4 MiB)', async () => {
  const passages = new Passages(4 * MiB)
  const read = await passages.read(5000, MiB)
  assert.ok(read !== undefined)
  assert.equal(read.bytes.length, MiB)
  assert.ok(read.bytes.every((byte, at) => byte === ((5000 + at) & 0xff)))
  assert.deepEqual(passages.places.asked, [4096])
  read.piece.letGo()
  for (const position of [MiB, 2 * MiB, 3 * MiB]) (await passages.read(position, MiB))?.piece.letGo()
  assert.equal(passages.places.asked.length, 4)
  assert.equal(await passages.read(0, MiB), undefined, 'somebody else: through the page cache')
  passages.nowMs += 59_000
  assert.equal(await passages.read(0, MiB), undefined)
  passages.nowMs += 61_000
  assert.notEqual(await passages.read(0, MiB), undefined, 'nobody has for a minute')
})

test('first passage: little, and more than a piece, are read otherwise; so is a file that cannot be read so', async () => {
  const passages = new Passages(100 * MiB)
  assert.equal(await passages.read(0, 64 * KiB), undefined)
  assert.equal(await passages.read(0, 3 * MiB), undefined)
  const file = { path: 'no' } as unknown as File
  assert.equal(await passages.passage.read(file, passages.segment, { position: 0, endPosition: MiB }), undefined)
  assert.deepEqual(passages.places.asked, [])
})

test('first passage: what is refused, cut short or fails is read otherwise, and its memory is free again', async () => {
  const passages = new Passages(100 * MiB)
  const answers = [
    () => Promise.resolve(undefined),
    () => Promise.resolve(4096),
    () => Promise.reject(new Error('EIO')),
  ]
  for (let round = 0; round < 12; round++) {
    for (const answer of answers) {
      passages.places.answer = answer
      assert.equal(await passages.read(0, MiB), undefined)
    }
  }
  passages.places.answer = (target) => Promise.resolve(target.length)
  assert.notEqual(await passages.read(0, MiB), undefined)
})

test('first passage: who finds no memory left reads otherwise, until some is given back', async () => {
  const passages = new Passages(100 * MiB)
  const held = []
  for (let read = await passages.read(0, MiB); read !== undefined; read = await passages.read(0, MiB)) held.push(read)
  assert.equal(held.length, 12)
  assert.equal(new Set(held.map(({ piece }) => piece.bytes)).size, 12)
  held[3]?.piece.letGo()
  assert.notEqual(await passages.read(0, MiB), undefined)
  assert.equal(await passages.read(0, MiB), undefined)
})

/** Real files, and how many bytes were read of them past the page cache. */
class CountingFileSystem {
  directBytes = 0

  readonly fileSystem: FileSystem = {
    ...nodeFileSystem,
    open: async (path, mode) => {
      const file = await nodeFileSystem.open(path, mode)
      const readDirect = file.readDirect?.bind(file)
      file.readDirect = async (target, position) => {
        const count = await readDirect?.(target, position)
        this.directBytes += count ?? 0
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
