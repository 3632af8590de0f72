/**
 * Principal: who a connection or a request is taken for, and what of that may end: a token's time, a password that was changed, a user who
 * is gone. Names begin with their kind, so that a user and a certificate of one name are two: `user:alice`, `certificate:alice`, `oidc:…`.
 * Neighbours: authentication.ts makes them, access-facts.ts tells whether one still holds and what it may do.
 */
import type { Rights } from '../../protocol/rights.ts'

export interface Principal {
  readonly name: string
  /** From an identity provider; each has grants of its own as `group:NAME`. */
  readonly groups: readonly string[]
  /** May do everything: whoever can read the broker's own data directory. */
  readonly isSuper: boolean
  /** Another broker of this cluster. */
  readonly isBroker?: true
  /** ms since the epoch; Infinity = it does not expire by itself. */
  readonly expiresAtMs: number
  /** The token that it came with, and what that leaves of the principal's rights; undefined = all of them. */
  readonly tokenId?: string | undefined
  readonly scope?: Rights | undefined
  /** Of the password that was proven: another one ends it. */
  readonly passwordGeneration?: number | undefined
}

/** Why somebody has to say who he is, in the details of `unauthenticated`: clients and the console tell people what to do by it. */
export type SignInReason = 'missing' | 'expired' | 'revoked' | 'unknown'

/** Kinds of principals that grants and quotas may name. */
const granteeName = /^(user|certificate|oidc|group):(.{1,256})$/s

export function isGrantee(name: string): boolean {
  const [, , own] = granteeName.exec(name) ?? []
  return own !== undefined && isPlainText(own)
}

/** Of one line: what may stand in logs and messages. */
export function isPlainText(text: string): boolean {
  return text.isWellFormed() && !/\p{Cc}/u.test(text)
}

export function userPrincipal(user: string): string {
  return `user:${user}`
}

/** For logs and the audit topic: a token is named by its id. */
export function principalText({ name, tokenId }: Principal): string {
  return tokenId === undefined ? name : `${name} (token ${tokenId})`
}
