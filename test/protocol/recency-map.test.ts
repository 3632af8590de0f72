import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RecencyMap } from '../../protocol/recency-map.ts'

test('recency map: the least recently touched goes first, whatever was touched twice, replaced or deleted (at most 3)', () => {
  const map = new RecencyMap<string>()
  const ids = () => Array.from(map, ([id, value]) => `${id}${value}`).join(' ')
  for (const id of [1, 2, 3]) map.touch(id, 'a', 3)
  map.touch(3, 'b', 3)
  assert.equal(ids(), '1a 2a 3b')
  map.touch(1, 'b', 3)
  map.touch(4, 'a', 3)
  assert.equal(ids(), '3b 1b 4a')
  map.delete(4)
  map.touch(4, 'b', 3)
  map.touch(3, 'c', 3)
  map.touch(5, 'a', 3)
  assert.equal(ids(), '4b 3c 5a')
  map.clear()
  map.touch(5, 'b', 3)
  assert.equal(ids(), '5b')
})
