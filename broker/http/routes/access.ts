/** /api/whoami: who a request is taken for, and what that principal may do; the console asks it to sign somebody in. */
import type { Static } from 'typebox'
import { formatTime } from '../../../protocol/time.ts'
import type { Services } from '../../request.ts'
import { requestRights } from '../../security/request-rights.ts'
import type { Session } from '../../security/session.ts'
import type { HttpRoutes } from '../http-routes.ts'
import * as schemas from '../schemas.ts'

export function accessRoutes(server: HttpRoutes, { security }: Services): void {
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
