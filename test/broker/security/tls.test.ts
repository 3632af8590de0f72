/** TLS on both ports: who is trusted, who is not, and new certificates without a restart. */
import assert from 'node:assert/strict'
import { copyFile, readFile, writeFile } from 'node:fs/promises'
import { request } from 'node:https'
import { connect as connectTcp } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { Broker } from '../../../broker/broker.ts'
import type { BrokerConfig } from '../../../broker/config.ts'
import { connect } from '../../../client/index.ts'
import type { ClientTls } from '../../../client/index.ts'
import { makeAuthority, makeCertificate } from '../../certificates.ts'
import type { Pair } from '../../certificates.ts'
import { TemporaryDirectory } from '../../temporary-directory.ts'

let directory: TemporaryDirectory
let authority: Pair
let otherAuthority: Pair
let broker: Pair
let renewed: Pair
let expired: Pair
let elsewhere: Pair
let client: Pair
let foreign: Pair

before(async () => {
  directory = await TemporaryDirectory.make()
  const { path } = directory
  authority = await makeAuthority(path, 'authority')
  otherAuthority = await makeAuthority(path, 'other-authority')
  broker = await makeCertificate(path, authority, { name: 'broker' })
  renewed = await makeCertificate(path, authority, { name: 'renewed' })
  expired = await makeCertificate(path, authority, { name: 'expired', expired: true })
  elsewhere = await makeCertificate(path, authority, { name: 'elsewhere', names: 'DNS:elsewhere' })
  client = await makeCertificate(path, authority, { name: 'shop' })
  foreign = await makeCertificate(path, otherAuthority, { name: 'shop', file: 'foreign' })
})

after(() => directory[Symbol.asyncDispose]())

const read = (path: string): Promise<Buffer> => readFile(path)
const filesOf = ({ certificate, key }: Pair) => ({ tlsCertificateFile: certificate, tlsKeyFile: key })

async function serve(
  settings: Partial<BrokerConfig>,
): Promise<{ broker: Broker; data: string; logged: string[] } & AsyncDisposable> {
  await using setUp = new AsyncDisposableStack()
  const { path } = setUp.use(await TemporaryDirectory.make())
  const logged: string[] = []
  const report = (_: string, message: string): void => void logged.push(message)
  const started = setUp.use(await Broker.start({ data: path, port: 0, httpPort: 0, ...settings }, { report }))
  const tearDown = setUp.move()
  return { broker: started, data: path, logged, [Symbol.asyncDispose]: () => tearDown.disposeAsync() }
}

const dial = async (port: number, tls: ClientTls, host = 'localhost') =>
  connect(`playheads://${host}:${port}`, { timeoutMs: 2_000, tls })

/** The status of /readyz, and the common name of the broker's certificate. */
function readyz(
  port: number,
  tls: { ca: Buffer; cert?: Buffer; key?: Buffer; headers?: Record<string, string>; path?: string },
) {
  return new Promise<{ status: number | undefined; name: unknown }>((resolve, reject) => {
    const { headers = {}, path = '/readyz', ...rest } = tls
    const options = { host: 'localhost', port, path, headers, agent: false, ...rest }
    const sent = request(options, (response) => {
      const name: unknown = (
        response.socket as unknown as { getPeerCertificate(): { subject: { CN: unknown } } }
      ).getPeerCertificate().subject.CN
      response.resume()
      resolve({ status: response.statusCode, name })
    })
    sent.once('error', reject)
    sent.end()
  })
}

test('tls: a client that trusts the authority talks to both ports; the data is what it was', async () => {
  await using served = await serve(filesOf(broker))
  const ca = await read(authority.certificate)
  await using playhead = await dial(served.broker.port, { authority: ca })
  await playhead.admin.createTopic('carts')
  const data = { text: 'x'.repeat(300_000) }
  await playhead.topic('carts').stream('a').append({ type: 'Large', data })
  const seen: unknown[] = []
  for await (const event of playhead.topic('carts').stream('a').read()) seen.push(event.data)
  assert.deepEqual(seen, [data])
  await using byAddress = await dial(served.broker.port, { authority: ca }, '127.0.0.1')
  assert.equal((await byAddress.status()).topics, 1)
  assert.deepEqual(await readyz(served.broker.httpPort, { ca }), { status: 200, name: 'broker' })
})

