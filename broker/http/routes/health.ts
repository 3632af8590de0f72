/** /healthz: the process lives. /readyz: it serves; damage that it serves around is named, but does not make it unready. */
import type { FastifyInstance } from 'fastify'
import { cluster } from '../../../protocol/rights.ts'
import type { Services } from '../../request.ts'

export function healthRoutes(server: FastifyInstance, services: Services, stopping: () => boolean): void {
  server.get('/healthz', { config: { open: true } }, async () => ({ status: 'ok' }))
  server.get('/readyz', { config: { open: true } }, async (request, reply) => {
    const ready = !stopping()
    if (!ready) void reply.code(503)
    // What is damaged is told with the names of topics: to those who may read the broker's status.
    const problems = request.session.may('read', cluster) ? services.problems() : []
    return { status: ready ? 'ready' : 'stopping', problems }
  })
}
