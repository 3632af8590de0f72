/** Slices of a file, read ahead and plain, against the file's bytes (memory file system; direct reads that answer, refuse and stop short). */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type File, forwarding } from '../../platform/file-system.ts'
import { PlainSlices, SlicesAhead } from '../../storage/scan-slices.ts'
import type { Slices } from '../../storage/scan-slices.ts'
import { MemoryFileSystem } from './memory-file-system.ts'
import { SeededRandom } from './seeded-random.ts'

const sizes = { chunkBytes: 16_384, leftBytesMax: 8_192 }
const windowBytes = sizes.chunkBytes + sizes.leftBytesMax

async function fileOf(content: Buffer): Promise<File> {
  const file = await new MemoryFileSystem().open('/file', 'create')
  await file.write([content], 0)
  return file
}

/** Goes through the file in frames of random sizes; answers where the first begins that has not room. */
async function walk(
  slices: Slices,
  content: Buffer,
  [from, endPosition]: [number, number],
  sizeOf: () => number,
): Promise<number> {
  for (let position = from; ; ) {
    const bytes = sizeOf()
    if (position + bytes > endPosition) return position
    if (position + bytes > slices.end)
      assert.ok(await slices.fill(position, bytes), `${bytes} at ${position} of ${endPosition}`)
    const at = position - slices.start
    assert.ok(slices.bytes.subarray(at, at + bytes).equals(content.subarray(position, position + bytes)))
    position += bytes
  }
}

test('slices: hold every frame whole, in its place, up to the end (frames of 1 to 20,000 bytes, chunks of 16 KiB, 200 files)', async () => {
  const random = SeededRandom.fresh()
  for (let round = 0; round < 200; round++) {
    const content = Buffer.from(Array.from({ length: random.below(100_000) }, () => random.below(256)))
    const memory = await fileOf(content)
    const endPosition = random.below(3) === 0 ? random.below(content.length + 1) : content.length
    const from = random.below(Math.min(endPosition, 30_000) + 1)
    const kind = random.below(4)
    const direct: File = {
      ...forwarding(memory),
      readDirect: async (target, position) => {
        assert.equal(position % 4096, 0)
        assert.equal(target.length % 4096, 0)
        if (kind === 1) return undefined
        const count = await memory.read(target, position)
        return kind === 2 ? Math.min(count, random.below(count + 1)) : count
      },
    }
    const file = kind === 0 ? memory : direct
    const largest = random.pick([100, 5_000, 20_000])
    const frames: number[] = []
    const sizeOf = () => {
      frames.push(1 + random.below(largest))
      return frames.at(-1)!
    }
    const windows = [Buffer.alloc(windowBytes, 1), Buffer.alloc(windowBytes, 2)] as const
    const ahead = new SlicesAhead(file, endPosition, windows, sizes)
    const end = await walk(ahead, content, [from, endPosition], sizeOf)
    await ahead.close()
    const again = frames.values()
    const plain = new PlainSlices(file, endPosition, 1 + random.below(40_000))
    assert.equal(await walk(plain, content, [from, endPosition], () => again.next().value!), end)
  }
})

test('slices ahead: a read that fails is heard of by whoever gets there, and nothing is under way after close', async () => {
  const content = Buffer.alloc(100_000, 'slices')
  const memory = await fileOf(content)
  let underWay = 0
  const file: File = {
    ...forwarding(memory),
    read: async (target, position) => {
      underWay++
      await new Promise(setImmediate)
      underWay--
      if (position >= 32_768) throw Object.assign(new Error('bad sector'), { code: 'EIO' })
      return memory.read(target, position)
    },
  }
  const slices = new SlicesAhead(file, content.length, [Buffer.alloc(windowBytes), Buffer.alloc(windowBytes)], sizes)
  await assert.rejects(
    walk(slices, content, [0, content.length], () => 1_000),
    /bad sector/,
  )
  assert.equal(slices.end, 32_768)
  await slices.close()
  const begun = new SlicesAhead(file, content.length, [Buffer.alloc(windowBytes), Buffer.alloc(windowBytes)], sizes)
  assert.ok(await begun.fill(0, 100))
  assert.equal(underWay, 1)
  await begun.close()
  assert.equal(underWay, 0)
})
