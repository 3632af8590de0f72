/** Topics whose files cannot be moved away: no name is ever given to two directories. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isPlayheadError } from '../../protocol/errors.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { FaultyFileSystem } from './faulty-file-system.ts'
import { append, StoreUnderTest } from './store-under-test.ts'

class Unmovable extends FaultyFileSystem {
  failing = false
  /** Partitions' directories cannot be looked at. */
  blind = false

  override exists(path: string): Promise<boolean> {
    return this.blind && path.endsWith('/0') ? Promise.reject(ioError(path)) : super.exists(path)
  }

  override rename(from: string, to: string): Promise<void> {
    if (this.failing && to.endsWith('.deleted')) return Promise.reject(ioError(from))
    return super.rename(from, to)
  }
}

function ioError(path: string): Error {
  return Object.assign(new Error(`EIO: i/o error, ${path}`), { code: 'EIO' })
}

const nameTaken = (error: unknown) => isPlayheadError(error, 'topicExists')

test('topic faults: a deletion whose rename fails leaves the name taken; deleted again, or after a restart, it goes', async () => {
  await using directory = await TemporaryDirectory.make()
  const fileSystem = new Unmovable()
  for (const again of ['at once', 'after a restart']) {
    {
      await using opened = await StoreUnderTest.open(directory.path, { fileSystem })
      await append(await opened.createLog(), 'a=0')
      fileSystem.failing = true
      await assert.rejects(opened.store.deleteTopic('carts'), /EIO/)
      await assert.rejects(opened.createLog(), nameTaken)
      fileSystem.failing = false
      await assert.rejects(opened.createLog(), nameTaken)
      if (again === 'at once') {
        await opened.store.deleteTopic('carts')
        assert.equal((await append(await opened.createLog(), 'a=0')).baseOffset, 0)
        await opened.store.deleteTopic('carts')
      }
    }
    await using opened = await StoreUnderTest.open(directory.path, { fileSystem })
    assert.equal(opened.store.topics().length, again === 'at once' ? 0 : 1)
    if (again === 'after a restart') await opened.store.deleteTopic('carts')
  }
})

test('topic faults: a new topic that cannot be opened and not be moved away leaves the name taken until it is deleted', async () => {
  await using directory = await TemporaryDirectory.make()
  const fileSystem = new Unmovable()
  {
    await using opened = await StoreUnderTest.open(directory.path, { fileSystem })
    fileSystem.blind = true
    fileSystem.failing = true
    await assert.rejects(opened.createLog(), /EIO/)
    fileSystem.blind = false
    fileSystem.failing = false
    await assert.rejects(opened.createLog(), nameTaken)
    await opened.store.deleteTopic('carts')
    await opened.createLog()
  }
  await using opened = await StoreUnderTest.open(directory.path, { fileSystem })
  assert.equal(opened.store.topics().length, 1)
})
