/**
 * Placement: which brokers get a new replica. Spreads the replicas of a partition over racks first, then replicas over brokers, then leaders over
 * brokers. Pure; ties go to the lower id, so that the same cluster gives the same answer.
 * Invariants: no broker has two replicas of one partition; two replicas share a rack only when there are fewer racks than replicas.
 * Neighbours: topic-changes.ts places new partitions, controller-plan.ts moves those of a broker that leaves.
 */
import assert from 'node:assert/strict'
import type { ClusterState } from './cluster-state.ts'
import { targetReplicas } from './isr-change.ts'

export interface PlacementBroker {
  readonly broker: number
  /** null: a rack of its own. */
  readonly rack: string | null
  replicas: number
  /** Partitions that it is the preferred leader of. */
  leaders: number
}

/** Where replicas may go: brokers that are there and shall stay, with what they have. */
export function placementBrokers(state: ClusterState): PlacementBroker[] {
  const brokers = new Map<number, PlacementBroker>()
  for (const [broker, { record }] of state.sessions) {
    if (state.draining.get(broker)?.record.what === 'replicas') continue
    brokers.set(broker, { broker, rack: record.rack, replicas: 0, leaders: 0 })
  }
  for (const { state: partition } of state.allPartitions()) {
    const [preferred, ...others] = targetReplicas(partition).map((broker) => brokers.get(broker))
    for (const broker of [preferred, ...others]) if (broker !== undefined) broker.replicas++
    if (preferred !== undefined) preferred.leaders++
  }
  return [...brokers.values()].toSorted((left, right) => left.broker - right.broker)
}

/** Replicas for a new partition, the preferred leader first; counts them. */
export function placePartition(brokers: readonly PlacementBroker[], replicationFactor: number): number[] {
  assert(replicationFactor >= 1 && replicationFactor <= brokers.length)
  const chosen: PlacementBroker[] = []
  while (chosen.length < replicationFactor) chosen.push(best(brokers, chosen))
  const [leader, ...others] = chosen.toSorted(
    (left, right) => left.leaders - right.leaders || left.replicas - right.replicas,
  )
  for (const broker of chosen) broker.replicas++
  leader!.leaders++
  return [leader!, ...others].map(({ broker }) => broker)
}

/**
 * The replicas with those that `leaving` has replaced, each in its place; counts the new ones. Undefined when there are not enough brokers.
 */
export function replaceReplicas(
  brokers: readonly PlacementBroker[],
  replicas: readonly number[],
  leaving: ReadonlySet<number>,
): number[] | undefined {
  const byId = new Map(brokers.map((broker) => [broker.broker, broker]))
  const staying = replicas.filter((broker) => !leaving.has(broker))
  const chosen = staying.flatMap((broker) => byId.get(broker) ?? [])
  const taken = new Set(replicas)
  const free = brokers.filter(({ broker }) => !taken.has(broker) && !leaving.has(broker))
  if (free.length < replicas.length - staying.length) return undefined
  return replicas.map((replica, place) => {
    if (!leaving.has(replica)) return replica
    const one = best(
      free.filter((broker) => !chosen.includes(broker)),
      chosen,
    )
    chosen.push(one)
    one.replicas++
    if (place === 0) one.leaders++
    return one.broker
  })
}

/** The replicas and as many new ones behind them as it takes to have `count`; counts the new ones. The same when there are enough, or no brokers for more. */
export function growReplicas(
  brokers: readonly PlacementBroker[],
  replicas: readonly number[],
  count: number,
): readonly number[] {
  const chosen = brokers.filter(({ broker }) => replicas.includes(broker))
  const grown = [...replicas]
  for (let free = brokers.length - chosen.length; free > 0 && grown.length < count; free--) {
    const one = best(brokers, chosen)
    one.replicas++
    chosen.push(one)
    grown.push(one.broker)
  }
  return grown.length === replicas.length ? replicas : grown
}

/** In a rack that has the fewest of `chosen`; of these, the broker with the fewest replicas, then leaders. */
function best(brokers: readonly PlacementBroker[], chosen: readonly PlacementBroker[]): PlacementBroker {
  const isShared = ({ rack }: PlacementBroker) =>
    rack === null ? 0 : chosen.filter((other) => other.rack === rack).length
  const [first] = brokers
    .filter((broker) => !chosen.includes(broker))
    .toSorted(
      (left, right) =>
        isShared(left) - isShared(right) ||
        left.replicas - right.replicas ||
        left.leaders - right.leaders ||
        left.broker - right.broker,
    )
  assert(first !== undefined)
  return first
}
