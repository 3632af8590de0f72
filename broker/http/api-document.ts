/** The OpenAPI document of the HTTP interface, made from the schemas that requests are checked with; console/api.html shows it. */
import swagger from '@fastify/swagger'
import type { FastifyInstance } from 'fastify'
import { release } from '../release.ts'

export async function describeApi(server: FastifyInstance): Promise<void> {
  await server.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Playhead',
        version: release,
        description:
          'The HTTP interface of a broker: docs/http.md says what the fields mean, docs/protocol.md what the error codes do.',
      },
    },
  })
  server.get('/api/openapi.json', { schema: { summary: 'This document' }, config: { open: true } }, async () =>
    server.swagger(),
  )
}
