import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { onAbort } from '../../platform/abort.ts'

test('abort: each waiter is called once, in order, unless it has left; the signal has one listener for all', () => {
  const controller = new AbortController()
  const called: number[] = []
  const leaves = Array.from({ length: 1000 }, (_, place) => onAbort(controller.signal, () => called.push(place)))
  assert.equal(getEventListeners(controller.signal, 'abort').length, 1)
  for (const leave of leaves.slice(10)) leave?.()
  const again = () => called.push(-1)
  onAbort(controller.signal, again)
  onAbort(controller.signal, again)
  controller.abort()
  controller.abort()
  assert.deepEqual(called, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, -1, -1])
})

test('abort: nothing is called for a signal that has aborted already, nor without one', () => {
  assert.equal(onAbort(undefined, assert.fail), undefined)
  onAbort(AbortSignal.abort(), assert.fail)?.()
})
