import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LatencyHistogram } from '../../../cli/bench/latency-histogram.ts'
import { SeededRandom } from '../../storage/seeded-random.ts'

test('latency histogram: nothing added reads as 0', () => {
  const histogram = new LatencyHistogram()
  assert.deepEqual([histogram.count, histogram.percentileMs(50), histogram.maxMs], [0, 0, 0])
})

test('latency histogram: one value is every percentile, to within 1 %, from microseconds to hours; the maximum is exact', () => {
  for (const value of [0.002, 0.0123, 0.5, 1, 7.77, 999.5, 1000, 60_000, 7_200_000]) {
    const histogram = new LatencyHistogram()
    histogram.add(value)
    for (const percent of [0, 50, 99, 100]) {
      const found = histogram.percentileMs(percent)
      assert.ok(Math.abs(found - value) <= value / 100, `${value}: p${percent} is ${found}`)
    }
    assert.equal(histogram.maxMs, value)
  }
})

test('latency histogram: percentiles of 20,000 values over six magnitudes are within 1 % of the sorted ones', () => {
  const random = SeededRandom.fresh()
  const histogram = new LatencyHistogram()
  const values = Array.from({ length: 20_000 }, () => 10 ** (random.below(6_000_000) / 1_000_000 - 2.5))
  for (const value of values) histogram.add(value)
  const sorted = values.toSorted((a, b) => a - b)
  for (const percent of [1, 50, 95, 99, 99.9]) {
    const wanted = sorted[Math.ceil((percent / 100) * sorted.length) - 1]!
    const found = histogram.percentileMs(percent)
    assert.ok(Math.abs(found - wanted) <= wanted / 100, `seed ${random.seed}: p${percent} ${found}, wanted ${wanted}`)
  }
})

test('latency histogram: a value counted many times weighs as often; zero, negative and endless values do no harm', () => {
  const histogram = new LatencyHistogram()
  histogram.add(2, 99)
  histogram.add(500, 1)
  assert.ok(Math.abs(histogram.percentileMs(99) - 2) < 0.02)
  assert.equal(histogram.count, 100)
  for (const value of [0, -1, 1e12]) histogram.add(value)
  assert.equal(histogram.count, 103)
  assert.equal(histogram.maxMs, 1e12)
  assert.ok(histogram.percentileMs(1) < 0.002)
})
