/**
 * What is taken is gone on what is open: every way to take it × every way to be connected, each timed. Where only the right goes, the connection stays
 * and what it asks for is refused; where the principal goes, the connection ends.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isPlayheadError } from '../../../client/index.ts'
import { FrameClient, helloRequest } from '../frame-client.ts'
import { fetchRequest } from '../running-broker.ts'
import { runSecured } from './secured-broker.ts'
import type { SecuredBroker } from './secured-broker.ts'

const limitMs = 5_000
const grant = { operation: 'read', pattern: 'topic:carts' } as const

interface Victim {
  readonly name: string
  readonly token: string
  readonly tokenId: string
}

/** Resolves once it works; `gone` resolves when it is allowed nothing any more. */
type Channel = (secured: SecuredBroker, victim: Victim) => Promise<{ readonly gone: Promise<unknown> }>

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const isRefused = (error: unknown) =>
  isPlayheadError(error, 'notAuthorized') || isPlayheadError(error, 'unauthenticated')

async function openBinary({ broker }: SecuredBroker, { token }: Victim): Promise<FrameClient> {
  const client = await FrameClient.open(broker.port)
  await client.request('hello', helloRequest)
  await client.request('authenticate', { mechanism: 'BEARER', message: token })
  return client
}

const channels: Record<string, Channel> = {
  'binary, asking': async (secured, victim) => {
    const client = await openBinary(secured, victim)
    await client.request('fetch', fetchRequest('carts', 0))
    const ask = async (): Promise<void> => {
      for (;;) {
        const refused = await client.request('fetch', fetchRequest('carts', 0)).then(() => false, isEnd)
        if (refused) return client[Symbol.dispose]()
        await pause(20)
      }
    }
    return { gone: Promise.race([ask(), client.closed]) }
  },
  // Each append wakes it: it must not answer with what was taken from it.
  'binary, waiting': async (secured, victim) => {
    const client = await openBinary(secured, victim)
    const { header } = await client.request('fetch', fetchRequest('carts', 0))
    const waiting = client.request('fetch', fetchRequest('carts', header.highWatermark, { waitMsMax: 60_000 }))
    const refused = waiting.then(
      () => assert.fail('answered'),
      (error: unknown) => assert.ok(isEnd(error), String(error)),
    )
    return { gone: Promise.race([refused, client.closed]).finally(() => client[Symbol.dispose]()) }
  },
  'HTTP, asking': async (secured, { token }) => {
    const status = async () => (await secured.http('/api/topics/carts/streams/a', token)).status
    assert.equal(await status(), 200)
    const ask = async (): Promise<void> => {
      for (let found = 200; found === 200; await pause(20)) found = await status()
    }
    return { gone: ask() }
  },
  'server-sent events': async (secured, { token }) => {
    const response = await secured.http('/api/topics/carts/streams/a/follow?from=start', token)
    assert.equal(response.status, 200)
    const reader = response.body!.getReader()
    await reader.read()
    const read = async (): Promise<void> => {
      for (;;) if ((await reader.read().catch(() => ({ done: true }))).done) return
    }
    return { gone: read() }
  },
}

function isEnd(error: unknown): boolean {
  return isRefused(error) || (error instanceof Error && /closed|ended|reset/i.test(error.message))
}

const ways: Record<string, (secured: SecuredBroker, victim: Victim) => Promise<unknown>> = {
  'right removed': ({ admin }, { name }) => admin.access.revoke(`user:${name}`, [grant]),
  'token revoked': ({ admin }, { tokenId }) => admin.access.revokeToken(tokenId),
  'user deleted': ({ admin }, { name }) => admin.access.deleteUser(name),
  'token expires': () => pause(expiringMs),
}
const expiringMs = 1_500

test('revocation: 4 ways to take it × 4 ways to be connected: nothing is allowed after 5 s', {
  timeout: 120_000,
}, async (t) => {
  await using secured = await runSecured()
  await secured.admin.admin.createTopic('carts')
  await secured.admin.topic('carts').stream('a').append({ type: 'Happened', data: {} })
  const tookMs: Record<string, number> = {}
  let made = 0
  for (const [way, take] of Object.entries(ways)) {
    for (const [channel, open] of Object.entries(channels)) {
      const name = `victim-${made++}`
      await secured.user(name, [grant])
      const lifetimeMs = way === 'token expires' ? expiringMs : 0
      const victim = { name, ...(await secured.admin.access.createToken({ principal: `user:${name}`, lifetimeMs })) }
      const { gone } = await open(secured, victim)
      await take(secured, victim)
      const startedMs = performance.now()
      // A fetch that waits is only asked for its right when there is something to answer.
      if (channel === 'binary, waiting' && way === 'right removed')
        await secured.admin.topic('carts').stream('b').append({ type: 'Happened', data: {} })
      await Promise.race([
        gone,
        pause(limitMs).then(() => assert.fail(`${way}, ${channel}: goes on after ${limitMs} ms`)),
      ])
      tookMs[`${way}: ${channel}`] = Math.round(performance.now() - startedMs)
    }
  }
  for (const [what, ms] of Object.entries(tookMs)) t.diagnostic(`${what}: ${ms} ms`)
})

test('revocation: what an administrator changes behind the taking of his right, still queued when he asks, is refused', async () => {
  await using secured = await runSecured()
  const right = { operation: 'admin', pattern: 'cluster' } as const
  const { access } = secured.admin
  const quota = { requestsPerSecond: 0, inBytesPerSecond: 0, outBytesPerSecond: 0, connections: 1 }
  const mallory = await secured.user('mallory', [right])
  await mallory.access.list()
  const queued = Array.from({ length: 300 }, () => access.setQuota('user:other', quota))
  const taken = access.revoke('user:mallory', [right])
  await pause(5)
  const refused = assert.rejects(mallory.access.grant('user:accomplice', [right]), isRefused)
  await Promise.all([...queued, taken, refused])
  const { grants } = await access.list()
  assert.deepEqual(
    grants.filter(({ principal }) => principal === 'user:accomplice'),
    [],
  )
})
