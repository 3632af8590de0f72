import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { formatTime, parseTime, timestampMax } from '../../protocol/time.ts'

const noon = Date.UTC(2011, 5, 1, 12)

test('time: ISO-8601 with and without a zone, seconds and milliseconds', () => {
  const forms: [string, number][] = [
    ['2011-06-01', noon - 12 * 3_600_000],
    ['2011-06-01T12:00', noon],
    ['2011-06-01 12:00:00', noon],
    ['2011-06-01t12:00:00z', noon],
    ['  2011-06-01T12:00:00Z\n', noon],
    ['2011-06-01T14:00:00+02:00', noon],
    ['2011-06-01T14:00:00+0200', noon],
    ['2011-06-01T14:00:00 +02', noon],
    ['2011-06-01T06:30:00-05:30', noon],
    ['2011-06-01T12:00:00.5Z', noon + 500],
    ['2011-06-01T12:00:00,123456789', noon + 123],
    ['1306929600', noon],
    ['1306929600000', noon],
    ['0', 0],
    ['1000', 1_000_000],
    ['20111301', 20_111_301_000],
    ['-1', -1000],
    ['1969-12-31T23:59:59.999Z', -1],
    ['0001-01-01', Date.parse('0001-01-01')],
    ['-140630-09-04T16:00:00', -timestampMax],
    ['+144569-04-28T08:00:00', timestampMax],
    ['2012-02-29', Date.UTC(2012, 1, 29)],
  ]
  for (const [text, time] of forms) assert.equal(parseTime(text), time, text)
})

test('time: days and hours that do not exist, and other texts, are invalidArgument', () => {
  const bad = [
    '',
    'now',
    '2011',
    '2011-6-1',
    '2011-13-01',
    '2011-00-01',
    '2011-02-29',
    '2011-06-31',
    '2011-06-01T24:00',
    '2011-06-01T12:60',
    '2011-06-01T12:00:60',
    '2011-06-01T12',
    '2011-06-01Z',
    '01/06/2011',
    '1.5',
    '1e9',
    '99999999999999999',
    '4500000000000001',
    '+144569-04-28T08:00:00.001',
    '+275760-09-14',
    '2011-06-01T12:00:00 UTC',
    '2011-06-01T12:00:00+24:00',
    '2011-06-01T12:00:00-99:99',
    '20110601',
  ]
  for (const text of bad) assert.throws(() => parseTime(text), { code: 'invalidArgument' }, text)
})

test('time: what is formatted parses to itself (any ms up to the farthest)', () => {
  fc.assert(
    fc.property(fc.integer({ min: -timestampMax, max: timestampMax }), (time) => {
      assert.equal(parseTime(formatTime(time)), time)
    }),
  )
})

test('time: a timestamp beyond the farthest is shown as that', () => {
  assert.equal(formatTime(Number.MAX_SAFE_INTEGER), formatTime(timestampMax))
  assert.equal(formatTime(-Number.MAX_SAFE_INTEGER), formatTime(-timestampMax))
})

test('time: formatted as Date does it (any ms up to the farthest, in any order of days)', () => {
  const time = fc.oneof(
    fc.integer({ min: -timestampMax, max: timestampMax }),
    fc.integer({ min: -200_000_000, max: 200_000_000 }),
  )
  fc.assert(fc.property(time, (ms) => assert.equal(formatTime(ms), new Date(ms).toISOString())))
})
