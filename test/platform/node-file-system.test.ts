/** nodeFileSystem on real files: what storage relies on. */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { nodeFileSystem } from '../../platform/node-file-system.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'

const withCode = (code: string) => (error: unknown) => error instanceof Error && 'code' in error && error.code === code

test('file system: writes of many parts at a position, reads up to the end (3,000 parts: more than one system call takes)', async () => {
  await using directory = await TemporaryDirectory.make()
  const path = join(directory.path, 'file')
  const file = await nodeFileSystem.open(path, 'create')
  const parts = Array.from({ length: 3000 }, (_, place) => Buffer.from(`${place},`))
  await file.write(parts, 10)
  await file.sync()
  const expected = Buffer.concat([Buffer.alloc(10), ...parts])
  assert.ok((await readFile(path)).equals(expected))
  const target = Buffer.alloc(expected.length + 100)
  assert.equal(await file.read(target, 0), expected.length)
  assert.equal(await file.read(target.subarray(0, 5), 10), 5)
  assert.equal(await file.read(target, expected.length), 0)
  await file.write([], 0)
  await file.close()
  await file.close()
})

test('file system: allocate writes zeros and grows the file, truncate cuts it', async () => {
  await using directory = await TemporaryDirectory.make()
  const path = join(directory.path, 'file')
  const file = await nodeFileSystem.open(path, 'create')
  await file.write([Buffer.from('head')], 0)
  await file.allocate(4, 5 * 1024 * 1024)
  assert.equal(await file.sizeBytes(), 5 * 1024 * 1024)
  assert.ok((await readFile(path)).subarray(4).every((byte) => byte === 0))
  await file.truncate(3)
  assert.equal((await readFile(path)).toString(), 'hea')
  await file.close()
})

test('file system: modes say what must and must not exist', async () => {
  await using directory = await TemporaryDirectory.make()
  const path = join(directory.path, 'file')
  await assert.rejects(nodeFileSystem.open(path, 'read'), withCode('ENOENT'))
  await assert.rejects(nodeFileSystem.open(path, 'write'), withCode('ENOENT'))
  await (await nodeFileSystem.open(path, 'create')).close()
  await assert.rejects(nodeFileSystem.open(path, 'create'), withCode('EEXIST'))
  const reading = await nodeFileSystem.open(path, 'read')
  await assert.rejects(reading.write([Buffer.from('x')], 0), withCode('EBADF'))
  await reading.close()
  await assert.rejects(async () => reading.sync(), /is closed/)
})

test('file system: directories with their parents, names sorted, removal of what is not there', async () => {
  await using directory = await TemporaryDirectory.make()
  const deep = join(directory.path, 'a/b/c')
  await nodeFileSystem.makeDirectory(deep)
  await nodeFileSystem.makeDirectory(deep)
  for (const name of ['2', '10', '1']) await (await nodeFileSystem.open(join(deep, name), 'create')).close()
  assert.deepEqual(await nodeFileSystem.list(deep), ['1', '10', '2'])
  await nodeFileSystem.rename(join(deep, '1'), join(deep, '3'))
  await nodeFileSystem.remove(join(deep, '2'))
  await nodeFileSystem.syncDirectory(deep)
  assert.deepEqual(await nodeFileSystem.list(deep), ['10', '3'])
  assert.equal(await nodeFileSystem.exists(join(deep, '3')), true)
  assert.equal(await nodeFileSystem.exists(join(deep, '3/below a file')), false)
  await nodeFileSystem.removeDirectory(join(directory.path, 'a'))
  await nodeFileSystem.removeDirectory(join(directory.path, 'a'))
  await assert.rejects(nodeFileSystem.list(deep), withCode('ENOENT'))
})
