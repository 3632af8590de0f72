/**
 * The table of everything a broker can be asked. Permission, metrics name, header schemas and documentation come from the row;
 * numbers are the wire contract and are never reused.
 */
import {
  authenticateReply,
  authenticateRequest,
  changeGrantsReply,
  changeGrantsRequest,
  createTokenReply,
  createTokenRequest,
  deleteUserReply,
  deleteUserRequest,
  listAccessReply,
  listAccessRequest,
  putUserReply,
  putUserRequest,
  revokeTokenReply,
  revokeTokenRequest,
  setQuotaReply,
  setQuotaRequest,
  whoAmIReply,
  whoAmIRequest,
} from './access.ts'
import { appendReplyCodec, appendRequestCodec } from './append-codec.ts'
import { appendReply, appendRequest, producerStateReply, producerStateRequest } from './append.ts'
import {
  clusterStatusReply,
  clusterStatusRequest,
  drainBrokerReply,
  drainBrokerRequest,
  reassignPartitionReply,
  reassignPartitionRequest,
  recoverPartitionReply,
  recoverPartitionRequest,
  throttleCopyingReply,
  throttleCopyingRequest,
} from './cluster.ts'
import { fetchReply, fetchRequest, listOffsetsReply, listOffsetsRequest } from './fetch.ts'
import type { Field, Shape, ValueOf, ValuesOf } from './header-schema.ts'
import { helloReply, helloRequest } from './hello.ts'
import {
  commitPlayheadReply,
  commitPlayheadRequest,
  listPlayheadsReply,
  listPlayheadsRequest,
  readPlayheadReply,
  readPlayheadRequest,
} from './playhead.ts'
import {
  replicaFetchReply,
  replicaFetchRequest,
  replicaFileReply,
  replicaFileRequest,
  replicaProgressReply,
  replicaProgressRequest,
  replicaSnapshotReply,
  replicaSnapshotRequest,
} from './replicate.ts'
import { statusReply, statusRequest } from './status.ts'
import {
  limitStreamReply,
  limitStreamRequest,
  listStreamsReply,
  listStreamsRequest,
  readStreamReply,
  readStreamRequest,
  streamInfoReply,
  streamInfoRequest,
  streamLimitReply,
  streamLimitRequest,
} from './stream.ts'
import {
  alterTopicReply,
  alterTopicRequest,
  createTopicReply,
  createTopicRequest,
  deleteRecordsReply,
  deleteRecordsRequest,
  deleteTopicReply,
  deleteTopicRequest,
  describeTopicReply,
  describeTopicRequest,
  listTopicsReply,
  listTopicsRequest,
} from './topic.ts'

export type Permission = 'none' | 'read' | 'append' | 'create' | 'admin'

interface ApiRow {
  readonly number: number
  /** Versions served; both ends inclusive. */
  readonly minVersion: number
  readonly maxVersion: number
  readonly permission: Permission
  readonly request: Field<ValuesOf<Shape>> | Field<never>
  readonly reply: Field<ValuesOf<Shape>> | Field<never>
  readonly doc: string
}

function row<Q, R>(
  number: number,
  permission: Permission,
  request: Field<Q>,
  reply: Field<R>,
  doc: string,
): {
  number: number
  minVersion: number
  maxVersion: number
  permission: Permission
  request: Field<Q>
  reply: Field<R>
  doc: string
} {
  return { number, minVersion: 0, maxVersion: 0, permission, request, reply, doc }
}

