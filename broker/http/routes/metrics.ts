/** /metrics: for Prometheus. */
import type { FastifyInstance } from 'fastify'
import type { Metrics } from '../../metrics.ts'

export function metricsRoutes(server: FastifyInstance, metrics: Metrics): void {
  server.get('/metrics', async (_request, reply) => reply.type(metrics.contentType).send(await metrics.text()))
}
