/**
 * AccessFacts: users, tokens, grants and quotas as they are now, made of the events of the access topic one after the other. Pure state: no
 * file, no wait. Invariant: it holds verifiers and hashes only; nothing in it lets anybody log in.
 * Neighbours: access-store.ts feeds it, security.ts asks it with every request.
 */
import { createHash } from 'node:crypto'
import type { Quota } from '../../protocol/access.ts'
import { Rights } from '../../protocol/rights.ts'
import type { Grant, Operation, Resource } from '../../protocol/rights.ts'
import type { Verifier } from '../../protocol/scram.ts'
import type { Principal } from './principal.ts'
import { userPrincipal } from './principal.ts'

export interface UserFacts {
  readonly user: string
  readonly verifier: Verifier
  readonly changedAtMs: number
  /** Counts the changes of all facts: another password is another number. */
  readonly generation: number
}

export interface TokenFacts {
  readonly tokenId: string
  /** SHA-256 of the token's text, hex. */
  readonly hash: string
  readonly principal: string
  readonly groups: readonly string[]
  readonly description: string
  readonly scope: readonly Grant[]
  readonly createdAtMs: number
  /** 0 = never. */
  readonly expiresAtMs: number
}

/** What the access topic holds: each says the whole new state of one thing. */
export type AccessEvent =
  | { readonly type: 'SecretMade'; readonly data: { readonly secret: string } }
  | { readonly type: 'UserPut'; readonly data: StoredUser }
  | { readonly type: 'UserDeleted'; readonly data: { readonly user: string } }
  | { readonly type: 'TokenCreated'; readonly data: TokenFacts }
  | { readonly type: 'TokenRevoked'; readonly data: { readonly tokenId: string } }
  | { readonly type: 'GrantsSet'; readonly data: { readonly principal: string; readonly grants: readonly Grant[] } }
  | { readonly type: 'QuotaSet'; readonly data: { readonly principal: string; readonly quota: Quota | null } }

interface StoredUser {
  readonly user: string
  /** These three in base64. */
  readonly salt: string
  readonly storedKey: string
  readonly serverKey: string
  readonly iterations: number
}

const noRights = new Rights([])
/** Tokens that were taken back are told so, to whoever still shows them; of more than so many only that they are unknown. */
const revokedMax = 10_000

export class AccessFacts {
  readonly users = new Map<string, UserFacts>()
  readonly tokens = new Map<string, TokenFacts>()
  readonly grants = new Map<string, readonly Grant[]>()
  readonly quotas = new Map<string, Quota>()
  /** What makes the salt of users that do not exist look like one that does. Undefined until it was made. */
  secret: Buffer | undefined
  /** Counts the changes: whoever remembers a decision remembers with which. */
  revision: number
  readonly #tokensByHash = new Map<string, TokenFacts>()
  /** Ids by hash, the oldest first. */
  readonly #revokedByHash = new Map<string, string>()
  readonly #rights = new Map<string, Rights>()

  /** `revision`: that of the facts in whose place these come, so that nothing which was decided by those holds. */
  constructor(revision = 0) {
    this.revision = revision
  }

  apply(event: AccessEvent, atMs: number): void {
    this.revision++
    switch (event.type) {
      case 'SecretMade':
        this.secret = Buffer.from(event.data.secret, 'base64')
        return
      case 'UserPut':
        this.users.set(event.data.user, userFacts(event.data, atMs, this.revision))
        return
      case 'UserDeleted':
        return this.#deleteUser(event.data.user)
      case 'TokenCreated':
        this.tokens.set(event.data.tokenId, event.data)
        this.#tokensByHash.set(event.data.hash, event.data)
        return
      case 'TokenRevoked':
        return this.#revoke(event.data.tokenId)
      case 'GrantsSet':
        return this.#setGrants(event.data.principal, event.data.grants)
      case 'QuotaSet':
        if (event.data.quota === null) this.quotas.delete(event.data.principal)
        else this.quotas.set(event.data.principal, event.data.quota)
        return
    }
  }

