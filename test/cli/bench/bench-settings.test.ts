import assert from 'node:assert/strict'
import { test } from 'node:test'
import { flagText, ignoredFlags, settingsOfFlags } from '../../../cli/bench/bench-settings.ts'
import type { BenchFlags, BenchWork } from '../../../cli/bench/bench-settings.ts'
import { UsageError } from '../../../cli/failure-report.ts'

const nonsense: readonly (readonly [work: BenchWork, flags: Partial<BenchFlags>, message: RegExp])[] = [
  ['produce', { rate: '-1' }, /^--rate: found "-1", wanted records a second above 0$/],
  ['produce', { rate: '0' }, /^--rate: found "0"/],
  ['produce', { rate: 'fast' }, /^--rate: found "fast"/],
  ['produce', { linger: '-5' }, /^--linger: found "-5", wanted milliseconds ≥ 0$/],
  ['produce', { acks: 'most' }, /^--acks: found "most", wanted all, leader or none$/],
  ['produce', { compression: 'lz5' }, /^--compression: found "lz5", wanted none, gzip or zstd$/],
  ['produce', { recordBytes: 7 }, /^--record-bytes: found 7, wanted 8 … \d+$/],
  ['produce', { recordBytes: 2 ** 40 }, /^--record-bytes: found 1099511627776, wanted at most \d+/],
  ['produce', { batchBytes: 2 ** 40 }, /^--batch-bytes: found 1099511627776, wanted at most \d+/],
  ['produce', { streams: 11, records: 10 }, /^--streams: found 11, wanted at most 10 \(--records/],
  ['produce', { streams: 3_000_000 }, /^--streams: found 3000000, wanted at most 2000000/],
  ['end-to-end', { connections: 1_000 }, /^--connections: found 1000, wanted at most 256/],
  ['produce', { inFlight: 100_000 }, /^--in-flight: found 100000, wanted at most/],
  ['produce', { seed: 2 ** 32 }, /^--seed: found 4294967296, wanted at most 4294967295/],
  ['end-to-end', { warmUp: 10, duration: 10 }, /^--warm-up: found 10, wanted less than the 10 s that the run takes$/],
  ['end-to-end', { warmUp: 10 }, /^--warm-up: found 10, wanted less than the 10 s/],
  ['stream', { streams: 0 }, /^--streams: found 0, wanted at least 1/],
  ['stream', { streams: 5, inFlight: 6 }, /^--in-flight: found 6, wanted at most 5 \(--streams/],
]

test('bench settings: what makes no sense is refused by flag, found and wanted', () => {
  for (const [work, flags, message] of nonsense) {
    assert.throws(
      () => settingsOfFlags(work, { topic: 't', ...flags }),
      (error) => error instanceof UsageError && message.test(error.message),
      `${work} ${JSON.stringify(flags)}`,
    )
  }
})

test('bench settings: without flags each work has its defaults; a duration lifts the limit of records', () => {
  assert.equal(settingsOfFlags('produce', { topic: 't' }).records, 1_000_000)
  assert.equal(settingsOfFlags('produce', { topic: 't' }).rate, undefined)
  assert.equal(settingsOfFlags('produce', { topic: 't', duration: 2 }).records, Infinity)
  assert.equal(settingsOfFlags('produce', { topic: 't', duration: 2 }).durationMs, 2_000)
  assert.equal(settingsOfFlags('consume', { topic: 't' }).records, Infinity)
  assert.equal(settingsOfFlags('end-to-end', { topic: 't' }).rate, 5_000)
  assert.equal(settingsOfFlags('stream', { topic: 't' }).streams, 10_000)
})

test('bench settings: flags without a meaning for the work are named and change nothing', () => {
  const flags: BenchFlags = { topic: 't', records: 5, streams: 100, acks: 'most', rate: '-1' }
  assert.deepEqual(ignoredFlags('consume', flags).map(flagText), ['--streams', '--acks', '--rate'])
  assert.equal(settingsOfFlags('consume', flags).rate, undefined)
})
