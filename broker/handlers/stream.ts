/** Stream requests: events of one stream, where it stands, how much of it is kept, streams by prefix. Calls Partition. */
import { PlayheadError } from '../../protocol/errors.ts'
import { streamNameBytesMax } from '../../protocol/limits.ts'
import { encodeSparseBatch } from '../../protocol/record-batch.ts'
import type { ListedStream } from '../../protocol/stream.ts'
import type { Handler } from '../request.ts'
import { compareNames } from '../../storage/stream-names.ts'
import { refuseInternalTopic } from './append.ts'
import { reachToken, sees } from './fetch.ts'

/** Of one name in a reply to listStreams, beside the name itself. */
const listedStreamBytesMax = 32

export const readStream: Handler<'readStream'> = async (request, context) => {
  const { partitions, limitedStreams, config } = context.services
  const partition = partitions.ofStream(request.topic, request.stream)
  if (request.after) await reachToken(partition, request.after, context)
  const isLinearizable = await sees(partition, request.consistency)
  const maxBytes = Math.min(request.maxBytes, config.fetchBytesMax)
  await context.reply.reserve(maxBytes)
  await limitedStreams.ready(partition)
  const { stream, from, limit, backwards, asOf, knownAt } = request
  const read = await partition.readStream({ stream, from, limit, backwards, asOf, knownAt, maxBytes })
  return {
    header: {
      topicId: partition.topicId,
      partition: partition.partition,
      highWatermark: read.highWatermark,
      lastVersion: read.lastVersion,
      versions: read.versions,
      nextVersion: read.nextVersion,
      isLinearizable,
    },
    body: read.records.length === 0 ? [] : [encodeSparseBatch(read.records)],
  }
}

export const streamInfo: Handler<'streamInfo'> = async (request, context) => {
  const { partitions, limitedStreams } = context.services
  const partition = partitions.ofStream(request.topic, request.stream)
  if (request.after) await reachToken(partition, request.after, context)
  const isLinearizable = await sees(partition, request.consistency)
  await partition.settled()
  await limitedStreams.ready(partition)
  const { highWatermark, topicId } = partition
  const info = partition.log.streamInfo(request.stream, highWatermark)
  return { header: { topicId, partition: partition.partition, highWatermark, ...info, isLinearizable } }
}

export const limitStream: Handler<'limitStream'> = async (request, { services, session }) => {
  refuseInternalTopic(request.topic)
  const limit = await services.limitedStreams.set(request)
  session.did('limitStream', `${request.topic}/${request.stream}`)
  return { header: { ...limit } }
}

export const streamLimit: Handler<'streamLimit'> = async ({ topic, stream }, { services }) => {
  const partition = services.partitions.ofStream(topic, stream)
  await services.limitedStreams.ready(partition)
  return { header: { ...partition.log.limits.get(stream) } }
}

export const listStreams: Handler<'listStreams'> = async (request, context) => {
  const { topic, prefix, afterStream, limit, partitions: wanted } = request
  const { partitions, limitedStreams, clock } = context.services
  await context.reply.reserve(limit * (streamNameBytesMax + listedStreamBytesMax))
  // Each partition answers one more than asked for, in order: merged, that tells the first `limit` and whether there are more.
  let listed: ListedStream[] = []
  const all = partitions.topic(topic).partitions.map(({ partition }) => partition)
  for (const partition of new Set(wanted ?? all)) {
    // A partition with many streams takes long: others get their turn in between, and the topic may go.
    await clock.yield()
    if (context.signal.aborted) throw stopped()
    const listing = partitions.get(topic, partition)
    await listing.settled()
    await limitedStreams.ready(listing)
    const { log, highWatermark } = listing
    for (const { stream, lastVersion } of log.listStreams({
      prefix,
      afterStream,
      limit: limit + 1,
      limitOffset: highWatermark,
    })) {
      listed.push({ stream, partition, lastVersion })
    }
    listed = firstOf(listed, limit + 1)
  }
  return { header: { streams: listed.slice(0, limit), more: listed.length > limit } }
}

function firstOf(listed: readonly ListedStream[], count: number): ListedStream[] {
  return listed.toSorted((a, b) => compareNames(a.stream, b.stream)).slice(0, count)
}

/** The broker stops, or the client is gone. */
function stopped(): PlayheadError {
  return new PlayheadError('stopping', 'listStreams: found the broker stopping, wanted it running; try again')
}