  tokenOf(text: string): TokenFacts | undefined {
    return this.#tokensByHash.get(tokenHash(text))
  }

  /** The id of a token that there was; undefined = it was never there, or is long gone. */
  revokedTokenOf(text: string): string | undefined {
    return this.#revokedByHash.get(tokenHash(text))
  }

  /** Whether the principal still is who it was taken for. */
  holds(principal: Principal, nowMs: number): boolean {
    if (principal.expiresAtMs <= nowMs) return false
    if (principal.tokenId !== undefined && !this.tokens.has(principal.tokenId)) return false
    if (principal.isSuper) return true
    if (!principal.name.startsWith(userPrincipal(''))) return true
    const user = this.userOf(principal.name)
    if (user === undefined) return false
    return principal.passwordGeneration === undefined || principal.passwordGeneration === user.generation
  }

  /** Undefined also for a principal of another kind. */
  userOf(principal: string): UserFacts | undefined {
    const prefix = userPrincipal('')
    return principal.startsWith(prefix) ? this.users.get(principal.slice(prefix.length)) : undefined
  }

  /** What the principal may do by itself and through its groups; a token's scope not yet taken into account. */
  allows(principal: Principal, operation: Operation, resource: Resource): boolean {
    return this.#someRights(principal, (rights) => rights.allow(operation, resource))
  }

  allowsSome(principal: Principal, operation: Operation, topic: string): boolean {
    return this.#someRights(principal, (rights) => rights.allowSome(operation, topic))
  }

  touches(principal: Principal, topic: string): boolean {
    return this.#someRights(principal, (rights) => rights.touch(topic))
  }

  grantsOf({ name, groups }: Principal): Grant[] {
    return [name, ...groups].flatMap((each) => this.grants.get(each) ?? [])
  }

  /** A token narrows what its principal may do, and never adds to it. */
  #someRights({ name, groups, scope, isSuper }: Principal, allowed: (rights: Rights) => boolean): boolean {
    if (scope !== undefined && !allowed(scope)) return false
    return isSuper || allowed(this.#rightsOf(name)) || groups.some((group) => allowed(this.#rightsOf(group)))
  }

  #rightsOf(name: string): Rights {
    const known = this.#rights.get(name)
    if (known !== undefined) return known
    const grants = this.grants.get(name)
    if (grants === undefined) return noRights // not kept: names come from outside
    const rights = new Rights(grants)
    this.#rights.set(name, rights)
    return rights
  }

  #setGrants(principal: string, grants: readonly Grant[]): void {
    this.#rights.delete(principal)
    if (grants.length === 0) this.grants.delete(principal)
    else this.grants.set(principal, grants)
  }

  /** With its grants, tokens and quota: whoever gets the name next begins with nothing. */
  #deleteUser(user: string): void {
    const principal = userPrincipal(user)
    this.users.delete(user)
    this.#setGrants(principal, [])
    this.quotas.delete(principal)
    for (const token of this.tokens.values()) if (token.principal === principal) this.#revoke(token.tokenId)
  }

  #revoke(tokenId: string): void {
    const token = this.tokens.get(tokenId)
    if (token === undefined) return
    this.tokens.delete(tokenId)
    this.#tokensByHash.delete(token.hash)
    this.#revokedByHash.set(token.hash, tokenId)
    if (this.#revokedByHash.size <= revokedMax) return
    const [oldest] = this.#revokedByHash.keys()
    if (oldest !== undefined) this.#revokedByHash.delete(oldest)
  }
}

/** A token is 256 random bits: one round of a fast hash is enough to keep it from being read out of the topic. */
export function tokenHash(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

function userFacts(stored: StoredUser, changedAtMs: number, generation: number): UserFacts {
  const { user, iterations } = stored
  const verifier = {
    salt: Buffer.from(stored.salt, 'base64'),
    storedKey: Buffer.from(stored.storedKey, 'base64'),
    serverKey: Buffer.from(stored.serverKey, 'base64'),
    iterations,
  }
  return { user, verifier, changedAtMs, generation }
}
