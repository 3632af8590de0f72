/** How far ahead of appends zeros are written (real files, steps from 64 KiB on). */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../platform/clock.ts'
import type { Clock } from '../../platform/clock.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { FaultyFileSystem } from './faulty-file-system.ts'
import { append, StoreUnderTest } from './store-under-test.ts'

const settings = { allocationBytesMin: 65_536, tailCacheBytes: 0 }
const event = `a=${'x'.repeat(40_000)}`

function clockOf(monotonicMs: () => number): Clock {
  return {
    now: () => systemClock.now(),
    monotonicMs,
    after: (ms, then) => systemClock.after(ms, then),
    yield: () => systemClock.yield(),
  }
}

test('allocation: a log that uses up its steps in no time has larger ones; one that takes a second for each has not', async () => {
  for (const pauseMs of [0, 1_000]) {
    await using directory = await TemporaryDirectory.make()
    const sizes: number[] = []
    let nowMs = 0
    const fileSystem = new FaultyFileSystem({ allocate: (_path, bytes) => void sizes.push(bytes) })
    const clock = clockOf(() => nowMs)
    await using opened = await StoreUnderTest.open(directory.path, { fileSystem, clock, settings })
    const log = await opened.createLog()
    sizes.length = 0
    for (let round = 0; round < 100; round++) {
      await append(log, event)
      nowMs += pauseMs
    }
    assert.equal(Math.max(...sizes) >= 1_048_576, pauseMs === 0, sizes.join(' '))
  }
})

test('allocation: steps grow where zeros take long to be written and appends wait for them', async () => {
  await using directory = await TemporaryDirectory.make()
  const sizes: number[] = []
  let nowMs = 0
  const fileSystem = new FaultyFileSystem({
    async allocate(_path, bytes) {
      sizes.push(bytes)
      await systemClock.yield()
      nowMs += 400
    },
  })
  const clock = clockOf(() => nowMs)
  await using opened = await StoreUnderTest.open(directory.path, { fileSystem, clock, settings })
  const log = await opened.createLog()
  sizes.length = 0
  const appender = async () => {
    for (let round = 0; round < 10; round++) await append(log, event)
  }
  await Promise.all(Array.from({ length: 10 }, appender))
  assert.ok(Math.max(...sizes) >= 1_048_576, sizes.join(' '))
})

test('allocation: batches larger than a step, now and then, soon find room for the next one', async () => {
  await using directory = await TemporaryDirectory.make()
  let [nowMs, allocations] = [0, 0]
  const fileSystem = new FaultyFileSystem({ allocate: () => void allocations++ })
  const clock = clockOf(() => nowMs)
  await using opened = await StoreUnderTest.open(directory.path, { fileSystem, clock, settings })
  const log = await opened.createLog()
  for (let round = 0; round < 40; round++) {
    await append(log, `a=${'x'.repeat(200_000)}`)
    nowMs += 1_000
  }
  assert.ok(allocations < 35, `${allocations} allocations for 40 batches`)
})
