/** What the cluster commands make of a status: states, reasons, losses. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { brokerIdsOf } from '../../cli/arguments.ts'
import { keptBy, ledBy } from '../../cli/cluster-drain.ts'
import { turned } from '../../cli/cluster-reassign.ts'
import { lossText } from '../../cli/cluster-recover.ts'
import { lagText, stateOf } from '../../cli/cluster.ts'
import type { ClusterStatus, PartitionStatus, ReachedBroker } from '../../client/index.ts'

const partition = (over: Partial<PartitionStatus> = {}): PartitionStatus => ({
  topic: 'carts',
  topicId: 'id',
  internal: false,
  partition: 0,
  leader: 1,
  leaderEpoch: 3,
  replicas: [1, 2, 3],
  inSync: [1, 2, 3],
  eligible: [],
  lastEligible: [],
  inSyncMin: 2,
  adding: [],
  removing: [],
  copies: [],
  lags: [],
  agreedStartOffset: undefined,
  ...over,
})

const broker = (id: number, over: Partial<ReachedBroker> = {}): ReachedBroker => ({
  broker: id,
  brokerEpoch: id,
  isThere: true,
  isReached: true,
  host: 'h',
  port: 1,
  rack: undefined,
  release: '0.1.0',
  draining: undefined,
  ...over,
})

const cluster = (brokers: ReachedBroker[], partitions: PartitionStatus[]): ClusterStatus => ({
  clusterId: 'c',
  controller: 1,
  ageMs: 0,
  brokers,
  partitions,
  copyBytesPerSecondMax: undefined,
})

const copy = (id: number, lastEpoch: number, logEndOffset: number, highWatermark: number) => ({
  broker: id,
  lastEpoch,
  logStartOffset: 0,
  logEndOffset,
  highWatermark,
})

test('cluster status: the state of a partition; a replica that is being added is not missed', () => {
  assert.equal(stateOf(partition()), 'ok')
  assert.equal(stateOf(partition({ leader: undefined })), 'offline')
  assert.equal(stateOf(partition({ inSync: [1] })), 'too few in sync')
  assert.equal(stateOf(partition({ inSync: [1, 2] })), 'under-replicated')
  assert.equal(stateOf(partition({ inSync: [1, 2], adding: [3] })), 'moving')
  assert.equal(stateOf(partition({ removing: [3] })), 'moving')
})

test('cluster status: lag names those that lack something, and those of which nobody knows', () => {
  const lags = [
    { broker: 2, records: 0 },
    { broker: 3, records: 1204 },
  ]
  assert.equal(lagText(partition({ lags })), '3: 1,204')
  assert.equal(lagText(partition({ lags: lags.slice(0, 1) })), '3: ?')
  assert.equal(lagText(partition({ leader: undefined })), '')
})

test('cluster reassign: of several partitions each begins with another broker', () => {
  assert.deepEqual(turned([1, 2, 3], 1, 5), [1, 2, 3])
  assert.deepEqual(
    [0, 1, 2, 3].map((number) => turned([1, 2, 3], 4, number)[0]),
    [1, 2, 3, 1],
  )
  assert.deepEqual(brokerIdsOf('--replicas', '3,1'), [3, 1])
  assert.throws(() => brokerIdsOf('--replicas', '1, 2'), /--replicas: found "1, 2", wanted ids of brokers/)
})

test('cluster drain: what stays, and why', () => {
  const three = [broker(1), broker(2), broker(3, { draining: 'replicas' })]
  const reasons = (status: ClusterStatus) => keptBy(status, 3).map(({ reason }) => reason)
  assert.match(reasons(cluster(three, [partition()]))[0] ?? '', /it has 3 replicas and the brokers that stay are 1, 2/)
  assert.deepEqual(reasons(cluster([...three, broker(4)], [partition()])), [undefined])
  assert.match(reasons(cluster(three, [partition({ leader: undefined })]))[0] ?? '', /nobody leads it/)
  const moving = partition({ replicas: [1, 2, 4, 3], adding: [4], removing: [3] })
  assert.deepEqual(reasons(cluster([...three, broker(4)], [moving])), [undefined])
  assert.match(
    reasons(cluster([...three, broker(4, { isThere: false })], [moving]))[0] ?? '',
    /broker 4, which is away/,
  )
  assert.deepEqual(reasons(cluster(three, [partition({ replicas: [1, 2] })])), [])
  const trimmed = partition({ replicas: [3], agreedStartOffset: 40 })
  assert.deepEqual(reasons(cluster(three, [trimmed])), [undefined])

  const leads = (over: Partial<PartitionStatus>, others: ReachedBroker[]) =>
    ledBy(cluster([broker(1, { draining: 'leaders' }), ...others], [partition(over)]), 1).map(({ reason }) => reason)
  assert.deepEqual(leads({}, [broker(2)]), [undefined])
  assert.match(leads({ replicas: [1], inSync: [1] }, [])[0] ?? '', /no other replica/)
  assert.match(leads({}, [broker(2, { isThere: false })])[0] ?? '', /none of its other replicas \(2, 3\) can lead/)
})

test('cluster recover: what vanishes, as far as the brokers know', () => {
  const offline = (copies: PartitionStatus['copies']) =>
    partition({ leader: undefined, inSync: [], eligible: [1], copies })
  const text = (copies: PartitionStatus['copies']) =>
    lossText(cluster([broker(1), broker(2), broker(3)], [offline(copies)]), offline(copies), 3)
  const lacking = text([copy(1, 4, 20, 18), copy(3, 4, 10, 10)])
  assert.match(lacking, /^At least 8 acknowledged records from offset 10 on vanish\.$/m)
  assert.match(lacking, /^Broker 1 has more: its log ends at 20 in epoch 4/m)
  assert.match(lacking, /^What only broker 2 had vanishes/m)
  // A later epoch counts more than a longer log.
  assert.match(
    text([copy(1, 5, 9, 9), copy(2, 4, 10, 10), copy(3, 4, 10, 10)]),
    /^Broker 1 has more: its log ends at 9/m,
  )
  assert.match(
    text([copy(1, 4, 10, 10), copy(2, 4, 8, 8), copy(3, 4, 10, 10)]),
    /^Whatever was acknowledged while broker 3 was not in sync vanishes/m,
  )
  assert.match(text([copy(1, 4, 10, 10)]), /^Broker 3 cannot be asked/m)
})
