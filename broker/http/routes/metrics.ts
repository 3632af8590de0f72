/** /metrics: for Prometheus. */
import type { FastifyInstance } from 'fastify'
import { cluster } from '../../../protocol/rights.ts'
import type { Metrics } from '../../metrics.ts'
import type { Session } from '../../security/session.ts'

export function metricsRoutes(server: FastifyInstance, metrics: Metrics): void {
  const rights = (session: Session): void => session.require('read', cluster)
  server.get('/metrics', { config: { rights } }, async (_request, reply) =>
    reply.type(metrics.contentType).send(await metrics.text()),
  )
}
