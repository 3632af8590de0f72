import assert from 'node:assert/strict'
import { test } from 'node:test'
import { allRules, search } from './replication-model.ts'
import type { Rules } from './replication-model.ts'

test('nothing acknowledged is lacked by anybody who may lead (3 replicas, 2 in sync wanted; every order of events)', () => {
  const { states, violation } = search(allRules)
  assert.equal(violation, undefined)
  assert.ok(states > 50_000, `${states} states`)
})

for (const rule of Object.keys(allRules) as (keyof Rules)[]) {
  test(`without the rule ${rule} the search finds how something acknowledged is lost`, () => {
    const { violation } = search({ ...allRules, [rule]: false })
    assert.notEqual(violation, undefined)
  })
}
