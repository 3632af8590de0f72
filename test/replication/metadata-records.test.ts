import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newPartitionState } from '../../replication/isr-change.ts'
import { brokerOfKey, metadataKeys, partitionOfKey } from '../../replication/metadata-keys.ts'
import * as records from '../../replication/metadata-records.ts'

const broker = {
  host: 'h',
  port: 7420,
  rack: null,
  dataDirectoryId: 'd',
  runEpoch: 3,
  runId: 'r',
  release: '0.1.0',
}
const topic = {
  name: 'carts',
  partitions: 2,
  replicationFactor: 3,
  internal: false,
  settings: { 'min.insync.replicas': '2' },
  state: 'ready',
} as const

/** What is written, what reads it, and a field with a value of another kind. */
const cases = [
  [{ clusterId: 'c', format: records.metadataFormatVersion }, records.readCluster, { format: '1' }],
  [broker, records.readBroker, { rack: 1 }],
  [{ broker: 1 }, records.readController, { broker: null }],
  [{ brokerEpoch: 12 }, records.readFenced, { brokerEpoch: 1.5 }],
  [{ what: 'replicas' }, records.readDraining, { what: 'all' }],
  [{ bytesPerSecond: 1 }, records.readThrottle, { bytesPerSecond: -1 }],
  [topic, records.readTopic, { settings: { a: 1 } }],
  [topic, records.readTopic, { internal: 'no' }],
  [{ topicId: 't' }, records.readTopicName, { topicId: 1 }],
  [newPartitionState({ replicas: [1], isrMin: 1, nonce: 'n' }), records.readPartition, { leader: 'one' }],
] as const

test('every record reads as it was written, also with fields of a newer release; another kind is refused by name', () => {
  for (const [record, read, wrong] of cases) {
    const value = records.writeRecord(record)
    assert.deepEqual(read({ key: '/k', value }), record)
    assert.deepEqual(read({ key: '/k', value: JSON.stringify({ ...record, newer: 1 }) }), record)
    const damaged = JSON.stringify({ ...record, ...wrong })
    const [field = ''] = Object.keys(wrong)
    const message = new RegExp(`^metadata key /k: found ${field} `)
    assert.throws(() => read({ key: '/k', value: damaged }), { code: 'damagedData', message })
  }
})

test('a key tells the broker or the partition it is of', () => {
  assert.equal(brokerOfKey(metadataKeys.session(12)), 12)
  const name = { topicId: '0190b7f2-5c1e-7c3a-9b41-2f6d1a0e8c55', partition: 41 }
  assert.deepEqual(partitionOfKey(metadataKeys.partition(name.topicId, name.partition)), name)
  assert.throws(() => brokerOfKey('/c/session/x'))
})
