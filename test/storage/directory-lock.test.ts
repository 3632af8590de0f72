/** The lock of a data directory, taken by several at once: the steps of one are held while the others go on. */
import assert from 'node:assert/strict'
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { FileSystem } from '../../platform/file-system.ts'
import { nodeFileSystem } from '../../platform/node-file-system.ts'
import { systemRandom } from '../../platform/random.ts'
import { isPlayheadError } from '../../protocol/errors.ts'
import { DirectoryLock } from '../../storage/directory-lock.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { FaultyFileSystem } from './faulty-file-system.ts'
import { SeededRandom } from './seeded-random.ts'

async function acquire(fileSystem: FileSystem, directory: string): Promise<DirectoryLock | 'in use'> {
  try {
    return await DirectoryLock.acquire(fileSystem, directory, systemRandom)
  } catch (error) {
    if (isPlayheadError(error, 'dataDirectoryInUse')) return 'in use'
    throw error
  }
}

const deadLock = JSON.stringify({ pid: 2 ** 30, startTime: '5', bootId: 'another boot' })

test('directory lock: one looks while the other has made its file and written nothing into it: one of them gets it', async () => {
  await using directory = await TemporaryDirectory.make()
  const writing = Promise.withResolvers<void>()
  const mayWrite = Promise.withResolvers<void>()
  const slow = new FaultyFileSystem({
    write: () => {
      writing.resolve()
      return mayWrite.promise
    },
  })
  const first = acquire(slow, directory.path)
  await writing.promise
  const second = await acquire(nodeFileSystem, directory.path)
  mayWrite.resolve()
  const locks = [await first, second].filter((lock) => lock !== 'in use')
  assert.equal(locks.length, 1)
  await locks[0]?.release()
  assert.deepEqual(await readdir(directory.path), [])
})

for (const [what, stale] of [
  ['no lock', undefined],
  ['a dead one', deadLock],
  ['an empty one', ''],
] as const) {
  test(`directory lock: 6 at once find ${what}, their steps in any order: never more than one gets it (30 rounds)`, async () => {
    const random = SeededRandom.fresh()
    await using directory = await TemporaryDirectory.make()
    for (let round = 0; round < 30; round++) {
      if (stale !== undefined) await writeFile(join(directory.path, 'lock'), stale)
      const tries = await Promise.all(Array.from({ length: 6 }, () => acquire(new Reordered(random), directory.path)))
      const locks = tries.filter((lock) => lock !== 'in use')
      assert.ok(locks.length <= 1, `seed ${random.seed}, round ${round}: ${locks.length} hold it`)
      const lock = locks[0] ?? (await DirectoryLock.acquire(nodeFileSystem, directory.path, systemRandom))
      await lock.release()
      assert.deepEqual(await readdir(directory.path), [], `seed ${random.seed}, round ${round}`)
    }
  })
}

test('directory lock: what starts killed half way left beside it is taken over and removed', async () => {
  await using directory = await TemporaryDirectory.make()
  const { lock, removal } = { lock: join(directory.path, 'lock'), removal: `lock.${await removalOf(deadLock)}` }
  await writeFile(lock, deadLock)
  await writeFile(join(directory.path, removal), deadLock.replace('5', '6'))
  await writeFile(join(directory.path, 'lock.new-1'), deadLock.replace('5', '7'))
  const taken = await DirectoryLock.acquire(nodeFileSystem, directory.path, systemRandom)
  assert.deepEqual(await readdir(directory.path), ['lock'])
  assert.equal(await acquire(nodeFileSystem, directory.path), 'in use')
  await taken.release()
})

/** The name a starter gives to its claim on a stale lock, seen from a start that is stopped there. */
async function removalOf(text: string): Promise<string> {
  await using directory = await TemporaryDirectory.make()
  await writeFile(join(directory.path, 'lock'), text)
  const fileSystem = new FaultyFileSystem()
  const links: string[] = []
  fileSystem.link = (from, to) => {
    links.push(to)
    return nodeFileSystem.link(from, to)
  }
  await (await DirectoryLock.acquire(fileSystem, directory.path, systemRandom)).release()
  return links.find((path) => path.includes('/lock.'))?.split('lock.')[1] ?? ''
}

/** Each step waits for a random number of turns first. */
class Reordered extends FaultyFileSystem {
  readonly #random: SeededRandom

  constructor(random: SeededRandom) {
    super({ read: () => this.#wait(), write: () => this.#wait() })
    this.#random = random
  }

  override async link(from: string, to: string): Promise<void> {
    await this.#wait()
    await super.link(from, to)
  }

  override async remove(path: string): Promise<void> {
    await this.#wait()
    await super.remove(path)
  }

  async #wait(): Promise<void> {
    for (let left = this.#random.below(6); left > 0; left--) await new Promise((resolve) => setImmediate(resolve))
  }
}
