import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isPlayheadError } from '../../protocol/errors.ts'
import { ClusterState } from '../../replication/cluster-state.ts'
import { metadataKeys } from '../../replication/metadata-keys.ts'
import { writeRecord } from '../../replication/metadata-records.ts'
import { PartitionTotal } from '../../replication/partition-total.ts'

function stateWith(topics: Readonly<Record<string, number>>, internal = false): ClusterState {
  const state = new ClusterState((error) => {
    throw error
  })
  for (const [name, partitions] of Object.entries(topics)) {
    const record = { name, partitions, replicationFactor: 1, internal, settings: {}, state: 'ready' } as const
    const entry = { value: writeRecord(record), createRevision: 1, modRevision: 1, leaseId: '' }
    state.apply({ key: metadataKeys.topic(name), ...entry })
  }
  return state
}

const tooMany = (error: unknown) => isPlayheadError(error, 'tooManyPartitions')

test('partition total: what is there and what is on its way counts, each once; a creation that failed takes nothing', async () => {
  const total = new PartitionTotal(10)
  const make = (name: string, partitions: number, state: ClusterState, until: Promise<void> = Promise.resolve()) =>
    total.creating({ name, partitions }, async (admit) => {
      admit(state)
      await until
    })
  await assert.rejects(make('wide', 11, stateWith({})), {
    message:
      /^wide: found 0 partitions in 0 topics of the cluster, wanted at most 10 with 11 more; .*--partitions-total-max/,
  })
  const end = Promise.withResolvers<void>()
  const first = make('a', 6, stateWith({}), end.promise)
  await assert.rejects(make('b', 5, stateWith({})), tooMany)
  await make('c', 4, stateWith({ a: 6 })) // the first one can be seen by now: not counted twice
  end.reject(new Error('failed'))
  await assert.rejects(first, /failed/)
  await make('b', 10, stateWith({}))
  await assert.rejects(make('d', 1, stateWith({ b: 10 })), tooMany)
})

test('partition total: topics of Playhead’s own neither count nor are refused', async () => {
  const total = new PartitionTotal(1)
  const own = { name: '__own', partitions: 3, internal: true }
  await total.creating(own, async (admit) => admit(stateWith({ a: 1 })))
  await total.creating({ name: 'b', partitions: 1 }, async (admit) => admit(stateWith({ __own: 3 }, true)))
})
