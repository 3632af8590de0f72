/** What followers ask their leader. Calls Partition. */
import { MiB } from '../../protocol/limits.ts'
import { fileFor, snapshotFor } from '../../replication/replica-files.ts'
import { noShape, shapeFields } from '../../replication/replica-shape.ts'
import type { Handler } from '../request.ts'

/** Of a file, in one reply. */
const replicaFileBytesMax = 4 * MiB

export const replicaFetch: Handler<'replicaFetch'> = async ({ topicId, partition, ...request }, context) => {
  const { services, signal, reply } = context
  const replica = services.partitions.replica(topicId, partition)
  const { diverging, batches, appendTimes, piece, highWatermark, confirm, filesNeeded } = await replica.replicaFetch(
    request,
    {
      signal,
      reserve: (bytes) => reply.reserve(bytes),
    },
  )
  const { logStartOffset } = replica.log
  const shape =
    diverging === undefined && filesNeeded !== true ? shapeFields(replica.log, request.offset, batches) : noShape
  return {
    header: { diverging, highWatermark, logStartOffset, appendTimes: [...appendTimes], confirm, filesNeeded, ...shape },
    body: batches,
    pieces: piece === undefined ? [] : [piece],
  }
}

export const replicaProgress: Handler<'replicaProgress'> = async ({ topicId, partition, ...request }, { services }) => {
  const highWatermark = services.partitions.replica(topicId, partition).replicaProgress(request)
  return { header: { highWatermark } }
}

export const replicaSnapshot: Handler<'replicaSnapshot'> = async ({ topicId, partition, ...request }, { services }) => {
  const replica = services.partitions.replica(topicId, partition)
  const { facts, salt, baseOffset, segments, leaderEpoch, epochs, heads } = await snapshotFor(replica, request)
  const moment = { ...facts, salt: salt.toString('hex'), baseOffset, leaderEpoch }
  return { header: { ...moment, segments: [...segments], epochs: [...epochs], heads: [...heads] } }
}

export const replicaFile: Handler<'replicaFile'> = async ({ topicId, partition, ...request }, context) => {
  const { services, reply } = context
  const replica = services.partitions.replica(topicId, partition)
  const maxBytes = Math.min(request.maxBytes, replicaFileBytesMax)
  await reply.reserve(maxBytes)
  return { header: {}, body: [await fileFor(replica, { ...request, maxBytes })] }
}
