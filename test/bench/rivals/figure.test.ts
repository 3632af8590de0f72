import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ratioOf, sideOf, throughput, valueOf } from '../../../bench/rivals/figure.ts'

test('figure: the median of three rounds and their spread, in any order', () => {
  assert.deepEqual(sideOf([30, 10, 20]), { figures: [30, 10, 20], median: 20, spread: 1 })
  assert.equal(sideOf([4, 1, 3, 2]).median, 2.5)
})

test('figure: a ratio above 1 is ours doing better, in records a second and in milliseconds', () => {
  assert.equal(ratioOf('recordsPerSecond', sideOf([300]), sideOf([100])), 3)
  assert.equal(ratioOf('p99', sideOf([2]), sideOf([6])), 3)
})

test('figure: what is no figure is refused: no rounds, no time, a tool that printed something else', () => {
  assert.throws(() => sideOf([]), { code: 'unavailable' })
  assert.throws(() => throughput(100, 0), { code: 'unavailable' })
  assert.throws(() => throughput(100, Number.NaN), { code: 'unavailable' })
  assert.throws(() => valueOf({ records: 1, seconds: 1 }, 'p99'), { code: 'unavailable' })
})