test('tls: wrong authority, expired, another name: refused at once, by name', async () => {
  const ca = await read(authority.certificate)
  const cases: [Pair, ClientTls, RegExp][] = [
    [broker, { authority: await read(otherAuthority.certificate) }, /unable to verify|issuer/i],
    [broker, {}, /unable to verify|issuer|self-signed/i],
    [expired, { authority: ca }, /expired/],
    [elsewhere, { authority: ca }, /altname|does not match/i],
  ]
  for (const [pair, tls, message] of cases) {
    await using served = await serve(filesOf(pair))
    await assert.rejects(dial(served.broker.port, tls), { code: 'untrustedBroker', message })
  }
  await using served = await serve(filesOf(elsewhere))
  await using playhead = await dial(served.broker.port, { authority: ca, serverName: 'elsewhere' })
  assert.equal((await playhead.status()).topics, 0)
})

test('tls: plain text to a TLS port, TLS to a plain port, an old TLS, a handshake that stalls: all end, and the broker serves on', async () => {
  await using served = await serve({ ...filesOf(broker), helloWaitMsMax: 300 })
  const ca = await read(authority.certificate)
  const { port, httpPort } = served.broker
  await assert.rejects(connect(`localhost:${port}`, { timeoutMs: 700 }), { code: 'unavailable' })
  await assert.rejects(fetch(`http://localhost:${httpPort}/readyz`))
  for (const to of [port, httpPort]) {
    await new Promise<void>((resolve) => {
      const socket = connectTcp(to, 'localhost', () => socket.write(Buffer.from([22, 3, 1]))) // and nothing more
      socket.once('error', () => {})
      socket.once('close', () => resolve())
    })
    const old = {
      host: 'localhost',
      port: to,
      ca,
      maxVersion: 'TLSv1.1',
      minVersion: 'TLSv1',
      ciphers: 'ALL:@SECLEVEL=0',
    } as const
    await assert.rejects(
      new Promise((resolve, reject) => {
        const socket = connectTls(old, () => resolve(socket.end()))
        socket.once('error', reject)
      }),
      /version|protocol|reset/i,
    )
  }
  await using plain = await serve({})
  await assert.rejects(dial(plain.broker.port, { authority: ca }), { code: /untrustedBroker|unavailable/ })
  await using playhead = await dial(port, { authority: ca })
  assert.equal((await playhead.status()).topics, 0)
})

test('tls: a client certificate is a principal; of another authority, or missing where it is required, it is nobody', async () => {
  const ca = await read(authority.certificate)
  const own = { authority: ca, certificate: await read(client.certificate), key: await read(client.key) }
  const other = { authority: ca, certificate: await read(foreign.certificate), key: await read(foreign.key) }
  const settings = { ...filesOf(broker), tlsClientAuthorityFile: authority.certificate, security: 'on' } as const
  for (const tlsClientCertificates of ['wanted', 'required'] as const) {
    await using served = await serve({ ...settings, tlsClientCertificates })
    const { port, httpPort } = served.broker
    await using shop = await dial(port, own)
    assert.equal((await shop.access.whoAmI()).principal, 'certificate:shop')
    await assert.rejects(shop.admin.createTopic('carts'), { code: 'notAuthorized' })
    const http = { ca, cert: own.certificate, key: own.key, path: '/metrics' }
    assert.equal((await readyz(httpPort, http)).status, 403)
    const token = (await readFile(join(served.data, 'admin.token'), 'utf8')).trim()
    await using admin = await connect(`playheads://localhost:${port}`, {
      tls: tlsClientCertificates === 'required' ? own : { authority: ca },
      credentials: { token },
    })
    await admin.access.grant('certificate:shop', [
      { operation: 'create', pattern: 'topic:carts' },
      { operation: 'read', pattern: 'cluster' },
    ])
    await shop.admin.createTopic('carts')
    assert.equal((await readyz(httpPort, http)).status, 200)
    await assert.rejects(dial(port, other), { code: /unavailable|untrustedBroker/ })
    await assert.rejects(
      readyz(httpPort, { ca, cert: other.certificate, key: other.key }).then(({ status }) => assert.equal(status, 200)),
    )
    if (tlsClientCertificates === 'required') {
      await assert.rejects(dial(port, { authority: ca }), { code: /unavailable|untrustedBroker/ })
      await assert.rejects(readyz(httpPort, { ca }))
    } else await assert.rejects(dial(port, { authority: ca }), { code: 'unauthenticated' })
  }
})

