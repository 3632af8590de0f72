import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HeadCache } from '../../storage/head-cache.ts'

const head = (lastVersion: number) => ({ lastVersion, firstVersion: 0, lastOffset: lastVersion })
/** The least that a cache holds of one generation. */
const generation = 64

test('head cache: what the store has taken replaces what is here, in both generations, and fills the room that is left', () => {
  const cache = new HeadCache(0)
  for (let number = 0; number < generation; number++) cache.set(`s${number}`, head(0))
  cache.set('young', head(0)) // the others are the old generation now
  assert.equal(cache.get('s0')?.lastVersion, 0) // in both
  cache.updateAll([
    ['s0', head(1)],
    ['s1', head(1)],
    ['young', head(1)],
    ...Array.from({ length: 2 * generation }, (_, number) => [`new${number}`, head(1)] as const),
  ])
  assert.ok(cache.has('s2'), 'nothing had to go for them')
  for (const stream of ['s0', 's1', 'young', 'new0', `new${generation - 3}`])
    assert.equal(cache.get(stream)?.lastVersion, 1, stream)
  assert.ok(!cache.has(`new${generation}`))
})

test('head cache: heads are wanted once somebody has asked for one', () => {
  const cache = new HeadCache(0)
  assert.ok(!cache.isWanted)
  cache.noteAsked()
  assert.ok(cache.isWanted)
  const other = new HeadCache(0)
  other.set('s', head(0))
  assert.ok(other.isWanted)
})
