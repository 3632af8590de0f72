import assert from 'node:assert/strict'
import { test } from 'node:test'
import { liveText } from '../../../cli/bench/live-line.ts'

test('live line: rates are of the time since the last look', () => {
  const text = liveText({ records: 30_000, bytes: 3_000_000, seconds: 2 }, 1.23456)
  assert.equal(text, '15,000 records/s  1.5 MB/s  p99 so far 1.235 ms')
})
