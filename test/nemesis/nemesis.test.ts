/**
 * The short form of `npm run test:nemesis`, part of `npm test`: one round, its seed drawn. Needs root, iproute2, etcd and gcc, and fails naming what is missing.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { requireLoopDisks } from '../crash/loop-disk.ts'
import { SeededRandom } from '../storage/seeded-random.ts'
import { sessionMs } from './fleet.ts'
import { requireNamespaces } from './machine-network.ts'
import { nemesisLife } from './nemesis-run.ts'

const { seed } = SeededRandom.fresh()
const faultMs = 15_000

test(`nemesis (3 brokers, a real etcd, each in a network and on a disk of its own): the leader killed, ${faultMs / 1000} s of drawn faults, then a power cut of all: nothing lost, nothing twice, replicas the same, all in sync by itself (seed ${seed})`, async (t) => {
  requireNamespaces()
  requireLoopDisks()
  const { findings, rounds, directory } = await nemesisLife({ seed, rounds: 1, faultMs })
  assert.deepEqual(findings, [], `npm run test:nemesis -- --rounds 1 --seed ${seed}; logs and data: ${directory}`)
  const [round] = rounds
  assert.ok(round !== undefined && round.acknowledged > 0 && round.operations > 0)
  t.diagnostic(`${round.acknowledged} of ${round.appends} appends acknowledged, ${round.operations} operations judged`)
  t.diagnostic(`faults: ${JSON.stringify(round.faults)}`)
  t.diagnostic(`failover after ${Math.round(round.failoverMs)} ms, lease ${sessionMs} ms`)
})
