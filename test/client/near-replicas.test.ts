/** A client with a rack, against brokers in memory: which replica its fetches go to, and that any trouble there costs time and no record. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ConnectOptions, Playhead } from '../../client/index.ts'
import { systemRandom } from '../../platform/random.ts'
import type { RequestOf } from '../../protocol/api.ts'
import { PlayheadError } from '../../protocol/errors.ts'
import type { Fault } from './scripted-broker.ts'
import { ScriptedCluster } from './scripted-cluster.ts'
import { ScriptedPartition } from './scripted-partition.ts'
import { VirtualClock } from './virtual-clock.ts'

const ids = [1, 2, 3]

interface Scene {
  readonly clock: VirtualClock
  readonly cluster: ScriptedCluster
  readonly playhead: Playhead
  /** Replays everything; answers the values. */
  readonly replay: () => Promise<string[]>
  /** Fetches that a broker was asked for, as a follower. */
  readonly fetchesOf: (broker: number) => number
}

/** Broker 1 leads, in rack a; 2 stands in rack b, 3 in none. The topic has five records. */
async function scene(
  options: ConnectOptions,
  change: (cluster: ScriptedCluster) => void = () => undefined,
): Promise<Scene> {
  const clock = new VirtualClock()
  const cluster = await ScriptedCluster.start(ids)
  const racks = new Map([
    [1, 'a'],
    [2, 'b'],
  ])
  for (const broker of cluster.brokers.values()) broker.view!.racks = racks
  change(cluster)
  const connecting = cluster.connect(ids, { clock, random: systemRandom, timeoutMs: 4_000, ...options })
  const playhead = await clock.run(connecting)
  const topic = playhead.topic('carts')
  const producer = topic.producer({ batchBytes: 100 })
  await clock.run(
    (async () => {
      for (let value = 0; value < 5; value++) await producer.append([{ key: 'k', value: `${value}` }])
      await producer.flush()
    })(),
  )
  const replay = async () => {
    const values: string[] = []
    for await (const batch of topic.replay()) for (const { value } of batch) values.push(String(value))
    return values
  }
  return {
    clock,
    cluster,
    playhead,
    replay: () => clock.run(replay()),
    fetchesOf: (id) =>
      cluster.broker(id).asked.filter((asked) => (asked.header as RequestOf<'fetch'>).fromFollower === true).length,
  }
}

const values = ['0', '1', '2', '3', '4']

test('near replicas: fetches go to the replica in sync of the own rack, everything else to the leader', async () => {
  const { cluster, replay, fetchesOf, playhead } = await scene({ rack: 'b' })
  assert.deepEqual(await replay(), values)
  assert.ok(fetchesOf(2) > 0)
  assert.equal(cluster.broker(1).countOf('fetch') + cluster.broker(3).countOf('fetch'), 0)
  assert.ok(cluster.broker(1).countOf('append') > 0)
  for (const { api, header } of cluster.broker(2).asked) {
    if (api === 'fetch') assert.equal((header as RequestOf<'fetch'>).after?.endOffset, 5, 'what the session has seen')
  }
  void playhead.close()
})

for (const [why, options, change] of [
  ['this client has no rack', {}, undefined],
  ['the leader stands in its rack', { rack: 'a' }, undefined],
  ['nobody stands in its rack', { rack: 'z' }, undefined],
  [
    'the replica in its rack is out of sync',
    { rack: 'b' },
    (cluster: ScriptedCluster) => cluster.brokers.forEach((broker) => (broker.view!.inSync = [1, 3])),
  ],
] as const) {
  test(`near replicas: the leader is asked where ${why}`, async () => {
    const { cluster, replay, fetchesOf } = await scene(options, change)
    assert.deepEqual(await replay(), values)
    assert.ok(cluster.broker(1).countOf('fetch') > 0)
    for (const id of ids) assert.equal(fetchesOf(id), 0)
  })
}

const troubles: readonly (readonly [string, Fault])[] = [
  ['is out of sync, or behind what the session has seen', new PlayheadError('notLeader', 'x', { leader: 1 })],
  ['does not have the offset', new PlayheadError('offsetOutOfRange', 'x')],
  ['is damaged there', new PlayheadError('corruptBatch', 'x', { nextOffset: 3 })],
  ['does not know the topic', new PlayheadError('unknownTopic', 'x', { topic: 'carts' })],
  ['stops', new PlayheadError('stopping', 'x')],
  ['is overloaded', new PlayheadError('overloaded', 'x')],
  ['loses its connection', 'loseRequest'],
  ['says nothing', 'silence'],
]

for (const [what, fault] of troubles) {
  test(`near replicas: the leader is asked when the near one ${what}, and the near one again after a while`, async () => {
    const { clock, cluster, replay, fetchesOf } = await scene({ rack: 'b' })
    cluster.broker(2).fault = ({ api }) => (api === 'fetch' ? fault : undefined)
    const startedMs = clock.monotonicMs()
    assert.deepEqual(await replay(), values)
    assert.equal(fetchesOf(2), 1, 'once, and then the leader')
    assert.ok(clock.monotonicMs() - startedMs < 3_000)
    assert.deepEqual(await replay(), values)
    assert.equal(fetchesOf(2), 1)
    cluster.broker(2).fault = () => undefined
    await clock.run(new Promise<void>((resolve) => void clock.after(6_000, resolve)))
    assert.deepEqual(await replay(), values)
    assert.ok(fetchesOf(2) > 1)
  })
}

test('near replicas: one that is gone: the leader is asked', async () => {
  const { cluster, replay } = await scene({ rack: 'b' })
  await cluster.kill(2)
  assert.deepEqual(await replay(), values)
})

test('near replicas: where one says that the log ends the leader is asked, who knows', async () => {
  const { cluster, replay, fetchesOf } = await scene({ rack: 'b' })
  Object.assign(cluster.broker(2), { partitions: [new ScriptedPartition()] })
  assert.deepEqual(await replay(), values)
  assert.ok(fetchesOf(2) > 0)
})

test('near replicas: a replica that comes in sync is found, and one that leads by now is asked as a leader', async () => {
  const { clock, cluster, replay, fetchesOf } = await scene({ rack: 'b' }, (made) => {
    for (const broker of made.brokers.values()) broker.view!.inSync = [1, 3]
  })
  assert.deepEqual(await replay(), values)
  assert.equal(fetchesOf(2), 0)
  for (const broker of cluster.brokers.values()) broker.view!.inSync = ids
  await clock.run(new Promise<void>((resolve) => void clock.after(11_000, resolve)))
  assert.deepEqual(await replay(), values)
  assert.ok(fetchesOf(2) > 0)
  const before = fetchesOf(2)
  cluster.lead(2)
  assert.deepEqual(await replay(), values)
  assert.equal(fetchesOf(2), before)
  assert.ok(cluster.broker(2).countOf('fetch') > before)
})
