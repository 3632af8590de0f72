/**
 * Requests about access: who is on this connection, users, tokens, grants, quotas. Every change is durable and audited before it is answered. Calls
 * Security.
 */
import type { RequestOf } from '../../protocol/api.ts'
import { PlayheadError } from '../../protocol/errors.ts'
import { checkUserName } from '../../protocol/names.ts'
import { checkPattern, cluster } from '../../protocol/rights.ts'
import type { Grant } from '../../protocol/rights.ts'
import { clusterMechanism, SALT_BYTES } from '../../protocol/scram.ts'
import type { Handler, RequestContext } from '../request.ts'
import type { AccessEvent, AccessFacts } from '../security/access-facts.ts'
import { tokenHash } from '../security/access-facts.ts'
import { isGrantee, userPrincipal } from '../security/principal.ts'
import type { Session } from '../security/session.ts'

const tokenBytes = 32
/** In hexadecimal: what begins with a dash would be an option on a command line. */
const tokenIdBytes = 8
/** So that a token found in a log or a repository is known for what it is. */
const tokenBeginning = 'ph_'
const keyBytes = 32
/** Of all kinds together; they are all in memory. */
const entriesMax = 100_000
const grantsPerPrincipalMax = 1_000

export const authenticate: Handler<'authenticate'> = async ({ mechanism, message }, { services, session }) => {
  if (mechanism === clusterMechanism) return { header: services.security.proveBroker(session, message) }
  const { authentication } = services.security
  if (mechanism === 'BEARER') {
    session.become(await authentication.bearer(message, session.address))
    return { header: { message: '', done: true, principal: session.name } }
  }
  if (mechanism !== 'SCRAM-SHA-256')
    throw new PlayheadError(
      'unauthenticated',
      `authenticate: found mechanism ${JSON.stringify(mechanism)}, wanted SCRAM-SHA-256 or BEARER`,
    )
  const begun = session.scram
  if (begun === undefined) {
    session.scram = authentication.beginScram(message, session.address)
    return { header: { message: session.scram.reply, done: false, principal: '' } }
  }
  session.scram = undefined // one proof for one nonce
  const { principal, reply } = authentication.endScram(begun, message, session.address)
  session.become(principal)
  return { header: { message: reply, done: true, principal: session.name } }
}

export const whoAmI: Handler<'whoAmI'> = async (_request, { services, session }) => ({
  header: { principal: session.name, security: services.security.isOn, grants: session.grants },
})

/** A change that only administrators may decide. Asked where it is decided: what was asked when the request came may have been taken by a change before it. */
function administer(
  { services, session }: RequestContext,
  stream: string,
  decide: (facts: AccessFacts) => AccessEvent,
): Promise<void> {
  return services.security.store.change(stream, (facts) => {
    session.require('admin', cluster)
    return decide(facts)
  })
}

export const putUser: Handler<'putUser'> = async (request, context) => {
  const { user, replace, salt, iterations, storedKey, serverKey } = request
  checkUserName(user)
  checkVerifier(request)
  await administer(context, `user/${user}`, (facts) => {
    if (!replace && facts.users.has(user))
      throw new PlayheadError(
        'userExists',
        `user ${user}: found one of that name, wanted a new one; choose another name`,
      )
    if (!facts.users.has(user)) checkRoom(facts)
    return { type: 'UserPut', data: { user, salt, iterations, storedKey, serverKey } }
  })
  context.session.did(replace ? 'changePassword' : 'createUser', userPrincipal(user))
  return { header: {} }
}

export const deleteUser: Handler<'deleteUser'> = async ({ user }, context) => {
  await administer(context, `user/${user}`, (facts) => {
    if (!facts.users.has(user)) throw unknownUser(user)
    return { type: 'UserDeleted', data: { user } }
  })
  context.session.did('deleteUser', userPrincipal(user))
  return { header: {} }
}

export const createToken: Handler<'createToken'> = async (request, { services, session }) => {
  const { security, random, clock } = services
  const { description, scope, lifetimeMs } = request
  const asker = session.principal
  const { store } = security // refuses while security is off
  const principal = request.principal === '' ? (asker?.name ?? '') : request.principal
  checkMayMakeToken(session, principal)
  for (const { pattern } of scope) checkPattern(pattern)
  const token = `${tokenBeginning}${random.bytes(tokenBytes).toString('base64url')}`
  const tokenId = random.bytes(tokenIdBytes).toString('hex')
  const createdAtMs = clock.now()
  const expiresAtMs = lifetimeMs === 0 ? 0 : createdAtMs + lifetimeMs
  const groups = principal === asker?.name ? asker.groups : []
  await store.change(`token/${tokenId}`, (facts) => {
    session.requirePrincipal()
    checkMayMakeToken(session, principal)
    checkRoom(facts)
    if (principal.startsWith(userPrincipal('')) && !facts.users.has(principal.slice(userPrincipal('').length)))
      throw unknownUser(principal)
    const hash = tokenHash(token)
    const data = { tokenId, hash, principal, groups, description, scope, createdAtMs, expiresAtMs }
    return { type: 'TokenCreated', data }
  })
  session.did('createToken', `${principal} (token ${tokenId})`)
  return { header: { tokenId, token, expiresAtMs } }
}

