/** How long an AppendLane is patient: what counts as progress, and from when on a batch waits. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect } from '../../client/index.ts'
import { systemClock } from '../../platform/clock.ts'
import { isPlayheadError, PlayheadError } from '../../protocol/errors.ts'
import { ScriptedBroker } from './scripted-broker.ts'

const value = 'x'.repeat(300)

test('append lane: what is sent as soon as another batch has failed has all of its own time (silent broker)', async () => {
  const timeoutMs = 300
  const broker = new ScriptedBroker()
  broker.fault = ({ api }) => (api === 'append' ? 'silence' : undefined)
  const waitedMs: number[] = []
  const { promise: done, resolve } = Promise.withResolvers<void>()
  await using playhead = await connect(await broker.listen(), { transport: broker.transport, timeoutMs })
  let sentMs = 0
  const send = (): void => {
    sentMs = systemClock.monotonicMs()
    void producer.send({ key: 'k', value })
  }
  const onError = (): void => {
    waitedMs.push(systemClock.monotonicMs() - sentMs)
    if (waitedMs.length === 3) resolve()
    else send()
  }
  // Each record fills a batch, which leaves in the turn in which it was sent.
  const producer = playhead.topic('carts').producer({ batchBytes: 100, inFlight: 1, onError })
  await producer.flush()
  send()
  await done
  for (const waited of waitedMs) assert.ok(waited >= timeoutMs - 1, `given up after ${waitedMs.join(', ')} ms`)
})

test('append lane: a disk that stays full is waited for no longer than a broker that is gone', async () => {
  const broker = new ScriptedBroker()
  broker.groupFault = () => new PlayheadError('diskFull', 'full')
  await using playhead = await connect(await broker.listen(), { transport: broker.transport, timeoutMs: 300 })
  const append = playhead.topic('carts').stream('c').append({ type: 'A' })
  await assert.rejects(append, { code: 'diskFull', details: { outcome: 'notApplied', timeoutMs: 300 } })
})

test('append lane: refusals of appends that were given up are no progress for the one that waits on', async () => {
  const broker = new ScriptedBroker()
  let giveUp = new AbortController()
  broker.groupFault = () => {
    giveUp.abort(new Error('enough')) // while it is under way
    return new PlayheadError('diskFull', 'full')
  }
  await using playhead = await connect(await broker.listen(), { transport: broker.transport, timeoutMs: 60_000 })
  const topic = playhead.topic('carts')
  await topic.describe()
  const over = new AbortController()
  // Under way when its time is over, nobody knows what becomes of it.
  const isOver = (error: unknown) => isPlayheadError(error, 'diskFull') || isPlayheadError(error, 'unavailable')
  const patient = assert
    .rejects(topic.stream('c').append({ type: 'A' }, { timeoutMs: 500 }), isOver)
    .finally(() => over.abort())
  let rounds = 0
  for (; !over.signal.aborted && rounds < 50; rounds++) {
    giveUp = new AbortController()
    const impatient = topic.stream(`d${rounds}`).append({ type: 'B' }, { signal: giveUp.signal })
    await assert.rejects(impatient, { message: 'enough' })
  }
  assert.ok(over.signal.aborted, `still waiting after ${rounds} others`)
  await patient
})

test('append lane: a slow broker that writes one batch at a time is progress (10 appends, each as slow as 0.4 timeouts)', async () => {
  const timeoutMs = 1_000
  let lateMs = 0
  const clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + lateMs }
  const broker = new ScriptedBroker()
  let accepted = -1
  broker.fault = ({ api, count }) => {
    if (api === 'append') {
      accepted = count
      lateMs += 0.4 * timeoutMs // less than one answer may take: a look at the clock between the request and its answer finds nothing amiss
    }
    return undefined
  }
  broker.groupFault = () => {
    const isFirst = accepted >= 0
    accepted = -1
    return isFirst ? undefined : new PlayheadError('overloaded', 'later')
  }
  await using playhead = await connect(await broker.listen(), { transport: broker.transport, timeoutMs, clock })
  const topic = playhead.topic('carts')
  await Promise.all(
    Array.from({ length: 10 }, (_, index) =>
      topic.stream(`c${index}`).append({ type: 'A' }, { expectedVersion: 'none' }),
    ),
  )
  assert.equal(broker.partitions[0]!.endOffset, 10)
  assert.ok(lateMs >= 3 * timeoutMs)
})

test('append lane: 300 appends of one turn: the first leave before the turn ends, and all keep their order', async () => {
  const broker = new ScriptedBroker()
  await using playhead = await connect(await broker.listen(), { transport: broker.transport })
  const topic = playhead.topic('carts')
  await topic.describe()
  await topic.stream('c').append({ type: 'first' })
  const appends = Array.from({ length: 300 }, () => topic.stream('c').append({ type: 'A' }))
  const versions = (await Promise.all(appends)).map(({ version }) => version)
  assert.deepEqual(
    versions,
    Array.from({ length: 300 }, (_, index) => index + 1),
  )
  const groups = broker.asked.flatMap(({ api, header }) =>
    api === 'append' ? [(header as { groups: [] }).groups.length] : [],
  )
  assert.deepEqual(groups, [1, 128, 128, 44])
})
