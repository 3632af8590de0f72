/**
 * PrincipalsPage: everybody whom the access topic names, in order of names and a page at a time: what each may, the tokens that come as it, its quota. Pure: made of
 * AccessFacts as they are. Called by the HTTP route of the console.
 */
import type { Quota } from '../../protocol/access.ts'
import type { Grant } from '../../protocol/rights.ts'
import type { AccessFacts, TokenFacts } from './access-facts.ts'
import { userPrincipal } from './principal.ts'

export interface ListedPrincipal {
  readonly principal: string
  /** Of a user: when it was made, or its password changed. */
  readonly changedAtMs: number | undefined
  readonly grants: readonly Grant[]
  /** The newest ones, at most `tokensShownMax`. */
  readonly tokens: readonly TokenFacts[]
  readonly tokenCount: number
  readonly quota: Quota | undefined
}

/** A principal may have a token for each of its devices. */
export const tokensShownMax = 20

/** Principals behind the name `after`, `limit` at most; `more`: whether there are any behind these. */
export function principalsPage(
  facts: AccessFacts,
  after: string,
  limit: number,
): { readonly principals: ListedPrincipal[]; readonly more: boolean } {
  const tokens = new Map<string, TokenFacts[]>()
  for (const token of facts.tokens.values()) {
    const known = tokens.get(token.principal)
    if (known === undefined) tokens.set(token.principal, [token])
    else known.push(token)
  }
  const users = Array.from(facts.users.keys(), (user) => userPrincipal(user))
  const names = new Set([...users, ...facts.grants.keys(), ...facts.quotas.keys(), ...tokens.keys()])
  const behind = [...names].filter((name) => name > after).toSorted((a, b) => (a < b ? -1 : 1))
  const principals = behind.slice(0, limit).map((principal): ListedPrincipal => {
    const own = (tokens.get(principal) ?? []).toSorted((a, b) => b.createdAtMs - a.createdAtMs)
    return {
      principal,
      changedAtMs: facts.userOf(principal)?.changedAtMs,
      grants: facts.grants.get(principal) ?? [],
      tokens: own.slice(0, tokensShownMax),
      tokenCount: own.length,
      quota: facts.quotas.get(principal),
    }
  })
  return { principals, more: behind.length > limit }
}
