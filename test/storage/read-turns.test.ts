/** ReadTurns over real turns of the event loop. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../platform/clock.ts'
import { ReadTurns } from '../../storage/read-turns.ts'
import { SeededRandom } from './seeded-random.ts'

test('read turns: no turn has more blocks than there may be, whoever reads, and all are read (40 readers)', async () => {
  const random = SeededRandom.fresh()
  const turns = new ReadTurns(systemClock, 16)
  let [turn, readers] = [0, 40]
  const next = (): void => {
    turn++
    if (readers > 0) setImmediate(next)
  }
  setImmediate(next)
  const blocks = new Map<number, number>()
  let wanted = 0
  const reader = async () => {
    for (let round = 0; round < 20; round++) {
      const count = 1 + random.below(16)
      wanted += count
      const waiting = turns.take(count)
      if (waiting !== undefined) await waiting
      blocks.set(turn, (blocks.get(turn) ?? 0) + count)
      if (random.below(4) === 0) await systemClock.yield()
    }
    readers--
  }
  await Promise.all(Array.from({ length: 40 }, reader))
  const counts = [...blocks.values()]
  assert.equal(
    counts.reduce((sum, count) => sum + count, 0),
    wanted,
  )
  // The test's own turn may be counted before or after the one in which a reader goes on.
  assert.ok(Math.max(...counts) <= 2 * 16, counts.join(' '))
  assert.ok(counts.length >= wanted / 40)
})

test('read turns: one that wants few never waits, and one that wants more than there may be has a turn of its own', async () => {
  const turns = new ReadTurns(systemClock, 16)
  for (let round = 0; round < 5; round++) {
    assert.equal(turns.take(10), undefined)
    await systemClock.yield()
    await systemClock.yield()
  }
  assert.equal(turns.take(20), undefined)
  const waiting = turns.take(1)
  assert.ok(waiting instanceof Promise)
  await waiting
})

test('read turns: room is what is left of this turn, all of it in the next one; never for more than a turn has', async () => {
  const turns = new ReadTurns(systemClock, 16)
  assert.equal(turns.hasRoom(16), true)
  assert.equal(turns.hasRoom(17), false)
  assert.equal(turns.take(10), undefined)
  assert.equal(turns.hasRoom(6), true)
  assert.equal(turns.hasRoom(7), false)
  await turns.take(7)
  assert.equal(turns.hasRoom(10), false)
  await systemClock.yield()
  await systemClock.yield()
  assert.equal(turns.hasRoom(16), true)
})
