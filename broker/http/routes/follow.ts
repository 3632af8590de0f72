/**
 * /api/topics/{topic}/follow and …/streams/{stream}/follow: events as they are committed, as server-sent events. A reader that comes again with the
 * Last-Event-ID it saw goes on behind that event.
 */
import { PlayheadError } from '../../../protocol/errors.ts'
import { streamResource, topicResource } from '../../../protocol/rights.ts'
import type { Services } from '../../request.ts'
import { lastEventId } from '../follow/follow-feeds.ts'
import type { FollowFeeds } from '../follow/follow-feeds.ts'
import { StreamSource } from '../follow/stream-source.ts'
import { TopicSource } from '../follow/topic-source.ts'
import { endWithRights } from '../guard.ts'
import type { RouteRights } from '../guard.ts'
import type { HttpMemory } from '../memory.ts'
import type { HttpRoutes } from '../http-routes.ts'
import * as schemas from '../schemas.ts'

/** Their positions are in the id of every event. */
const partitionsAtOnceMax = 64
const replyBytesMax = 0

const toFollowTopic: RouteRights = (session, { params }) =>
  session.require('read', topicResource((params as { readonly topic: string }).topic))
const toFollowStream: RouteRights = (session, { params }) => {
  const { topic, stream } = params as { readonly topic: string; readonly stream: string }
  session.require('read', streamResource(topic, stream))
}

export function followRoutes(server: HttpRoutes, services: Services, feeds: FollowFeeds, memory: HttpMemory): void {
  const summary = 'Follow a topic: server-sent events'
  const topicSchema = { summary, params: schemas.topicPath, querystring: schemas.followTopicQuery }
  const topicOptions = { schema: topicSchema, config: { replyBytesMax, rights: toFollowTopic } }
  server.get('/api/topics/:topic/follow', topicOptions, (request, reply) => {
    const { params, query } = request
    const source = topicSource(services, params.topic, query.partition)
    const cursor = source.cursorOf(lastEventId(request) ?? query.from ?? 'end')
    feeds.follow(`topic ${source.key}`, source, cursor, reply)
    endWithRights(request, reply, services)
    memory.leave(request.raw)
  })
  const streamSchema = {
    summary: 'Follow a stream: server-sent events',
    params: schemas.streamPath,
    querystring: schemas.followStreamQuery,
  }
  const streamOptions = { schema: streamSchema, config: { replyBytesMax, rights: toFollowStream } }
  server.get('/api/topics/:topic/streams/:stream/follow', streamOptions, (request, reply) => {
    const { topic, stream } = request.params
    const partition = services.partitions.ofStream(topic, stream)
    const source = new StreamSource(partition, stream, services.limitedStreams)
    const seen = lastEventId(request)
    const cursor = seen === undefined ? source.cursorOf(request.query.from ?? 'end') : source.cursorBehind(seen)
    feeds.follow(`stream ${partition.topicId}/${stream}`, source, cursor, reply)
    endWithRights(request, reply, services)
    memory.leave(request.raw)
  })
}

function topicSource(services: Services, topic: string, only: number | undefined): TopicSource {
  if (only !== undefined) {
    const partition = services.partitions.get(topic, only)
    return new TopicSource(`${topic}/${only}`, `${partition.topicId}/${only}`, [partition])
  }
  const { partitions, topic: found } = services.partitions.topic(topic)
  if (partitions.length <= partitionsAtOnceMax) return new TopicSource(topic, found.id, partitions)
  const message = `follow ${topic}: found ${partitions.length} partitions, wanted at most ${partitionsAtOnceMax} at once; name one with partition=`
  throw new PlayheadError('invalidArgument', message, { partitions: partitions.length })
}
