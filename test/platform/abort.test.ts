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

test('abort: when the last waiter has left, the signal has no listener any more', () => {
  const { signal } = new AbortController()
  const leaves = [onAbort(signal, assert.fail), onAbort(signal, assert.fail)]
  for (const leave of leaves) leave?.()
  for (const leave of leaves) leave?.()
  assert.equal(getEventListeners(signal, 'abort').length, 0)
  onAbort(signal, assert.fail)
  assert.equal(getEventListeners(signal, 'abort').length, 1)
})

test('abort: who leaves while others are being called is not called, and one that throws keeps nobody from hearing', (context) => {
  const thrown: unknown[] = []
  context.mock.method(process, 'nextTick', (callback: () => void) => {
    try {
      callback()
    } catch (error) {
      thrown.push(error)
    }
  })
  const controller = new AbortController()
  const called: string[] = []
  const leaves: ((() => void) | undefined)[] = []
  onAbort(controller.signal, () => {
    called.push('first')
    leaves[0]?.()
    throw new Error('of the first')
  })
  leaves.push(onAbort(controller.signal, () => called.push('left')))
  onAbort(controller.signal, () => called.push('last'))
  controller.abort()
  assert.deepEqual(called, ['first', 'last'])
  assert.match(String(thrown[0]), /of the first/)
})
