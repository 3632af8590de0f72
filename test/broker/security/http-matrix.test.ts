/**
 * Every route of the HTTP interface × every principal with one right × every resource, against a model that is written down here a second time. The routes are those
 * of the document that the broker serves: one that is not in the model fails the test. Whatever no right gives is refused, for each of them, and for nobody.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Grant, Operation } from '../../../client/index.ts'
import { runSecured } from './secured-broker.ts'

const operations: readonly Operation[] = ['read', 'append', 'create', 'admin']
const patterns = [
  'cluster',
  'topic:carts',
  'topic:*',
  'stream:carts/a-*',
  'stream:carts/*',
  'playhead:carts/p',
  'topic:__*',
]
const principals: Record<string, Grant[]> = { nobody: [] }
for (const operation of operations)
  for (const [index, pattern] of patterns.entries()) principals[`${operation}-${index}`] = [{ operation, pattern }]

const topics = ['carts', 'orders', '__audit']
const streams = ['a-1', 'b-1']

/** What one of is enough: operations on patterns; `any` = any right in the topic, `known` = to be somebody, `open` = nothing. */
type Takes = readonly string[]
interface Case {
  readonly path: string
  readonly takes: Takes
  readonly body?: unknown
}

const wholes = (operation: Operation, topic: string): string[] =>
  topic.startsWith('__')
    ? // The broker's own are written by nobody else.
      operation === 'read'
      ? [`${operation} topic:__*`]
      : []
    : [`${operation} topic:*`, ...(topic === 'carts' ? [`${operation} topic:carts`] : [])]
const ofStream = (operation: Operation, topic: string, stream: string): string[] => [
  ...wholes(operation, topic),
  ...(topic === 'carts' ? [`${operation} stream:carts/*`] : []),
  ...(topic === 'carts' && stream === 'a-1' ? [`${operation} stream:carts/a-*`] : []),
]
/** Any right in the topic shows that it is there. */
const sight = (topic: string): string[] =>
  operations.flatMap((operation) =>
    patterns
      .filter((pattern) =>
        topic.startsWith('__')
          ? pattern === 'topic:__*'
          : pattern === 'topic:*' || (topic === 'carts' && /^(topic|stream|playhead):carts/.test(pattern)),
      )
      .map((pattern) => `${operation} ${pattern}`),
  )

const inTopics = (make: (topic: string) => Case): Case[] => topics.map(make)
const inStreams = (make: (topic: string, stream: string) => Case): Case[] =>
  topics.flatMap((topic) => streams.map((stream) => make(topic, stream)))
const event = { type: 'Happened', data: {} }

/** By method and path as the document has them. */
const model: Record<string, () => Case[]> = {
  'get /api/topics': () => [{ path: '/api/topics', takes: ['known'] }],
  'post /api/topics': () => [{ path: '/api/topics', body: { topic: 'orders' }, takes: wholes('create', 'orders') }],
  'get /api/topics/{topic}': () => inTopics((topic) => ({ path: `/api/topics/${topic}`, takes: sight(topic) })),
  'patch /api/topics/{topic}': () =>
    inTopics((topic) => ({ path: `/api/topics/${topic}`, body: { settings: {} }, takes: wholes('admin', topic) })),
  // Never one that is there: the next case needs it.
  'delete /api/topics/{topic}': () => [{ path: '/api/topics/gone', takes: wholes('admin', 'gone') }],
  'get /api/topics/{topic}/playheads': () =>
    inTopics((topic) => ({
      path: `/api/topics/${topic}/playheads`,
      takes: sight(topic).filter((each) => each.startsWith('read')),
    })),
  'get /api/topics/{topic}/streams': () => [
    ...inTopics((topic) => ({
      path: `/api/topics/${topic}/streams`,
      takes: [...wholes('read', topic), ...(topic === 'carts' ? ['read stream:carts/*'] : [])],
    })),
    { path: '/api/topics/carts/streams?prefix=a-', takes: ofStream('read', 'carts', 'a-1') },
    { path: '/api/topics/carts/streams?prefix=b-', takes: ofStream('read', 'carts', 'b-1') },
  ],
  'get /api/topics/{topic}/streams/{stream}': () =>
    inStreams((topic, stream) => ({
      path: `/api/topics/${topic}/streams/${stream}`,
      takes: ofStream('read', topic, stream),
    })),
  'post /api/topics/{topic}/streams/{stream}': () =>
    inStreams((topic, stream) => ({
      path: `/api/topics/${topic}/streams/${stream}`,
      body: event,
      takes: ofStream('append', topic, stream),
    })),
  'get /api/topics/{topic}/streams/{stream}/follow': () =>
    inStreams((topic, stream) => ({
      path: `/api/topics/${topic}/streams/${stream}/follow`,
      takes: ofStream('read', topic, stream),
    })),
  'get /api/topics/{topic}/follow': () =>
    inTopics((topic) => ({ path: `/api/topics/${topic}/follow`, takes: wholes('read', topic) })),
  'get /api/topics/{topic}/partitions/{partition}/events': () =>
    inTopics((topic) => ({ path: `/api/topics/${topic}/partitions/0/events`, takes: wholes('read', topic) })),
  'get /api/status': () => [{ path: '/api/status', takes: ['read cluster'] }],
  'get /api/settings': () => [{ path: '/api/settings', takes: ['read cluster'] }],
  'get /api/whoami': () => [{ path: '/api/whoami', takes: ['known'] }],
  'get /api/principals': () => [{ path: '/api/principals', takes: ['admin cluster'] }],
  'get /metrics': () => [{ path: '/metrics', takes: ['read cluster'] }],
  'get /healthz': () => [{ path: '/healthz', takes: ['open'] }],
  'get /readyz': () => [{ path: '/readyz', takes: ['open'] }],
}

