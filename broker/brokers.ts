/**
 * Brokers: what this broker knows of the others of its cluster that clients want to know: where they are reached, and who has which partition.
 * Filled by Broker; the handlers and Dispatch tell it on.
 */
import { isPlayheadError, PlayheadError } from '../protocol/errors.ts'
import type { DescribedBroker, DescribedPartition } from '../protocol/topic.ts'
import type { ClusterNode } from '../replication/cluster-node.ts'
import type { Partition } from '../replication/partition.ts'

export interface Brokers {
  /** Whether nobody has a topic of that name, for certain. Rejects with unavailable when that cannot be asked. */
  lackTopic(name: string): Promise<boolean>
  /** Where clients reach a broker; undefined = not known now, or this broker is by itself. */
  addressOf(broker: number): { readonly host: string; readonly port: number } | undefined
  /** All that are there now; undefined = this broker is by itself. */
  all(): DescribedBroker[] | undefined
  /** Who has the partition, as the cluster has agreed; undefined = not known now, or this broker is by itself. */
  placementOf(partition: {
    readonly topicId: string
    readonly partition: number
  }): { readonly replicas: readonly number[]; readonly isr: readonly number[] } | undefined
}

/** Of a broker that is in no cluster. */
export const noBrokers: Brokers = {
  lackTopic: () => Promise.resolve(true),
  addressOf: () => undefined,
  all: () => undefined,
  placementOf: () => undefined,
}

/** As the cluster's metadata has it, as far as this broker has seen it. */
export function brokersOf(cluster: ClusterNode | undefined): Brokers {
  if (cluster === undefined) return noBrokers
  return {
    lackTopic: (name) => cluster.lacksTopic(name),
    addressOf: (broker) => cluster.addressOf(broker),
    all: () =>
      Array.from(cluster.image.state.sessions, ([broker, { record }]) => ({
        broker,
        ...hostAndPort(cluster.addressOf(broker)),
        rack: record.rack ?? undefined,
      })),
    placementOf: (partition) => cluster.image.state.partition(partition)?.state,
  }
}

/** Who leads and who follows, for describeTopic; nothing for a broker by itself. */
export function placeOf(
  partition: Partition,
  brokers: Brokers,
  self: number,
): Pick<DescribedPartition, 'leader' | 'replicas' | 'inSync' | 'isUnsettled'> {
  const { leading, following } = partition
  if (leading === undefined && following === undefined) {
    return { leader: undefined, replicas: undefined, inSync: undefined, isUnsettled: undefined }
  }
  const { replicas = [], isr = [] } = leading?.seen.state ?? brokers.placementOf(partition) ?? {}
  const broker = leading === undefined ? following?.leader : self
  const leader =
    typeof broker === 'number' ? { broker, ...hostAndPort(brokers.addressOf(broker)), rack: undefined } : undefined
  const isUnsettled = leading?.isSettled === false ? true : undefined
  return { leader, replicas: [...replicas], inSync: [...isr], isUnsettled }
}

/** The refusal of a request as it goes out: a topic is unknown when the cluster lacks it, not when this broker has not heard of it yet. */
export async function asRefusal(error: PlayheadError, brokers: Brokers): Promise<PlayheadError> {
  const { topic } = error.details
  if (error.code !== 'unknownTopic' || typeof topic !== 'string') return withAddress(error, brokers)
  try {
    if (await brokers.lackTopic(topic)) return error
  } catch (failure) {
    if (!isPlayheadError(failure)) throw failure
  }
  const message = `topic ${topic}: found this broker without word of it yet, wanted it to know all topics; ask another one, or again later`
  return new PlayheadError('unavailable', message, { outcome: 'notApplied' })
}

/** A refusal that names a leader says where that is reached, too. */
export function withAddress(error: PlayheadError, brokers: Brokers): PlayheadError {
  const { leader } = error.details
  if (error.code !== 'notLeader' || typeof leader !== 'number') return error
  const address = brokers.addressOf(leader)
  if (address === undefined) return error
  const { host, port } = address
  return new PlayheadError(error.code, error.message, { ...error.details, host, port }, error.conflicts)
}

function hostAndPort(address: { readonly host: string; readonly port: number } | undefined): {
  host: string | undefined
  port: number | undefined
} {
  return { host: address?.host, port: address?.port }
}
