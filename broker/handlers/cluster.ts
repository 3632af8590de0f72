/**
 * Cluster requests: how the cluster stands, as this broker has seen it and with what it alone knows, and what an operator changes. The changes are facts in
 * the metadata; the controller, whichever broker that is, acts on them. Calls operator-changes.ts.
 */
import type { ClusterBroker, ClusterPartition, ReplicaCopy } from '../../protocol/cluster.ts'
import { PlayheadError } from '../../protocol/errors.ts'
import type { ClusterNode } from '../../replication/cluster-node.ts'
import type { ClusterState, SeenTopic } from '../../replication/cluster-state.ts'
import type { PartitionName } from '../../replication/metadata-keys.ts'
import {
  cancelReassign,
  drainBroker as drain,
  reassignPartition as reassign,
  recoverPartition as recover,
  setThrottle,
} from '../../replication/operator-changes.ts'
import type { Partition } from '../../replication/partition.ts'
import type { Handler, Services } from '../request.ts'

/** In the reply: of one partition with its name, of each place in one of its lists, of one broker. */
const partitionBytesMax = 512
const placeBytesMax = 64
const brokerBytesMax = 512

export const clusterStatus: Handler<'clusterStatus'> = async ({ topic }, { services, reply, session }) => {
  const cluster = clusterOf(services)
  const { image, clusterId } = cluster
  const { state } = image
  if (topic !== undefined) await topicIdOf(cluster, topic)
  await reply.reserve(replyBytesMax(state))
  const partitions = [...describePartitions(services, state, topic)].filter((each) => session.sees(each.topic))
  return {
    header: {
      clusterId,
      broker: services.identity.brokerId,
      controller: state.controller?.broker,
      ageMs: Math.round(image.ageMs),
      brokers: describeBrokers(state),
      partitions,
      copyBytesPerSecondMax: state.throttleBytesPerSecond,
    },
  }
}

export const reassignPartition: Handler<'reassignPartition'> = async (request, { services, session }) => {
  const { topic, partition, replicas } = request
  const cluster = clusterOf(services)
  const name = await nameOf(cluster, topic, partition)
  const seen =
    replicas === undefined
      ? await cancelReassign(cluster.foundation, name)
      : await reassign(cluster.foundation, name, replicas)
  session.did('reassignPartition', `${topic}/${partition}: ${replicas?.join(', ') ?? 'cancelled'}`)
  await cluster.image.refresh()
  const { replicas: all, adding, removing } = seen.state
  return { header: { replicas: [...all], adding: [...adding], removing: [...removing] } }
}

export const drainBroker: Handler<'drainBroker'> = async ({ broker, what }, { services, session }) => {
  const cluster = clusterOf(services)
  await drain(cluster.foundation, broker, what === 'nothing' ? undefined : what)
  session.did('drainBroker', `${broker}: ${what}`)
  await cluster.image.refresh()
  return { header: {} }
}

export const throttleCopying: Handler<'throttleCopying'> = async ({ bytesPerSecond }, { services, session }) => {
  const cluster = clusterOf(services)
  await setThrottle(cluster.foundation, bytesPerSecond)
  session.did('throttleCopying', bytesPerSecond === undefined ? 'no limit' : `${bytesPerSecond} bytes a second`)
  await cluster.image.refresh()
  return { header: {} }
}

export const recoverPartition: Handler<'recoverPartition'> = async (request, { services, session }) => {
  const { topic, partition, broker } = request
  const cluster = clusterOf(services)
  const { state } = await recover(cluster.foundation, await nameOf(cluster, topic, partition), broker)
  session.did('recoverPartition', `${topic}/${partition}: broker ${broker}`)
  await cluster.image.refresh()
  return { header: { leaderEpoch: state.leaderEpoch } }
}

function clusterOf({ cluster, identity }: Services): ClusterNode {
  if (cluster !== undefined) return cluster
  throw new PlayheadError(
    'notClustered',
    `broker ${identity.brokerId}: found it by itself, wanted one of a cluster; serve with --cluster etcd://HOST:PORT makes it one, playhead status shows this one`,
  )
}

