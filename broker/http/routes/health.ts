/** /healthz: the process lives. /readyz: it serves; damage that it serves around is named, but does not make it unready. */
import type { FastifyInstance } from 'fastify'
import type { Services } from '../../request.ts'

export function healthRoutes(server: FastifyInstance, services: Services, stopping: () => boolean): void {
  server.get('/healthz', async () => ({ status: 'ok' }))
  server.get('/readyz', async (_request, reply) => {
    const ready = !stopping()
    if (!ready) void reply.code(503)
    return { status: ready ? 'ready' : 'stopping', problems: services.problems() }
  })
}
