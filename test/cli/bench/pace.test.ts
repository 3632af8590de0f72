import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Pace } from '../../../cli/bench/pace.ts'

test('pace (2,000 a second): who waits goes on in order, and never before it is due', async () => {
  const pace = await Pace.open(2_000, new AbortController().signal)
  const startedMs = performance.now()
  pace.begin(startedMs)
  const order: number[] = []
  const waits = Array.from({ length: 300 }, async (_, sequence) => {
    const dueMs = pace.dueMs(sequence)
    await pace.wait(dueMs)
    assert.ok(performance.now() >= dueMs, `${sequence} is ${dueMs - performance.now()} ms early`)
    order.push(sequence)
  })
  await Promise.all(waits)
  assert.deepEqual(order, [...order.keys()])
  assert.ok(Math.abs(pace.dueMs(300) - startedMs - 150) < 1e-6)
  pace.stop()
})

test('pace (one in 1,000 s): an abort ends all waits with its reason, and later ones at once', async () => {
  const ending = new AbortController()
  const pace = await Pace.open(0.001, ending.signal)
  pace.begin(performance.now())
  await pace.wait(pace.dueMs(0))
  const waits = [pace.wait(pace.dueMs(1)), pace.wait(pace.dueMs(2))]
  const reason = new Error('the run is over')
  ending.abort(reason)
  for (const wait of [...waits, pace.wait(pace.dueMs(3))]) await assert.rejects(wait, reason)
})

test('pace (4,000 a second): without its ticker it takes turns, and keeps its times', async () => {
  const pace = await Pace.open(4_000, new AbortController().signal)
  pace.begin(performance.now())
  await pace.wait(pace.dueMs(20))
  pace.stop() // as when the thread ended
  await pace.wait(pace.dueMs(200))
  assert.ok(performance.now() >= pace.dueMs(200))
})
