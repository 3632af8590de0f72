/** What followers ask their leader. Calls Partition. */
import { noShape, shapeFields } from '../../replication/replica-shape.ts'
import type { Handler } from '../request.ts'

export const replicaFetch: Handler<'replicaFetch'> = async ({ topicId, partition, ...request }, context) => {
  const { services, signal, reply } = context
  const replica = services.partitions.replica(topicId, partition)
  const { diverging, batches, appendTimes, piece, highWatermark, confirm } = await replica.replicaFetch(request, {
    signal,
    reserve: (bytes) => reply.reserve(bytes),
  })
  const { logStartOffset } = replica.log
  const shape = diverging === undefined ? shapeFields(replica.log, request.offset, batches) : noShape
  return {
    header: { diverging, highWatermark, logStartOffset, appendTimes: [...appendTimes], confirm, ...shape },
    body: batches,
    pieces: piece === undefined ? [] : [piece],
  }
}

export const replicaProgress: Handler<'replicaProgress'> = async ({ topicId, partition, ...request }, { services }) => {
  const highWatermark = services.partitions.replica(topicId, partition).replicaProgress(request)
  return { header: { highWatermark } }
}