async function nameOf(cluster: ClusterNode, topic: string, partition: number): Promise<PartitionName> {
  const topicId = await topicIdOf(cluster, topic)
  if (cluster.image.state.partition({ topicId, partition }) !== undefined) return { topicId, partition }
  const count = cluster.image.state.partitions.get(topicId)?.size ?? 0
  const message = `${topic}: found partition ${partition}, wanted 0 to ${count - 1}; playhead cluster status --topic ${topic} shows them`
  throw new PlayheadError('unknownPartition', message, { partition, partitions: count })
}

/** It may just have been made through another broker: then one look at everything finds it. */
async function topicIdOf({ image }: ClusterNode, topic: string): Promise<string> {
  if (image.state.topicOf(topic) === undefined) await image.refresh()
  const found = image.state.topicOf(topic)
  if (found !== undefined) return found.topicId
  const message = `topic ${topic}: found no topic of that name, wanted an existing one; playhead topic list shows them`
  throw new PlayheadError('unknownTopic', message, { topic })
}

function replyBytesMax(state: ClusterState): number {
  let bytes = state.brokers.size * brokerBytesMax
  for (const { state: partition } of state.allPartitions())
    bytes += partitionBytesMax + partition.replicas.length * placeBytesMax
  return bytes
}

/** One that is gone and has nothing any more is nobody's concern. */
function describeBrokers(state: ClusterState): ClusterBroker[] {
  const needed = new Set([...state.allPartitions()].flatMap(({ state: { replicas } }) => replicas))
  const brokers: ClusterBroker[] = []
  for (const [broker, registered] of state.brokers) {
    const session = state.sessions.get(broker)
    if (session === undefined && !needed.has(broker)) continue
    const { record, brokerEpoch } = session ?? registered
    const { host, port, rack, release } = record
    const draining = state.draining.get(broker)?.record.what
    const isThere = session !== undefined
    brokers.push({ broker, brokerEpoch, isThere, host, port, rack: rack ?? undefined, release, draining })
  }
  return brokers.toSorted((left, right) => left.broker - right.broker)
}

function* describePartitions(
  services: Services,
  state: ClusterState,
  topic: string | undefined,
): Generator<ClusterPartition> {
  const topics = [...state.topics.values()].filter(({ record }) => topic === undefined || record.name === topic)
  for (const each of topics.toSorted((left, right) => (left.record.name < right.record.name ? -1 : 1)))
    yield* partitionsOf(services, state, each)
}

function* partitionsOf(
  { partitions, identity }: Services,
  state: ClusterState,
  { topicId, record }: SeenTopic,
): Generator<ClusterPartition> {
  const seen = [...(state.partitions.get(topicId) ?? [])].toSorted(([left], [right]) => left - right)
  const here = partitions.has(record.name) ? partitions.topic(record.name) : undefined
  for (const [partition, { state: agreed }] of seen) {
    const own = here?.topic.id === topicId ? here.partitions[partition] : undefined
    const isReplica = agreed.replicas.includes(identity.brokerId)
    yield {
      topic: record.name,
      topicId,
      internal: record.internal,
      partition,
      leader: agreed.leader ?? undefined,
      leaderEpoch: agreed.leaderEpoch,
      replicas: [...agreed.replicas],
      inSync: [...agreed.isr],
      eligible: [...agreed.elr],
      lastEligible: [...agreed.lastElr],
      inSyncMin: agreed.isrMin,
      adding: [...agreed.adding],
      removing: [...agreed.removing],
      own: own === undefined || !isReplica ? undefined : copyOf(own),
      followers: own?.leading?.leaderEpoch === agreed.leaderEpoch ? own.leading.followers : [],
      agreedStartOffset: agreed.startOffset === 0 ? undefined : agreed.startOffset,
    }
  }
}

function copyOf({ log, highWatermark }: Partition): ReplicaCopy {
  const { logStartOffset, logEndOffset, replica } = log
  return { lastEpoch: replica.lastEpoch, logStartOffset, logEndOffset, highWatermark }
}
