import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { test } from 'node:test'
import { runBroker } from '../running-broker.ts'
import type { RunningBroker } from '../running-broker.ts'
import { FollowReader, send } from './http-client.ts'

async function append(running: RunningBroker, stream: string, from: number, count: number): Promise<void> {
  const events = Array.from({ length: count }, (_, index) => ({ type: 'Counted', data: { number: from + index } }))
  const { status } = await send(running, 'POST', `/api/topics/t/streams/${stream}`, events)
  assert.equal(status, 201)
}

const numbersOf = (events: FollowReader['events']) =>
  events.map(({ data }) => (data as { data: { number: number } }).data.number)
const upTo = (count: number, from = 0) => Array.from({ length: count }, (_, index) => from + index)

test('a topic is followed from its end and from its start, in order; a heartbeat says that the connection lives', async () => {
  await using running = await runBroker({ followHeartbeatMs: 100 })
  await send(running, 'POST', '/api/topics', { topic: 't' })
  await append(running, 'a', 0, 500)
  const { httpPort } = running.broker
  await using fromEnd = new FollowReader(httpPort, '/api/topics/t/follow')
  await using fromStart = new FollowReader(httpPort, '/api/topics/t/follow?from=start')
  await fromEnd.when(() => fromEnd.comments.length > 0, 'a heartbeat')
  for (let round = 0; round < 20; round++) await append(running, `s${round}`, 500 + round * 5, 5)
  assert.deepEqual(numbersOf(await fromStart.until(600)), upTo(600))
  assert.deepEqual(numbersOf(await fromEnd.until(100)), upTo(100, 500))
  assert.equal(fromEnd.events[0]?.data.stream, 's0')
})

test('Last-Event-ID: a reader that is cut off anywhere goes on behind the event it saw (stream, topic of 3 partitions)', async () => {
  await using running = await runBroker()
  await send(running, 'POST', '/api/topics', { topic: 't', partitions: 3 })
  for (let index = 0; index < 30; index++) await append(running, `s${index % 7}`, index * 10, 10)
  const { httpPort } = running.broker
  for (const path of ['/api/topics/t/follow?from=start', '/api/topics/t/streams/s3/follow?from=start']) {
    const seen: string[] = []
    const wanted = path.includes('s3') ? 40 : 300
    for (let id: string | undefined; seen.length < wanted; ) {
      await using reader = new FollowReader(httpPort, path, id === undefined ? {} : { 'last-event-id': id })
      await reader.until(1)
      const taken = reader.events.slice(0, 17)
      seen.push(...taken.map(({ data }) => `${data.partition}/${data.offset}`))
      id = taken.at(-1)?.id
    }
    assert.deepEqual([seen.length, new Set(seen).size], [wanted, wanted], path)
    for (const partition of [0, 1, 2]) {
      const offsets = seen
        .filter((place) => place.startsWith(`${partition}/`))
        .map((place) => Number(place.split('/')[1]))
      assert.deepEqual(
        offsets,
        offsets.toSorted((a, b) => a - b),
        path,
      )
    }
  }
})

test('a stream is followed alone, and its versions are the ids', async () => {
  await using running = await runBroker()
  await send(running, 'POST', '/api/topics', { topic: 't' })
  await using reader = new FollowReader(running.broker.httpPort, '/api/topics/t/streams/mine/follow')
  await reader.when(() => !reader.isOver, 'the connection')
  await append(running, 'mine', 0, 3)
  await append(running, 'other', 100, 3)
  await append(running, 'mine', 3, 2)
  await reader.when(() => reader.events.length >= 3, 'events')
  // Whether the first came before the connection stood does not matter: what came is without gaps up to the last one.
  await reader.when(() => reader.events.at(-1)?.id === '4', 'version 4')
  const ids = reader.events.map(({ id }) => Number(id))
  assert.deepEqual(ids, upTo(ids.length, 5 - ids.length))
})

test('a reader that takes nothing is paused, then dropped with the reason; others get everything (1 of 3 sleeps)', async () => {
  await using running = await runBroker({ followerPausedMsMax: 300, followerBufferBytesMax: 16 * 1024 })
  await send(running, 'POST', '/api/topics', { topic: 't' })
  const { httpPort } = running.broker
  const sleeper = connect(httpPort, '127.0.0.1')
  sleeper.write('GET /api/topics/t/follow?from=start HTTP/1.1\r\nHost: localhost\r\n\r\n')
  sleeper.pause()
  await using one = new FollowReader(httpPort, '/api/topics/t/follow?from=start')
  await using two = new FollowReader(httpPort, '/api/topics/t/follow?from=start')
  const events = Array.from({ length: 100 }, (_, number) => ({
    type: 'Large',
    data: { number, text: 'x'.repeat(10_000) },
  }))
  for (let round = 0; round < 20; round++) await send(running, 'POST', '/api/topics/t/streams/s', events)
  assert.equal((await one.until(2_000)).length, 2_000)
  assert.equal((await two.until(2_000)).length, 2_000)
  await one.when(() => sleeper.destroyed || sleeper.readyState !== 'opening', 'the sleeper')
  for (let waitedMs = 0; ; waitedMs += 50) {
    const { counters } = (await send(running, 'GET', '/api/status')).body
    if (counters.followersDropped === 1) {
      assert.deepEqual([counters.followers, counters.followersPaused > 0], [2, true])
      break
    }
    assert.ok(waitedMs < 10_000, JSON.stringify(counters))
    await new Promise((resolve) => {
      setTimeout(resolve, 50)
    })
  }
  sleeper.destroy()
})

