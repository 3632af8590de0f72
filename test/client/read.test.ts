/** Reads: streams page by page, folds, replays; session tokens; faults on the way. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect } from '../../client/index.ts'
import type { Playhead, ReplayOptions } from '../../client/index.ts'
import { listOf } from './list-of.ts'
import { ScriptedBroker } from './scripted-broker.ts'
import type { Asked } from './scripted-broker.ts'

async function clientOf(broker: ScriptedBroker): Promise<Playhead> {
  return connect(await broker.listen(), { transport: broker.transport, timeoutMs: 1_000 })
}

async function filled(partitions: number, records: number): Promise<{ broker: ScriptedBroker; playhead: Playhead }> {
  const broker = new ScriptedBroker(partitions)
  const playhead = await clientOf(broker)
  const producer = playhead.topic('carts').producer({ batchBytes: 300 })
  for (let index = 0; index < records; index++) {
    const type = index % 3 === 0 ? 'Third' : 'Other'
    await producer.send({
      key: `k${index % 11}`,
      value: JSON.stringify(index),
      headers: [{ key: 'type', value: type }],
    })
  }
  await producer.flush()
  return { broker, playhead }
}

async function replayed(playhead: Playhead, options: ReplayOptions = {}): Promise<number[]> {
  const seen: number[] = []
  for await (const batch of playhead.topic('carts').replay(options)) {
    for (const record of batch) seen.push(record.event().data as number)
  }
  return seen
}

const upTo = (count: number, from = 0) => Array.from({ length: count - from }, (_, index) => from + index)
const ascending = (numbers: number[]) => numbers.toSorted((a, b) => a - b)

test('read: pages are joined, limit and from hold, a lost reply is asked for again', async () => {
  const broker = new ScriptedBroker()
  broker.fault = ({ api, count }) => (api === 'readStream' && count === 2 ? 'loseReply' : undefined)
  await using playhead = await clientOf(broker)
  const stream = playhead.topic('carts').stream('c')
  await stream.append(upTo(10).map((data) => ({ type: 'T', data })))
  const all = await listOf(stream.read())
  assert.deepEqual(
    all.map(({ data, version }) => [data, version]),
    upTo(10).map((index) => [index, index]),
  )
  assert.deepEqual(
    (await listOf(stream.read({ from: 2, limit: 5 }))).map(({ version }) => version),
    [2, 3, 4, 5, 6],
  )
  assert.deepEqual(await listOf(playhead.topic('carts').stream('none').read()), [])
  for (const bad of [
    { from: -1 },
    { from: 0.5 },
    { limit: 0 },
    { limit: Number.NaN },
    { asOf: 'yesterday' },
    { asOf: new Date('x') },
  ]) {
    await assert.rejects(listOf(stream.read(bad)), { code: 'invalidArgument' })
  }
})

test('fold: state and version; a function as initial state is called for each fold', async () => {
  const broker = new ScriptedBroker()
  await using playhead = await clientOf(broker)
  const stream = playhead.topic('carts').stream('c')
  const collect = {
    initial: (): unknown[] => [],
    apply(state: unknown[], { data }: { data: unknown }) {
      state.push(data)
      return state
    },
  }
  assert.deepEqual(await stream.foldWithVersion(collect), { state: [], version: 'none' })
  await stream.append(
    [
      { type: 'T', data: 'a' },
      { type: 'T', data: 'b' },
    ],
    { expectedVersion: 'none' },
  )
  assert.deepEqual(await stream.fold(collect), ['a', 'b'])
  assert.deepEqual(await stream.foldWithVersion(collect), { state: ['a', 'b'], version: 1 })
  assert.deepEqual(await stream.foldWithVersion({ initial: 0, apply: (sum: number) => sum + 1 }, { from: 2 }), {
    state: 0,
    version: 1,
  })
})

test('session: a read carries the token of the own append; when the topic is replaced the token is forgotten', async () => {
  const broker = new ScriptedBroker()
  await using playhead = await clientOf(broker)
  const stream = playhead.topic('carts').stream('c')
  const { token } = await stream.append({ type: 'T' })
  assert.deepEqual(token, { topicId: broker.topicId, partition: 0, endOffset: 1 })
  await listOf(stream.read())
  const asked = broker.asked.findLast(({ api }) => api === 'readStream')!.header as { after: unknown }
  assert.deepEqual(asked.after, token)
  broker.topicId = broker.topicId.replace('1', '2')
  assert.equal((await listOf(stream.read())).length, 1)
  await assert.rejects(listOf(stream.read({ after: { ...token, endOffset: 99 } })), { code: 'tokenMismatch' })
})

test('replay: every record of every partition once, each partition in order, small buffers', async () => {
  const { broker, playhead } = await filled(5, 500)
  await using _ = playhead
  assert.deepEqual(ascending(await replayed(playhead, { bufferBytes: 1 })), upTo(500))
  for (const partition of upTo(5)) {
    const seen = await replayed(playhead, { partition })
    assert.deepEqual(seen, ascending(seen))
    assert.equal(seen.length, broker.partitions[partition]!.endOffset)
  }
})

test('replay: of 200 partitions, more than are read at once', async () => {
  const { playhead } = await filled(200, 1_000)
  await using _ = playhead
  assert.deepEqual(ascending(await replayed(playhead)), upTo(1_000))
})

test('replay: from an offset inside a batch to an offset inside another', async () => {
  const { playhead } = await filled(1, 100)
  await using _ = playhead
  for (const [from, until] of [
    [0, 100],
    [1, 99],
    [7, 8],
    [50, 50],
    [99, 100],
  ] as const) {
    assert.deepEqual(await replayed(playhead, { from, until }), upTo(until, from), `${from} … ${until}`)
  }
  assert.deepEqual(await replayed(playhead, { from: 90, until: 1_000 }), upTo(100, 90), 'ends where the log ends')
  assert.deepEqual(await replayed(playhead, { from: 'end' }), [])
})

test('replay: types leave out the other records; positions count them', async () => {
  const { playhead } = await filled(1, 30)
  await using _ = playhead
  const replay = playhead.topic('carts').replay({ types: ['Third'] })
  const seen: unknown[] = []
  for await (const batch of replay) for (const { type, stream, offset } of batch) seen.push([type, stream, offset])
  assert.deepEqual(
    seen,
    upTo(10).map((index) => ['Third', `k${(index * 3) % 11}`, index * 3]),
  )
  assert.deepEqual(replay.positions, [{ partition: 0, offset: 30 }])
})

test('replay: positions of a broken loop are where the next replay goes on', async () => {
  const { playhead } = await filled(3, 300)
  await using _ = playhead
  const seen: number[] = []
  const first = playhead.topic('carts').replay()
  for await (const batch of first) {
    for (const record of batch) seen.push(record.event().data as number)
    if (seen.length > 100) break
  }
  assert.deepEqual(ascending([...seen, ...(await replayed(playhead, { from: first.positions }))]), upTo(300))
})

test('replay: offsets outside the log, of several partitions, and unknown partitions are refused', async () => {
  const { playhead } = await filled(2, 20)
  await using _ = playhead
  await assert.rejects(replayed(playhead, { from: 999, partition: 0 }), { code: 'offsetOutOfRange' })
  await assert.rejects(replayed(playhead, { from: -1, partition: 0 }), { code: 'invalidArgument' })
  await assert.rejects(replayed(playhead, { from: 3 }), { code: 'invalidArgument' })
  await assert.rejects(replayed(playhead, { from: 'sometime' }), { code: 'invalidArgument' })
  await assert.rejects(replayed(playhead, { partition: 2 }), { code: 'unknownPartition' })
})

test('replay: lost fetches are repeated; the connection of appends is another one', async () => {
  const { broker, playhead } = await filled(3, 200)
  await using _ = playhead
  const before = broker.connections
  broker.fault = ({ api, count }) => (api === 'fetch' && count % 4 === 1 ? 'loseReply' : undefined)
  assert.deepEqual(ascending(await replayed(playhead)), upTo(200))
  assert.ok(broker.connections > before)
})

test('replay: follow goes on with what is appended, until the signal', async () => {
  const { broker, playhead } = await filled(2, 10)
  await using _ = playhead
  const abort = new AbortController()
  const seen: number[] = []
  const following = (async () => {
    for await (const batch of playhead.topic('carts').replay({ follow: true, signal: abort.signal })) {
      for (const record of batch) seen.push(record.event().data as number)
      if (seen.length === 12) abort.abort(new Error('enough'))
    }
  })()
  const producer = playhead.topic('carts').producer()
  await producer.send({ key: 'k1', value: '10' })
  await producer.send({ key: 'k2', value: '11' })
  await producer.flush()
  await assert.rejects(following, /enough/)
  assert.deepEqual(ascending(seen), upTo(12))
  assert.equal(broker.partitions.length, 2)
})

test('replay: aborted before it begins, and while it waits for more', async () => {
  const { broker, playhead } = await filled(1, 5)
  await using _ = playhead
  await assert.rejects(replayed(playhead, { signal: AbortSignal.abort(new Error('before')) }), /before/)
  broker.fault = ({ api }) => (api === 'fetch' ? 'silence' : undefined)
  const abort = new AbortController()
  const waiting = replayed(playhead, { follow: true, signal: abort.signal })
  setImmediate(() => abort.abort(new Error('while')))
  await assert.rejects(waiting, /while/)
})

test('replay: what its range was made of is waited for by whoever answers: a leader that is behind does not end it', async () => {
  const broker = new ScriptedBroker()
  await using writer = await connect(await broker.listen(), { transport: broker.transport })
  await writer
    .topic('carts')
    .stream('c1')
    .append([{ type: 'A' }, { type: 'B' }])
  await using reader = await connect(await broker.listen(), { transport: broker.transport })
  for await (const batch of reader.topic('carts').replay({ partition: 0 })) assert.ok(batch.batch.baseOffset >= 0)
  const asked = broker.asked.filter(({ api }) => api === 'fetch') as Asked<'fetch'>[]
  assert.deepEqual(
    asked.map(({ header }) => header.after?.endOffset),
    asked.map(() => 2),
  )
})
