/**
 * Authentication: from what somebody shows to a principal: a token of ours, a token of an identity provider, a client certificate, or SCRAM-SHA-256.
 * Invariants: nothing here takes longer than a few hashes of small things, but for identity tokens, which have a bound of their own; a
 * failure says nothing about what exists, but to whoever shows a whole token, which cannot be guessed, what became of it; no secret is in any message.
 * Neighbours: Security owns it; Session becomes what it answers.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { Clock } from '../../platform/clock.ts'
import type { Random } from '../../platform/random.ts'
import { PlayheadError } from '../../protocol/errors.ts'
import { Rights } from '../../protocol/rights.ts'
import type { AccessFacts, TokenFacts } from './access-facts.ts'
import { FailedAttempts } from './failed-attempts.ts'
import type { IdentityTokens } from './identity-tokens.ts'
import type { Principal, SignInReason } from './principal.ts'
import { userPrincipal } from './principal.ts'
import { ScramExchange } from './scram-exchange.ts'

/** Wrong passwords at once: of one user from one address, and of all users from one address, which many may share. */
const attemptsPerUserMax = 20
const attemptsPerAddressMax = 200

/** What whoever may read the data directory is taken for. */
export const adminPrincipal: Principal = { name: 'admin', groups: [], isSuper: true, expiresAtMs: Infinity }

export interface AuthenticationOptions {
  /** As they are now. */
  readonly facts: () => AccessFacts
  readonly clock: Clock
  readonly random: Random
  /** SHA-256 of the token in the data directory. */
  readonly adminTokenHash: Buffer
  readonly identityTokens: IdentityTokens | undefined
  readonly onRefused: (address: string, claimed: string) => void
}

export class Authentication {
  /** By token id, when it was shown last; ms since the epoch. */
  readonly lastUsedAtMs = new Map<string, number>()
  readonly #options: AuthenticationOptions
  readonly #userAttempts: FailedAttempts
  readonly #addressAttempts: FailedAttempts

  constructor(options: AuthenticationOptions) {
    this.#options = options
    this.#userAttempts = new FailedAttempts(options.clock, attemptsPerUserMax)
    this.#addressAttempts = new FailedAttempts(options.clock, attemptsPerAddressMax)
  }

  /** Throws unauthenticated, and of a token of an identity provider overloaded or unavailable. At once, but for tokens of an identity provider. */
  bearer(text: string, address: string): Principal | Promise<Principal> {
    const { identityTokens, adminTokenHash } = this.#options
    const facts = this.#options.facts()
    if (identityTokens !== undefined && looksLikeIdentityToken(text)) return this.#identity(text, address)
    if (timingSafeEqual(createHash('sha256').update(text).digest(), adminTokenHash)) return adminPrincipal
    const token = facts.tokenOf(text)
    const nowMs = this.#options.clock.now()
    if (token === undefined || (token.expiresAtMs !== 0 && token.expiresAtMs <= nowMs))
      throw this.#badToken(token, facts.revokedTokenOf(text), address)
    const { tokenId, principal, groups, scope, expiresAtMs } = token
    this.lastUsedAtMs.set(tokenId, nowMs)
    return {
      name: principal,
      groups,
      isSuper: principal === adminPrincipal.name,
      expiresAtMs: expiresAtMs === 0 ? Infinity : expiresAtMs,
      tokenId,
      scope: scope.length === 0 ? undefined : new Rights(scope),
    }
  }

  /** The first message of an exchange. */
  beginScram(message: string, address: string): ScramExchange {
    this.#addressAttempts.check(address)
    const exchange = new ScramExchange(message, this.#options.facts(), this.#options.random)
    this.#userAttempts.check(`${address} ${exchange.claimedUser}`)
    return exchange
  }

  /** Throws unauthenticated. */
  endScram(
    exchange: ScramExchange,
    message: string,
    address: string,
  ): { readonly principal: Principal; readonly reply: string } {
    // Again: many exchanges may have been begun before the first of them failed.
    this.#addressAttempts.check(address)
    this.#userAttempts.check(`${address} ${exchange.claimedUser}`)
    const proven = exchange.finish(message, this.#options.facts())
    if (proven === undefined) {
      this.#addressAttempts.failed(address)
      this.#userAttempts.failed(`${address} ${exchange.claimedUser}`)
      const claimed = userPrincipal(exchange.claimedUser)
      throw this.#refused(address, claimed, 'user: found a name or a password that is wrong, wanted both right')
    }
    const { user, generation } = proven.user
    const principal = {
      name: userPrincipal(user),
      groups: [],
      isSuper: false,
      expiresAtMs: Infinity,
      passwordGeneration: generation,
    }
    return { principal, reply: proven.reply }
  }

  async #identity(text: string, address: string): Promise<Principal> {
    const { identityTokens, clock } = this.#options
    try {
      return await identityTokens!.principalOf(text, clock.now())
    } catch (error) {
      if (error instanceof PlayheadError && error.code === 'unauthenticated')
        this.#options.onRefused(address, 'identity token')
      throw error
    }
  }

  /** `expired`: it is known still. */
  #badToken(expired: TokenFacts | undefined, revokedId: string | undefined, address: string): PlayheadError {
    const tokenId = expired?.tokenId ?? revokedId
    const reason: SignInReason = expired !== undefined ? 'expired' : revokedId !== undefined ? 'revoked' : 'unknown'
    const name = tokenId === undefined ? 'token' : `token ${tokenId}`
    const message = `${name}: found it ${reason}, wanted a valid one; ask for another: playhead token create`
    return this.#refused(address, name, message, reason)
  }

  #refused(address: string, claimed: string, message: string, reason?: SignInReason): PlayheadError {
    this.#options.onRefused(address, claimed)
    return new PlayheadError('unauthenticated', message, reason === undefined ? {} : { reason })
  }
}

/** Who a client certificate that our authority has signed is. */
export function certificatePrincipal(commonName: string): Principal {
  return { name: `certificate:${commonName}`, groups: [], isSuper: false, expiresAtMs: Infinity }
}

/** A JWT has three parts between dots; our own tokens have none. */
function looksLikeIdentityToken(text: string): boolean {
  return /^[\w-]+\.[\w-]*\.[\w-]*$/.test(text)
}
