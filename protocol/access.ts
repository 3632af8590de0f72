/**
 * Requests about who may do what: authentication on a connection, users, tokens, grants and quotas. Passwords never travel: `putUser` carries the
 * salted verifier that the client has made of one, `authenticate` the messages of SCRAM-SHA-256. A token's text is in exactly one reply.
 */
import { bool, int, list, oneOf, optional, struct, text } from './header-schema.ts'
import type { ValueOf } from './header-schema.ts'
import { iterationsMax, iterationsMin } from './scram.ts'
import { operations } from './rights.ts'

/** Longer than a valid name, so that a bad one is refused by its own error. */
const name = text(512)
const verifierKey = text(128)
/** Of all kinds, in one broker. */
const entriesMax = 100_000
const grantsPerPrincipalMax = 1_000

const grant = struct({
  operation: oneOf(...operations),
  /** `cluster`, `topic:NAME`, `stream:TOPIC/NAME` or `playhead:TOPIC/NAME`; `*` at the end = all names that begin so. */
  pattern: text(2048),
})

export const authenticateRequest = struct({
  /** `SCRAM-SHA-256`, or `BEARER` for a token; between brokers `CLUSTER-SCRAM-SHA-256`. */
  mechanism: text(64),
  /** The next message of the exchange; of BEARER, the token. */
  message: text(16 * 1024),
})
export const authenticateReply = struct({
  /** What the exchange goes on with; the signature of the broker in its last reply. */
  message: text(1024),
  /** The connection is the principal's from here on. */
  done: bool,
  /** Who that is; empty until it is done. */
  principal: text(1024),
})

export const whoAmIRequest = struct({})
export const whoAmIReply = struct({
  /** `user:alice`, `token …`, `certificate:CN`, `oidc:SUBJECT`; `anonymous` while security is off. */
  principal: text(1024),
  /** Whether rights are checked at all. */
  security: bool,
  /** What the principal may do by itself, whatever a token's scope leaves of it. */
  grants: list(grant, entriesMax),
})

export const putUserRequest = struct({
  user: name,
  /** False = it must not exist yet. */
  replace: bool,
  /** What the client has made of the password, in base64. */
  salt: verifierKey,
  iterations: int(iterationsMin, iterationsMax),
  storedKey: verifierKey,
  serverKey: verifierKey,
})
export const putUserReply = struct({})

export const deleteUserRequest = struct({ user: name })
export const deleteUserReply = struct({})

export const createTokenRequest = struct({
  /** Whose rights it has; empty = of who asks. */
  principal: name,
  /** What for, in words. */
  description: text(512),
  /** What of the principal's rights it has at most; empty = all of them. */
  scope: list(grant, grantsPerPrincipalMax),
  /** From now; 0 = it does not expire. */
  lifetimeMs: int(),
})
export const createTokenReply = struct({
  tokenId: text(64),
  /** The secret: said here and never again. */
  token: text(256),
  /** ms since the epoch; 0 = never. */
  expiresAtMs: int(),
})

export const revokeTokenRequest = struct({ tokenId: text(64) })
export const revokeTokenReply = struct({})

export const changeGrantsRequest = struct({
  /** `user:NAME`, `certificate:CN`, `oidc:SUBJECT` or `group:NAME`. */
  principal: name,
  add: list(grant, grantsPerPrincipalMax),
  remove: list(grant, grantsPerPrincipalMax),
})
export const changeGrantsReply = struct({})

const quota = struct({
  /** 0 = no limit. */
  requestsPerSecond: int(),
  inBytesPerSecond: int(),
  outBytesPerSecond: int(),
  connections: int(),
})
export const setQuotaRequest = struct({ principal: name, quota: optional(quota) })
export const setQuotaReply = struct({})
export type Quota = ValueOf<typeof quota>

export const listAccessRequest = struct({})
export const listAccessReply = struct({
  users: list(struct({ user: name, changedAtMs: int() }), entriesMax),
  tokens: list(
    struct({
      tokenId: text(64),
      principal: name,
      description: text(512),
      scope: list(grant, grantsPerPrincipalMax),
      createdAtMs: int(),
      /** 0 = never. */
      expiresAtMs: int(),
      /** Since the broker started; 0 = not yet. */
      lastUsedAtMs: int(),
    }),
    entriesMax,
  ),
  grants: list(struct({ principal: name, grants: list(grant, grantsPerPrincipalMax) }), entriesMax),
  quotas: list(struct({ principal: name, quota }), entriesMax),
})
