/** A start that takes long says how far it is; one that does not is silent. Time is the test's: an hour for each megabyte that is read. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../platform/clock.ts'
import { encodeRecordBatch } from '../../protocol/record-batch.ts'
import { MemoryCheckpointStore } from '../../storage/memory-checkpoint-store.ts'
import { RecoveryProgress } from '../../storage/recovery-progress.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { StoreUnderTest } from './store-under-test.ts'

test('recovery progress: a wiped cache is made again from 12 segments, and the start says at intervals how far it is', async () => {
  await using directory = await TemporaryDirectory.make()
  {
    await using opened = await StoreUnderTest.open(directory.path)
    const log = await opened.createLog('carts', { 'segment.bytes': '1048576' })
    for (let round = 0; round < 36; round++) {
      const batch = encodeRecordBatch([{ key: `s${round % 5}`, value: Buffer.alloc(400_000, 'x'), timestamp: 1 }])
      await log.append({ batch, expected: [], wantVersions: false, acks: 'all' })
    }
    assert.ok(log.segmentCount >= 12)
    assert.deepEqual(
      opened.reports.filter((text) => text.includes('start:')),
      [],
    )
  }
  let nowMs = 0
  const clock = { ...systemClock, monotonicMs: () => (nowMs += 2_000) }
  await using again = await StoreUnderTest.open(directory.path, { clock, checkpointStore: new MemoryCheckpointStore() })
  const said = again.reports.filter((text) => text.startsWith('info: start:'))
  assert.ok(said.length >= 4, said.join('\n'))
  assert.match(
    said[0]!,
    /^info: start: 0 of 1 partitions are open, \d+ MiB of records were read again; carts\/0 at segment \d+ of 1[2-9]$/,
  )
  assert.match(
    said.at(-1)!,
    /^info: start: all 1 partitions are open after \d+ s, 1[34] MiB of records were read again$/,
  )
  const segments = said.slice(0, -1).map((text) => Number(/at segment (\d+)/.exec(text)?.[1]))
  assert.deepEqual(
    segments,
    segments.toSorted((a, b) => a - b),
  )
})

test('recovery progress: at most every five seconds, and nothing about a start that is quicker', () => {
  const said: string[] = []
  let nowMs = 0
  const clock = { ...systemClock, monotonicMs: () => nowMs }
  const report = (_: string, text: string) => said.push(text)
  const quick = new RecoveryProgress(clock, report)
  quick.begin(2)
  for (const log of ['a/0', 'a/1']) {
    nowMs += 2_400
    quick.reached(log, 1, 1)
    quick.replayed(9_000_000)
    quick.opened()
  }
  quick.end()
  assert.deepEqual(said, [])
  const slow = new RecoveryProgress(clock, report)
  slow.begin(1)
  for (let segment = 1; segment <= 100; segment++) {
    nowMs += 100
    slow.reached('a/0', segment, 100)
  }
  slow.end()
  assert.equal(said.length, 3, said.join('\n'))
})