test('many follow one topic while events come one at a time: each gets all, in order (60 followers, 200 events; node bench/http/followers.ts is the long form)', async () => {
  await using running = await runBroker({ connectionsMax: 500, connectionsPerAddressMax: 500 })
  await send(running, 'POST', '/api/topics', { topic: 't' })
  await append(running, 's', 0, 1)
  const { httpPort } = running.broker
  await using all = new AsyncDisposableStack()
  const readers = Array.from({ length: 60 }, () =>
    all.use(new FollowReader(httpPort, '/api/topics/t/follow?from=start')),
  )
  for (const reader of readers) await reader.until(1)
  for (let number = 1; number < 200; number++) await append(running, `s${number % 10}`, number, 1)
  for (const reader of readers) assert.deepEqual(numbersOf(await reader.until(200)), upTo(200))
  const { counters } = (await send(running, 'GET', '/api/status')).body
  assert.deepEqual([counters.followers, counters.followersDropped], [60, 0])
})

test('many follow a topic of which one partition is busy all the time: the others come too (30 followers, 3 partitions)', async () => {
  await using running = await runBroker({ connectionsMax: 500, connectionsPerAddressMax: 500 })
  await send(running, 'POST', '/api/topics', { topic: 't', partitions: 3 })
  const places = new Map<number, string>() // a stream in each partition
  for (let number = 0; places.size < 3; number++) {
    const { body } = await send(running, 'POST', `/api/topics/t/streams/s${number}`, { type: 'Counted', data: {} })
    places.set(body.partition, `s${number}`)
  }
  await using readers = new AsyncDisposableStack()
  const followers = Array.from({ length: 30 }, () =>
    readers.use(new FollowReader(running.broker.httpPort, '/api/topics/t/follow')),
  )
  for (const follower of followers) await follower.when(() => !follower.isOver, 'the connection')
  const quiet = followers[0]!
  const state = { isOver: false }
  const busy = (async () => {
    for (let number = 0; !state.isOver; number++) await append(running, places.get(0)!, number, 5)
  })()
  await quiet.until(20)
  for (const partition of [1, 2]) await append(running, places.get(partition)!, 0, 1)
  for (const partition of [1, 2])
    for (const follower of followers)
      await follower.when(
        () => follower.events.some(({ data }) => data.partition === partition),
        `partition ${partition}`,
      )
  state.isOver = true
  await busy
})

test('followers are told when the topic is deleted and when the broker stops; more than the limit are refused', async () => {
  await using running = await runBroker({ followersMax: 2 })
  await send(running, 'POST', '/api/topics', { topic: 't' })
  await send(running, 'POST', '/api/topics', { topic: 'u' })
  const { httpPort } = running.broker
  await append(running, 'a', 0, 1)
  await using one = new FollowReader(httpPort, '/api/topics/t/follow?from=start')
  await send(running, 'POST', '/api/topics/u/streams/a', { type: 'A' })
  await using two = new FollowReader(httpPort, '/api/topics/u/follow?from=start')
  await one.until(1)
  await two.until(1)
  const refused = await send(running, 'GET', '/api/topics/t/follow')
  assert.deepEqual([refused.status, refused.body.code], [503, 'overloaded'])
  await send(running, 'DELETE', '/api/topics/t')
  await one.until(2)
  assert.deepEqual([one.events.at(-1)?.event, one.events.at(-1)?.data.code], ['end', 'unknownTopic'])
  const stopped = running.broker.stop()
  await two.until(2)
  assert.deepEqual([two.events.at(-1)?.event, two.events.at(-1)?.data.code], ['end', 'stopping'])
  await stopped
})

test('what a query or a Last-Event-ID may not be is refused by name', async () => {
  await using running = await runBroker()
  await send(running, 'POST', '/api/topics', { topic: 't' })
  for (const path of [
    '/api/topics/t/follow?from=yesterday',
    '/api/topics/t/follow?partition=x',
    '/api/topics/t/streams/s/follow?from=-1',
    '/api/topics/t/follow?form=start',
  ]) {
    const refused = await send(running, 'GET', path)
    assert.deepEqual([refused.status, refused.body.code], [400, 'invalidArgument'], path)
  }
  assert.equal((await send(running, 'GET', '/api/topics/missing/follow')).body.code, 'unknownTopic')
  assert.equal(
    (await send(running, 'GET', '/api/topics/t/follow', undefined, { 'last-event-id': 'x:y' })).body.code,
    'invalidArgument',
  )
})
