/**
 * Brokers: what this broker knows of the others of its cluster that clients want to know: where they are reached, and who has which partition.
 * Filled by Broker; the handlers and Dispatch tell it on.
 */
import { PlayheadError } from '../protocol/errors.ts'
import type { DescribedBroker, DescribedPartition } from '../protocol/topic.ts'
import type { ClusterNode } from '../replication/cluster-node.ts'
import type { Partition } from '../replication/partition.ts'

export interface Brokers {
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
export const noBrokers: Brokers = { addressOf: () => undefined, all: () => undefined, placementOf: () => undefined }

/** As the cluster's metadata has it, as far as this broker has seen it. */
export function brokersOf(cluster: ClusterNode | undefined): Brokers {
  if (cluster === undefined) return noBrokers
  return {
    addressOf: (broker) => cluster.addressOf(broker),
    all: () =>
      Array.from(cluster.image.state.sessions.keys(), (broker) => ({
        broker,
        ...hostAndPort(cluster.addressOf(broker)),
      })),
    placementOf: (partition) => cluster.image.state.partition(partition)?.state,
  }
}

/** Who leads and who follows, for describeTopic; nothing for a broker by itself. */
export function placeOf(
  partition: Partition,
  brokers: Brokers,
  self: number,
): Pick<DescribedPartition, 'leader' | 'replicas' | 'inSync'> {
  const { leading, following } = partition
  if (leading === undefined && following === undefined) {
    return { leader: undefined, replicas: undefined, inSync: undefined }
  }
  const { replicas = [], isr = [] } = leading?.seen.state ?? brokers.placementOf(partition) ?? {}
  const broker = leading === undefined ? following?.leader : self
  const leader = typeof broker === 'number' ? { broker, ...hostAndPort(brokers.addressOf(broker)) } : undefined
  return { leader, replicas: [...replicas], inSync: [...isr] }
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
