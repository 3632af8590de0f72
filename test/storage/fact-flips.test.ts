/**
 * Every single bit of broker.json and topic.json: the start names the file and leaves all as it is, or the bit says nothing and all is served.
 * Nothing here is native code, so no process can end.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../platform/clock.ts'
import { isPlayheadError } from '../../protocol/errors.ts'
import { verify } from '../../storage/verify.ts'
import { recordsOf } from './log-contents.ts'
import { MemoryFileSystem } from './memory-file-system.ts'
import { append, StoreUnderTest } from './store-under-test.ts'

const directory = '/data'
const isLock = (path: string) => path.startsWith(`${directory}/lock`)

/** 'named' or 'harmless'. */
async function tryFlip(origin: MemoryFileSystem, path: string, at: number, bit: number): Promise<string> {
  const fileSystem = origin.copy()
  fileSystem.bytes(path)[at]! ^= 1 << bit
  const { damage } = await verify({ directory, fileSystem: fileSystem.copy(), clock: systemClock })
  const before = fileSystem.copy()
  try {
    await using opened = await StoreUnderTest.open(directory, { fileSystem })
    assert.deepEqual(await recordsOf(opened.store.log('carts', 0)), ['a=1', 'b=1'])
    assert.deepEqual(damage, [])
    return 'harmless'
  } catch (error) {
    if (!isPlayheadError(error, 'damagedData')) throw error
    assert.ok(error.message.includes(path), error.message)
    assert.deepEqual(
      damage.map(({ file }) => file),
      [path],
    )
  }
  for (const each of before.paths) {
    // A start that finds a damaged topic has counted itself in broker.json.
    if (!isLock(each) && (each === path || each !== `${directory}/broker.json`))
      assert.ok(fileSystem.bytes(each).equals(before.bytes(each)), `${each} is as it was`)
  }
  return 'named'
}

test('fact flips: any one bit of broker.json and topic.json', async (t) => {
  const origin = new MemoryFileSystem()
  {
    await using opened = await StoreUnderTest.open(directory, { fileSystem: origin })
    await append(await opened.createLog(), 'a=1', 'b=1')
  }
  const counts: Record<string, number> = { named: 0, harmless: 0 }
  for (const path of origin.paths.filter((each) => each.endsWith('broker.json') || each.endsWith('topic.json'))) {
    const bits = origin.bytes(path).length * 8
    for (let place = 0; place < bits; place++) {
      try {
        counts[await tryFlip(origin, path, place >> 3, place & 7)]!++
      } catch (error) {
        throw new Error(`byte ${place >> 3} bit ${place & 7} of ${path}`, { cause: error })
      }
    }
  }
  assert.ok(counts['named']! > 2000)
  t.diagnostic(
    `${counts['named']! + counts['harmless']!} flips: ${counts['named']} named, ${counts['harmless']} harmless`,
  )
})
