/** nodeFileSystem on real files: what storage relies on. */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { onPages } from '../../platform/direct-memory.ts'
import { nodeFileSystem } from '../../platform/node-file-system.ts'
import { SeededRandom } from '../storage/seeded-random.ts'
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

test('file system: reads at once say the same as others (bytes just written, up to and past the end), and are not for large targets', async () => {
  await using directory = await TemporaryDirectory.make()
  const file = await nodeFileSystem.open(join(directory.path, 'file'), 'create')
  const written = Buffer.from(Array.from({ length: 200_000 }, (_, place) => place * 7))
  await file.write([written], 0)
  const [now, later] = [Buffer.alloc(10_000), Buffer.alloc(10_000)]
  let answered = 0
  for (const position of [0, 1, 5_000, 195_000, 199_999, 200_000, 300_000]) {
    const count = file.readNow!(now, position)
    assert.equal(await file.read(later, position), Math.max(0, Math.min(10_000, 200_000 - position)))
    if (count === undefined) continue // somebody else reads the disk
    answered++
    assert.equal(count, Math.max(0, Math.min(10_000, 200_000 - position)))
    assert.ok(now.subarray(0, count).equals(later.subarray(0, count)))
  }
  assert.ok(answered > 0)
  assert.equal(file.readNow!(Buffer.alloc(200_000), 0), undefined)
  await file.close()
  assert.throws(() => file.readNow!(now, 0), /is closed/)
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

const MiB = 1024 * 1024

/** Bytes that differ from place to place, so that a block written to the wrong place shows. */
function patterned(length: number, seed: number): Buffer {
  const bytes = Buffer.allocUnsafe(length)
  for (let at = 0; at < length; at++) bytes[at] = (at * 31 + seed * 17 + (at >>> 8)) & 0xff
  return bytes
}

test('file system: appends of any length, one behind the other, are there when they resolve, byte for byte; nothing is changed behind them', async () => {
  await using directory = await TemporaryDirectory.make()
  const path = join(directory.path, 'file')
  const file = await nodeFileSystem.open(path, 'create')
  await file.write([Buffer.from('head')], 0)
  await file.allocate(4, 64 * MiB)
  const lengths = [1, 60, 4031, 1, 4096, 4095, 12_289, 300_000, 3, 20 * MiB, 77, 16 * 1024, 256 * 1024, 8 * MiB]
  let expected = Buffer.from('head')
  for (const [seed, length] of lengths.entries()) {
    const bytes = patterned(length, seed)
    const cut = Math.floor(length / 3)
    await file.append([bytes.subarray(0, cut), Buffer.alloc(0), bytes.subarray(cut)], expected.length)
    expected = Buffer.concat([expected, bytes])
    const found = Buffer.alloc(Math.min(expected.length, length + 5000) + 100)
    await file.read(found, expected.length + 100 - found.length)
    assert.ok(found.subarray(0, -100).equals(expected.subarray(expected.length + 100 - found.length)), `append ${seed}`)
    assert.ok(found.subarray(-100).every((byte) => byte === 0))
  }
  await file.close()
  const all = await readFile(path)
  assert.equal(all.length, 64 * MiB)
  assert.ok(all.subarray(0, expected.length).equals(expected))
  assert.ok(all.subarray(expected.length).equals(Buffer.alloc(all.length - expected.length)))
})

test('file system: appends go on where they should after writes, a cut, a failed place, and in a file opened again', async () => {
  await using directory = await TemporaryDirectory.make()
  const path = join(directory.path, 'file')
  const file = await nodeFileSystem.open(path, 'create')
  await file.allocate(0, MiB)
  await file.append([patterned(5000, 1)], 0)
  await file.write([Buffer.from('between')], 5000)
  await file.append([patterned(100, 2)], 5007)
  await assert.rejects(file.append([Buffer.from('x')], 3 * MiB + 5), /nothing to append to/)
  await assert.rejects(file.append([Buffer.from('x')], MiB + 5), /nothing to append to/)
  await file.append([patterned(5000, 3)], 5107)
  await file.truncate(6000)
  await file.allocate(6000, MiB)
  await file.append([patterned(3000, 4)], 6000)
  await file.close()
  const again = await nodeFileSystem.open(path, 'write')
  await again.append([patterned(10_000, 5)], 9000)
  await again.close()
  const head = [patterned(5000, 1), Buffer.from('between'), patterned(100, 2), patterned(893, 3), patterned(3000, 4)]
  const expected = Buffer.concat([...head, patterned(10_000, 5)])
  const found = await readFile(path)
  assert.ok(found.subarray(0, expected.length).equals(expected))
  assert.ok(found.subarray(expected.length).every((byte) => byte === 0))
})

test('file system: 700 files appended to at once, more than there are pieces of memory, while they are read', async () => {
  await using directory = await TemporaryDirectory.make()
  await Promise.all(
    Array.from({ length: 700 }, async (_, place) => {
      const file = await nodeFileSystem.open(join(directory.path, String(place)), 'create')
      await file.allocate(0, 64 * 1024)
      let end = 0
      for (const length of [100, place, 9000]) {
        await file.append([patterned(length, place)], end)
        const found = Buffer.alloc(length)
        await file.read(found, end)
        assert.ok(found.equals(patterned(length, place)))
        end += length
      }
      await file.close()
    }),
  )
})

test('file system: where direct writes are refused, at first or later, appends and zeros are written otherwise, and all is there', async (context) => {
  for (const allowed of [0, 1, 2, 3, 4]) {
    await using directory = await TemporaryDirectory.make()
    const path = join(directory.path, 'file')
    let left = allowed
    const directDescriptors = new Set<unknown>()
    const { open, write } = fs
    context.mock.method(fs, 'open', (...args: unknown[]) => {
      const opened = args.at(-1) as (error: Error | null, descriptor?: number) => void
      const note = (error: Error | null, descriptor?: number) => {
        if (typeof args[1] === 'number') directDescriptors.add(descriptor)
        opened(error, descriptor)
      }
      Reflect.apply(open, fs, [...args.slice(0, -1), note])
    })
    context.mock.method(fs, 'write', (...args: unknown[]) => {
      const written = args.at(-1) as (error: Error) => void
      if (!directDescriptors.has(args[0]) || left-- > 0) Reflect.apply(write, fs, args)
      else setImmediate(() => written(Object.assign(new Error('EINVAL: invalid argument'), { code: 'EINVAL' })))
    })
    const file = await nodeFileSystem.open(path, 'create')
    await file.allocate(0, 3 * MiB + 100)
    let expected = Buffer.alloc(0)
    for (const length of [100, 5000, 70_000, 3]) {
      await file.append([patterned(length, length)], expected.length)
      expected = Buffer.concat([expected, patterned(length, length)])
    }
    await file.close()
    context.mock.restoreAll()
    assert.equal(directDescriptors.size, 1)
    assert.ok(left < 0, 'some were refused')
    const found = await readFile(path)
    assert.equal(found.length, 3 * MiB + 100)
    assert.ok(found.subarray(0, expected.length).equals(expected), `${allowed} direct writes`)
    assert.ok(found.subarray(expected.length).every((byte) => byte === 0))
  }
})

test('file system: reads and writes that the kernel cuts short are continued: every byte is there, in its place (direct and not)', async (context) => {
  for (const direct of [true, false]) {
    await using directory = await TemporaryDirectory.make()
    const path = join(directory.path, 'file')
    const random = SeededRandom.fresh()
    const { open, read, write, writev } = fs
    const directDescriptors = new Set<unknown>()
    let cut = 0
    const some = (bytes: number, least: number) => {
      if (bytes <= least || random.below(2) === 0) return bytes
      cut++
      return least + random.below(bytes - least)
    }
    context.mock.method(fs, 'open', (...args: unknown[]) => {
      const opened = args.at(-1) as (error: Error | null, descriptor?: number) => void
      const isDirect = typeof args[1] === 'number'
      const note = (error: Error | null, descriptor?: number) => {
        if (isDirect) directDescriptors.add(descriptor)
        opened(error, descriptor)
      }
      if (isDirect && !direct) setImmediate(() => opened(new Error('EINVAL: not here')))
      else Reflect.apply(open, fs, [...args.slice(0, -1), note])
    })
    context.mock.method(fs, 'read', (fd: number, target: Buffer, at: number, length: number, ...rest: unknown[]) =>
      Reflect.apply(read, fs, [fd, target, at, some(length, 1), ...rest]),
    )
    context.mock.method(fs, 'write', (fd: number, bytes: Buffer, at: number, length: number, ...rest: unknown[]) => {
      // A direct write is cut at a sector, which may lie inside a block.
      const least = directDescriptors.has(fd) ? 4096 : 1
      const taken = some(length, least)
      Reflect.apply(write, fs, [fd, bytes, at, least === 1 ? taken : taken - (taken % 512), ...rest])
    })
    context.mock.method(fs, 'writev', (fd: number, parts: Buffer[], ...rest: unknown[]) => {
      const bytes = Buffer.concat(parts)
      Reflect.apply(writev, fs, [fd, [bytes.subarray(0, some(bytes.length, 1))], ...rest])
    })
    const file = await nodeFileSystem.open(path, 'create')
    await file.allocate(0, 4 * MiB)
    let expected = Buffer.alloc(0)
    for (let round = 0; round < 60; round++) {
      const bytes = patterned(1 + random.below(60_000), round)
      const middle = random.below(bytes.length)
      const parts = [bytes.subarray(0, middle), bytes.subarray(middle)]
      if (round % 3 === 0) await file.write(parts, expected.length)
      else await file.append(parts, expected.length)
      expected = Buffer.concat([expected, bytes])
      const found = Buffer.alloc(bytes.length)
      assert.equal(await file.read(found, expected.length - bytes.length), bytes.length)
      assert.ok(found.equals(bytes), `seed ${random.seed}, round ${round}`)
    }
    await file.close()
    context.mock.restoreAll()
    assert.ok(cut > 50 && directDescriptors.size === (direct ? 1 : 0), `seed ${random.seed}: ${cut} cut`)
    const all = await readFile(path)
    assert.ok(all.subarray(0, expected.length).equals(expected), `seed ${random.seed}`)
    assert.ok(all.subarray(expected.length).every((byte) => byte === 0))
  }
})

test('file system: once a sync has failed, none resolves, and none is asked for in its stead', async (context) => {
  await using directory = await TemporaryDirectory.make()
  const file = await nodeFileSystem.open(join(directory.path, 'file'), 'create')
  await file.write([Buffer.from('lost')], 0)
  const real = fs.fdatasync
  const fdatasync = context.mock.method(fs, 'fdatasync', (fd: number, answer: (error: Error | null) => void) => {
    if (fdatasync.mock.callCount() > 0) return real(fd, answer)
    process.nextTick(answer, Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' }))
  })
  await assert.rejects(file.sync(), { code: 'EIO' })
  assert.equal(fdatasync.mock.callCount(), 1)
  await assert.rejects(file.sync(), { code: 'EIO' })
  await assert.rejects(file.allocate(4, 8192), { name: 'SyncFailure' })
  await file.close()
})

test('file system: reads past the page cache have what was written, appended and not yet synced, up to the end of the file', async () => {
  await using directory = await TemporaryDirectory.make()
  const path = join(directory.path, 'file')
  const file = await nodeFileSystem.open(path, 'create')
  const expected = patterned(3 * MiB + 777, 5)
  await file.allocate(0, 4 * MiB)
  await file.append([expected.subarray(0, MiB + 100)], 0)
  await file.write([expected.subarray(MiB + 100)], MiB + 100)
  await file.truncate(expected.length)
  const target = onPages(4 * MiB)
  const count = await file.readDirect?.(target, 0)
  assert.equal(count, expected.length)
  assert.ok(target.subarray(0, count).equals(expected))
  assert.equal(await file.readDirect?.(target.subarray(0, 8192), MiB), 8192)
  assert.ok(target.subarray(0, 8192).equals(expected.subarray(MiB, MiB + 8192)))
  assert.equal(await file.readDirect?.(target, 4 * MiB), 0)
  assert.equal(await file.readDirect?.(target.subarray(1, 4097), 0), undefined) // not on a page: refused, from now on
  assert.equal(await file.readDirect?.(target, 0), undefined)
  await file.close()
  await assert.rejects(async () => file.readDirect?.(target, 0), /is closed/)
})

test('file system: reads past the page cache are of the file that was opened, whatever is at its path by now', async () => {
  await using directory = await TemporaryDirectory.make()
  const [path, other] = [join(directory.path, 'file'), join(directory.path, 'other')]
  for (const [place, each] of [path, other].entries()) {
    const made = await nodeFileSystem.open(each, 'create')
    await made.write([patterned(MiB, place)], 0)
    await made.close()
  }
  const file = await nodeFileSystem.open(path, 'read')
  const target = onPages(MiB)
  await nodeFileSystem.rename(other, path)
  assert.equal(await file.readDirect?.(target, 0), MiB)
  assert.ok(target.equals(patterned(MiB, 0)))
  await nodeFileSystem.remove(path)
  assert.equal(await file.readDirect?.(target, 0), MiB)
  await file.close()
})

test('file system: where reads past the page cache are not to be had, they say so or are right (memory file system)', async () => {
  await using directory = await TemporaryDirectory.make('/dev/shm')
  const path = join(directory.path, 'file')
  const file = await nodeFileSystem.open(path, 'create')
  await file.write([patterned(MiB, 3)], 0)
  const target = onPages(MiB)
  const count = await file.readDirect?.(target, 0)
  assert.ok(count === undefined || (count === MiB && target.equals(patterned(MiB, 3))), String(count))
  await file.close()
})
