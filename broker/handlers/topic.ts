/** Topic requests: create, list, describe, alter, delete, delete records. Calls Partitions. */
import { KiB } from '../../protocol/limits.ts'
import { checkTopicName } from '../../protocol/names.ts'
import type { Partition } from '../../replication/partition.ts'
import type { DescribedPartition } from '../../protocol/topic.ts'
import { placeOf } from '../brokers.ts'
import type { Handler, Services } from '../request.ts'
import { refuseInternalTopic } from './append.ts'

/** What a client leaves to us, by asking for 0. */
const partitionsDefault = 1
const replicationFactorDefault = 1

/** Of one topic in a reply to listTopics; of all settings, of one partition, without damage, and of one broker in one to describeTopic. */
const listedTopicBytesMax = 512
const settingsBytesMax = 16 * KiB
const describedPartitionBytesMax = 1 * KiB
const describedBrokerBytesMax = 512

export const createTopic: Handler<'createTopic'> = async (request, { services, session }) => {
  const { topic, partitions, replicationFactor, settings } = request
  checkTopicName(topic)
  refuseInternalTopic(topic)
  const created = await services.partitions.create({
    name: topic,
    partitions: partitions === 0 ? partitionsDefault : partitions,
    replicationFactor: replicationFactor === 0 ? replicationFactorDefault : replicationFactor,
    settings: Object.fromEntries(settings.map(({ name, value }) => [name, value])),
  })
  session.did('createTopic', topic)
  return { header: { topicId: created.id, partitions: created.partitions } }
}

export const listTopics: Handler<'listTopics'> = async (request, { services, reply, session }) => {
  await reply.reserve(services.partitions.topics().length * listedTopicBytesMax)
  const topics = services.partitions
    .topics()
    .filter(({ internal, name }) => (request.internal || !internal) && session.sees(name))
  return {
    header: {
      topics: topics
        .map(({ name, id, logs, internal }) => ({ topic: name, topicId: id, partitions: logs.length, internal }))
        .toSorted((a, b) => (a.topic < b.topic ? -1 : 1)),
    },
  }
}

export const describeTopic: Handler<'describeTopic'> = async (request, { services, reply }) => {
  const described = services.partitions.topic(request.topic).partitions.length
  const brokers = services.brokers.all()
  const listedBytesMax = described * describedPartitionBytesMax + (brokers?.length ?? 0) * describedBrokerBytesMax
  await reply.reserve(settingsBytesMax + listedBytesMax)
  const { topic, partitions } = services.partitions.topic(request.topic)
  return {
    header: {
      topic: topic.name,
      topicId: topic.id,
      internal: topic.internal,
      settings: topic.describeSettings(),
      partitions: partitions.map((partition) => describePartition(partition, services)),
      brokers,
    },
  }
}

export const alterTopic: Handler<'alterTopic'> = async ({ topic, settings }, { services, session }) => {
  refuseInternalTopic(topic)
  const changes = settings.map(({ name, value }): [string, string | null] => [name, value ?? null])
  await services.partitions.alter(topic, Object.fromEntries(changes))
  session.did('alterTopic', `${topic}: ${settings.map(({ name }) => name).join(', ')}`)
  return { header: {} }
}

export const deleteTopic: Handler<'deleteTopic'> = async ({ topic }, { services, session }) => {
  refuseInternalTopic(topic)
  await services.partitions.delete(topic)
  session.did('deleteTopic', topic)
  return { header: {} }
}

export const deleteRecords: Handler<'deleteRecords'> = async (
  { topic, partition, beforeOffset },
  { services, session },
) => {
  refuseInternalTopic(topic)
  const logStartOffset = await services.partitions.get(topic, partition).deleteRecords(beforeOffset)
  session.did('deleteRecords', `${topic}/${partition}: below ${logStartOffset}`)
  return { header: { logStartOffset } }
}

function describePartition(described: Partition, { brokers, identity }: Services): DescribedPartition {
  const { partition, leaderEpoch, highWatermark, log } = described
  const { logStartOffset, logEndOffset, durableOffset, sizeBytes, segmentCount, damage } = log
  return {
    partition,
    leaderEpoch,
    logStartOffset,
    highWatermark,
    logEndOffset,
    durableOffset,
    sizeBytes,
    segments: segmentCount,
    damage: damage.slice(0, 1000),
    ...placeOf(described, brokers, identity.brokerId),
  }
}
