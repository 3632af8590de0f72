/** Quotas: who uses more is delayed, over all its connections and on both ports; others are not. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Quotas } from '../../../broker/security/quotas.ts'
import type { Clock } from '../../../platform/clock.ts'
import { connectFrameClient } from '../frame-client.ts'
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
