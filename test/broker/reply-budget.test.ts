import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ReplyBudget } from '../../broker/reply-budget.ts'
import { ReplyMemory } from '../../broker/reply-memory.ts'
import { systemClock } from '../../platform/clock.ts'

function memoryOf(bytesMax: number, stallMsMax = 600_000): ReplyMemory {
  return new ReplyMemory({ clock: systemClock, bytesMax, stallMsMax })
}

function budgetOf(memory: ReplyMemory, bytesMax: number, onStalled: () => void = () => {}): ReplyBudget {
  return new ReplyBudget({ memory, bytesMax, onStalled })
}

test('reads wait in order until the socket has taken what it held (100 bytes)', async () => {
  const memory = memoryOf(1_000)
  const budget = budgetOf(memory, 100)
  const order: string[] = []
  assert.equal(budget.reserve(60), undefined)
  const second = budget.reserve(60)?.then(() => order.push('second'))
  const third = budget.reserve(10)?.then(() => order.push('third'))
  assert.ok(second && third)
  budget.sent(60, 60)
  await Promise.resolve()
  assert.deepEqual(order, [])
  budget.drained()
  await Promise.all([second, third])
  assert.deepEqual(order, ['second', 'third'])
  assert.equal(memory.takenBytes, 70)
  budget.close()
  assert.equal(memory.takenBytes, 0)
})

test('one reply larger than the budget goes when nothing else is under way', async () => {
  const budget = budgetOf(memoryOf(500), 100)
  assert.equal(budget.reserve(1_000), undefined)
  const next = budget.reserve(1)
  assert.ok(next)
  budget.sent(1_000, 1_000)
  assert.equal(budget.exceeded, true)
  budget.drained()
  assert.equal(budget.exceeded, false)
  await next
})

test('close refuses those who wait and those who come: nothing is read for nobody; what they send counts nowhere', async () => {
  const memory = memoryOf(1_000)
  const budget = budgetOf(memory, 100)
  assert.equal(budget.reserve(100), undefined)
  const waiting = [budget.reserve(100), budget.reserve(100)]
  for (const wait of waiting) wait?.catch(() => undefined)
  budget.close()
  budget.close()
  for (const wait of waiting) await assert.rejects(wait ?? Promise.resolve(), { code: 'closed' })
  await assert.rejects(budget.reserve(5) ?? Promise.resolve(), { code: 'closed' })
  assert.equal(budget.tryReserve(5), false)
  budget.sent(100, 100)
  assert.equal(memory.takenBytes, 0)
})

test('what all connections hold together is bounded, and who waits goes on when another drains (100 bytes, 3 connections)', async () => {
  const memory = memoryOf(100)
  const budgets = [budgetOf(memory, 80), budgetOf(memory, 80), budgetOf(memory, 80)] as const
  assert.equal(budgets[0].reserve(80), undefined)
  const waits = [budgets[1].reserve(40), budgets[2].reserve(60)]
  assert.ok(waits[0] && waits[1])
  budgets[0].sent(80, 80)
  assert.equal(memory.takenBytes, 80)
  budgets[0].drained()
  for (const wait of waits) await wait
  assert.equal(memory.takenBytes, 100)
  for (const budget of budgets) budget.close()
  assert.equal(memory.takenBytes, 0)
})

test('a connection that takes nothing is closed once others wait for its memory (1 ms)', async () => {
  const memory = memoryOf(100, 1)
  const sleeper = budgetOf(memory, 100, () => sleeper.close())
  const reader = budgetOf(memory, 100)
  assert.equal(sleeper.reserve(100), undefined)
  sleeper.sent(100, 100)
  await reader.reserve(50)
  assert.equal(memory.takenBytes, 50)
  reader.close()
})
