/** /api/topics…: create, list, describe, alter and delete topics, and their named playheads: the native handlers over HTTP. */
import type { FastifyRequest } from 'fastify'
import { formatTime } from '../../../protocol/time.ts'
import { listPlayheads } from '../../handlers/playhead.ts'
import { alterTopic, createTopic, deleteTopic, describeTopic, listTopics } from '../../handlers/topic.ts'
import type { Services } from '../../request.ts'
import { requestRights } from '../../security/request-rights.ts'
import { asNative } from '../guard.ts'
import type { RouteRights } from '../guard.ts'
import { nativeCall } from '../native-call.ts'
import type { HttpRoutes } from '../http-routes.ts'
import * as schemas from '../schemas.ts'
import { Type } from '../schema.ts'

const path = '/api/topics/:topic'
const refusals = { '4xx': schemas.problem }
const done = { 204: Type.Null() }

const topicOf = ({ params }: FastifyRequest) => (params as { readonly topic: string }).topic
/** What it takes to create a topic is asked when its name, which is in the body, is there. */
const known: RouteRights = (session) => session.requirePrincipal()
const toDescribe = asNative('describeTopic', (request) => ({ topic: topicOf(request) }))
const toAlter = asNative('alterTopic', (request) => ({ topic: topicOf(request), settings: [] }))
const toDelete = asNative('deleteTopic', (request) => ({ topic: topicOf(request) }))
const toListPlayheads = asNative('listPlayheads', (request) => ({ topic: topicOf(request) }))

export function topicRoutes(server: HttpRoutes, services: Services): void {
  const listed = { querystring: schemas.listTopicsQuery, response: { 200: schemas.listTopicsAnswer } }
  server.get(
    '/api/topics',
    { schema: { summary: 'List topics', ...listed }, config: { rights: known } },
    async (call) => {
      const { query } = call
      const request = { internal: query.internal ?? false }
      return (await listTopics(request, nativeCall(services, call))).header
    },
  )
  const created = { body: schemas.newTopic, response: { 201: schemas.topicCreated, ...refusals } }
  server.post(
    '/api/topics',
    { schema: { summary: 'Create a topic', ...created }, config: { rights: known } },
    async (call, reply) => {
      const { body } = call
      const { topic, partitions = 0, replicationFactor = 0, settings = {} } = body
      const rows = Object.entries(settings).map(([name, value]) => ({ name, value }))
      const request = { topic, partitions, replicationFactor, settings: rows }
      requestRights.createTopic(call.session, request)
      const { header } = await createTopic(request, nativeCall(services, call))
      return reply.code(201).send({ topic, ...header })
    },
  )
  const described = { params: schemas.topicPath, response: { 200: schemas.topicDescribed, ...refusals } }
  server.get(
    path,
    { schema: { summary: 'Describe a topic', ...described }, config: { rights: toDescribe } },
    async (call) => {
      const { params } = call
      return (await describeTopic(params, nativeCall(services, call))).header
    },
  )
  const altered = { params: schemas.topicPath, body: schemas.topicChanges, response: { ...done, ...refusals } }
  server.patch(
    path,
    { schema: { summary: 'Alter settings', ...altered }, config: { rights: toAlter } },
    async (call, reply) => {
      const { params, body } = call
      const settings = Object.entries(body.settings).map(([name, value]) => ({ name, value: value ?? undefined }))
      await alterTopic({ topic: params.topic, settings }, nativeCall(services, call))
      return reply.code(204).send(null)
    },
  )
  const deleted = { params: schemas.topicPath, response: { ...done, ...refusals } }
  const summary = 'Delete a topic and all that is in it'
  server.delete(path, { schema: { summary, ...deleted }, config: { rights: toDelete } }, async (call, reply) => {
    const { params } = call
    await deleteTopic(params, nativeCall(services, call))
    return reply.code(204).send(null)
  })
  playheadRoutes(server, services)
}

function playheadRoutes(server: HttpRoutes, services: Services): void {
  const summary = 'List the named playheads of a topic, and how far each is behind'
  const schema = { summary, params: schemas.topicPath, response: { 200: schemas.playheadsAnswer, ...refusals } }
  server.get(`${path}/playheads`, { schema, config: { rights: toListPlayheads } }, async (call) => {
    const { params } = call
    const { topic } = params
    const { header } = await listPlayheads({ topic }, nativeCall(services, call))
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
