/** Linearizable reads as the client asks for them: once for each read, of whoever leads, and never taken from a broker that does not know of them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RequestOf } from '../../protocol/api.ts'
import { PlayheadError } from '../../protocol/errors.ts'
import { runBroker } from '../broker/running-broker.ts'
import { listOf } from './list-of.ts'
import type { ScriptedBroker } from './scripted-broker.ts'
import { ScriptedCluster } from './scripted-cluster.ts'
import { connect } from '../../client/index.ts'

const consistency = 'linearizable'
const readsOf = ({ asked }: ScriptedBroker) =>
  asked.filter(({ api }) => api === 'readStream').map(({ header }) => header as RequestOf<'readStream'>)

test('a linearizable read asks for it with its first page; the pages after it carry the token of that', async () => {
  const cluster = await ScriptedCluster.start([1, 2])
  await using playhead = await cluster.connect([1])
  const stream = playhead.topic('carts').stream('c')
  for (let count = 0; count < 7; count++) await stream.append({ type: 'A' })
  assert.equal((await listOf(stream.read({ consistency }))).length, 7)
  const reads = readsOf(cluster.broker(1))
  assert.deepEqual(
    reads.map((read) => read.consistency),
    ['linearizable', 'committed', 'committed'],
  )
  for (const { after } of reads) assert.equal(after?.endOffset, 7)
  await listOf(stream.read())
  assert.equal(readsOf(cluster.broker(1)).at(-1)?.consistency, undefined)
})

test('a leader that cannot confirm, or says that it does not lead: the read goes to the one that does', async () => {
  for (const code of ['timedOut', 'notLeader'] as const) {
    const cluster = await ScriptedCluster.start([1, 2, 3])
    await using playhead = await cluster.connect([1, 2, 3])
    const stream = playhead.topic('carts').stream('c')
    await stream.append({ type: 'A' })
    // Broker 1 has not heard of it.
    cluster.lead(2, 0, [2, 3])
    cluster.broker(1).fault = ({ api }) => (api === 'readStream' ? new PlayheadError(code, 'found nobody') : undefined)
    assert.equal((await listOf(stream.read({ consistency }))).length, 1)
    assert.equal(readsOf(cluster.broker(2)).length, 1)
  }
})

test('a broker of a release that does not know of linearizable reads is no broker to ask for one', async () => {
  const cluster = await ScriptedCluster.start([1])
  cluster.broker(1).knowsConsistency = false
  await using playhead = await cluster.connect([1])
  const stream = playhead.topic('carts').stream('c')
  await stream.append({ type: 'A' })
  await assert.rejects(listOf(stream.read({ consistency })), { code: 'unsupportedVersion' })
  assert.equal((await listOf(stream.read({ consistency: 'committed' }))).length, 1)
})

test('a broker by itself: linearizable reads of a stream, where it stands, ends of partitions and a whole replay, also over HTTP', async () => {
  await using running = await runBroker()
  const { port, httpPort } = running.broker
  await using playhead = await connect(`127.0.0.1:${port}`)
  await playhead.admin.createTopic('carts', { partitions: 2 })
  const topic = playhead.topic('carts')
  for (const name of ['a', 'b', 'c']) await topic.stream(name).append([{ type: 'A' }, { type: 'B' }])
  assert.equal((await listOf(topic.stream('a').read({ consistency, backwards: true }))).length, 2)
  assert.equal((await topic.stream('a').info({ consistency })).lastVersion, 1)
  const ends = await topic.positions('end', { consistency })
  assert.equal(
    ends.reduce((sum, { offset }) => sum + offset, 0),
    6,
  )
  let records = 0
  for await (const batch of topic.replay({ consistency })) records += batch.recordCount
  assert.equal(records, 6)
  const get = async (path: string) => {
    const answer = await fetch(`http://127.0.0.1:${httpPort}/api/topics/carts/${path}`)
    return { status: answer.status, body: (await answer.json()) as { events: unknown[] } }
  }
  assert.equal((await get('streams/a?consistency=linearizable')).body.events.length, 2)
  assert.equal((await get('partitions/0/events?consistency=linearizable')).status, 200)
  assert.equal((await get('streams/a?consistency=strong')).status, 400)
})