test('tls: a renewed certificate is in use without a restart, open connections stay; files that do not fit change nothing', async () => {
  await using files = await TemporaryDirectory.make()
  const live = { certificate: join(files.path, 'live.crt'), key: join(files.path, 'live.key') }
  await copyFile(broker.certificate, live.certificate)
  await copyFile(broker.key, live.key)
  await using served = await serve({ ...filesOf(live), tlsCheckIntervalMs: 100 })
  const ca = await read(authority.certificate)
  await using earlier = await dial(served.broker.port, { authority: ca })
  const nameOf = (port: number) =>
    new Promise<unknown>((resolve, reject) => {
      const socket = connectTls({ host: 'localhost', port, ca }, () => {
        resolve(socket.getPeerCertificate().subject.CN)
        socket.destroy()
      })
      socket.once('error', reject)
    })
  assert.equal(await nameOf(served.broker.port), 'broker')
  await copyFile(renewed.certificate, live.certificate) // the key of the one before: does not fit
  while (!served.logged.some((line) => line.includes('key of another certificate')))
    await new Promise((resolve) => setTimeout(resolve, 20))
  assert.equal(await nameOf(served.broker.port), 'broker')
  await copyFile(renewed.key, live.key)
  while ((await nameOf(served.broker.port)) !== 'renewed') await new Promise((resolve) => setTimeout(resolve, 20))
  while ((await readyz(served.broker.httpPort, { ca })).name !== 'renewed')
    await new Promise((resolve) => setTimeout(resolve, 20))
  assert.equal((await earlier.status()).topics, 0)
  await writeFile(live.key, 'no key')
  while (!served.logged.some((line) => line.includes('no private key')))
    await new Promise((resolve) => setTimeout(resolve, 20))
  assert.equal(await nameOf(served.broker.port), 'renewed')
})

test('tls: settings that do not go together, and files that are not what they should be, stop the start by name', async () => {
  const cases: [Partial<BrokerConfig>, RegExp][] = [
    [{ tlsCertificateFile: broker.certificate }, /tlsKeyFile/],
    [{ ...filesOf(broker), tlsKeyFile: renewed.key }, /tlsKeyFile.*key of another certificate/],
    [{ ...filesOf(broker), tlsCertificateFile: broker.key }, /tlsCertificateFile.*no certificate/],
    [{ ...filesOf(broker), tlsKeyFile: '/nowhere/x.key' }, /tlsKeyFile.*ENOENT/],
    [{ ...filesOf(broker), tlsClientCertificates: 'required' }, /tlsClientAuthorityFile/],
    [{ ...filesOf(broker), tlsClientAuthorityFile: authority.certificate }, /tlsClientCertificates/],
    [{ host: '0.0.0.0' }, /security off.*allow-insecure everything/],
    [{ host: '0.0.0.0', security: 'on' }, /no TLS certificate.*allow-insecure plaintext/],
    [{ host: '0.0.0.0', allowInsecure: 'plaintext' }, /security off/],
  ]
  for (const [settings, message] of cases)
    await assert.rejects(serve(settings), { code: 'invalidConfiguration', message }, JSON.stringify(settings))
  await using open = await serve({ host: '0.0.0.0', allowInsecure: 'everything' })
  assert.ok(open.broker.port > 0)
  await using secure = await serve({ host: '0.0.0.0', security: 'on', ...filesOf(broker) })
  assert.ok(secure.broker.port > 0)
})
