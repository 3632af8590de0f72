/** Who is who: passwords, tokens, what ends them on open connections, and what somebody who is nobody is told. */
import assert from 'node:assert/strict'
import { readFile, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { Broker } from '../../../broker/broker.ts'
import { connect, isPlayheadError } from '../../../client/index.ts'
import {
  authMessage,
  clientFinal,
  clientFinalWithoutProof,
  clientFirst,
  clientKeyOf,
  parseServerFirst,
  proofOf,
} from '../../../protocol/scram.ts'
import { pbkdf2Sync } from 'node:crypto'
import { FrameClient } from '../frame-client.ts'
import { fetchRequest } from '../running-broker.ts'
import { passwordOf, runSecured } from './secured-broker.ts'
import type { SecuredBroker } from './secured-broker.ts'

const event = { type: 'Happened', data: {} }
const nonce = 'aaaaaaaaaaaaaaaaaaaaaaaa'

/** The last message of a proof that is right. */
function finalOf(user: string, password: string, answer: string): string {
  const { nonce: full, salt, iterations } = parseServerFirst(answer, nonce)
  const salted = pbkdf2Sync(password.normalize('NFKC'), salt, iterations, 32, 'sha256')
  const bare = clientFirst(user, nonce).slice('n,,'.length)
  return clientFinal(full, proofOf(clientKeyOf(salted), authMessage(bare, answer, clientFinalWithoutProof(full))))
}

async function openSession(secured: SecuredBroker): Promise<FrameClient> {
  const client = await FrameClient.open(secured.broker.port)
  await client.hello()
  return client
}

const scram = (client: FrameClient, message: string) =>
  client.request('authenticate', { mechanism: 'SCRAM-SHA-256', message })

test('authentication: a user proves its password, and is who the broker says', async () => {
  await using secured = await runSecured()
  const alice = await secured.user('alice', [{ operation: 'read', pattern: 'cluster' }])
  assert.deepEqual(await alice.access.whoAmI(), {
    principal: 'user:alice',
    security: true,
    grants: [{ operation: 'read', pattern: 'cluster' }],
  })
  assert.equal((await alice.status()).topics, 0)
  for (const credentials of [
    { user: 'alice', password: 'wrong' },
    { user: 'nobody', password: passwordOf('alice') },
    { token: 'ph_wrong' },
    { token: '' },
  ])
    await assert.rejects(secured.connect(credentials), { code: 'unauthenticated' }, JSON.stringify(credentials))
  await assert.rejects(connect(`localhost:${secured.broker.port}`, { timeoutMs: 1_000 }), {
    code: 'unauthenticated',
    message: /wanted a user or a token/,
  })
})

test('authentication: before it nothing is answered, on either port', async () => {
  await using secured = await runSecured()
  using client = await openSession(secured)
  await assert.rejects(client.request('listTopics', { internal: false }), { code: 'unauthenticated' })
  await client.closed
  for (const path of ['/metrics', '/api/topics/carts/streams/a']) {
    const response = await secured.http(path)
    assert.equal(response.status, 401, path)
    assert.match(response.headers.get('www-authenticate') ?? '', /^Bearer/)
    assert.equal(((await response.json()) as { code: string }).code, 'unauthenticated')
  }
  assert.equal((await secured.http('/metrics', 'wrong')).status, 401)
  assert.equal((await secured.http('/metrics', secured.adminToken)).status, 200)
  assert.equal((await secured.http('/healthz')).status, 200)
})

test('authentication: an overheard exchange is worth nothing: same messages, another connection or the same one', async () => {
  await using secured = await runSecured()
  await secured.admin.access.createUser('alice', passwordOf('alice'))
  using first = await openSession(secured)
  const begun = await scram(first, clientFirst('alice', nonce))
  const proof = finalOf('alice', passwordOf('alice'), begun.header.message)
  using second = await openSession(secured)
  await scram(second, clientFirst('alice', nonce))
  await assert.rejects(scram(second, proof), { code: 'unauthenticated' })
  assert.equal((await scram(first, proof)).header.done, true)
  assert.equal((await first.request('whoAmI', {})).header.principal, 'user:alice')
  await assert.rejects(scram(first, proof), { code: 'unauthenticated' }, 'a proof is taken once')
})

test('authentication: a user that does not exist is answered like one that does, each time the same', async () => {
  await using secured = await runSecured()
  await secured.admin.access.createUser('alice', passwordOf('alice'))
  const saltOf = async (user: string) => {
    using client = await openSession(secured)
    const { nonce: _, ...facts } = parseServerFirst(
      (await scram(client, clientFirst(user, nonce))).header.message,
      nonce,
    )
    return facts
  }
  const nobody = await saltOf('nobody')
  assert.deepEqual(await saltOf('nobody'), nobody)
  const alice = await saltOf('alice')
  assert.equal(nobody.iterations, alice.iterations)
  assert.equal(nobody.salt.length, alice.salt.length)
  assert.notDeepEqual(nobody.salt, await saltOf('somebody'))
})

test('authentication: who guesses passwords is refused at once after twenty tries; others at his address are not, nor are tokens', async () => {
  await using secured = await runSecured()
  for (const user of ['alice', 'bob']) await secured.admin.access.createUser(user, passwordOf(user))
  const guess = async (user: string, password: string): Promise<string> => {
    using client = await openSession(secured)
    try {
      const { header } = await scram(client, clientFirst(user, nonce))
      await scram(client, finalOf(user, password, header.message))
      return 'done'
    } catch (error) {
      return isPlayheadError(error) ? error.code : String(error)
    }
  }
  const codes: string[] = []
  // One more try is free every 3 s, so that a slow machine gets some more before it is refused.
  while (codes.length < 100 && codes.at(-1) !== 'overloaded') codes.push(await guess('alice', `guess-${codes.length}`))
  assert.deepEqual(new Set(codes.slice(0, 20)), new Set(['unauthenticated']))
  assert.equal(codes.at(-1), 'overloaded')
  assert.equal(await guess('bob', passwordOf('bob')), 'done')
  for (let attempt = 0; attempt < 30; attempt++)
    assert.equal((await secured.http('/metrics', `old-${attempt}`)).status, 401)
  assert.equal((await secured.http('/metrics', secured.adminToken)).status, 200)
})

test('authentication: tokens have a scope within the rights of their principal, and end when they expire or are revoked', async () => {
  await using secured = await runSecured()
  for (const topic of ['carts', 'orders']) await secured.admin.admin.createTopic(topic)
  const alice = await secured.user('alice', [
    { operation: 'read', pattern: 'topic:carts' },
    { operation: 'append', pattern: 'topic:carts' },
  ])
  const scope = [
    { operation: 'read', pattern: 'topic:*' },
    { operation: 'create', pattern: 'topic:*' },
  ] as const
  const { token, tokenId } = await alice.access.createToken({ scope, description: 'report' })
  assert.match(tokenId, /^[0-9a-f]{16}$/, 'no option of a command line')
  const holder = await secured.connect({ token })
  await holder.admin.describeTopic('carts')
  const denied = { code: 'notAuthorized' }
  await assert.rejects(holder.topic('carts').stream('a').append(event), denied, 'alice may, the token may not')
  await assert.rejects(holder.admin.describeTopic('orders'), denied, 'the token may, alice may not')
  await assert.rejects(holder.admin.createTopic('mine'), denied)
  await assert.rejects(holder.access.createToken(), denied, 'a token makes no tokens')
  await assert.rejects(alice.access.createToken({ principal: 'user:bob' }), denied)
  await assert.rejects(alice.access.createToken({ principal: 'admin' }), denied)
  const path = '/api/topics/carts/streams/a'
  assert.equal((await secured.http(path, token)).status, 200)
  using open = await openSession(secured)
  await open.request('authenticate', { mechanism: 'BEARER', message: token })
  await alice.access.revokeToken(tokenId)
  await open.closed
  assert.match(String(open.unasked[0]), /revoked/)
  assert.equal((await secured.http(path, token)).status, 401)
  await assert.rejects(alice.access.revokeToken('other'), denied, 'whose it is, is not told')
  await assert.rejects(secured.admin.access.revokeToken('other'), { code: 'unknownToken' })
  const short = await alice.access.createToken({ lifetimeMs: 300 })
  const shortLived = await openSession(secured)
  await shortLived.request('authenticate', { mechanism: 'BEARER', message: short.token })
  await shortLived.closed // within the test's patience: the broker looks once a second
  assert.match(String(shortLived.unasked[0]), /expired/)
  await assert.rejects(secured.connect({ token: short.token }), { code: 'unauthenticated' })
})

/** Waits for the end of the client's connection and answers how long that took. */
async function endedAfterMs(client: FrameClient, act: () => Promise<void>): Promise<number> {
  const startedMs = performance.now()
  await act()
  await client.closed
  return performance.now() - startedMs
}

test('authentication: what is taken is gone on open connections within 5 s, also from a fetch that waits', async () => {
  await using secured = await runSecured()
  await secured.admin.admin.createTopic('carts')
  const grants = [{ operation: 'read', pattern: 'topic:carts' }] as const
  await secured.user('alice', grants)
  const session = async () => {
    const client = await openSession(secured)
    const { header } = await scram(client, clientFirst('alice', nonce))
    await scram(client, finalOf('alice', passwordOf('alice'), header.message))
    return client
  }
  using client = await session()
  const waiting = client.request('fetch', fetchRequest('carts', 0, { waitMsMax: 60_000 }))
  const refused = assert.rejects(waiting, { code: 'notAuthorized' })
  await secured.admin.access.revoke('user:alice', grants)
  await secured.admin.topic('carts').stream('a').append(event) // wakes the fetch
  await refused
  await secured.admin.access.grant('user:alice', grants)
  await client.request('fetch', fetchRequest('carts', 0))

  const { setPassword, deleteUser } = { setPassword: secured.admin.access, deleteUser: secured.admin.access }
  assert.ok((await endedAfterMs(client, () => setPassword.setPassword('alice', 'another'))) < 5_000)
  assert.match(String(client.unasked[0]), /changed or revoked/)
  await setPassword.setPassword('alice', passwordOf('alice'))
  using again = await session()
  assert.ok((await endedAfterMs(again, () => deleteUser.deleteUser('alice'))) < 5_000)
  await secured.admin.access.createUser('alice', passwordOf('alice'))
  using anew = await session()
  await assert.rejects(
    anew.request('fetch', fetchRequest('carts', 0)),
    { code: 'notAuthorized' },
    'begins with nothing',
  )
})

test('authentication: users, grants, tokens and quotas outlive a restart; no secret is in any file or log', async () => {
  const logged: string[] = []
  const report = (_: string, message: string) => void logged.push(message)
  await using secured = await runSecured({}, { report })
  await secured.user('alice', [{ operation: 'read', pattern: 'cluster' }])
  const { token } = await secured.admin.access.createToken({ principal: 'user:alice' })
  const quota = { requestsPerSecond: 5_000, inBytesPerSecond: 0, outBytesPerSecond: 0, connections: 9 }
  await secured.admin.access.setQuota('user:alice', quota)
  const before = await secured.admin.access.list()
  await secured.admin.close()
  await secured.broker.stop()
  {
    const data = secured.directory
    await using broker = await Broker.start({ data, port: 0, httpPort: 0, security: 'on' }, { report })
    await using admin = await connect(`localhost:${broker.port}`, { credentials: { token: secured.adminToken } })
    const after = await admin.access.list()
    assert.deepEqual(after.users, before.users)
    assert.deepEqual(after.grants, before.grants)
    assert.deepEqual(after.quotas, [{ principal: 'user:alice', quota }])
    await using holder = await connect(`localhost:${broker.port}`, { credentials: { token } })
    assert.equal((await holder.access.whoAmI()).principal, `user:alice (token ${after.tokens[0]?.tokenId})`)
  }
  const secrets = [token, passwordOf('alice'), secured.adminToken]
  for (const name of await readdir(secured.directory, { recursive: true })) {
    const path = join(secured.directory, name)
    if (name === 'admin.token' || !(await stat(path)).isFile()) continue
    const bytes = await readFile(path)
    for (const secret of secrets) assert.ok(!bytes.includes(secret), `${name} holds a secret`)
    assert.equal((await stat(path)).mode & 0o077, name.startsWith('cache') ? (await stat(path)).mode & 0o077 : 0, name)
  }
  for (const secret of secrets) assert.ok(!logged.join('\n').includes(secret))
  assert.equal((await stat(join(secured.directory, 'admin.token'))).mode & 0o777, 0o600)
})

test('authentication: while security is off requests about access say so', async () => {
  await using secured = await runSecured()
  await secured.admin.close()
  await secured.broker.stop()
  await using broker = await Broker.start({ data: secured.directory, port: 0, httpPort: 0 })
  await using playhead = await connect(`localhost:${broker.port}`, { credentials: { token: 'not looked at' } })
  assert.deepEqual(await playhead.access.whoAmI(), { principal: 'anonymous', security: false, grants: [] })
  await assert.rejects(playhead.access.createUser('bob', 'x'), { code: 'securityOff' })
  await assert.rejects(
    async () => {
      for await (const _ of playhead.topic('__access').replay({ from: 'start' })) break
    },
    { code: 'notAuthorized' },
  )
})
