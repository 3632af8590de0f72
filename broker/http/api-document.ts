/**
 * The OpenAPI document of the HTTP interface, made from the schemas that requests are checked with; console/api.html shows it. It is made when somebody
 * asks for it: what makes it is 3 MB of a broker's memory. Called by HttpServer.
 */
import type { FastifyInstance, RouteOptions } from 'fastify'
import { release } from '../release.ts'

const openapi = {
  openapi: '3.1.0',
  info: {
    title: 'Playhead',
    version: release,
    description:
      'The HTTP interface of a broker: docs/http.md says what the fields mean, docs/protocol.md what the error codes do.',
  },
}

/** Of the routes that are registered from now on. `make`: a server that is never opened. */
export function describeApi(server: FastifyInstance, make: () => FastifyInstance): void {
  const routes: RouteOptions[] = []
  server.addHook('onRoute', (route) => {
    routes.push(route)
  })
  let document: Promise<object> | undefined
  server.get(
    '/api/openapi.json',
    { schema: { summary: 'This document' }, config: { open: true } },
    () => (document ??= documentOf(routes, make())),
  )
}

async function documentOf(routes: readonly RouteOptions[], server: FastifyInstance): Promise<object> {
  const { default: swagger } = await import('@fastify/swagger')
  await server.register(swagger, { openapi })
  for (const { method, url, schema } of routes) {
    if (method !== 'HEAD') server.route({ method, url, handler: () => undefined, ...(schema && { schema }) })
  }
  await server.ready()
  return server.swagger()
}
