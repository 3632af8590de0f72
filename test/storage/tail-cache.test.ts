import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { TailCache, TailCacheBudget } from '../../storage/tail-cache.ts'

function cached(baseOffset: number, batch: Buffer) {
  return { baseOffset, nextOffset: baseOffset + 1, recordCount: 1, leaderEpoch: 1, maxTimestamp: 0, batch }
}

test('tail cache: batches in one piece of memory count as that piece, once, and free it together', () => {
  const budget = new TailCacheBudget(10_000)
  const cache = new TailCache(budget, 10_000)
  const piece = Buffer.allocUnsafeSlow(1000)
  for (let offset = 0; offset < 3; offset++) cache.add(cached(offset, piece.subarray(offset * 10, offset * 10 + 10)))
  assert.equal(budget.usedBytes, 1000)
  assert.ok(cache.removeOldest())
  assert.ok(cache.removeOldest())
  assert.equal(budget.usedBytes, 1000)
  assert.ok(cache.removeOldest())
  assert.equal(budget.usedBytes, 0)
  assert.equal(cache.removeOldest(), false)
})

test('tail cache: memory above the bound lets the oldest go, in one log and over all (batches of two pieces in turn)', () => {
  const budget = new TailCacheBudget(4000)
  const [first, second] = [new TailCache(budget, 3000), new TailCache(budget, 3000)]
  const pieces = [Buffer.allocUnsafeSlow(1000), Buffer.allocUnsafeSlow(1500)]
  for (let offset = 0; offset < 6; offset++) first.add(cached(offset, pieces[offset % 2]!.subarray(0, 10)))
  assert.equal(budget.usedBytes, 2500)
  assert.equal(first.firstOffset, 0)
  first.add(cached(6, Buffer.allocUnsafeSlow(600)))
  assert.equal(first.firstOffset, 5, 'all batches of the first piece had to go')
  assert.equal(budget.usedBytes, 2100)
  second.add(cached(0, Buffer.allocUnsafeSlow(2500)))
  assert.equal(first.firstOffset, 6, 'the log that was silent gives its bytes back')
  assert.equal(second.firstOffset, 0)
  first.clear()
  second.clear()
  assert.equal(budget.usedBytes, 0)
})

test('tail cache: what was removed is not kept alive (900 batches of 16 KiB through a cache of 64 KiB)', async () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const cache = new TailCache(new TailCacheBudget(64 * 1024), 64 * 1024)
  const refs = Array.from({ length: 900 }, (_, offset) => {
    const memory = Buffer.allocUnsafeSlow(16 * 1024)
    cache.add(cached(offset, memory))
    return new WeakRef(memory.buffer)
  })
  await setImmediate() // until then what was just made is kept alive
  collect()
  assert.ok(refs.filter((ref) => ref.deref() !== undefined).length <= 5)
  assert.equal(cache.firstOffset, 896)
})
