/**
 * /api/whoami: who a request is taken for, and what that principal may do; the console asks it to sign somebody in. /api/principals: everybody there is, for
 * administrators.
 */
import type { Static } from 'typebox'
import { formatTime } from '../../../protocol/time.ts'
import type { Services } from '../../request.ts'
import { principalsPage } from '../../security/principals-page.ts'
import type { ListedPrincipal } from '../../security/principals-page.ts'
import { requestRights } from '../../security/request-rights.ts'
import type { Session } from '../../security/session.ts'
import type { HttpRoutes } from '../http-routes.ts'
import * as schemas from '../schemas.ts'

const principalsDefault = 100

export function accessRoutes(server: HttpRoutes, services: Services): void {
  whoAmIRoute(server, services)
  principalsRoute(server, services)
}

function whoAmIRoute(server: HttpRoutes, { security }: Services): void {
  const schema = { summary: 'Who I am', response: { 200: schemas.whoAmIAnswer, '4xx': schemas.problem } }
  const rights = (session: Session): void => requestRights.whoAmI(session, {})
  server.get('/api/whoami', { schema, config: { rights } }, async ({ session }, reply) => {
    void reply.header('cache-control', 'no-store')
    const { principal, grants } = session
    const answer: Static<typeof schemas.whoAmIAnswer> = {
      principal: principal?.name ?? session.name,
      security: security.isOn,
      mayEverything: !security.isOn || principal?.isSuper === true,
      grants,
      groups: [...(principal?.groups ?? [])],
    }
    if (principal?.tokenId !== undefined) {
      answer.tokenId = principal.tokenId
      const scope = security.facts.tokens.get(principal.tokenId)?.scope ?? []
      if (scope.length > 0) answer.scope = [...scope]
    }
    if (principal !== undefined && principal.expiresAtMs < Infinity)
      answer.expiresAt = formatTime(principal.expiresAtMs)
    return answer
  })
}

function principalsRoute(server: HttpRoutes, { security }: Services): void {
  const schema = {
    summary: 'Who there is, and what each may: a page of them, in the order of their names',
    querystring: schemas.listPrincipalsQuery,
    response: { 200: schemas.listPrincipalsAnswer, '4xx': schemas.problem },
  }
  const rights = (session: Session): void => requestRights.listAccess(session, {})
  server.get('/api/principals', { schema, config: { rights } }, async ({ query }, reply) => {
    void reply.header('cache-control', 'no-store')
    const { lastUsedAtMs } = security.authentication
    const { principals, more } = principalsPage(security.facts, query.after ?? '', query.limit ?? principalsDefault)
    return { principals: principals.map((each) => listed(each, lastUsedAtMs)), more }
  })
}

type PrincipalAnswer = Static<typeof schemas.listPrincipalsAnswer>['principals'][number]

function listed(found: ListedPrincipal, lastUsedAtMs: ReadonlyMap<string, number>): PrincipalAnswer {
  const { principal, changedAtMs, grants, tokens, tokenCount, quota } = found
  return {
    principal,
    ...(changedAtMs !== undefined && { changedAt: formatTime(changedAtMs) }),
    grants: [...grants],
    tokens: tokens.map(({ tokenId, description, scope, createdAtMs, expiresAtMs }) => {
      const usedAtMs = lastUsedAtMs.get(tokenId)
      return {
        tokenId,
        description,
        scope: [...scope],
        createdAt: formatTime(createdAtMs),
        ...(expiresAtMs !== 0 && { expiresAt: formatTime(expiresAtMs) }),
        ...(usedAtMs !== undefined && { lastUsedAt: formatTime(usedAtMs) }),
      }
    }),
    tokenCount,
    ...(quota !== undefined && { quota: { ...quota } }),
  }
}
