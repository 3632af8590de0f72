import assert from 'node:assert/strict'
import { statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { lmdbRoomProblem } from '../../platform/lmdb-file.ts'
import { MiB } from '../../protocol/limits.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'

test('lmdb file: a transaction that the disk may have no room for is told, one that fits is not', async () => {
  await using directory = await TemporaryDirectory.make()
  const file = join(directory.path, 'data.mdb')
  assert.equal(lmdbRoomProblem(directory.path, 1, 2 ** 50), undefined, 'no file: lmdb says so itself')
  writeFileSync(file, Buffer.alloc(MiB))
  const { bavail, bsize } = statfsSync(directory.path)
  assert.equal(lmdbRoomProblem(directory.path, 1_000, 100_000), undefined)
  assert.match(lmdbRoomProblem(directory.path, 1, bavail * bsize) ?? '', /^\d+ bytes of disk free, wanted \d+$/)
})

test('lmdb file: at most a copy of every page there is counts beside the values', async () => {
  await using directory = await TemporaryDirectory.make()
  writeFileSync(join(directory.path, 'data.mdb'), Buffer.alloc(MiB))
  const wanted = (puts: number) =>
    Number(
      lmdbRoomProblem(directory.path, puts, 2 ** 45)
        ?.split(' ')
        .at(-1),
    )
  assert.equal(wanted(1_000_000) - wanted(0), MiB)
  assert.equal(wanted(10) - wanted(0), 10 * 2 * 4096)
})
