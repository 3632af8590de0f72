import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { fileBytes, fileHash, fileSize } from '../../cli/file-bytes.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'

async function textOf(path: string): Promise<string> {
  const pieces: Buffer[] = []
  for await (const piece of fileBytes(path)) pieces.push(piece)
  return Buffer.concat(pieces).toString()
}

const long = `${'héllo wörld €😀,'.repeat(70_000)}\n`

test('file bytes: plain and gzip files give the same bytes, told apart by content', async () => {
  await using temporary = await TemporaryDirectory.make()
  const directory = temporary.path
  await writeFile(join(directory, 'plain.gz'), long)
  await writeFile(join(directory, 'packed.csv'), gzipSync(long))
  assert.equal(await textOf(join(directory, 'plain.gz')), long)
  assert.equal(await textOf(join(directory, 'packed.csv')), long)
  await writeFile(join(directory, 'empty.csv'), '')
  assert.equal(await textOf(join(directory, 'empty.csv')), '')
})

test('file bytes: progress counts bytes on disk up to the size of the file; the hash is that of these bytes', async () => {
  await using temporary = await TemporaryDirectory.make()
  const path = join(temporary.path, 'rows.csv.gz')
  const bytes = gzipSync(long.repeat(20), { level: 0 })
  await writeFile(path, bytes)
  const seen: number[] = []
  for await (const piece of fileBytes(path, { onBytes: (count) => seen.push(count) })) assert.ok(piece.length >= 0)
  assert.equal(seen.at(-1), bytes.length)
  assert.deepEqual(
    seen,
    seen.toSorted((a, b) => a - b),
  )
  assert.equal(await fileSize(path), bytes.length)
  assert.deepEqual(await fileHash(path), createHash('sha256').update(bytes).digest())
})

test('file bytes: a missing file, a directory, damaged and cut gzip are named', async () => {
  await using temporary = await TemporaryDirectory.make()
  const directory = temporary.path
  await assert.rejects(textOf(join(directory, 'none.csv')), /invalidArgument|found none, wanted a file/)
  await assert.rejects(fileSize(join(directory, 'none.csv')), {
    code: 'invalidArgument',
    message: /none\.csv: found none/,
  })
  await assert.rejects(fileSize(directory), { code: 'invalidArgument', message: /found no regular file/ })
  const path = join(directory, 'rows.csv.gz')
  const packed = gzipSync(long)
  await writeFile(path, packed)
  await truncate(path, packed.length - 20)
  await assert.rejects(textOf(path), { code: 'invalidArgument', message: /damaged gzip data/ })
  packed[packed.length - 6]! ^= 0xff // in the checksum
  await writeFile(path, packed)
  await assert.rejects(textOf(path), { code: 'invalidArgument', message: /damaged gzip data/ })
})

test('file bytes: an aborted read ends with the reason of the signal', async () => {
  await using temporary = await TemporaryDirectory.make()
  const path = join(temporary.path, 'rows.csv.gz')
  await writeFile(path, gzipSync(long.repeat(50), { level: 0 }))
  const abort = new AbortController()
  const reason = new Error('enough')
  const read = async (): Promise<void> => {
    for await (const piece of fileBytes(path, { signal: abort.signal })) if (piece.length > 0) abort.abort(reason)
  }
  await assert.rejects(read, (error: unknown) => error === reason)
})
