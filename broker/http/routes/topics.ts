/** /api/topics…: create, list, describe, alter and delete topics, and their named playheads: the native handlers over HTTP. */
import { Type } from 'typebox'
import { formatTime } from '../../../protocol/time.ts'
import { listPlayheads } from '../../handlers/playhead.ts'
import { alterTopic, createTopic, deleteTopic, describeTopic, listTopics } from '../../handlers/topic.ts'
import type { Services } from '../../request.ts'
import { nativeCall } from '../native-call.ts'
import type { HttpRoutes } from '../http-routes.ts'
import * as schemas from '../schemas.ts'

const path = '/api/topics/:topic'
const refusals = { '4xx': schemas.problem }
const done = { 204: Type.Null() }

export function topicRoutes(server: HttpRoutes, services: Services): void {
  const listed = { querystring: schemas.listTopicsQuery, response: { 200: schemas.listTopicsAnswer } }
  server.get('/api/topics', { schema: { summary: 'List topics', ...listed } }, async ({ query, signal }) => {
    const request = { internal: query.internal ?? false }
    return (await listTopics(request, nativeCall(services, signal))).header
  })
  const created = { body: schemas.newTopic, response: { 201: schemas.topicCreated, ...refusals } }
  server.post('/api/topics', { schema: { summary: 'Create a topic', ...created } }, async ({ body, signal }, reply) => {
    const { topic, partitions = 0, replicationFactor = 0, settings = {} } = body
    const rows = Object.entries(settings).map(([name, value]) => ({ name, value }))
    const request = { topic, partitions, replicationFactor, settings: rows }
    const { header } = await createTopic(request, nativeCall(services, signal))
    return reply.code(201).send({ topic, ...header })
  })
  const described = { params: schemas.topicPath, response: { 200: schemas.topicDescribed, ...refusals } }
  server.get(path, { schema: { summary: 'Describe a topic', ...described } }, async ({ params, signal }) => {
    return (await describeTopic(params, nativeCall(services, signal))).header
  })
  const altered = { params: schemas.topicPath, body: schemas.topicChanges, response: { ...done, ...refusals } }
  server.patch(path, { schema: { summary: 'Alter settings', ...altered } }, async ({ params, body, signal }, reply) => {
    const settings = Object.entries(body.settings).map(([name, value]) => ({ name, value: value ?? undefined }))
    await alterTopic({ topic: params.topic, settings }, nativeCall(services, signal))
    return reply.code(204).send(null)
  })
  const deleted = { params: schemas.topicPath, response: { ...done, ...refusals } }
  const summary = 'Delete a topic and all that is in it'
  server.delete(path, { schema: { summary, ...deleted } }, async ({ params, signal }, reply) => {
    await deleteTopic(params, nativeCall(services, signal))
    return reply.code(204).send(null)
  })
  playheadRoutes(server, services)
}

function playheadRoutes(server: HttpRoutes, services: Services): void {
  const summary = 'List the named playheads of a topic, and how far each is behind'
  const schema = { summary, params: schemas.topicPath, response: { 200: schemas.playheadsAnswer, ...refusals } }
  server.get(`${path}/playheads`, { schema }, async ({ params, signal }) => {
    const { topic } = params
    const { header } = await listPlayheads({ topic }, nativeCall(services, signal))
    const playheads = header.playheads.map(({ name, positions, committedAtMs }) => ({
      name,
      committedAt: formatTime(committedAtMs),
      positions: positions.map(({ partition, offset }) => {
        const { highWatermark } = services.partitions.get(topic, partition)
        return { partition, offset, lag: Math.max(0, highWatermark - offset) }
      }),
    }))
    return { playheads }
  })
}
