/** /api/topics/{topic}/partitions/{partition}/events: a partition page by page, in the order of its offsets. Calls Partition. */
import { topicResource } from '../../../protocol/rights.ts'
import type { Services } from '../../request.ts'
import { sees } from '../../handlers/fetch.ts'
import { readEventPage } from '../event-page.ts'
import { startOffset } from '../read-start.ts'
import type { RouteRights } from '../guard.ts'
import type { HttpRoutes } from '../http-routes.ts'
import * as schemas from '../schemas.ts'

const limitDefault = 1_000

const rights: RouteRights = (session, { params }) =>
  session.require('read', topicResource((params as { readonly topic: string }).topic))

export function replayRoutes(server: HttpRoutes, services: Services): void {
  const schema = {
    summary: 'Replay a partition page by page',
    params: schemas.partitionPath,
    querystring: schemas.replayQuery,
    response: { 200: schemas.replayAnswer, '4xx': schemas.problem },
  }
  server.get(
    '/api/topics/:topic/partitions/:partition/events',
    { schema, config: { rights } },
    async ({ params, query }) => {
      const partition = services.partitions.get(params.topic, params.partition)
      const { from, limit = limitDefault, consistency } = query
      await sees(partition, consistency)
      const offset = await startOffset(partition, from)
      const page = await readEventPage(partition, { offset, eventsMax: limit, bytesMax: services.config.fetchBytesMax })
      return { ...page, logStartOffset: partition.log.logStartOffset }
    },
  )
}
