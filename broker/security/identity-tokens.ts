/**
 * IdentityTokens: tokens of an OIDC provider (JWT) become principals. The provider's keys are fetched when they are needed and kept (jose); which
 * algorithms are taken is ours to say, and `none` and shared secrets are never among them.
 * Invariants: few tokens are verified at a time, whatever arrives, as verification shares its threads with the disk; what was verified is
 * remembered until it expires, in bounded memory.
 * Neighbours: Authentication asks it for what looks like a JWT.
 */
import { createRemoteJWKSet, errors, jwtVerify } from 'jose'
import type { JWTPayload, JWTVerifyGetKey } from 'jose'
import { PlayheadError } from '../../protocol/errors.ts'
import { tokenHash } from './access-facts.ts'
import { isPlainText } from './principal.ts'
import type { Principal, SignInReason } from './principal.ts'

/** Of public keys only: with a shared secret, whoever knows the public key could sign. */
export const identityAlgorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'EdDSA']
const verifyingMax = 2
const waitingMax = 200
const rememberedMax = 10_000
/** Clocks of the provider and ours. */
const clockToleranceSeconds = 30
const keysCooldownMs = 30_000
const keysAgeMsMax = 600_000
const keysWaitMs = 5_000

export interface IdentityOptions {
  readonly issuer: string
  readonly audience: string
  readonly keysUrl: string
  readonly principalClaim: string
  /** '' = groups are not looked at. */
  readonly groupsClaim: string
  /** In place of the provider's keys, for tests. */
  readonly keys?: JWTVerifyGetKey
}

export class IdentityTokens {
  readonly #options: IdentityOptions
  readonly #keys: JWTVerifyGetKey
  /** By the hash of the token's text, the oldest first. */
  readonly #remembered = new Map<string, Principal>()
  readonly #waiting: (() => void)[] = []
  #verifying = 0

  constructor(options: IdentityOptions) {
    this.#options = options
    this.#keys =
      options.keys ??
      createRemoteJWKSet(new URL(options.keysUrl), {
        cooldownDuration: keysCooldownMs,
        cacheMaxAge: keysAgeMsMax,
        timeoutDuration: keysWaitMs,
      })
  }

  /** Throws unauthenticated, overloaded, or unavailable when the provider's keys cannot be had. */
  async principalOf(text: string, nowMs: number): Promise<Principal> {
    const hash = tokenHash(text)
    const known = this.#remembered.get(hash)
    if (known !== undefined && known.expiresAtMs > nowMs) return known
    this.#remembered.delete(hash)
    const principal = this.#principal(await this.#inTurn(() => this.#verify(text, nowMs)))
    if (this.#remembered.size >= rememberedMax) {
      const [oldest] = this.#remembered.keys()
      if (oldest !== undefined) this.#remembered.delete(oldest)
    }
    this.#remembered.set(hash, principal)
    return principal
  }

  async #verify(text: string, nowMs: number): Promise<JWTPayload> {
    const { issuer, audience } = this.#options
    try {
      const { payload } = await jwtVerify(text, this.#keys, {
        issuer,
        audience,
        algorithms: identityAlgorithms,
        requiredClaims: ['exp', 'iss', 'aud'],
        clockTolerance: clockToleranceSeconds,
        currentDate: new Date(nowMs),
      })
      return payload
    } catch (error) {
      throw refusalOf(error)
    }
  }

  #principal(payload: JWTPayload): Principal {
    const { principalClaim, groupsClaim } = this.#options
    const subject = payload[principalClaim]
    if (typeof subject !== 'string' || subject === '' || subject.length > 256 || !isPlainText(subject)) {
      throw refused(`no text in its claim ${principalClaim}`)
    }
    const groups = groupsClaim === '' ? [] : payload[groupsClaim]
    const names = Array.isArray(groups) ? groups.filter((group) => typeof group === 'string') : []
    return {
      name: `oidc:${subject}`,
      groups: names.slice(0, 256).map((group) => `group:${group}`),
      isSuper: false,
      expiresAtMs: ((payload.exp ?? 0) + clockToleranceSeconds) * 1000,
    }
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#verifying >= verifyingMax) {
      if (this.#waiting.length >= waitingMax) {
        const message = `authentication: found ${waitingMax} tokens waiting to be verified, wanted fewer; try again later`
        throw new PlayheadError('overloaded', message, { limit: waitingMax })
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    } else this.#verifying++
    try {
      return await work()
    } finally {
      // Its place goes to the next, or is free.
      const next = this.#waiting.shift()
      if (next === undefined) this.#verifying--
      else next()
    }
  }
}

function refusalOf(error: unknown): PlayheadError {
  if (!(error instanceof errors.JOSEError)) {
    const why = error instanceof Error ? error.message : String(error)
    return new PlayheadError(
      'unavailable',
      `identity provider: found ${why} instead of its keys, wanted them; try again`,
    )
  }
  if (error instanceof errors.JWKSTimeout)
    return new PlayheadError('unavailable', 'identity provider: found no answer to the request for its keys; try again')
  return refused(error.code, error instanceof errors.JWTExpired ? 'expired' : 'unknown')
}

/** Which check failed is for the token's owner to know; the token itself is in no message. */
function refused(what: string, reason: SignInReason = 'unknown'): PlayheadError {
  const message = `identity token: found ${what}, wanted a valid one of our provider`
  return new PlayheadError('unauthenticated', message, { reason })
}
