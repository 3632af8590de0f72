import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseRivalsArguments } from '../../../bench/rivals/arguments.ts'
import { scaled } from '../../../bench/rivals/scale.ts'

const known = ['kafka', 'nats']

test('arguments: peers in the order given, three rounds, full size', () => {
  const wanted = parseRivalsArguments(['nats', 'kafka', 'nats'], known)
  assert.deepEqual(wanted.peers, ['nats', 'kafka'])
  assert.deepEqual([wanted.scale.rounds, wanted.scale.isQuick, wanted.withDurable], [3, false, false])
  assert.equal(scaled(10_240, wanted.scale), 10_240)
})

test('arguments: --quick does an eighth of the work once, unless --rounds says more', () => {
  const { scale } = parseRivalsArguments(['kafka', '--quick', '--durable'], known)
  assert.deepEqual([scale.rounds, scale.isQuick, scaled(81_920, scale)], [1, true, 10_240])
  assert.equal(parseRivalsArguments(['kafka', '--quick', '--rounds', '2'], known).scale.rounds, 2)
})

test('arguments: nonsense is refused with what was wanted', () => {
  for (const args of [[], ['pulsar'], ['kafka', '--rounds', '0'], ['kafka', '--rounds', 'x'], ['kafka', '--fast']]) {
    assert.throws(() => parseRivalsArguments(args, known), { code: 'invalidArgument' }, args.join(' '))
  }
})
