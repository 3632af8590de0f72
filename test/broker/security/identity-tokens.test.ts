/** Tokens of an identity provider: what is taken, and everything about a token that may be wrong. The provider is a real HTTP server with its keys. */
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, test } from 'node:test'
import { SignJWT, UnsecuredJWT, exportJWK, exportSPKI, generateKeyPair } from 'jose'
import type { CryptoKey } from 'jose'
import { runSecured } from './secured-broker.ts'
import type { SecuredBroker } from './secured-broker.ts'

const issuer = 'https://login.example'
const audience = 'playhead'
let keys: { privateKey: CryptoKey; publicKey: CryptoKey }
let others: { privateKey: CryptoKey; publicKey: CryptoKey }
let secured: SecuredBroker
let asked = 0
let keySet = ''
const provider = createServer((_, response) => {
  asked++
  response.setHeader('content-type', 'application/json')
  response.end(keySet)
})

before(async () => {
  keys = await generateKeyPair('RS256', { extractable: true })
  others = await generateKeyPair('RS256', { extractable: true })
  keySet = JSON.stringify({ keys: [{ ...(await exportJWK(keys.publicKey)), kid: 'one', alg: 'RS256', use: 'sig' }] })
  await new Promise<void>((resolve) => provider.listen(0, '127.0.0.1', () => resolve()))
  const { port } = provider.address() as AddressInfo
  secured = await runSecured({
    oidcIssuer: issuer,
    oidcAudience: audience,
    oidcKeysUrl: `http://127.0.0.1:${port}/keys`,
    oidcGroupsClaim: 'groups',
  })
  await secured.admin.access.grant('oidc:ann', [{ operation: 'read', pattern: 'cluster' }])
  await secured.admin.access.grant('group:operators', [{ operation: 'create', pattern: 'topic:*' }])
})

after(async () => {
  await secured[Symbol.asyncDispose]()
  provider.closeAllConnections()
  provider.close()
})

const claims = (header: { alg: string; kid: string } = { alg: 'RS256', kid: 'one' }): SignJWT =>
  new SignJWT({ groups: ['operators', 7] })
    .setProtectedHeader(header)
    .setSubject('ann')
    .setIssuer(issuer)
    .setAudience(audience)
    .setExpirationTime('5m')
    .setIssuedAt()

test('identity tokens: a valid one is its subject, with its groups, on HTTP and on the native protocol', async () => {
  const token = await claims().sign(keys.privateKey)
  for (let count = 0; count < 5; count++) assert.equal((await secured.http('/metrics', token)).status, 200)
  assert.equal(asked, 1, 'the keys are kept')
  const ann = await secured.connect({ token })
  assert.equal((await ann.access.whoAmI()).principal, 'oidc:ann')
  await ann.admin.createTopic('carts')
  await assert.rejects(ann.admin.deleteTopic('carts'), { code: 'notAuthorized' })
})

test('identity tokens: whatever is wrong about one, it is refused and nobody is let in', async () => {
  const key = keys.privateKey
  const header = { alg: 'RS256', kid: 'one' }
  const secret = new TextEncoder().encode(await exportSPKI(keys.publicKey))
  const valid = await claims().sign(key)
  const [head = '', body = '', signature = ''] = valid.split('.')
  const changed = Buffer.from(JSON.stringify({ ...JSON.parse(Buffer.from(body, 'base64url').toString()), sub: 'root' }))
  const wrong: Record<string, string> = {
    'alg none': new UnsecuredJWT({})
      .setSubject('ann')
      .setIssuer(issuer)
      .setAudience(audience)
      .setExpirationTime('5m')
      .encode(),
    'alg none, spelt otherwise': `${Buffer.from('{"alg":"NoNe"}').toString('base64url')}.${body}.`,
    'the public key as a shared secret': await claims({ alg: 'HS256', kid: 'one' }).sign(secret),
    'another key': await claims().sign(others.privateKey),
    'an unknown key id': await claims({ ...header, kid: 'two' }).sign(key),
    expired: await claims().setExpirationTime('-5m').sign(key),
    'not yet valid': await claims().setNotBefore('5m').sign(key),
    'another issuer': await claims().setIssuer('https://evil.example').sign(key),
    'another audience': await claims().setAudience('shop').sign(key),
    'without an end': await new SignJWT({})
      .setProtectedHeader(header)
      .setSubject('ann')
      .setIssuer(issuer)
      .setAudience(audience)
      .sign(key),
    'without a subject': await new SignJWT({})
      .setProtectedHeader(header)
      .setIssuer(issuer)
      .setAudience(audience)
      .setExpirationTime('5m')
      .sign(key),
    'another body': `${head}.${changed.toString('base64url')}.${signature}`,
    'no signature': `${head}.${body}.`,
    'no JSON': 'eyJ.eyJ.AAAA',
  }
  for (const [what, token] of Object.entries(wrong)) {
    const response = await secured.http('/metrics', token)
    assert.equal(response.status, 401, what)
    const { detail } = (await response.json()) as { detail: string }
    assert.ok(!detail.includes(token), `${what}: the token is in the answer`)
  }
})
