import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../platform/clock.ts'
import { PlayheadError } from '../../protocol/errors.ts'
import { OffsetWaiters } from '../../replication/offset-waiters.ts'

const longMs = 600_000

test('release answers in order of offset, whatever the order of coming (5, 3, 3, 9; released to 5)', async () => {
  const waiters = new OffsetWaiters(systemClock, 10)
  const released: string[] = []
  const wait = (name: string, offset: number) =>
    waiters.wait(offset, longMs).then((reached) => released.push(`${name}:${reached}`))
  const waits = [wait('five', 5), wait('three', 3), wait('also three', 3)]
  const nine = wait('nine', 9)
  waiters.release(5)
  await Promise.all(waits)
  assert.deepEqual(released, ['three:true', 'also three:true', 'five:true'])
  assert.equal(waiters.count, 1)
  waiters.release(9)
  await nine
  assert.equal(waiters.count, 0)
})

test('a wait whose time is over answers false and is forgotten', async () => {
  const waiters = new OffsetWaiters(systemClock, 10)
  assert.equal(await waiters.wait(1, 1), false)
  assert.equal(await waiters.wait(1, 0), false)
  assert.equal(waiters.count, 0)
})

test('a wait whose signal aborts answers false at once', async () => {
  const waiters = new OffsetWaiters(systemClock, 10)
  const gone = new AbortController()
  const wait = waiters.wait(1, longMs, gone.signal)
  gone.abort()
  assert.equal(await wait, false)
  assert.equal(await waiters.wait(1, longMs, gone.signal), false)
  assert.equal(waiters.count, 0)
})

test('one waiter too many is refused as overloaded, the others still wait (2 of 2)', async () => {
  const waiters = new OffsetWaiters(systemClock, 2)
  const waits = [waiters.wait(1, longMs), waiters.wait(2, longMs)]
  await assert.rejects(waiters.wait(3, longMs), { code: 'overloaded' })
  waiters.release(2)
  assert.deepEqual(await Promise.all(waits), [true, true])
})

test('close rejects those who wait and those who come', async () => {
  const waiters = new OffsetWaiters(systemClock, 10)
  const wait = waiters.wait(1, longMs)
  waiters.close(new PlayheadError('unknownTopic', 'gone'))
  await assert.rejects(wait, { code: 'unknownTopic' })
  await assert.rejects(waiters.wait(1, longMs), { code: 'unknownTopic' })
})
