/** fetch: raw batches of one partition, waiting for more if asked to; listOffsets: which offset stands at a time. Calls Partition. */
import type { RequestOf } from '../../protocol/api.ts'
import type { Consistency } from '../../protocol/consistency.ts'
import { PlayheadError } from '../../protocol/errors.ts'
import { delayedFetch } from '../delayed-fetch.ts'
import type { Handler, RequestContext } from '../request.ts'
import { accessTopic } from '../security/access-store.ts'
import type { Token } from '../../protocol/token.ts'
import type { Partition } from '../../replication/partition.ts'

/** What its leader has told others reaches a follower within that, or it is behind. */
const followerWaitMsMax = 1_000

export const fetch: Handler<'fetch'> = async (request, context) => {
  const { partitions, config } = context.services
  const follower = request.fromFollower === true ? await followerFor(request, context) : undefined
  const partition = follower ?? partitions.get(request.topic, request.partition)
  if (follower === undefined && request.after) await reachToken(partition, request.after, context)
  if (request.topic === accessTopic) context.services.security.store.hasRead(context.session, request.offset)
  const { batches, pieces, nextOffset, highWatermark } = await delayedFetch(
    partition,
    {
      offset: request.offset,
      minBytes: request.minBytes,
      maxBytes: Math.min(request.maxBytes, config.fetchBytesMax),
      waitMs: Math.min(request.waitMsMax, config.fetchWaitMsMax),
    },
    context,
  )
  const { topicId, log } = partition
  return { header: { topicId, logStartOffset: log.logStartOffset, highWatermark, nextOffset }, body: batches, pieces }
}

/**
 * This broker's replica, where it may answer for its leader: in sync, and it knows all to be committed that the reader has seen. Undefined where it leads.
 * Throws notLeader: the reader asks the leader then.
 */
async function followerFor(
  { topic, partition: number, offset, after }: RequestOf<'fetch'>,
  { services, signal }: RequestContext,
): Promise<Partition | undefined> {
  const { partitions, brokers, identity } = services
  const partition = partitions.anyReplica(topic, number)
  if (partition.following === undefined) return undefined
  if (after !== undefined) partition.checkToken(after)
  if (brokers.placementOf(partition)?.isr.includes(identity.brokerId) !== true) partition.checkLeads()
  const seen = after?.partition === number ? after.endOffset : 0
  await partition.reachAsFollower(Math.max(offset, seen), followerWaitMsMax, signal)
  return partition
}

export const listOffsets: Handler<'listOffsets'> = async (request, { services }) => {
  const partition = services.partitions.get(request.topic, request.partition)
  const isLinearizable = await sees(partition, request.consistency)
  await partition.settled()
  const { highWatermark, topicId, log } = partition
  let offset = request.at === 'start' ? log.logStartOffset : highWatermark
  if (request.at === 'time') {
    if (request.timestamp === undefined) {
      throw new PlayheadError('invalidArgument', 'listOffsets: found no timestamp, wanted one with at = time')
    }
    offset = await log.offsetForTime(request.timestamp, request.clock, highWatermark)
  }
  return { header: { offset, topicId, highWatermark, isLinearizable } }
}

/** Resolves when the read sees what it wants to: with true for the reply when that is everything acknowledged before. */
export async function sees(partition: Partition, consistency: Consistency | undefined): Promise<true | undefined> {
  if (consistency !== 'linearizable') return undefined
  await partition.linearized()
  return true
}

/**
 * Waits for what a read's token has seen. It may be of another partition of the topic than the one that is read: then there is nothing to wait for
 * where this broker does not lead that.
 */
export async function reachToken(read: Partition, token: Token, { services, signal }: RequestContext): Promise<void> {
  const { partitions, config } = services
  const { id } = partitions.topic(read.topic).topic
  const partition = token.partition === read.partition ? read : partitions.replica(id, token.partition)
  if (partition !== read && partition.following !== undefined) return partition.checkToken(token)
  await partition.reach(token, config.tokenWaitMsMax, signal)
}