export const revokeToken: Handler<'revokeToken'> = async ({ tokenId }, { services, session }) => {
  await services.security.store.change(`token/${tokenId}`, (facts) => {
    const token = facts.tokens.get(tokenId)
    // Whose it is, is for him and for administrators to know.
    if (token === undefined || token.principal !== session.principal?.name) session.require('admin', cluster)
    if (token === undefined)
      throw new PlayheadError(
        'unknownToken',
        `token ${tokenId}: found no token of that id, wanted one that playhead token list shows`,
      )
    return { type: 'TokenRevoked', data: { tokenId } }
  })
  session.did('revokeToken', tokenId)
  return { header: {} }
}

export const changeGrants: Handler<'changeGrants'> = async ({ principal, add, remove }, context) => {
  checkGrantee(principal)
  for (const { pattern } of add) checkPattern(pattern)
  await administer(context, `grants/${principal}`, (facts) => {
    if (!facts.grants.has(principal)) checkRoom(facts)
    const grants = changed(facts.grants.get(principal) ?? [], add, remove)
    if (grants.length > grantsPerPrincipalMax)
      throw new PlayheadError(
        'invalidGrant',
        `${principal}: found ${grants.length} grants, wanted at most ${grantsPerPrincipalMax}; use patterns that end in *`,
      )
    return { type: 'GrantsSet', data: { principal, grants } }
  })
  for (const { operation, pattern } of add) context.session.did('grant', `${principal} ${operation} ${pattern}`)
  for (const { operation, pattern } of remove)
    context.session.did('revokeGrant', `${principal} ${operation} ${pattern}`)
  return { header: {} }
}

export const setQuota: Handler<'setQuota'> = async ({ principal, quota }, context) => {
  checkGrantee(principal)
  await administer(context, `quota/${principal}`, (facts) => {
    if (!facts.quotas.has(principal)) checkRoom(facts)
    return { type: 'QuotaSet', data: { principal, quota: quota ?? null } }
  })
  context.session.did('setQuota', principal)
  return { header: {} }
}

export const listAccess: Handler<'listAccess'> = async (_request, { services, reply }) => {
  const { facts, authentication } = services.security
  await reply.reserve(services.config.fetchBytesMax)
  return {
    header: {
      users: [...facts.users.values()].map(({ user, changedAtMs }) => ({ user, changedAtMs })),
      tokens: [...facts.tokens.values()].map((token) => ({
        tokenId: token.tokenId,
        principal: token.principal,
        description: token.description,
        scope: [...token.scope],
        createdAtMs: token.createdAtMs,
        expiresAtMs: token.expiresAtMs,
        lastUsedAtMs: authentication.lastUsedAtMs.get(token.tokenId) ?? 0,
      })),
      grants: [...facts.grants].map(([principal, grants]) => ({ principal, grants: [...grants] })),
      quotas: [...facts.quotas].map(([principal, quota]) => ({ principal, quota })),
    },
  }
}

/** For oneself everybody may, unless he himself came with a token: a token makes no tokens. For others, administrators. */
function checkMayMakeToken(session: Session, principal: string): void {
  const asker = session.principal
  const own = asker !== undefined && asker.tokenId === undefined && principal === asker.name
  if (own) return
  session.require('admin', cluster)
  if (principal !== asker?.name || !asker.isSuper) checkGrantee(principal)
}

function checkVerifier({ salt, storedKey, serverKey }: RequestOf<'putUser'>): void {
  const bytes = (text: string): number => Buffer.from(text, 'base64').length
  if (bytes(salt) >= SALT_BYTES && bytes(storedKey) === keyBytes && bytes(serverKey) === keyBytes) return
  throw new PlayheadError(
    'invalidArgument',
    `putUser: found salt and keys of ${bytes(salt)}, ${bytes(storedKey)} and ${bytes(serverKey)} bytes, wanted ${SALT_BYTES} or more, ${keyBytes} and ${keyBytes}`,
  )
}

function checkGrantee(principal: string): void {
  if (isGrantee(principal)) return
  throw new PlayheadError(
    'invalidUserName',
    `principal: found ${JSON.stringify(principal.slice(0, 200))}, wanted user:NAME, certificate:COMMON-NAME, oidc:SUBJECT or group:NAME`,
  )
}

function checkRoom({ users, tokens, grants, quotas }: AccessFacts): void {
  const count = users.size + tokens.size + grants.size + quotas.size
  if (count < entriesMax) return
  throw new PlayheadError(
    'overloaded',
    `access: found ${count} users, tokens, grants and quotas, wanted fewer than ${entriesMax}; delete some`,
    { limit: entriesMax },
  )
}

function changed(grants: readonly Grant[], add: readonly Grant[], remove: readonly Grant[]): Grant[] {
  const key = ({ operation, pattern }: Grant): string => `${operation} ${pattern}`
  const left = new Map(grants.map((grant) => [key(grant), grant]))
  for (const grant of remove) left.delete(key(grant))
  for (const grant of add) left.set(key(grant), grant)
  return [...left.values()]
}

function unknownUser(user: string): PlayheadError {
  return new PlayheadError(
    'unknownUser',
    `user ${user}: found no user of that name, wanted one; playhead user list shows them`,
  )
}