test('matrix: every HTTP route × principal × resource: what no right gives is 403, by nobody 401', {
  timeout: 120_000,
}, async (t) => {
  await using secured = await runSecured()
  for (const topic of ['carts', 'orders']) {
    await secured.admin.admin.createTopic(topic)
    for (const stream of streams) await secured.admin.topic(topic).stream(stream).append(event)
  }
  const served = (await (await secured.http('/api/openapi.json')).json()) as { paths: Record<string, object> }
  const routes = new Set(
    Object.entries(served.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method} ${path}`),
    ),
  )
  for (const route of Object.keys(model)) routes.delete(route)
  for (const open of ['get /api/openapi.json', 'get /demo/online-retail.csv.gz']) routes.delete(open)
  assert.deepEqual([...routes].filter(isNoFile), [], 'a route that the model does not have')

  const statusOf = async (route: string, { path, body }: Case, token?: string): Promise<number> => {
    const leave = new AbortController() // what is followed has no end
    const [method = ''] = route.split(' ')
    const content =
      body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
    const response = await secured.http(path, token, { method: method.toUpperCase(), ...content, signal: leave.signal })
    leave.abort()
    return response.status
  }
  const cases = Object.entries(model).flatMap(([route, make]) => make().map((each) => [route, each] as const))
  const wrong: string[] = []
  let [allowed, denied] = [0, 0]
  for (const [route, each] of cases) {
    const status = await statusOf(route, each)
    if ((status === 401) === each.takes.includes('open'))
      wrong.push(`${route} ${each.path} by nobody at all: ${status}`)
  }
  for (const [name, grants] of Object.entries(principals)) {
    await secured.admin.access.createUser(name, `of ${name}`)
    if (grants.length > 0) await secured.admin.access.grant(`user:${name}`, grants)
    const { token } = await secured.admin.access.createToken({ principal: `user:${name}` })
    const given = grants.map(({ operation, pattern }) => `${operation} ${pattern}`)
    for (const [route, each] of cases) {
      const { takes, path } = each
      const may = takes.some((one) => one === 'open' || one === 'known' || given.includes(one))
      const status = await statusOf(route, each, token)
      if (status === 403) denied++
      else allowed++
      // What is allowed may fail for other reasons: the topic is there already, or is not.
      if ((status !== 403) !== may || status === 401 || status >= 500)
        wrong.push(`${given.join()}: ${route} ${path}: ${status}`)
    }
  }
  t.diagnostic(
    `${Object.keys(principals).length} principals × ${cases.length} requests: ${allowed} allowed, ${denied} denied`,
  )
  assert.deepEqual(wrong, [])
  assert.ok(allowed > 200 && denied > 800, `${allowed} allowed, ${denied} denied`)
})

/** The console's files hold nobody's data. */
function isNoFile(route: string): boolean {
  return !/^(get|head) \/([a-z/-]+\.(html|js|css|svg))?$/.test(route)
}
