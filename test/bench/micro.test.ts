import assert from 'node:assert/strict'
import { test } from 'node:test'
import { measure } from '../../bench/harness.ts'
import { benches as recordBatch } from '../../bench/micro/record-batch.bench.ts'
import { benches as streamIndex } from '../../bench/micro/stream-index.bench.ts'

for (const each of [...recordBatch, ...streamIndex]) {
  test(`bench: ${each.name} (small) computes the same twice`, () => {
    const first = measure(each, each.smoke)
    const second = measure(each, each.smoke)
    assert.equal(first.hash, second.hash)
    assert.notEqual(first.hash, '0')
  })
}
