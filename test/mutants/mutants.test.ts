import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hunt } from './hunt.ts'
import { edited, sourceOf } from './mutated-copy.ts'
import { clusterMutants } from './cluster-mutants.ts'
import { mutants } from './mutants.ts'

const all = [...mutants, ...clusterMutants]

/** The rest takes minutes: npm run test:mutants. */
const few = [
  'ack before fdatasync',
  'retry of fsync',
  'cut at the first bad CRC',
  'recovery forgets the producers of the tail',
  'cluster: ack before followers have it',
  'cluster: a follower tells of what is not synced yet',
  'cluster: a refusal is told without asking who else may lead',
]

test('mutants: every edit still fits the sources', () => {
  for (const { edits } of all) for (const edit of edits) assert.notEqual(edited(edit, sourceOf(edit.file)), '')
  assert.equal(new Set(all.map(({ name }) => name)).size, all.length)
})

test('mutants: the product as it is survives what kills them', () => {
  const { killed, found } = hunt(
    { name: 'none', edits: [], by: { kinds: ['power', 'flip'] } },
    { fromSeed: 1, seedsMax: 20 },
  )
  assert.equal(killed, false, found)
})

for (const name of few) {
  test(`mutants: killed: ${name}`, (t) => {
    const mutant = all.find((each) => each.name === name)
    assert.ok(mutant !== undefined)
    const { killed, seed, seeds, seconds, found } = hunt(mutant, { fromSeed: 1, seedsMax: 400 })
    assert.ok(killed)
    t.diagnostic(`in ${seconds} s${seed === undefined ? '' : `, by seed ${seed}, after ${seeds}`}: ${found}`)
  })
}
