import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { cp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, test } from 'node:test'
import { systemClock } from '../../platform/clock.ts'
import { EtcdGateway } from '../../replication/etcd-gateway.ts'
import { EtcdMetadataStore } from '../../replication/etcd-metadata-store.ts'
import { GuardedMetadataStore } from '../../replication/guarded-metadata-store.ts'
import { conformance } from './metadata-conformance.ts'
import { EtcdServer, waitMs } from './etcd-server.ts'

let etcd: EtcdServer
before(async () => {
  etcd = await EtcdServer.start()
})
after(() => etcd?.[Symbol.asyncDispose]())

let count = 0
for (const [what, run] of Object.entries(conformance)) {
  test(`etcd metadata store: ${what}`, async () => {
    const prefix = `/cluster-${++count}`
    const store = await etcd.connect({ prefix })
    const other = await etcd.connect({ prefix })
    await using under = {
      store,
      other,
      ttlMs: 1_000,
      waitMs,
      async [Symbol.asyncDispose]() {
        await store.close()
        await other.close()
      },
    }
    await run(under)
  })
}

const put = (key: string, value: string) => ({ compares: [], changes: [{ kind: 'put', key, value } as const] })

test('etcd metadata store: two clusters in one etcd do not see one another', async (t) => {
  const [one, two] = [await etcd.connect({ prefix: '/one' }), await etcd.connect({ prefix: '/one-more' })]
  t.after(() => Promise.all([one.close(), two.close()]))
  await one.transact(put('/a', '1'))
  await two.transact(put('/a', '2'))
  assert.deepEqual(
    (await one.range('/')).entries.map(({ value }) => value),
    ['1'],
  )
  assert.deepEqual(
    (await two.range('/')).entries.map(({ value }) => value),
    ['2'],
  )
})

test('etcd metadata store: an etcd that ends and comes back: unavailable meanwhile, values, leases and watches after it', async (t) => {
  await using own = await EtcdServer.start()
  const store = await own.connect()
  t.after(() => store.close())
  const hints: (string | undefined)[] = []
  store.watch('/', (key) => hints.push(key))
  const { leaseId } = await store.grantLease(5_000)
  await store.transact({ compares: [], changes: [{ kind: 'put', key: '/a', value: '1', leaseId }] })
  while (!hints.includes(undefined) || !hints.includes('/a')) await waitMs(20)
  await own.kill()
  await assert.rejects(store.get('/a'), {
    code: 'unavailable',
    message: /etcd at 127\.0\.0\.1:\d+: found .*; check that it runs/,
  })
  const result = await store.transact(put('/b', '1')).catch((error: { code: string }) => error.code)
  assert.equal(result, 'unavailable') // nobody listened: certain that nothing happened
  await own.start()
  assert.equal((await store.get('/a')).entry?.value, '1')
  assert.equal(await store.keepLease(leaseId), true)
  while (hints.filter((key) => key === undefined).length < 2) await waitMs(20)
  await store.transact(put('/c', '1'))
  while (!hints.includes('/c')) await waitMs(20)
})

test('etcd metadata store: a transaction whose answer does not come is unknown: it may have happened, and the store goes on (etcd paused)', async (t) => {
  await using own = await EtcdServer.start()
  const store = await own.connect()
  t.after(() => store.close())
  await store.transact(put('/a', '1'))
  own.pause()
  const result = await store.transact(put('/a', '2'))
  assert.equal(result.outcome, 'unknown', JSON.stringify(result))
  own.resume()
  // Whether etcd took it from the connection that was given up is not ours to say; what comes afterwards has its place in any case.
  assert.match((await store.get('/a')).entry?.value ?? '', /^[12]$/)
  await store.transact(put('/a', '3'))
  assert.equal((await store.get('/a')).entry?.value, '3')
})

