/**
 * Who may do what: every principal × every request × every resource, over the native protocol and HTTP, against a model that is written down here a
 * second time. What no grant gives is refused, for each of them.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isPlayheadError } from '../../../client/index.ts'
import type { Grant, Operation, Playhead } from '../../../client/index.ts'
import { FrameClient, helloRequest } from '../frame-client.ts'
import { replicaFetchRequest, replicaFileRequest, replicaProgressRequest } from '../running-broker.ts'
import { runSecured } from './secured-broker.ts'

/** Each principal has one right, so that what a right gives is seen by itself. */
const principals: Record<string, Grant[]> = {
  nobody: [],
  ...Object.fromEntries(
    (['read', 'append', 'create', 'admin'] as Operation[]).flatMap((operation) =>
      ['cluster', 'topic:carts', 'topic:*', 'stream:carts/a-*', 'playhead:carts/p'].map((pattern) => [
        `${operation}-${pattern.replaceAll(/[^a-z]/g, '')}${pattern.endsWith('*') ? '-all' : ''}`,
        [{ operation, pattern }],
      ]),
    ),
  ),
}

interface Attempt {
  readonly name: string
  readonly run: (playhead: Playhead, token: string) => Promise<unknown>
  /** Of these operations on these patterns, any one is enough. */
  readonly takes: readonly `${Operation} ${string}`[]
}

const topics = ['carts', 'orders']
const whole = (operation: Operation, topic: string): `${Operation} ${string}`[] =>
  topic === 'carts' ? [`${operation} topic:carts`, `${operation} topic:*`] : [`${operation} topic:*`]

let created = 0
const event = { type: 'Happened', data: {} }

function attempts(http: (path: string, token: string, init?: RequestInit) => Promise<Response>): Attempt[] {
  const list: Attempt[] = []
  const ok = async (path: string, token: string, init?: RequestInit) => {
    const response = await http(path, token, init)
    if (response.status === 403) throw Object.assign(new Error('403'), { denied: true })
    assert.ok(response.status < 300, `${path}: ${response.status}`)
  }
  const post = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(event) }
  for (const topic of topics) {
    for (const stream of ['a-1', 'b-1']) {
      const ofStream = (operation: Operation): `${Operation} ${string}`[] =>
        topic === 'carts' && stream === 'a-1'
          ? [...whole(operation, topic), `${operation} stream:carts/a-*`]
          : whole(operation, topic)
      const read = async (playhead: Playhead) => {
        for await (const _ of playhead.topic(topic).stream(stream).read()) break
      }
      list.push({ name: `read ${topic}/${stream}`, run: read, takes: ofStream('read') })
      const path = `/api/topics/${topic}/streams/${stream}`
      list.push({ name: `GET ${path}`, run: (_, token) => ok(path, token), takes: ofStream('read') })
      const append = (playhead: Playhead) => playhead.topic(topic).stream(stream).append(event)
      list.push({ name: `append ${topic}/${stream}`, run: append, takes: ofStream('append') })
      const limit = (playhead: Playhead) => playhead.topic(topic).stream(stream).limit({ maxCount: 1_000 })
      list.push({ name: `limit ${topic}/${stream}`, run: limit, takes: ofStream('admin') })
      const limitOf = (playhead: Playhead) => playhead.topic(topic).stream(stream).limits()
      list.push({ name: `limit of ${topic}/${stream}`, run: limitOf, takes: ofStream('read') })
      list.push({ name: `POST ${path}`, run: (_, token) => ok(path, token, post), takes: ofStream('append') })
    }
    const replay = async (playhead: Playhead) => {
      for await (const _ of playhead.topic(topic).replay({ from: 'start' })) break
    }
    list.push({ name: `replay ${topic}`, run: replay, takes: whole('read', topic) })
    const alter = (playhead: Playhead) => playhead.admin.alterTopic(topic, { 'segment.bytes': null })
    list.push({ name: `alter ${topic}`, run: alter, takes: whole('admin', topic) })
    const deleteRecords = (playhead: Playhead) => playhead.admin.deleteRecords(topic, [{ partition: 0, offset: 0 }])
    list.push({ name: `delete records of ${topic}`, run: deleteRecords, takes: whole('admin', topic) })
    const commit = (playhead: Playhead) =>
      playhead
        .topic(topic)
        .playhead('p')
        .commit([{ partition: 0, offset: 0 }])
    list.push({
      name: `commit ${topic}/p`,
      run: commit,
      takes: topic === 'carts' ? [...whole('append', topic), 'append playhead:carts/p'] : whole('append', topic),
    })
  }
  list.push({
    name: 'create topic',
    run: (playhead) => playhead.admin.createTopic(`new-${created++}`),
    takes: ['create topic:*'],
  })
  list.push({ name: 'status', run: (playhead) => playhead.status(), takes: ['read cluster'] })
  list.push({ name: 'metrics', run: (_, token) => ok('/metrics', token), takes: ['read cluster'] })
  list.push({ name: 'list access', run: (playhead) => playhead.access.list(), takes: ['admin cluster'] })
  list.push({
    name: 'grant',
    run: (playhead) => playhead.access.grant('user:x', [{ operation: 'read', pattern: 'topic:x' }]),
    takes: ['admin cluster'],
  })
  list.push({
    name: 'read audit',
    run: async (playhead) => {
      for await (const _ of playhead.topic('__audit').stream('audit').read()) break
    },
    takes: [],
  })
  return list
}

const isDenied = (error: unknown): boolean =>
  isPlayheadError(error, 'notAuthorized') || (error instanceof Error && 'denied' in error)

