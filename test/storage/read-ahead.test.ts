import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Clock } from '../../platform/clock.ts'
import { FrameMemory } from '../../protocol/frame-memory.ts'
import type { FramePiece } from '../../protocol/frame-memory.ts'
import { KiB } from '../../protocol/limits.ts'
import { ByteBudget } from '../../storage/byte-budget.ts'
import { ReadAhead } from '../../storage/read-ahead.ts'
import type { ReadRange } from '../../storage/read-range.ts'

/** Every read answers ten offsets, in a piece of memory; timers run when asked to. */
class Readings {
  readonly asked: ReadRange[] = []
  readonly held = new Set<FramePiece>()
  fails = false
  readonly #timers = new Set<() => void>()

  readonly clock: Clock = {
    now: () => 0,
    monotonicMs: () => 0,
    after: (_delayMs, callback) => {
      this.#timers.add(callback)
      return { cancel: () => this.#timers.delete(callback) }
    },
    yield: () => Promise.resolve(),
  }

  readonly read = async (wanted: ReadRange) => {
    this.asked.push(wanted)
    if (this.fails) throw new Error('the disk')
    const piece = new FrameMemory(0).take(wanted.maxBytes)
    this.held.add(piece)
    const letGo = piece.letGo.bind(piece)
    piece.letGo = () => {
      this.held.delete(piece)
      letGo()
    }
    return { batches: [], nextOffset: wanted.offset + 10, piece }
  }

  get waiting(): number {
    return this.#timers.size
  }

  timeOver(): void {
    for (const callback of this.#timers) callback()
  }
}

function range(offset: number, maxBytes = 64 * KiB, limitOffset = 1000): ReadRange {
  return { offset, maxBytes, limitOffset }
}

function readAhead(bytesMax = 1024 * KiB) {
  const readings = new Readings()
  const budget = new ByteBudget(bytesMax)
  const { clock, read } = readings
  return { readings, budget, ahead: new ReadAhead({ budget, clock, keptMsMax: 1000, read }) }
}

test('read ahead: who goes on where a read ended has the next one read; who asks here and there has not', async () => {
  const { readings, budget, ahead } = readAhead()
  for (const offset of [0, 500, 70]) ahead.follow(range(offset), offset + 10, 1000)
  assert.deepEqual(readings.asked, [])
  ahead.follow(range(510), 520, 1000)
  assert.deepEqual(readings.asked, [range(520)])
  assert.equal(budget.usedBytes, 64 * KiB)
  assert.equal(await ahead.take(range(530)), undefined)
  assert.equal((await ahead.take(range(520)))?.nextOffset, 530)
  assert.equal(await ahead.take(range(520)), undefined, 'it is whose it was given to')
  assert.equal(budget.usedBytes, 0)
  assert.equal(readings.waiting, 0)
  assert.equal(readings.held.size, 1, 'held for who took it')
})

test('read ahead: nothing at the end, for another size, past the limit of who asks, or after a failure', async () => {
  const { readings, budget, ahead } = readAhead()
  ahead.follow(range(0), 10, 1000)
  ahead.follow(range(10), 20, 20)
  assert.deepEqual(readings.asked, [])
  ahead.follow(range(20), 30, 1000)
  assert.equal(await ahead.take(range(30, 32 * KiB)), undefined)
  assert.equal(await ahead.take(range(30, 64 * KiB, 35)), undefined)
  assert.equal(readings.held.size, 0)
  readings.fails = true
  ahead.follow(range(30), 40, 1000)
  assert.equal(readings.asked.length, 2)
  assert.equal(await ahead.take(range(40)), undefined)
  assert.equal(budget.usedBytes, 0)
})

test('read ahead: memory is bounded, and let go of when nobody comes, or all is dropped', async () => {
  const { readings, budget, ahead } = readAhead(128 * KiB)
  for (const offset of [0, 100, 200]) {
    ahead.follow(range(offset), offset + 10, 1000)
    ahead.follow(range(offset + 10), offset + 20, 1000)
  }
  assert.deepEqual(
    readings.asked.map(({ offset }) => offset),
    [20, 120],
  )
  assert.equal(budget.usedBytes, 128 * KiB)
  readings.timeOver()
  await Promise.resolve()
  await Promise.resolve()
  assert.deepEqual([budget.usedBytes, readings.held.size], [0, 0])
  ahead.follow(range(210), 220, 1000)
  ahead.follow(range(220), 230, 1000)
  ahead.close()
  ahead.follow(range(230), 240, 1000)
  ahead.follow(range(240), 250, 1000)
  await Promise.resolve()
  await Promise.resolve()
  assert.deepEqual([budget.usedBytes, readings.held.size, readings.waiting], [0, 0, 0])
})
