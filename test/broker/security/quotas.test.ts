/** Quotas: who uses more is delayed, over all its connections and on both ports; others are not. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Quotas } from '../../../broker/security/quotas.ts'
import type { Clock } from '../../../platform/clock.ts'
import { connectFrameClient } from '../frame-client.ts'
import { FollowReader } from '../http/http-client.ts'
import { passwordOf, runSecured } from './secured-broker.ts'

const none = { requestsPerSecond: 0, inBytesPerSecond: 0, outBytesPerSecond: 0, connections: 0 }

test('quotas: what is used beyond the rate is paid for with time, and a second is what can be saved up', () => {
  let nowMs = 1_000
  const waiting: (() => void)[] = []
  const clock: Clock = {
    now: () => nowMs,
    monotonicMs: () => nowMs,
    after: (_, callback) => (waiting.push(callback), { cancel() {} }),
    yield: () => Promise.resolve(),
  }
  const quotas = new Quotas(clock, () => ({ ...none, inBytesPerSecond: 1_000 }))
  const meter = quotas.hold('user:a')
  meter.received(1_000)
  assert.equal(meter.waitMs, 0, 'a second was saved up')
  meter.received(2_500)
  assert.equal(meter.waitMs, 2_500)
  nowMs += 2_000
  assert.equal(meter.waitMs, 500)
  quotas.letGo('user:a', meter)
  assert.equal(quotas.hold('user:a'), meter, 'connecting again is no way out')
  nowMs += 60_000
  meter.received(1_001)
  assert.equal(meter.waitMs, 1, 'a minute of silence is worth no more than a second')
})

test('quotas: a principal above its requests is answered later, another one at once; the number of connections is a limit', async () => {
  await using secured = await runSecured()
  const noisy = await secured.user('noisy')
  const quiet = await secured.user('quiet')
  await secured.admin.access.setQuota('user:noisy', { ...none, requestsPerSecond: 50, connections: 2 })
  const startedMs = performance.now()
  const order: string[] = []
  const all = Promise.all(Array.from({ length: 150 }, () => noisy.access.whoAmI())).then(() => order.push('noisy'))
  await quiet.access.whoAmI()
  order.push('quiet')
  await all
  assert.deepEqual(order, ['quiet', 'noisy'])
  const noisyMs = performance.now() - startedMs
  assert.ok(noisyMs > 1_500, `150 requests at 50 a second took ${noisyMs} ms`)
  const credentials = { user: 'noisy', password: passwordOf('noisy') }
  await using second = await secured.connect(credentials)
  const { token } = await secured.admin.access.createToken({ principal: 'user:noisy' })
  using third = await connectFrameClient(secured.broker.port)
  const shown = third.request('authenticate', { mechanism: 'BEARER', message: token })
  await assert.rejects(shown, { code: 'overloaded', message: /quota/ })
  await second.close()
  await secured.admin.access.setQuota('user:noisy', { ...none, requestsPerSecond: 20, connections: 1 })
  const httpMs = performance.now()
  const answers = await Promise.all(Array.from({ length: 60 }, () => secured.http('/healthz', token)))
  for (const { status } of answers) assert.equal(status, 200, 'requests are no connections')
  assert.ok(performance.now() - httpMs > 1_500)
})

test('quotas: what followers are sent (server-sent events, and fetches of the native protocol) counts, and is paid for with time; another principal has all at once', async (t) => {
  await using secured = await runSecured()
  await secured.admin.admin.createTopic('news')
  const grant = { operation: 'read', pattern: 'topic:news' } as const
  const text = 'x'.repeat(1_000)
  const said = (number: number) => ({ type: 'Said', data: { number, text } })
  const [count, outBytesPerSecond] = [400, 200_000]
  for (let from = 0; from < count; from += 100)
    await secured.admin
      .topic('news')
      .stream('s')
      .append(Array.from({ length: 100 }, (_, index) => said(from + index)))
  const follow = async (user: string) => {
    const { token } = await secured.admin.access.createToken({ principal: `user:${user}` })
    const headers = { authorization: `Bearer ${token}` }
    return new FollowReader(secured.broker.httpPort, '/api/topics/news/follow?from=start', headers)
  }
  const noisy = await secured.user('noisy', [grant])
  await secured.user('quiet', [grant])
  await secured.admin.access.setQuota('user:noisy', { ...none, outBytesPerSecond })
  const startedMs = performance.now()
  await using slow = await follow('noisy')
  await using fast = await follow('quiet')
  await fast.until(count)
  assert.ok(slow.events.length < count, 'who pays is not through yet')
  const numbers = async (reader: FollowReader, until: number) =>
    (await reader.until(until)).map(({ data }) => data.data.number)
  assert.deepEqual(
    await numbers(slow, count),
    Array.from({ length: count }, (_, number) => number),
  )
  // About 460 KB, of which a second's worth was saved up and the last page is not waited for.
  const tookMs = performance.now() - startedMs
  t.diagnostic(`server-sent events of ${count} KB at ${outBytesPerSecond / 1_000} KB/s: ${Math.round(tookMs)} ms`)
  assert.ok(tookMs > 800, `${tookMs} ms`)
  // Live, too: each page is delivered, and the next one waits.
  const liveMs = performance.now()
  for (let number = count; number < count + 400; number += 100)
    await secured.admin
      .topic('news')
      .stream('s')
      .append(Array.from({ length: 100 }, (_, index) => said(number + index)))
  await fast.until(count + 400)
  assert.deepEqual(
    (await numbers(slow, count + 400)).slice(count),
    Array.from({ length: 400 }, (_, index) => count + index),
  )
  assert.ok(performance.now() - liveMs > 1_000)
  // The same meter, over the native protocol: what a fetch was answered with is paid for before the next request is read.
  await secured.admin.access.setQuota('user:noisy', { ...none, outBytesPerSecond: 400_000 })
  let read = 0
  for await (const batch of noisy.topic('news').replay({ from: 'start' })) for (const _ of batch) read++
  assert.equal(read, 800)
  const nativeMs = performance.now()
  await noisy.access.whoAmI()
  t.diagnostic(`the request behind fetches of 860 KB at 400 KB/s waited ${Math.round(performance.now() - nativeMs)} ms`)
  assert.ok(performance.now() - nativeMs > 500)
})
