/** Rights: what each pattern covers, and that nothing covers what begins with __ by accident. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Rights, checkPattern, operations } from '../../protocol/rights.ts'
import type { Resource } from '../../protocol/rights.ts'

const allows = (pattern: string, resource: Resource): boolean =>
  new Rights([{ operation: 'read', pattern }]).allow('read', resource)
const topic = (name: string): Resource => ({ kind: 'topic', topic: name })
const stream = (name: string, of = 'carts'): Resource => ({ kind: 'stream', topic: of, name })
const streams = (prefix: string): Resource => ({ kind: 'streams', topic: 'carts', prefix })

test('rights: each pattern covers what it says and nothing beside it', () => {
  const cases: [pattern: string, covered: Resource[], not: Resource[]][] = [
    ['cluster', [{ kind: 'cluster' }], [topic('cluster'), stream('cluster')]],
    [
      'topic:carts',
      [topic('carts'), stream('a'), streams(''), { kind: 'playhead', topic: 'carts', name: 'x' }],
      [topic('carts2'), { kind: 'cluster' }],
    ],
    ['topic:car*', [topic('carts'), topic('car')], [topic('ca'), topic('scar')]],
    ['topic:*', [topic('carts')], [topic('__audit'), topic('__playheads'), { kind: 'cluster' }]],
    ['topic:__*', [topic('__audit')], [topic('carts')]],
    [
      'stream:carts/customer-1',
      [stream('customer-1')],
      [stream('customer-10'), topic('carts'), streams('customer-1'), stream('customer-1', 'orders')],
    ],
    [
      'stream:carts/customer-*',
      [stream('customer-1'), streams('customer-'), streams('customer-17')],
      [
        stream('customer'),
        streams('custom'),
        streams(''),
        topic('carts'),
        { kind: 'stream', topic: 'carts', name: null },
      ],
    ],
    ['stream:carts/a/b*', [stream('a/b/c')], [stream('a')]],
    ['stream:carts/*', [stream(''), streams('')], [topic('carts'), { kind: 'stream', topic: 'carts', name: null }]],
    [
      'playhead:carts/billing',
      [{ kind: 'playhead', topic: 'carts', name: 'billing' }],
      [stream('billing'), topic('carts')],
    ],
  ]
  for (const [pattern, covered, not] of cases) {
    for (const resource of covered)
      assert.ok(allows(pattern, resource), `${pattern} covers ${JSON.stringify(resource)}`)
    for (const resource of not) assert.ok(!allows(pattern, resource), `${pattern} not ${JSON.stringify(resource)}`)
  }
})

test('rights: an operation gives no other operation', () => {
  for (const given of operations) {
    const rights = new Rights([{ operation: given, pattern: 'topic:carts' }])
    for (const asked of operations) assert.equal(rights.allow(asked, topic('carts')), asked === given)
  }
  assert.equal(new Rights([]).allow('read', topic('carts')), false)
})

test('rights: what is no pattern is refused with what one looks like', () => {
  for (const pattern of [
    '',
    '*',
    'topic:',
    'topic:a/b',
    'topic:../x',
    'stream:carts',
    'stream:carts/',
    'stream:/x',
    'Topic:carts',
    'clusters',
    'topic:a*b',
    'group:x',
  ])
    assert.throws(() => checkPattern(pattern), { code: 'invalidGrant', message: /wanted cluster, topic:NAME/ }, pattern)
  assert.throws(() => new Rights([{ operation: 'write' as 'read', pattern: 'cluster' }]), { code: 'invalidGrant' })
})

test('rights: a prefix covers exactly the names that begin so, whatever they hold', () => {
  const name = fc.string({ minLength: 1, maxLength: 20, unit: 'grapheme' })
  fc.assert(
    fc.property(name, name, (prefix, other) => {
      fc.pre(!prefix.endsWith('*') && prefix.isWellFormed())
      const pattern = `stream:carts/${prefix}*`
      assert.ok(allows(pattern, stream(prefix + other)))
      assert.equal(allows(pattern, stream(other)), other.startsWith(prefix))
      assert.equal(allows(pattern, streams(other)), other.startsWith(prefix))
    }),
  )
})
