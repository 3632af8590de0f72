/**
 * append: hands the groups of one frame to their partition, in order and before the first await, and answers each group's verdict.
 * producerState: how far a producer got. Calls Partition.
 */
import type { ReplyOf, RequestOf } from '../../protocol/api.ts'
import { PlayheadError } from '../../protocol/errors.ts'
import type { FramePiece } from '../../protocol/frame-memory.ts'
import { failureOf } from '../../protocol/header-codec.ts'
import { isInternalTopic } from '../../protocol/names.ts'
import type { AppendGroup, Appended } from '../../storage/log.ts'
import type { Handler } from '../request.ts'

type Requested = RequestOf<'append'>
type Verdict = ReplyOf<'append'>['groups'][number]

export const append: Handler<'append'> = async (request, { services, body, piece }) => {
  refuseInternalTopic(request.topic)
  const partition = services.partitions.get(request.topic, request.partition)
  const outcomes = await partition.appendEach(cutGroups(body, request, piece))
  let endOffset = 0
  const verdicts: Verdict[] = []
  for (const outcome of outcomes) {
    if (outcome instanceof PlayheadError) {
      verdicts.push(refused(outcome))
    } else {
      verdicts.push(written(outcome))
      endOffset = Math.max(endOffset, outcome.endOffset)
    }
  }
  // Nothing written: what the refusals name is committed, so a read after this high watermark sees why.
  if (endOffset === 0) endOffset = partition.highWatermark
  return { header: { topicId: partition.topicId, endOffset, groups: verdicts } }
}

export const producerState: Handler<'producerState'> = async ({ topic, partition, producerId }, { services }) => {
  const state = services.partitions.get(topic, partition).log.producerState(producerId)
  return {
    header: {
      known: state !== undefined,
      producerEpoch: state?.producerEpoch ?? -1,
      lastSequence: state?.lastSequence ?? -1,
      lastOffset: state?.lastOffset ?? -1,
    },
  }
}

/** What the broker keeps for itself is not for requests to write. */
export function refuseInternalTopic(topic: string): void {
  if (!isInternalTopic(topic)) return
  throw new PlayheadError(
    'internalTopic',
    `topic ${topic}: found a name that begins with __, wanted a topic of yours; the broker alone writes its internal topics`,
  )
}

function cutGroups(body: Buffer, { acks, groups }: Requested, piece: FramePiece | undefined): AppendGroup[] {
  let at = 0
  const cut: AppendGroup[] = []
  for (const { batchBytes, expected, wantVersions } of groups) {
    cut.push({ batch: body.subarray(at, at + batchBytes), expected, wantVersions, acks, piece })
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

function written({ baseOffset, appendTimeMs, duplicate, versions }: Appended): Verdict {
  return { failure: undefined, baseOffset, appendTimeMs, duplicate, versions: [...versions] }
}

function refused(error: PlayheadError): Verdict {
  return { failure: failureOf(error), baseOffset: 0, appendTimeMs: 0, duplicate: false, versions: [] }
}
