import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatAddress, parseAddresses } from '../../client/addresses.ts'

const good: [string | string[], string[]][] = [
  ['playhead://localhost:7420', ['localhost:7420']],
  ['localhost', ['localhost:7420']],
  ['127.0.0.1:1', ['127.0.0.1:1']],
  ['a:1, b:2,playhead://c', ['a:1', 'b:2', 'c:7420']],
  [
    ['a:1', 'b:2,c:3'],
    ['a:1', 'b:2', 'c:3'],
  ],
  ['[::1]:7421', ['[::1]:7421']],
  ['playhead://[fe80::1]/', ['[fe80::1]:7420']],
]

for (const [text, wanted] of good) {
  test(`addresses: ${JSON.stringify(text)}`, () => assert.deepEqual(parseAddresses(text).map(formatAddress), wanted))
}

for (const text of [
  '',
  ' , ',
  'a:0',
  'a:65536',
  'a:b',
  'http://a:1',
  'a b',
  '::1',
  'a:1/x',
  'user@host:1',
  '[::1',
  'a:-1',
]) {
  test(`addresses: ${JSON.stringify(text)} is refused`, () => {
    assert.throws(() => parseAddresses(text), { code: 'invalidArgument' })
  })
}
