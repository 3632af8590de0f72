/**
 * Principal: who a request on the HTTP port is from. The one place where that is determined: `onRequest` runs before anything of a request is
 * looked at, and leaves the `principal` on the request. Until there are users everybody is anonymous and may do everything. Called by HttpServer.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { PlayheadError } from '../../protocol/errors.ts'

interface Principal {
  readonly name: string
}

const anonymous: Principal = { name: 'anonymous' }
const readingMethods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS'])

export function determinePrincipals(server: FastifyInstance): void {
  server.decorateRequest('principal')
  server.addHook('onRequest', (request, _reply, done) => {
    request.setDecorator('principal', anonymous)
    done(refusalOfForeignPage(request))
  })
}

/** Without a word about who they are; while this is so, plain appends take the quick lane, which looks at no credentials. */
export function everybodyMayAppend(): boolean {
  return true
}

/** A page of another site must not write with the rights of whoever looks at it. Browsers say where a request is from; programs do not. */
function refusalOfForeignPage({ method, headers }: FastifyRequest): PlayheadError | undefined {
  const site = headers['sec-fetch-site']
  if (readingMethods.has(method) || site === undefined || site === 'same-origin' || site === 'none') return undefined
  const message = `request: found Sec-Fetch-Site ${JSON.stringify(site)}, wanted a page of this broker's own; other pages may not write`
  return new PlayheadError('invalidArgument', message)
}