test('matrix: each principal may do what its one right gives, and nothing else', async () => {
  await using secured = await runSecured()
  for (const topic of topics) {
    await secured.admin.admin.createTopic(topic)
    for (const stream of ['a-1', 'b-1']) await secured.admin.topic(topic).stream(stream).append(event)
  }
  const wrong: string[] = []
  let [allowed, denied] = [0, 0]
  for (const [name, grants] of Object.entries(principals)) {
    await using playhead = await secured.user(name, grants)
    const { token } = await secured.admin.access.createToken({ principal: `user:${name}` })
    const given = grants.map(({ operation, pattern }) => `${operation} ${pattern}`)
    for (const { name: what, run, takes } of attempts(secured.http)) {
      const wanted = takes.some((each) => given.includes(each))
      const found = await run(playhead, token).then(
        () => true,
        (error: unknown) => {
          if (isDenied(error)) return false
          throw new Error(`${name}: ${what}`, { cause: error })
        },
      )
      if (found) allowed++
      else denied++
      if (found !== wanted) wrong.push(`${name}: ${what}: ${found ? 'allowed' : 'denied'}`)
    }
  }
  assert.deepEqual(wrong, [])
  assert.ok(allowed > 40 && denied > 300, `${allowed} allowed, ${denied} denied`)
})

test('matrix: lists hold what one may see, and nothing else', async () => {
  await using secured = await runSecured()
  for (const topic of [...topics, 'secret']) await secured.admin.admin.createTopic(topic)
  const alice = await secured.user('alice', [
    { operation: 'read', pattern: 'stream:carts/a-*' },
    { operation: 'append', pattern: 'topic:orders' },
  ])
  const seen = async (internal: boolean) => (await alice.admin.listTopics({ internal })).map(({ topic }) => topic)
  assert.deepEqual(await seen(false), ['carts', 'orders'])
  assert.deepEqual(await seen(true), ['carts', 'orders'])
  await assert.rejects(alice.admin.describeTopic('secret'), { code: 'notAuthorized' })
  await assert.rejects(alice.admin.describeTopic('no-such-topic'), { code: 'notAuthorized' }, 'tells not what exists')
  for (const stream of ['a-1', 'a-2', 'b-1']) await secured.admin.topic('carts').stream(stream).append(event)
  const listed: string[] = []
  for await (const { stream } of alice.topic('carts').streams({ prefix: 'a-' })) listed.push(stream)
  assert.deepEqual(listed, ['a-1', 'a-2'])
  await assert.rejects(
    async () => {
      for await (const _ of alice.topic('carts').streams()) break
    },
    { code: 'notAuthorized' },
  )
})

test('matrix: an append of several streams needs the right to each, and to those of its conditions; nothing of it is written else', async () => {
  await using secured = await runSecured()
  await secured.admin.admin.createTopic('carts')
  const alice = await secured.user('alice', [{ operation: 'append', pattern: 'stream:carts/a-*' }])
  const carts = alice.topic('carts')
  const denied = { code: 'notAuthorized' }
  await carts.append([
    { stream: 'a-1', events: [event] },
    { stream: 'a-2', events: [event] },
  ])
  await assert.rejects(
    carts.append([
      { stream: 'a-1', events: [event] },
      { stream: 'b-1', events: [event] },
    ]),
    denied,
  )
  for (const compression of ['none', 'gzip'] as const) {
    const failures: unknown[] = []
    const producer = carts.producer({ compression, onError: (error) => void failures.push(error) })
    await producer.send({ key: 'a-3', value: 'x'.repeat(500) })
    await producer.flush()
    assert.deepEqual(failures, [], compression)
    for (const key of ['b-3', null]) {
      await producer.send({ key, value: 'x'.repeat(500) })
      await producer.flush()
      assert.ok(isPlayheadError(failures.pop(), 'notAuthorized'), `${compression} ${key}`)
    }
    await producer.close()
  }
  const written: string[] = []
  for await (const { stream } of secured.admin.topic('carts').streams()) written.push(stream)
  assert.deepEqual(written, ['a-1', 'a-2', 'a-3'])
})

test('matrix: what followers ask of their leader is answered to nobody who is no broker of the cluster, whatever his rights', async () => {
  await using secured = await runSecured()
  await secured.admin.admin.createTopic('carts')
  const { topicId } = await secured.admin.admin.describeTopic('carts')
  for (const [name, pattern] of [
    ['clusterwide', 'cluster'],
    ['topics', 'topic:*'],
  ] as const) {
    await secured.user(name, [
      { operation: 'admin', pattern },
      { operation: 'read', pattern },
    ])
    const { token } = await secured.admin.access.createToken({ principal: `user:${name}` })
    using frames = await FrameClient.open(secured.broker.port)
    await frames.request('hello', { ...helloRequest, credentials: token })
    const asked = [
      () => frames.request('replicaProgress', replicaProgressRequest(topicId)),
      () => frames.request('replicaFetch', replicaFetchRequest(topicId)),
      () => frames.request('replicaSnapshot', replicaProgressRequest(topicId)),
      () => frames.request('replicaFile', replicaFileRequest(topicId)),
    ]
    for (const ask of asked) {
      await assert.rejects(ask, { code: 'notAuthorized', message: /wanted a broker of this cluster/ }, name)
    }
  }
})

test('matrix: the access topic is answered to nobody, with security on or off', async () => {
  await using secured = await runSecured()
  await assert.rejects(
    async () => {
      for await (const _ of secured.admin.topic('__access').replay({ from: 'start' })) break
    },
    { code: 'notAuthorized' },
  )
  const response = await secured.http('/api/topics/__access/streams/secret', secured.adminToken)
  assert.equal(response.status, 403)
})
