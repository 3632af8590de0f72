import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newPartitionState, next } from '../../replication/isr-change.ts'
import { isRegistered, isrTransaction, outcomeOf } from '../../replication/isr-transaction.ts'
import { metadataKeys } from '../../replication/metadata-keys.ts'
import { readPartition, writeRecord } from '../../replication/metadata-records.ts'
import { MetadataTable } from '../../replication/metadata-table.ts'

const name = { topicId: 't', partition: 3 }
const key = metadataKeys.partition(name.topicId, name.partition)

/** A table with two brokers registered and the partition in it. */
function clusterOfTwo() {
  const table = new MetadataTable(0)
  const put = (at: string, value: string) => table.apply({ compares: [], changes: [{ kind: 'put', key: at, value }] })
  const register = (broker: number) => {
    table.apply({ compares: [], changes: [{ kind: 'delete', key: metadataKeys.session(broker) }] })
    put(metadataKeys.session(broker), '{}')
    return { broker, brokerEpoch: table.get(metadataKeys.session(broker))!.createRevision }
  }
  const [leader, follower] = [register(1), register(2)]
  const full = newPartitionState({ replicas: [1, 2], isrMin: 1, nonce: 'made' })
  put(key, writeRecord(next(full, { kind: 'shrink', leader: 1, remove: [2] }, 'shrunk')))
  const seen = () => ({ state: readPartition(table.get(key)!), modRevision: table.get(key)!.modRevision })
  return { table, register, leader, follower, seen }
}

test('a leader lets a follower in: done once, seen by its nonce; sent again it is refused', () => {
  const { table, leader, follower, seen } = clusterOfTwo()
  const proposed = next(seen().state, { kind: 'expand', leader: 1, add: [2] }, 'mine')
  const change = { ...name, seen: seen(), proposed, leader, added: [follower] }
  assert.equal(outcomeOf(change, seen()), 'pending')
  assert.deepEqual(table.apply(isrTransaction(change)), [key])
  assert.deepEqual([outcomeOf(change, seen()), seen().state.isr], ['done', [1, 2]])
  assert.equal(table.apply(isrTransaction(change)), undefined)
})

test('a leader or a follower that has registered anew since is refused, and so is a partition that moved', () => {
  for (const again of [1, 2]) {
    const { table, register, leader, follower, seen } = clusterOfTwo()
    const proposed = next(seen().state, { kind: 'expand', leader: 1, add: [2] }, 'mine')
    const change = { ...name, seen: seen(), proposed, leader, added: [follower] }
    register(again)
    assert.equal(table.apply(isrTransaction(change)), undefined)
    assert.deepEqual(seen().state.isr, [1])
  }
  const { table, leader, seen } = clusterOfTwo()
  const first = seen()
  const other = next(first.state, { kind: 'setIsrMin', isrMin: 2 }, 'other')
  table.apply({ compares: [isRegistered(leader)], changes: [{ kind: 'put', key, value: writeRecord(other) }] })
  const change = { ...name, seen: first, proposed: first.state, leader, added: [] }
  assert.equal(table.apply(isrTransaction(change)), undefined)
  assert.equal(outcomeOf({ ...change, proposed: { ...first.state, nonce: 'mine' } }, seen()), 'overtaken')
  assert.equal(outcomeOf(change, undefined), 'overtaken')
})

test('a partition record that is not ours is refused by its key and field', () => {
  const good = newPartitionState({ replicas: [1, 2], isrMin: 1, nonce: 'n' })
  assert.deepEqual(readPartition({ key, value: writeRecord(good) }), good)
  for (const [value, message] of [
    ['{', /\/p\/t\/3: found "\{", wanted a JSON object/],
    ['[]', /wanted a JSON object/],
    [JSON.stringify({ ...good, isr: [1, 'x'] }), /isr \[1,"x"\], wanted another kind/],
    [JSON.stringify({ ...good, leader: undefined }), /leader undefined/],
    [JSON.stringify({ ...good, leaderEpoch: -1 }), /leaderEpoch -1/],
  ] as const) {
    assert.throws(() => readPartition({ key, value }), { code: 'damagedData', message })
  }
})
