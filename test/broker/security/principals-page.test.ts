import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AccessFacts } from '../../../broker/security/access-facts.ts'
import { principalsPage, tokensShownMax } from '../../../broker/security/principals-page.ts'

const token = (principal: string, number: number) => ({
  type: 'TokenCreated' as const,
  data: {
    tokenId: `t${number}`,
    hash: `hash ${number}`,
    principal,
    groups: [],
    description: '',
    scope: [],
    createdAtMs: number,
    expiresAtMs: 0,
  },
})

test('principals page: whoever is named by anything is there once, in order, page by page; of many tokens the newest', () => {
  const facts = new AccessFacts()
  const user = { user: 'bob', salt: '', storedKey: '', serverKey: '', iterations: 1 }
  facts.apply({ type: 'UserPut', data: user }, 7)
  const grants = [{ operation: 'read', pattern: 'cluster' }] as const
  facts.apply({ type: 'GrantsSet', data: { principal: 'certificate:shop', grants } }, 8)
  facts.apply({ type: 'GrantsSet', data: { principal: 'user:bob', grants } }, 8)
  const quota = { requestsPerSecond: 1, inBytesPerSecond: 0, outBytesPerSecond: 0, connections: 0 }
  facts.apply({ type: 'QuotaSet', data: { principal: 'oidc:ann', quota } }, 9)
  for (let number = 0; number < tokensShownMax + 5; number++) facts.apply(token('service:x', number), 10)
  const all = principalsPage(facts, '', 100)
  assert.deepEqual(
    all.principals.map(({ principal, changedAtMs, tokenCount }) => [principal, changedAtMs, tokenCount]),
    [
      ['certificate:shop', undefined, 0],
      ['oidc:ann', undefined, 0],
      ['service:x', undefined, tokensShownMax + 5],
      ['user:bob', 7, 0],
    ],
  )
  assert.equal(all.more, false)
  const [, , service] = all.principals
  assert.deepEqual([service?.tokens.length, service?.tokens[0]?.tokenId], [tokensShownMax, `t${tokensShownMax + 4}`])
  const paged: string[] = []
  for (let after = '', more = true; more; after = paged.at(-1)!) {
    const page = principalsPage(facts, after, 3)
    paged.push(...page.principals.map(({ principal }) => principal))
    more = page.more
  }
  assert.deepEqual(
    paged,
    all.principals.map(({ principal }) => principal),
  )
})
