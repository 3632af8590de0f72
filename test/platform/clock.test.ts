import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { systemClock } from '../../platform/clock.ts'

const timerMsMax = 0x7fff_ffff

test('clock: calls back after waits longer than a timer of the runtime can be (2^31 - 1, 2^31, 2^33 ms), not before, and not when cancelled', () => {
  mock.timers.enable({ apis: ['setTimeout'] })
  try {
    for (const delayMs of [timerMsMax, timerMsMax + 1, 2 ** 33]) {
      let calls = 0
      systemClock.after(delayMs, () => calls++)
      const cancelled = systemClock.after(delayMs, () => assert.fail('it was cancelled'))
      const steps = Math.ceil(delayMs / timerMsMax)
      let leftMs = delayMs - 1
      for (let step = 0; step < steps; step++) {
        mock.timers.tick(Math.min(leftMs, timerMsMax))
        leftMs -= Math.min(leftMs, timerMsMax)
      }
      assert.equal(calls, 0, `${delayMs} ms are not over`)
      cancelled.cancel()
      mock.timers.tick(1)
      assert.equal(calls, 1, `${delayMs} ms are over`)
      mock.timers.tick(10)
      assert.equal(calls, 1)
    }
  } finally {
    mock.timers.reset()
  }
})

test('clock: the real timers do not call back at once from a wait of 2^31 ms', async () => {
  let calls = 0
  const timer = systemClock.after(2 ** 31, () => calls++)
  await new Promise<void>((resolve) => void systemClock.after(20, resolve))
  timer.cancel()
  assert.equal(calls, 0)
})
