/**
 * What the controller would change now, from what the cluster looks like: a pure function, so that any controller comes to the same, and doing
 * half of it and beginning anew does no harm. In order of urgency: leaders for partitions that lost theirs, brokers fenced once no in-sync
 * set has them, reassignments ended, leaderships and replicas moved to where they should be, Playhead's own topics grown with the cluster.
 * Invariant: a broker is fenced only by a state, read as of one revision, in which its session is gone and no partition counts on it.
 * Neighbours: controller.ts carries it out; isr-change.ts says what a change makes of a partition.
 */
import type { ClusterState } from './cluster-state.ts'
import { next, targetReplicas } from './isr-change.ts'
import type { PartitionEvent, PartitionState } from './isr-change.ts'
import { isRegistered } from './isr-transaction.ts'
import type { SeenPartition } from './isr-transaction.ts'
import { metadataKeys } from './metadata-keys.ts'
import type { PartitionName } from './metadata-keys.ts'
import type { Compare } from './metadata-store.ts'
import { growReplicas, placementBrokers, replaceReplicas } from './placement.ts'
import type { PlacementBroker } from './placement.ts'
import { isrMinOf } from './topic-facts.ts'

export interface PlannedChange extends PartitionName {
  readonly seen: SeenPartition
  readonly changed: PartitionState
  /** Beside the partition's own revision. */
  readonly compares: readonly Compare[]
}

export interface PlannedFencing {
  readonly broker: number
  readonly brokerEpoch: number
  /** Of its fencing before; 0 = none. */
  readonly modRevision: number
}

export interface ControllerPlan {
  readonly changes: readonly PlannedChange[]
  readonly fencings: readonly PlannedFencing[]
  /** Partitions whose leader is not the preferred one and could be, whether it is time for that or not. */
  readonly imbalanced: ReadonlySet<string>
}

export interface PlanOptions {
  newNonce(): string
  /** Whether the partition with this key has been imbalanced for long enough. */
  mayRebalance(key: string): boolean
}

/** Of the partitions of Playhead's own topics, as many as there are brokers for. */
const ownReplicasMax = 3
/** Partitions being moved off brokers that leave, at one time. */
const movesMax = 16

export function planChanges(state: ClusterState, options: PlanOptions): ControllerPlan {
  const gone = state.gone()
  const view = { state, options, gone: [...gone.keys()], electable: state.live(), moves: new Moves(state) }
  const imbalanced = new Set<string>()
  const changes: PlannedChange[] = []
  const counted = new Set<number>()
  for (const { topicId, partition, ...seen } of state.allPartitions()) {
    const before = seen.state
    const preferred = preferredLeader(view, before)
    const key = metadataKeys.partition(topicId, partition)
    if (preferred !== undefined) imbalanced.add(key)
    const changed = changeOf(view, { topicId, partition }, before, preferred)
    if (changed !== before)
      changes.push({ topicId, partition, seen, changed, compares: comparesFor(view, before, changed) })
    for (const broker of view.gone) if (before.leader === broker || before.isr.includes(broker)) counted.add(broker)
  }
  return { changes: changes.toSorted(byUrgency), fencings: fencingsOf(state, gone, counted), imbalanced }
}

interface PlanView {
  readonly state: ClusterState
  readonly gone: readonly number[]
  readonly electable: readonly number[]
  readonly options: PlanOptions
  readonly moves: Moves
}

/** What is optional waits until the partition has nothing more urgent. */
function changeOf(
  view: PlanView,
  { topicId, partition }: PartitionName,
  before: PartitionState,
  preferred: number | undefined,
): PartitionState {
  const { options, electable } = view
  const nonce = options.newNonce()
  let changed = before
  for (const event of repairs(view, topicId, before)) changed = next(changed, event, nonce)
  if (changed !== before) return changed
  const isLeaving = before.leader !== null && view.state.draining.has(before.leader)
  if (preferred !== undefined && (isLeaving || options.mayRebalance(metadataKeys.partition(topicId, partition)))) {
    changed = next(changed, { kind: 'elect', leader: preferred, electable }, nonce)
  }
  const isOwn = view.state.topics.get(topicId)?.record.internal === true
  const move =
    changed === before ? (view.moves.of(before) ?? (isOwn ? view.moves.growthOf(before) : undefined)) : undefined
  return move === undefined ? changed : next(changed, move, nonce)
}

