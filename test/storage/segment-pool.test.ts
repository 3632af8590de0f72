/** SegmentPool over real files: which segments stay open, and who pins them at once. */
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { nodeFileSystem } from '../../platform/node-file-system.ts'
import { OffsetIndex } from '../../storage/offset-index.ts'
import { Segment } from '../../storage/segment.ts'
import { SegmentPool } from '../../storage/segment-pool.ts'
import { TimeIndex } from '../../storage/time-index.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'

const load = async () => ({ offsets: new OffsetIndex(), times: new TimeIndex() })

async function segmentsIn(directory: string, count: number): Promise<Segment[]> {
  const paths = Array.from({ length: count }, (_, place) => join(directory, `${place}.log`))
  await Promise.all(paths.map((path) => writeFile(path, 'x')))
  return paths.map((path, place) => new Segment(path, place))
}

test('segment pool of two: the one pinned longest ago is closed, at once or not it was pinned; a pinned one never', async () => {
  await using directory = await TemporaryDirectory.make()
  const pool = new SegmentPool(nodeFileSystem, 2)
  const [first, second, third, fourth] = await segmentsIn(directory.path, 4)
  const isOpen = () => [first, second, third, fourth].map((segment) => segment!.file !== undefined)
  const held = await pool.pin(first!, load)
  ;(await pool.pin(second!, load)).release()
  ;(await pool.pin(third!, load)).release()
  assert.deepEqual(isOpen(), [true, false, true, false])
  ;(await pool.pin(second!, load)).release()
  assert.deepEqual(isOpen(), [true, true, false, false])
  held.release()
  pool.pinNow(first!)!.release()
  ;(await pool.pin(fourth!, load)).release()
  assert.deepEqual(isOpen(), [true, false, false, true])
  for (const segment of [first!, fourth!]) await pool.close(segment)
  assert.deepEqual(isOpen(), [false, false, false, false])
})

test('segment pool: at once only what is open and part of its log; a close waits for who pinned at once', async () => {
  await using directory = await TemporaryDirectory.make()
  const pool = new SegmentPool(nodeFileSystem, 2)
  const [segment] = await segmentsIn(directory.path, 1)
  assert.equal(pool.pinNow(segment!), undefined)
  const opening = pool.pin(segment!, load)
  assert.equal(pool.pinNow(segment!), undefined, 'not while it is being opened')
  ;(await opening).release()
  const pinned = pool.pinNow(segment!)
  assert.ok(pinned !== undefined)
  segment!.gone = true
  assert.equal(pool.pinNow(segment!), undefined)
  let isClosed = false
  const closing = pool.close(segment!).then(() => (isClosed = true))
  await new Promise(setImmediate)
  assert.equal(isClosed, false)
  assert.equal(await pinned.file.read(Buffer.alloc(1), 0), 1)
  pinned.release()
  await closing
  assert.equal(segment!.file, undefined)
})

test('segment pool of two: what was active until now stays, and the one pinned longest ago is closed', async () => {
  await using directory = await TemporaryDirectory.make()
  const pool = new SegmentPool(nodeFileSystem, 2)
  const [first, second, active] = await segmentsIn(directory.path, 3)
  active!.file = await nodeFileSystem.open(active!.path, 'read')
  pool.keep(active!)
  for (const segment of [first!, second!]) (await pool.pin(segment, load)).release()
  pool.letGo(active!)
  assert.deepEqual(
    [first, second, active].map((segment) => segment!.file !== undefined),
    [false, true, true],
  )
  for (const segment of [second!, active!]) await pool.close(segment)
})