test('etcd metadata store: with TLS and a password; without them, or with wrong ones, it says what is missing', async (t) => {
  await using own = await EtcdServer.start({ isTls: true })
  const tls = { ca: readFileSync(own.certificateFile, 'utf8') }
  const open = (options: object) =>
    EtcdMetadataStore.open({ members: [own.member], prefix: '/playhead', clock: systemClock, ...options })
  const refused = (message: RegExp) => ({ code: 'metadataStoreRefused', message })
  await assert.rejects(
    open({ tls: {} }),
    refused(/wanted a connection with TLS; check the authority \(--cluster-authority-file\)/),
  )
  await assert.rejects(open({}), { code: 'unavailable', message: /found .*wanted an answer; .*whether it speaks TLS/ })
  const plain = await open({ tls })
  t.after(() => plain.close())
  await enableUsers(own, tls.ca)
  const user = { name: 'root', password: 'secret' }
  await assert.rejects(open({ tls }), refused(/user name is empty, wanted to be let in; set the user and the password/))
  await assert.rejects(
    open({ tls, user: { ...user, password: 'x' } }),
    refused(/for the user root, wanted it let in; check/),
  )
  await assert.rejects(plain.get('/a'), refused(/user name is empty/))
  const store = await open({ tls, user })
  t.after(() => store.close())
  await store.transact(put('/a', '1'))
  const hints: (string | undefined)[] = []
  store.watch('/', (key) => hints.push(key))
  while (hints.length === 0) await waitMs(20)
  // Tokens die with the etcd that gave them; the next call gets a new one.
  await own.kill()
  await own.start()
  assert.equal((await store.get('/a')).entry?.value, '1')
  while (hints.filter((key) => key === undefined).length < 2) await waitMs(20) // before the watch stands again, a change is a hint for anything
  assert.equal((await store.transact(put('/a', '2'))).outcome, 'done')
  while (!hints.includes('/a')) await waitMs(20)
})

test('guarded metadata store: a real etcd brought back from an older copy of its directory is refused', async (t) => {
  await using own = await EtcdServer.start()
  const copy = `${own.directory}-copy`
  const wire = await own.connect()
  t.after(() => wire.close())
  const store = new GuardedMetadataStore(wire, { name: 'etcd' })
  await store.transact(put('/a', '1'))
  await own.kill()
  await cp(own.directory, copy, { recursive: true })
  await own.start()
  await store.transact(put('/a', '2'))
  await own.kill()
  await rm(own.directory, { recursive: true })
  await cp(copy, own.directory, { recursive: true })
  await own.start()
  assert.equal((await wire.get('/a')).entry?.value, '1')
  await assert.rejects(store.get('/a'), {
    code: 'metadataStoreReplaced',
    message: /wanted revision \d+ or later; it was brought back from an older copy/,
  })
  // Made anew on the same address it is another store, or begins at an older revision.
  const { seen } = store
  await own.kill()
  await rm(own.directory, { recursive: true })
  await own.start()
  await assert.rejects(new GuardedMetadataStore(wire, { name: 'etcd', seen }).get('/a'), {
    code: 'metadataStoreReplaced',
  })
})

/** As an operator would: a root user with a password, then nobody without one. */
async function enableUsers(server: EtcdServer, ca: string): Promise<void> {
  const gateway = new EtcdGateway({ members: [server.member], tls: { ca } }, systemClock)
  await gateway.change('/v3/auth/user/add', { name: 'root', password: 'secret' })
  await gateway.change('/v3/auth/role/add', { name: 'root' })
  await gateway.change('/v3/auth/user/grant', { user: 'root', role: 'root' })
  await gateway.change('/v3/auth/enable', {})
  gateway.close()
}

test('etcd metadata store: an address where there is no etcd is refused with what was found there', async () => {
  const open = (member: string) =>
    EtcdMetadataStore.open({ members: [member], prefix: '/playhead', clock: systemClock })
  const server = createServer((_, response) => {
    response.statusCode = 404
    response.end('nothing here')
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  await assert.rejects(open(`127.0.0.1:${port}`), {
    code: 'metadataStoreRefused',
    message: `etcd at 127.0.0.1:${port}: found HTTP 404 "nothing here", wanted etcd 3.4 or later; check the address given with --cluster`,
  })
  server.close()
  await assert.rejects(open(`127.0.0.1:${port}`), {
    code: 'unavailable',
    message: /ECONNREFUSED.*check that it runs, the address/,
  })
  // One member that is not there does no harm when another one is.
  const store = await EtcdMetadataStore.open({
    members: [`127.0.0.1:${port}`, etcd.member],
    prefix: '/x',
    clock: systemClock,
  })
  assert.equal((await store.transact(put('/a', '1'))).outcome, 'done')
  await store.close()
})
