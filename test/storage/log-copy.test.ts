/** LogCopy: a log from which segments are taken, and in which segments are written again, all the while it is copied. */
import assert from 'node:assert/strict'
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '../../platform/clock.ts'
import type { FileSystem } from '../../platform/file-system.ts'
import { nodeFileSystem } from '../../platform/node-file-system.ts'
import { copyLog } from '../../storage/log-copy.ts'
import { baseOffsetOfFile, decodeSegmentHeader, encodeSegmentHeader } from '../../storage/segment-format.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { append, StoreUnderTest } from './store-under-test.ts'

const filler = 'x'.repeat(260_000)

/** A stopped log of some tens of segments of a MiB; answers the names of its segments. */
async function makeLog(directory: string, to: string): Promise<string[]> {
  await mkdir(to, { recursive: true })
  {
    await using under = await StoreUnderTest.open(directory)
    const log = await under.createLog('carts', { 'segment.bytes': '1048576' })
    for (let number = 0; number < 80; number++) await append(log, `s${number % 7}=${number}-${filler}`)
  }
  const [topic] = (await readdir(join(directory, 'topics'))).slice(-1)
  const from = join(directory, 'topics', topic ?? '', '0')
  for (const name of await readdir(from)) await copyFile(join(from, name), join(to, name))
  return segmentsIn(to)
}

test('log copy: whatever is cleaned while it is copied, it ends, with what the log has then (a segment is gone or written again with each sixth that is copied)', async () => {
  await using directory = await TemporaryDirectory.make()
  const source = join(directory.path, 'source', 'log')
  const segments = await makeLog(join(directory.path, 'store'), source)
  assert.ok(segments.length > 15, String(segments.length))
  let [left, copied] = [segments.slice(0, -2), 0]
  const clean = async (): Promise<void> => {
    if (++copied % 6 !== 0) return
    const [oldest] = left
    if (copied % 24 === 0 && oldest !== undefined && left.length > 12) {
      left = left.slice(1)
      await rm(join(source, oldest))
    } else await writeAgain(join(source, left[copied % left.length] ?? ''))
  }
  const cleaned: FileSystem = {
    ...nodeFileSystem,
    async open(path, mode) {
      if (mode === 'create' && path.endsWith('.log')) await clean()
      return nodeFileSystem.open(path, mode)
    },
  }
  const files = await copyLog({
    fileSystem: cleaned,
    clock: systemClock,
    directory: join(directory.path, 'source'),
    target: join(directory.path, 'target'),
    path: 'log',
    mark: 80,
    isLive: true,
  })
  assert.ok(copied > segments.length, 'some were copied more than once')
  const there = (await readdir(join(directory.path, 'target', 'log'))).toSorted()
  assert.deepEqual(
    files.map(({ path }) => path.replace('log/', '')).toSorted(),
    there,
    'nothing is there that is not named',
  )
  const names = there.filter((name) => baseOffsetOfFile(name) !== undefined)
  assert.deepEqual(names, await segmentsIn(source))
  for (const name of names.slice(0, -1))
    assert.deepEqual(
      await readFile(join(directory.path, 'target', 'log', name)),
      await readFile(join(source, name)),
      name,
    )
})

/** As compaction does: the header counts it. */
async function writeAgain(path: string): Promise<void> {
  const bytes = await readFile(path)
  const header = decodeSegmentHeader(bytes.subarray(0, 64), path)
  assert.ok(header !== undefined)
  encodeSegmentHeader({ ...header, compaction: header.compaction + 1 }).copy(bytes)
  await writeFile(path, bytes)
}

async function segmentsIn(directory: string): Promise<string[]> {
  return (await readdir(directory)).filter((name) => baseOffsetOfFile(name) !== undefined).toSorted()
}
