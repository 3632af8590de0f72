import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { baseOffset, encodeRecordBatch, nextOffset, stampBatch } from '../../protocol/record-batch.ts'
import { FRAME_BYTES, writeFrame } from '../../storage/segment-format.ts'
import { TailCache, TailCacheBudget } from '../../storage/tail-cache.ts'

function cached(offset: number, bytes: Buffer) {
  return { baseOffset: offset, nextOffset: offset + 1, bytes, framed: false }
}

/** A batch of `count` records from `baseOffset` on. */
function batchAt(first: number, count: number): Buffer {
  const records = Array.from({ length: count }, (_, delta) => ({
    key: null,
    value: `${first + delta}`,
    timestamp: 0,
    headers: [],
  }))
  const batch = encodeRecordBatch(records)
  stampBatch(batch, 0, first, 1)
  return batch
}

/** Batches behind their frames, as the appender writes them. */
function framedRun(batches: readonly Buffer[]) {
  const framed = batches.map((batch) => {
    const bytes = Buffer.concat([Buffer.alloc(FRAME_BYTES), batch])
    writeFrame(bytes, 0, Buffer.alloc(8), batch.length, 0, 0)
    return bytes
  })
  const [first, last] = [batches[0]!, batches.at(-1)!]
  return { baseOffset: baseOffset(first), nextOffset: nextOffset(last), bytes: Buffer.concat(framed), framed: true }
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
  budget.read()
  const [first, second] = [new TailCache(budget, 3000), new TailCache(budget, 3000)]
  const pieces = [Buffer.allocUnsafeSlow(1000), Buffer.allocUnsafeSlow(1500)]
  for (let offset = 0; offset < 6; offset++) first.add(cached(offset, pieces[offset % 2]!.subarray(0, 10)))
  assert.equal(budget.usedBytes, 2500)
  assert.equal(first.firstOffset, 0)
  first.add(cached(6, Buffer.allocUnsafeSlow(600)))
  assert.equal(first.firstOffset, 5, 'all batches of the first piece had to go')
  assert.equal(budget.usedBytes, 2100)
  budget.read()
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
  const budget = new TailCacheBudget(64 * 1024)
  const cache = new TailCache(budget, 64 * 1024)
  const refs = Array.from({ length: 900 }, (_, offset) => {
    const memory = Buffer.allocUnsafeSlow(16 * 1024)
    budget.read()
    cache.add(cached(offset, memory))
    return new WeakRef(memory.buffer)
  })
  await setImmediate() // until then what was just made is kept alive
  collect()
  assert.ok(refs.filter((ref) => ref.deref() !== undefined).length <= 5)
  assert.equal(cache.firstOffset, 896)
})

test('tail cache: reads begin and end at any batch, in runs of 1 to 3 and in single batches', () => {
  const cache = new TailCache(new TailCacheBudget(1024 * 1024), 1024 * 1024)
  const batches = [3, 1, 2, 5, 1, 1, 4].map((count, place, counts) => {
    return batchAt(100 + counts.slice(0, place).reduce((sum, each) => sum + each, 0), count)
  })
  cache.add(framedRun(batches.slice(0, 2)))
  cache.add({ ...cached(baseOffset(batches[2]!), batches[2]!), nextOffset: nextOffset(batches[2]!) })
  cache.add(framedRun(batches.slice(3, 6)))
  cache.add(framedRun(batches.slice(6)))
  const end = nextOffset(batches[6]!)
  assert.equal(cache.read(99, end, 1000), undefined)
  assert.equal(cache.read(end, end, 1000), undefined)
  for (let offset = 100; offset < end; offset++) {
    const first = batches.findIndex((batch) => nextOffset(batch) > offset)
    assert.deepEqual(cache.batchAt(offset), batches[first])
    for (const limit of [offset, offset + 1, offset + 6, end]) {
      for (const maxBytes of [1, 200, 10_000]) {
        const expected: Buffer[] = []
        let bytes = 0
        for (const batch of batches.slice(first)) {
          if (nextOffset(batch) > limit || (expected.length > 0 && bytes + batch.length > maxBytes)) break
          expected.push(batch)
          bytes += batch.length
        }
        const read = cache.read(offset, limit, maxBytes)!
        const found = read.sources.map((source, place) => source.subarray(read.froms[place], read.tos[place]))
        assert.deepEqual(found, expected)
        assert.equal(read.bytes, bytes)
        assert.equal(read.nextOffset, expected.length === 0 ? offset : nextOffset(expected.at(-1)!))
      }
    }
  }
})

test('tail cache: while nobody reads, all logs together keep a quarter; from the first read on, all', () => {
  const budget = new TailCacheBudget(8000)
  const caches = [new TailCache(budget, 8000), new TailCache(budget, 8000)]
  let next = 0
  const fill = (count: number) => {
    for (let left = count; left > 0; left--, next++)
      caches[next % 2]!.add(cached(next >> 1, Buffer.allocUnsafeSlow(500)))
  }
  fill(20)
  assert.equal(budget.usedBytes, 2000)
  for (const cache of caches) assert.equal(cache.firstOffset, 8, 'of each log the newest')
  assert.equal(caches[0]!.read(0, 1, 1000), undefined)
  fill(8)
  assert.equal(budget.usedBytes, 6000)
  caches[1]!.batchAt(13)
  fill(16)
  assert.equal(budget.usedBytes, 8000)
  fill(1)
  assert.equal(budget.usedBytes, 2000, 'nobody has read for as long as the cache lasts')
})
