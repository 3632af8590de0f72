/**
 * What each request of the native protocol takes to be allowed, one row per api: a new api without a row here does not compile. Asked before
 * the handler, and again before the reply when rights have changed meanwhile: a fetch that waits does not answer what was taken from it.
 * Where a request names many things (the streams of an append, the topics of a list) the row asks for the least, and the handler for each.
 * Called by dispatch.ts.
 */
import type { ApiName, RequestOf } from '../../protocol/api.ts'
import { cluster, playheadResource, streamResource, topicResource } from '../../protocol/rights.ts'
import type { Session } from './session.ts'

type Ask<A extends ApiName> = (session: Session, request: RequestOf<A>) => void

const free = (): void => {}
const known = (session: Session): void => session.requirePrincipal()
const administersAccess = (session: Session): void => session.require('admin', cluster)

export const requestRights: { readonly [A in ApiName]: Ask<A> } = {
  hello: free,
  authenticate: free,
  whoAmI: known,
  createTopic: (session, { topic }) => session.require('create', topicResource(topic)),
  listTopics: known,
  describeTopic: (session, { topic }) => session.requireSight(topic),
  alterTopic: (session, { topic }) => session.require('admin', topicResource(topic)),
  deleteTopic: (session, { topic }) => session.require('admin', topicResource(topic)),
  deleteRecords: (session, { topic }) => session.require('admin', topicResource(topic)),
  limitStream: (session, { topic, stream }) => session.require('admin', streamResource(topic, stream)),
  streamLimit: (session, { topic, stream }) => session.require('read', streamResource(topic, stream)),
  append: (session, { topic }) => session.requireSome('append', topic),
  producerState: (session, { topic }) => session.requireSome('append', topic),
  fetch: (session, { topic }) => session.require('read', topicResource(topic)),
  listOffsets: (session, { topic }) => session.require('read', topicResource(topic)),
  readStream: (session, { topic, stream }) => session.require('read', streamResource(topic, stream)),
  streamInfo: (session, { topic, stream }) => session.require('read', streamResource(topic, stream)),
  listStreams: (session, { topic, prefix }) => session.require('read', { kind: 'streams', topic, prefix }),
  commitPlayhead: (session, { topic, name }) => session.require('append', playheadResource(topic, name)),
  readPlayhead: (session, { topic, name }) => session.require('read', playheadResource(topic, name)),
  listPlayheads: (session, { topic }) => session.requireSome('read', topic),
  // What is replicated is all there is: not even who may do everything reads it so.
  replicaFetch: (session) => session.requireBroker(),
  replicaProgress: (session) => session.requireBroker(),
  replicaSnapshot: (session) => session.requireBroker(),
  replicaFile: (session) => session.requireBroker(),
  status: (session) => session.require('read', cluster),
  clusterStatus: (session) => session.require('read', cluster),
  throttleCopying: (session) => session.require('admin', cluster),
  reassignPartition: (session) => session.require('admin', cluster),
  drainBroker: (session) => session.require('admin', cluster),
  recoverPartition: (session) => session.require('admin', cluster),
  putUser: administersAccess,
  deleteUser: administersAccess,
  // For oneself: the handler looks whose token it is.
  createToken: known,
  revokeToken: known,
  changeGrants: administersAccess,
  setQuota: administersAccess,
  listAccess: administersAccess,
}