export const apis = {
  hello: row(0, 'none', helloRequest, helloReply, 'First request on a connection: versions and limits.'),
  createTopic: row(1, 'create', createTopicRequest, createTopicReply, 'Create a topic.'),
  listTopics: row(2, 'read', listTopicsRequest, listTopicsReply, 'List topics.'),
  describeTopic: row(
    3,
    'read',
    describeTopicRequest,
    describeTopicReply,
    'Settings, partitions and offsets of a topic.',
  ),
  alterTopic: row(4, 'admin', alterTopicRequest, alterTopicReply, 'Change settings of a topic.'),
  deleteTopic: row(5, 'admin', deleteTopicRequest, deleteTopicReply, 'Delete a topic and all its events.'),
  append: row(
    10,
    'append',
    { ...appendRequest, plain: appendRequestCodec },
    { ...appendReply, plain: appendReplyCodec },
    'Append groups of records to one partition, with conditions.',
  ),
  producerState: row(11, 'append', producerStateRequest, producerStateReply, 'How far a producer got in a partition.'),
  fetch: row(12, 'read', fetchRequest, fetchReply, 'Read batches of a partition from an offset; waits for more.'),
  listOffsets: row(13, 'read', listOffsetsRequest, listOffsetsReply, 'The offset at the start, the end, or a time.'),
  readStream: row(20, 'read', readStreamRequest, readStreamReply, 'Read events of one stream.'),
  streamInfo: row(21, 'read', streamInfoRequest, streamInfoReply, 'First and last version of a stream.'),
  listStreams: row(22, 'read', listStreamsRequest, listStreamsReply, 'Names of streams, by prefix.'),
  commitPlayhead: row(30, 'append', commitPlayheadRequest, commitPlayheadReply, 'Move a named playhead.'),
  readPlayhead: row(31, 'read', readPlayheadRequest, readPlayheadReply, 'Where a named playhead stands.'),
  listPlayheads: row(32, 'read', listPlayheadsRequest, listPlayheadsReply, 'Named playheads of a topic.'),
  replicaFetch: row(
    50,
    'admin',
    replicaFetchRequest,
    replicaFetchReply,
    'A follower reads batches from its leader, and says how far it has got.',
  ),
  replicaProgress: row(
    51,
    'admin',
    replicaProgressRequest,
    replicaProgressReply,
    'A follower says what it has on its disk.',
  ),
  clusterStatus: row(
    52,
    'read',
    clusterStatusRequest,
    clusterStatusReply,
    'How the brokers and partitions of a cluster stand.',
  ),
  reassignPartition: row(
    53,
    'admin',
    reassignPartitionRequest,
    reassignPartitionReply,
    'Move a partition to other brokers, or call that off.',
  ),
  drainBroker: row(54, 'admin', drainBrokerRequest, drainBrokerReply, 'Take leaderships or replicas off a broker.'),
  recoverPartition: row(
    55,
    'admin',
    recoverPartitionRequest,
    recoverPartitionReply,
    'Make one replica the truth of a partition that nobody can lead; gives data up.',
  ),
  throttleCopying: row(
    56,
    'admin',
    throttleCopyingRequest,
    throttleCopyingReply,
    'Limit what copying to new replicas takes, or lift that.',
  ),
  replicaSnapshot: row(
    57,
    'admin',
    replicaSnapshotRequest,
    replicaSnapshotReply,
    'A follower asks which files of its log the leader has.',
  ),
  replicaFile: row(58, 'admin', replicaFileRequest, replicaFileReply, 'A follower reads one of these files.'),
  deleteRecords: row(
    60,
    'admin',
    deleteRecordsRequest,
    deleteRecordsReply,
    'Give up the records of a partition below an offset.',
  ),
  limitStream: row(61, 'admin', limitStreamRequest, limitStreamReply, 'Keep less of one stream, or nothing.'),
  streamLimit: row(62, 'read', streamLimitRequest, streamLimitReply, 'What is kept of one stream.'),
  status: row(40, 'read', statusRequest, statusReply, 'What the broker process is and uses.'),
  authenticate: row(70, 'none', authenticateRequest, authenticateReply, 'Say who is on this connection, and prove it.'),
  whoAmI: row(71, 'none', whoAmIRequest, whoAmIReply, 'Whom the broker takes this connection for.'),
  putUser: row(72, 'admin', putUserRequest, putUserReply, 'Make a user, or give one another password.'),
  deleteUser: row(73, 'admin', deleteUserRequest, deleteUserReply, 'Delete a user with its grants and tokens.'),
  createToken: row(
    74,
    'admin',
    createTokenRequest,
    createTokenReply,
    'Make a bearer token; everybody may for himself.',
  ),
  revokeToken: row(75, 'admin', revokeTokenRequest, revokeTokenReply, 'End a token; everybody may end his own.'),
  changeGrants: row(76, 'admin', changeGrantsRequest, changeGrantsReply, 'Give and take rights.'),
  setQuota: row(77, 'admin', setQuotaRequest, setQuotaReply, 'Limit what a principal may use.'),
  listAccess: row(78, 'read', listAccessRequest, listAccessReply, 'Users, tokens, grants and quotas.'),
} as const satisfies Record<string, ApiRow>

export type ApiName = keyof typeof apis
export type RequestOf<A extends ApiName> = ValueOf<(typeof apis)[A]['request']>
export type ReplyOf<A extends ApiName> = ValueOf<(typeof apis)[A]['reply']>

const namesByNumber = new Map<number, ApiName>(
  (Object.keys(apis) as ApiName[]).map((name) => [apis[name].number, name]),
)

export function apiName(number: number): ApiName | undefined {
  return namesByNumber.get(number)
}
