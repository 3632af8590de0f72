import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '../../platform/clock.ts'
import { isPlayheadError } from '../../protocol/errors.ts'
import { findHeads, HeadsReader, MergedHeads, writeHeads } from '../../storage/heads.ts'
import type { HeadLine } from '../../storage/heads.ts'
import { MemoryFileSystem } from './memory-file-system.ts'

const golden = join(import.meta.dirname, '../golden/heads-v1.bin')
const identity = {
  topic: 'carts',
  topicId: Buffer.from('00112233445566778899aabbccddeeff', 'hex'),
  partition: 2,
  partitions: 3,
  directory: '/log',
}

class ListedHeads implements HeadLine {
  bytes = Buffer.alloc(0)
  nameStart = 0
  nameEnd = 0
  lastVersion = 0
  readonly #heads: (readonly [string, number])[]

  constructor(heads: readonly (readonly [string, number])[]) {
    this.#heads = [...heads]
  }

  next(): boolean {
    const head = this.#heads.shift()
    if (head === undefined) return false
    this.bytes = Buffer.from(head[0])
    this.nameEnd = this.bytes.length
    this.lastVersion = head[1]
    return true
  }

  async close(): Promise<void> {
    // holds nothing
  }
}

async function written(heads: readonly (readonly [string, number])[], endOffset = 1000): Promise<MemoryFileSystem> {
  const fileSystem = new MemoryFileSystem()
  await fileSystem.makeDirectory('/log')
  await writeHeads({ fileSystem, clock: systemClock }, identity, endOffset, new ListedHeads(heads))
  return fileSystem
}

async function read(line: HeadLine): Promise<[string, number][]> {
  const heads: [string, number][] = []
  while (await line.next()) heads.push([line.bytes.toString('utf8', line.nameStart, line.nameEnd), line.lastVersion])
  await line.close()
  return heads
}

const path = '/log/00000000000000001000.heads'
const few = [
  ['customer-1', 0],
  ['customer-17850', 4_294_967_296],
  ['ü', 3],
] as const

test('heads: version 1 is read as it was written for ever (golden bytes)', async () => {
  const fileSystem = await written(few)
  if (process.env['PLAYHEAD_WRITE_GOLDEN'] === '1') await writeFile(golden, fileSystem.bytes(path))
  assert.ok((await readFile(golden)).equals(fileSystem.bytes(path)))
  const reader = await HeadsReader.open(fileSystem, path, identity)
  assert.deepEqual([reader.streams, reader.endOffset], [3, 1000])
  assert.deepEqual(await read(reader), few)
})

test('heads: 20,000 streams in several blocks; merged, the highest version counts; nothing is not a file', async () => {
  const many = Array.from({ length: 20_000 }, (_, at): [string, number] => [
    `stream-${String(at).padStart(8, '0')}`,
    at,
  ])
  const fileSystem = await written(many)
  assert.ok(fileSystem.bytes(path).length > 5 * 65_536)
  const newer = many.filter(([, at]) => at % 2 === 0).map(([name, at]): [string, number] => [name, at + 5])
  const lines = [
    await HeadsReader.open(fileSystem, path, identity),
    new ListedHeads(newer),
    new ListedHeads([['a', 1]]),
  ]
  const merged = await read(new MergedHeads(lines))
  assert.deepEqual(merged, [['a', 1], ...many.map(([name, at]) => [name, at % 2 === 0 ? at + 5 : at])])
  await writeHeads({ fileSystem, clock: systemClock }, identity, 2000, new ListedHeads([]))
  assert.deepEqual(await findHeads(fileSystem, '/log'), [{ path, endOffset: 1000 }])
})

test('heads: every flipped bit is noticed', async () => {
  const fileSystem = await written(few)
  const bytes = fileSystem.bytes(path)
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    bytes[bit >> 3]! ^= 1 << (bit & 7)
    const reading = HeadsReader.open(fileSystem, path, identity).then(read)
    await assert.rejects(
      reading,
      (error) => isPlayheadError(error, 'damagedData') || isPlayheadError(error, 'unsupportedFormat'),
      `bit ${bit}`,
    )
    bytes[bit >> 3]! ^= 1 << (bit & 7)
  }
})
