/**
 * NativeCall: a request of the HTTP port as the handlers of the native protocol take one, so that both ports make the same calls. Memory for the
 * answer is counted by HttpMemory before the route is reached, so there is always room here.
 */
import type { FastifyRequest } from 'fastify'
import type { ReplyRoom, RequestContext, Services } from '../request.ts'

const roomy: ReplyRoom = {
  reservedBytes: 0,
  reserve: () => undefined,
  tryReserve: () => true,
  release: () => undefined,
}
const noBody = Buffer.alloc(0)

export function nativeCall(
  services: Services,
  { signal, session }: Pick<FastifyRequest, 'signal' | 'session'>,
): RequestContext {
  return { services, session, signal, body: noBody, reply: roomy }
}