function* repairs(
  { state, gone, electable }: PlanView,
  topicId: string,
  partition: PartitionState,
): Generator<PartitionEvent> {
  if (gone.some((broker) => partition.isr.includes(broker) || partition.leader === broker)) {
    yield { kind: 'brokersGone', gone, electable }
  }
  if (partition.leader === null) yield { kind: 'electAny', electable }
  const topic = state.topics.get(topicId)
  const { adding, removing, replicas } = partition
  // Not while replicas come and go: more that are wanted in sync, before they are there, would stop the writing.
  if (topic !== undefined && adding.length + removing.length === 0) {
    yield { kind: 'setIsrMin', isrMin: isrMinOf(topic.record.settings, replicas.length) }
  }
  yield { kind: 'finishReassign', electable }
}

/** Who should lead instead of who does; undefined when all is well, or the right one cannot. */
function preferredLeader({ state, electable }: PlanView, partition: PartitionState): number | undefined {
  const { leader, isr } = partition
  if (leader === null) return undefined
  const canLead = (broker: number) => isr.includes(broker) && electable.includes(broker) && !state.draining.has(broker)
  const preferred = targetReplicas(partition).find((broker) => !state.draining.has(broker))
  if (preferred === leader) return undefined
  if (preferred !== undefined && canLead(preferred)) return preferred
  // A leader that is to give up its leaderships gives them to anybody who can.
  return state.draining.has(leader) ? targetReplicas(partition).find(canLead) : undefined
}

/** Replicas away from brokers that leave for good, so many at a time; and more of them for Playhead's own topics, once there are brokers for that. */
class Moves {
  readonly #state: ClusterState
  readonly #leaving: ReadonlySet<number>
  #counted: readonly PlacementBroker[] | undefined
  #underWay: number

  constructor(state: ClusterState) {
    this.#state = state
    const leaving = [...state.draining].filter(([, { record }]) => record.what === 'replicas').map(([broker]) => broker)
    this.#leaving = new Set(leaving)
    this.#underWay = [...state.allPartitions()].filter(({ state: partition }) => partition.adding.length > 0).length
  }

  of(partition: PartitionState): PartitionEvent | undefined {
    const replicas = targetReplicas(partition)
    if (this.#underWay >= movesMax || !replicas.some((broker) => this.#leaving.has(broker))) return undefined
    const target = replaceReplicas(this.#brokers, replicas, this.#leaving)
    if (target === undefined) return undefined
    this.#underWay++
    return { kind: 'reassign', target }
  }

  /** The broker that was the first made them when it was the only one. One change at a time: what is under way ends first. */
  growthOf(partition: PartitionState): PartitionEvent | undefined {
    const { replicas, adding, removing } = partition
    if (replicas.length >= ownReplicasMax || adding.length + removing.length > 0) return undefined
    const target = growReplicas(this.#brokers, replicas, ownReplicasMax)
    return target === replicas ? undefined : { kind: 'reassign', target }
  }

  /** Counted once something is to be moved: there may be very many partitions. */
  get #brokers(): readonly PlacementBroker[] {
    this.#counted ??= placementBrokers(this.#state)
    return this.#counted
  }
}

/** Who is elected must be there as it was seen; who is taken out must be gone as it was seen. */
function comparesFor({ state, gone }: PlanView, before: PartitionState, changed: PartitionState): Compare[] {
  const compares: Compare[] = []
  const { leader } = changed
  if (leader !== null && leader !== before.leader) {
    const session = state.sessions.get(leader)
    if (session !== undefined) compares.push(isRegistered({ broker: leader, brokerEpoch: session.brokerEpoch }))
  }
  for (const broker of gone) {
    if (before.isr.includes(broker) && !changed.isr.includes(broker)) {
      compares.push({ key: metadataKeys.session(broker), createRevisionIsNot: state.brokers.get(broker)!.brokerEpoch })
    }
  }
  return compares
}

/** Without a leader nothing can be written: these first. */
function byUrgency(left: PlannedChange, right: PlannedChange): number {
  const isUrgent = ({ seen, changed }: PlannedChange) => seen.state.leader !== changed.leader
  return Number(isUrgent(right)) - Number(isUrgent(left))
}

function fencingsOf(
  state: ClusterState,
  gone: ReadonlyMap<number, number>,
  counted: ReadonlySet<number>,
): PlannedFencing[] {
  return [...gone]
    .filter(([broker]) => !counted.has(broker))
    .map(([broker, brokerEpoch]) => ({ broker, brokerEpoch, modRevision: state.fenced.get(broker)?.modRevision ?? 0 }))
}
