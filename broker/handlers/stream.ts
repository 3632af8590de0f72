/** Stream requests: events of one stream, where it stands, streams by prefix. Calls Partition. */
import { encodeSparseBatch } from '../../protocol/record-batch.ts'
import type { ListedStream } from '../../protocol/stream.ts'
import type { Handler } from '../request.ts'
import { reachToken } from './fetch.ts'

export const readStream: Handler<'readStream'> = async (request, context) => {
  const { partitions, config } = context.services
  const partition = partitions.ofStream(request.topic, request.stream)
  if (request.after) await reachToken(request.topic, request.after, context)
  const maxBytes = Math.min(request.maxBytes, config.fetchBytesMax)
  await context.reply.reserve(maxBytes)
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
    },
    body: read.records.length === 0 ? [] : [encodeSparseBatch(read.records)],
  }
}

export const streamInfo: Handler<'streamInfo'> = async (request, context) => {
  const partition = context.services.partitions.ofStream(request.topic, request.stream)
  if (request.after) await reachToken(request.topic, request.after, context)
  const { highWatermark, topicId } = partition
  const info = partition.log.streamInfo(request.stream, highWatermark)
  return { header: { topicId, partition: partition.partition, highWatermark, ...info } }
}

export const listStreams: Handler<'listStreams'> = async ({ topic, prefix, afterStream, limit }, { services }) => {
  // Each partition answers one more than asked for, in order: merged, that tells the first `limit` and whether there are more.
  const listed = services.partitions
    .topic(topic)
    .partitions.flatMap(({ partition, log, highWatermark }) =>
      log
        .listStreams({ prefix, afterStream, limit: limit + 1, limitOffset: highWatermark })
        .map(({ stream, lastVersion }): ListedStream => ({ stream, partition, lastVersion })),
    )
  const keys = new Map(listed.map((item) => [item, Buffer.from(item.stream)]))
  listed.sort((a, b) => Buffer.compare(keys.get(a)!, keys.get(b)!))
  return { header: { streams: listed.slice(0, limit), more: listed.length > limit } }
}
