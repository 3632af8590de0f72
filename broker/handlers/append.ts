/**
 * append: hands the groups of one frame to their partition, in order and before the first await, and answers each group's verdict.
 * producerState: how far a producer got. Calls Partition.
 */
import type { ReplyOf, RequestOf } from '../../protocol/api.ts'
import { PlayheadError } from '../../protocol/errors.ts'
import type { FramePiece } from '../../protocol/frame-memory.ts'
import { failureOf } from '../../protocol/header-codec.ts'
import { recordsPerBatchMax } from '../../protocol/limits.ts'
import { isInternalTopic } from '../../protocol/names.ts'
import { BATCH_HEADER_BYTES, recordCount } from '../../protocol/record-batch.ts'
import { streamResource, topicResource } from '../../protocol/rights.ts'
import type { Partition } from '../../replication/partition.ts'
import type { AppendGroup, Appended } from '../../storage/log.ts'
import type { ProducerProgress } from '../../storage/producer-state.ts'
import { withAddress } from '../brokers.ts'
import { limitedStreamsTopic } from '../limited-streams.ts'
import type { Handler, ReplyRoom, RequestContext, Services } from '../request.ts'
import type { Session } from '../security/session.ts'

/** So many in a reply are small beside the request itself. */
const fewVersions = 1_000
/** On the wire and in memory. */
const versionBytesMax = 16

type Requested = RequestOf<'append'>
type Verdict = ReplyOf<'append'>['groups'][number]

export const append: Handler<'append'> = async (request, { services, session, body, piece, reply }) => {
  if (!isBetweenBrokers(request.topic, session, services)) refuseInternalTopic(request.topic)
  const partition = services.partitions.get(request.topic, request.partition)
  const groups = cutGroups(body, request, piece, streamRule(session, request.topic))
  reserveVersions(groups, reply)
  const outcomes = await partition.appendEach(groups)
  let endOffset = 0
  const verdicts: Verdict[] = []
  for (const outcome of outcomes) {
    if (outcome instanceof PlayheadError) {
      verdicts.push(refused(withAddress(outcome, services.brokers)))
    } else {
      verdicts.push(written(outcome))
      endOffset = Math.max(endOffset, outcome.endOffset)
    }
  }
  // Nothing written: what the refusals name is committed, so a read after this high watermark sees why.
  if (endOffset === 0) endOffset = partition.highWatermark
  return { header: { topicId: partition.topicId, endOffset, groups: verdicts } }
}

export const producerState: Handler<'producerState'> = async ({ topic, partition, producerId }, context) => {
  const state = await committedProgress(context.services.partitions.get(topic, partition), producerId, context)
  return {
    header: {
      known: state !== undefined,
      producerEpoch: state?.producerEpoch ?? -1,
      lastSequence: state?.lastSequence ?? -1,
      lastOffset: state?.lastOffset ?? -1,
    },
  }
}

/** Who is told that something was appended does not send it again: what may still vanish is not told of. */
async function committedProgress(
  partition: Partition,
  producerId: number,
  { services, signal }: RequestContext,
): Promise<ProducerProgress | undefined> {
  for (;;) {
    partition.checkLeads()
    const { topicId, leaderEpoch } = partition
    const state = partition.log.producerState(producerId)
    if (state === undefined) return undefined
    const end = { topicId, partition: partition.partition, endOffset: state.lastOffset + 1 }
    await partition.reach(end, services.config.tokenWaitMsMax, signal)
    // Led again in a later epoch, the log may have something else there.
    if (partition.leaderEpoch === leaderEpoch && partition.following === undefined) return state
  }
}

/** Where the brokers of a cluster need not prove who they are, whoever asks for what they ask of each other may be one. */
function isBetweenBrokers(topic: string, session: Session, { cluster, security }: Services): boolean {
  if (session.isBroker) return session.may('append', topicResource(topic))
  return topic === limitedStreamsTopic && cluster !== undefined && !security.brokersProve
}

/** What the broker keeps for itself is not for requests to write. */
export function refuseInternalTopic(topic: string): void {
  if (!isInternalTopic(topic)) return
  throw new PlayheadError(
    'internalTopic',
    `topic ${topic}: found a name that begins with __, wanted a topic of yours; the broker alone writes its internal topics`,
  )
}

/** Undefined = every stream of the topic. */
export function streamRule(session: Session, topic: string): AppendGroup['mayAppend'] {
  if (session.may('append', topicResource(topic))) return undefined
  return (stream) => session.may('append', streamResource(topic, stream))
}

function cutGroups(
  body: Buffer,
  { acks, groups }: Requested,
  piece: FramePiece | undefined,
  mayAppend: AppendGroup['mayAppend'],
): AppendGroup[] {
  let at = 0
  const cut: AppendGroup[] = []
  for (const { batchBytes, expected, wantVersions } of groups) {
    cut.push({ batch: body.subarray(at, at + batchBytes), expected, wantVersions, acks, piece, mayAppend })
    at += batchBytes
  }
  if (groups.length > 0 && at === body.length) return cut
  throw new PlayheadError(
    'invalidBatch',
    groups.length === 0
      ? 'append: found no group, wanted at least one'
      : `append: found a body of ${body.length} bytes, wanted ${at} as the sizes of its ${groups.length} groups say`,
  )
}

/** Compressed records may be a million in a few bytes, and each of them is a version in the reply. Does not wait: appends stay in order. */
function reserveVersions(groups: readonly AppendGroup[], reply: ReplyRoom): void {
  let count = 0
  for (const { batch, wantVersions } of groups) {
    if (wantVersions && batch.length >= BATCH_HEADER_BYTES) count += Math.max(0, recordCount(batch))
  }
  if (count <= fewVersions) return
  if (count > recordsPerBatchMax) {
    const message = `append: found ${count} records whose versions are wanted, wanted at most ${recordsPerBatchMax} in one request; send fewer groups at once`
    throw new PlayheadError('batchTooLarge', message, { limit: recordsPerBatchMax })
  }
  if (reply.tryReserve(count * versionBytesMax)) return
  const message = `append: found no room for ${count} versions in the reply, wanted replies before it to be read first; send again later`
  throw new PlayheadError('overloaded', message)
}

function written({ baseOffset, appendTimeMs, duplicate, versions }: Appended): Verdict {
  return { failure: undefined, baseOffset, appendTimeMs, duplicate, versions: [...versions] }
}

function refused(error: PlayheadError): Verdict {
  return { failure: failureOf(error), baseOffset: 0, appendTimeMs: 0, duplicate: false, versions: [] }
}
