/** Syncs that fail, and steps that break in the middle: what may be lost is never acknowledged, and nothing is written behind it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isPlayheadError } from '../../protocol/errors.ts'
import type { Appended, Log } from '../../storage/log.ts'
import type { CheckpointEntry, RangeOptions } from '../../storage/checkpoint-store.ts'
import { MemoryCheckpointStore } from '../../storage/memory-checkpoint-store.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { FaultyCheckpointStore } from './faulty-checkpoint-store.ts'
import { FaultyFileSystem } from './faulty-file-system.ts'
import { recordsOf } from './log-contents.ts'
import { append, group, StoreUnderTest, until } from './store-under-test.ts'

const storageFailed = (error: unknown) => isPlayheadError(error, 'storageFailed')

const eio = (path: string) => Object.assign(new Error(`EIO: ${path}`), { code: 'EIO' })

/** Appends until one makes the log allocate ahead, with the appender's own sync held back meanwhile. */
async function failAllocationBehind(log: Log, fileSystem: FaultyFileSystem): Promise<Appended> {
  let letGo: (() => void) | undefined
  let told = false
  fileSystem.faults = {
    sync: () =>
      new Promise<void>((resolve) => {
        letGo = resolve
      }),
    allocate: (path) => {
      told = true
      throw eio(path)
    },
  }
  const written = append(log, `a=${'written, its sync waits'.repeat(300)}`)
  written.catch(() => undefined)
  await until(() => letGo !== undefined)
  append(log, `a=${'makes the log allocate ahead'.repeat(700)}`).catch(() => undefined)
  await until(() => told)
  letGo?.()
  return written
}

test('lost writes: a sync that fails in allocating ahead (told once per file) ends the log; what waits for its own sync is not acknowledged', async () => {
  await using directory = await TemporaryDirectory.make()
  const fileSystem = new FaultyFileSystem()
  const settings = { allocationBytesMin: 65_536, idleFloorMs: 1_000_000 }
  const opened = await StoreUnderTest.open(directory.path, { fileSystem, settings })
  const log = await opened.createLog()
  await append(log, 'a=0')
  await append(log, `a=${'x'.repeat(10_000)}`)
  const durable = log.durableOffset
  await assert.rejects(failAllocationBehind(log, fileSystem), storageFailed)
  assert.equal(log.durableOffset, durable)
  assert.equal(opened.failures.length, 1)
  await assert.rejects(append(log, 'a=later'), storageFailed)
  fileSystem.faults = {}
  await assert.rejects(Promise.resolve(opened[Symbol.asyncDispose]()), storageFailed)
})

test('lost writes: a sync that fails in making a segment ends the log', async () => {
  await using directory = await TemporaryDirectory.make()
  const fileSystem = new FaultyFileSystem()
  const opened = await StoreUnderTest.open(directory.path, { fileSystem })
  const log = await opened.createLog()
  fileSystem.faults = {
    allocate: (path) => {
      throw eio(path)
    },
  }
  await assert.rejects(append(log, 'a=0'), storageFailed)
  fileSystem.faults = {}
  await assert.rejects(append(log, 'a=1'), storageFailed)
  assert.equal(opened.failures.length, 1)
  await assert.rejects(Promise.resolve(opened[Symbol.asyncDispose]()), storageFailed)
})

/** Answers one stream's head as damaged while it is told to. */
class DamagedHeads extends FaultyCheckpointStore {
  damaged = false

  override range(from: Buffer, to: Buffer, options: RangeOptions): CheckpointEntry[] {
    const entries = super.range(from, to, options)
    if (!this.damaged) return entries
    this.stats.badValues += entries.length
    return []
  }
}

test('lost writes: a stream head that cannot be read in the step that assigns versions refuses that append only; the log has no hole', async () => {
  await using directory = await TemporaryDirectory.make()
  let fate: 'written' | 'refused' = 'written'
  const store = new DamagedHeads(new MemoryCheckpointStore(), () => fate)
  const settings = { checkpointIntervalMs: 1_000_000, idleFloorMs: 1_000_000 }
  {
    await using opened = await StoreUnderTest.open(directory.path, { checkpointStore: store, settings })
    const log = await opened.createLog()
    await append(log, 'head-a=0')
    await log.checkpointer.save()
    await append(log, 'other=0')
    fate = 'refused'
    const failing = log.checkpointer.save() // clears the heads that were looked at ahead
    const compressed = group(['other=1'], { batchOptions: { compression: 'gzip' } })
    const first = log.append(compressed)
    const second = log.append(group(['head-a=1'], { wantVersions: true })).then(
      () => 'appended',
      (error: unknown) => String(error),
    )
    await failing
    store.damaged = true
    await first
    assert.match(await second, /heads with a bad checksum/)
    store.damaged = false
    fate = 'written'
    assert.equal((await append(log, 'a=after')).baseOffset, 3)
    assert.deepEqual(opened.failures, [])
  }
  await using again = await StoreUnderTest.open(directory.path, { checkpointStore: new MemoryCheckpointStore() })
  const log = again.store.log('carts', 0)
  assert.deepEqual(await recordsOf(log), ['head-a=0', 'other=0', 'other=1', 'a=after'])
  assert.deepEqual(log.damage, [])
})
